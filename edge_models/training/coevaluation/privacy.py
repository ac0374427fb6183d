"""Identity and attributes at one level: attacks as parts to keep, and parts as figures.

Rules it upholds: each set is a gallery of its own; a person's passes and folds are averaged before
people are; the original's attacker is its own strongest.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import RecordingError
from edge_models.training.coevaluation.figure import Figure
from edge_models.training.coevaluation.plans import LEAST_GALLERY, galleries
from edge_models.training.coevaluation.schema import Attribute, Identity
from edge_models.training.coevaluation.tested import Tested
from edge_models.training.identity import (
    Samples,
    campaign,
    chance,
    reduction,
    together,
    top1,
    verification,
    worst_decile,
)
from edge_models.training.identity.attributes import (
    LEAST_PEOPLE,
    Recognised,
    Table,
    beside,
    by_luck,
    recognisable,
    recognised,
)
from edge_models.training.identity.kept import Arrays, kept_again, kept_of, of_each_size
from edge_models.training.identity.panel import SIZES, Member
from edge_models.training.identity.samples import LEAST, both_directions
from edge_models.training.levels import WARM_UP
from edge_models.training.streams import Windows

ATTRIBUTES: Final = ("sex", "age_band", "language")
_UNKNOWN: Final = ("", "unknown")


def identity_part(
    tested: Tested,
    level: str,
    windows: Windows,
    seed: int,
    permutations: int,
    panel: Sequence[Member],
) -> Arrays:
    """Attack every gallery and pass of a level.

    Raises:
        RecordingError: in no gallery have three people enough windows.
    """
    found = [
        table.samples(level, windows, people)
        for table in tested.tables
        for people in galleries(windows, tested.plan.tested)
    ]
    campaigns = [
        campaign(samples, seed, permutations, panel)
        for samples in found
        if _people_to_attack(samples, seed) >= LEAST_GALLERY
    ]
    if not campaigns:
        raise RecordingError(
            f"Too few windows to tell people apart ({tested.plan.name}).",
            f"Give {LEAST_GALLERY} people of a set at least {WARM_UP + 2 * LEAST} recordings each, "
            "of two texts or more where texts are known.",
        )
    kept: Arrays = {}
    for size, told in of_each_size(campaigns).items():
        kept.update(kept_of(told, f"{size}/"))
    return kept


def _people_to_attack(samples: Samples, seed: int) -> int:
    directions = both_directions(samples, np.random.default_rng(seed))
    return min(len(enrolment.people) for enrolment, _ in directions)


def identity_figures(
    parts: Sequence[Mapping[str, npt.NDArray[Any]]],
    originals: Sequence[Mapping[str, npt.NDArray[Any]]] | None,
    size: int,
    rng: np.random.Generator,
) -> Identity:
    """The figures of one level over its plans; `originals` are level 1's, None for level 1."""
    told = together([kept_again(part, f"{size}/") for part in parts])
    hidden = exactly = None
    if originals is not None:
        whole = together([kept_again(part, f"{size}/") for part in originals])
        hidden = Figure.of(reduction(told, whole, rng))
        exactly = Figure.of(reduction(told, whole, rng, of_one_in_n=True))
    worst, lucky = worst_decile(told)
    checked = verification(told, rng)
    return Identity(
        windows=size,
        people=len(told),
        top1=Figure.of(top1(told, rng)),
        chance=Figure.of(chance(told, rng)),
        one_in_n=float(told.one_in_n.mean()),
        reduction=hidden,
        reduction_of_one_in_n=exactly,
        equal_error_rate=Figure.of(checked.equal_error_rate),
        accepted_at_1_percent=Figure.of(checked.at_1_percent),
        accepted_at_01_percent=Figure.of(checked.at_01_percent),
        worst_decile=worst,
        worst_decile_chance=lucky,
        chosen=dict(Counter(told.chosen).most_common()),
        members=dict(zip(told.members, map(float, told.member_top1), strict=True)),
    )


def attribute_part(
    tested: Tested,
    level: str,
    windows: Windows,
    seed: int,
    permutations: int,
    panel: Sequence[Member],
) -> Arrays:
    """Attack every attribute that enough of the tested people have, in the first pass."""
    kept: Arrays = {}
    table = tested.tables[0]
    for name in ATTRIBUTES:
        value = getattr(windows, name)
        chosen = table.warm & _told_enough(tested, windows, value)[table.places]
        places = table.places[chosen]
        if not len(places):
            continue
        found = recognised(
            Table(
                table.rows[level][chosen],
                windows.person[places],
                value[places],
                tested.plan.tested[places],
            ),
            seed,
            permutations,
            panel,
        )
        for size, one in found.items():
            for column in ("people", "value", "right", "permuted", "chosen"):
                kept[f"{name}/{size}/{column}"] = np.asarray(getattr(one, column))
    return kept


def _told_enough(
    tested: Tested, windows: Windows, value: npt.NDArray[np.str_]
) -> npt.NDArray[np.bool_]:
    """Windows of people whose value at least three tested people have; none if there is but one."""
    counted = Counter(
        str(value[windows.person == one][0])
        for one in np.unique(windows.person[tested.plan.tested])
    )
    enough = [
        word for word, people in counted.items() if people >= LEAST_PEOPLE and word not in _UNKNOWN
    ]
    if len(enough) < 2:
        return np.zeros(len(value), bool)
    return np.asarray(np.isin(value, enough))


def attribute_figures(
    parts: Sequence[Mapping[str, npt.NDArray[Any]]], rng: np.random.Generator
) -> tuple[Attribute, ...]:
    """The figures of all attributes over the plans that have them."""
    made = []
    for name in ATTRIBUTES:
        for size in SIZES:
            own = [part for part in parts if f"{name}/{size}/people" in part]
            if not own:
                continue
            told = beside([_recognised(part, f"{name}/{size}") for part in own])
            made.append(
                Attribute(
                    name=name,
                    values=tuple(map(str, told.values)),
                    windows=size,
                    people=len(told.people),
                    balanced_accuracy=Figure.of(recognisable(told, rng)),
                    chance=by_luck(told),
                )
            )
    return tuple(made)


def _recognised(part: Mapping[str, npt.NDArray[Any]], start: str) -> Recognised:
    return Recognised(
        part[f"{start}/people"],
        part[f"{start}/value"],
        part[f"{start}/right"],
        part[f"{start}/permuted"],
        tuple(map(str, part[f"{start}/chosen"])),
    )
