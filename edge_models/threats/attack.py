"""What an attack is, how hard it tries, and how it says that it could not be run."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_models.errors import ModelError
from edge_models.threats.ground import Ground
from edge_models.threats.result import Told


class Effort(StrEnum):
    """How hard an attack tries."""

    PROBE = "probe"  # seconds: enough to catch the planted bugs that it is named for
    QUICK = "quick"  # well under a minute
    FULL = "full"  # minutes: the figures that are quoted


class Family(StrEnum):
    """What an attack is after, in the order of the report."""

    IDENTITY = "who it is"
    ATTRIBUTE = "what kind of person it is"
    MEMBERSHIP = "who taught the model"
    INVERSION = "what they sound and look like"
    GRADIENT = "what an update tells"
    AUDIT = "whether the noise is what it claims"
    SYNTHETIC = "what synthetic data tells"
    PROTOCOL = "what the coordinator can do"
    EGRESS = "what is written or sent"
    METHOD = "whether the evaluation is honest"


class NotRun(ModelError):
    """An attack that lacks what it needs: too few people, one class, no faces, no package."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to attack.

    `run` takes what is attacked, the effort and a seed, and returns what it found; it raises
    `NotRun` where it lacks something. One seed gives one answer. `asks` is the question in plain
    words; `source` the paper behind it. `needs_ground` is False where no recordings are needed.
    `seconds` is about how long the full effort takes, so that long ones begin first.
    """

    name: str
    family: Family
    asks: str
    run: Callable[[Ground, Effort, int], Told]
    source: str = ""
    needs_ground: bool = True
    seconds: int = 60
