"""What an attack found: figures with intervals, what was promised of each, and the verdict.

Rules it upholds: a figure has its interval, its attacker and the size of its sample beside it; the
verdict follows from figure and promise and can't be written otherwise; what did not run has a
reason and no verdict, so it can never be read as a pass.

    holds       the figure keeps the promise
    unsure      it does not, but its interval reaches what was promised
    broken      all of its interval lies beyond the promise
    no promise  told so that people know; nobody promised anything of it
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from edge_models.errors import ContractError
from edge_models.training.coevaluation.figure import Figure, Finite, Frozen
from edge_models.training.metrics import Estimate

SCHEMA_VERSION: Final = 1
"""Raised whenever a reader of the version before would misread what is written now."""

OURS: Final = "sottovoce"

Key = Annotated[str, Field(min_length=1, max_length=160)]


class Sense(StrEnum):
    """On which side of its bound a figure keeps its promise."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


class Verdict(StrEnum):
    """What a figure says of its promise."""

    HOLDS = "holds"
    UNSURE = "unsure"
    BROKEN = "broken"
    NO_PROMISE = "no promise"


class Finding(Frozen):
    """One figure of one attack.

    `key` names it within its attack and stays the same from run to run, so that runs can be
    compared; `what` says it in words; `sense` is the private side, also where nothing is promised
    (`bound` None). `chance` is what the same attacker reaches where there is nothing to find.
    `sample` says of how many people, windows or trials. `system` is whose features were attacked.
    """

    key: Key
    what: str
    figure: Figure
    sense: Sense
    bound: Finite | None
    chance: Finite | None
    attacker: str
    sample: str
    system: str
    verdict: Verdict

    @classmethod
    def of(
        cls,
        key: str,
        what: str,
        figure: Figure | Estimate,
        *,
        attacker: str,
        sample: str,
        at_most: float | None = None,
        at_least: float | None = None,
        less_is_private: bool = True,
        chance: float | None = None,
        system: str = OURS,
    ) -> Self:
        """A finding with its verdict; `at_most` or `at_least` is what is promised, if anything.

        `less_is_private` says which side is the private one where nothing is promised.
        """
        if at_most is not None and at_least is not None:
            raise ContractError("A figure is promised to lie above a bound or below it.")
        if at_most is None and at_least is None:
            sense = Sense.AT_MOST if less_is_private else Sense.AT_LEAST
        else:
            sense = Sense.AT_MOST if at_least is None else Sense.AT_LEAST
        bound = at_most if at_least is None else at_least
        told = figure if isinstance(figure, Figure) else Figure.of(figure)
        return cls(
            key=key,
            what=what,
            figure=told,
            sense=sense,
            bound=bound,
            chance=chance,
            attacker=attacker,
            sample=sample,
            system=system,
            verdict=_verdict(told, sense, bound),
        )

    @model_validator(mode="after")
    def _true(self) -> Self:
        if self.verdict is not _verdict(self.figure, self.sense, self.bound):
            raise ValueError("a verdict follows from its figure and its bound")
        return self


def _verdict(figure: Figure, sense: Sense, bound: float | None) -> Verdict:
    if bound is None:
        return Verdict.NO_PROMISE
    if sense is Sense.AT_MOST:
        kept, beyond = figure.value <= bound, figure.low > bound
    else:
        kept, beyond = figure.value >= bound, figure.high < bound
    if kept:
        return Verdict.HOLDS
    return Verdict.BROKEN if beyond else Verdict.UNSURE


class Point(Frozen):
    """A way of describing people, on the plane of privacy and utility.

    `reduced` is R over six windows against the system's own original; `told` the balanced accuracy
    of affect for people never met.
    """

    system: str
    level: str
    reduced: Figure
    told: Figure


class Told(Frozen):
    """What an attack gives back: its findings, and one to three plain sentences for a board."""

    findings: Annotated[tuple[Finding, ...], Field(min_length=1)]
    says: Annotated[tuple[str, ...], Field(min_length=1)]
    points: tuple[Point, ...] = ()


class Result(Frozen):
    """How an attack ended: with findings, or not run, with the reason.

    `broke` marks a fault of the attack itself: something of ours to mend. `seconds` and `peak_mib`
    are the process's; nothing else differs between two runs of one seed.
    """

    attack: str
    family: str
    asks: str
    effort: str
    seed: int
    findings: tuple[Finding, ...] = ()
    says: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    not_run: str = ""
    broke: bool = False
    seconds: Finite = 0.0
    peak_mib: Finite = 0.0

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.findings) == bool(self.not_run):
            raise ValueError("a result has findings, or the reason why it has none")
        keys = [(one.system, one.key) for one in self.findings]
        if len(set(keys)) < len(keys):
            raise ValueError("a finding's key is its own")
        return self

    @property
    def ran(self) -> bool:
        """Whether there is anything to judge."""
        return not self.not_run

    def with_verdict(self, *verdicts: Verdict) -> Sequence[Finding]:
        """The findings that have one of these verdicts."""
        return [one for one in self.findings if one.verdict in verdicts]

    @property
    def alarms(self) -> bool:
        """Whether a promise is broken."""
        return bool(self.with_verdict(Verdict.BROKEN))
