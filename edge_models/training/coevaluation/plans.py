"""Who trains and who is tested: three folds over people, and each set on the other.

Rules it upholds: nobody is on both sides; folds are dealt by set and sex, so that each holds some
of both; a plan without enough people to attack is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import RecordingError
from edge_models.training.streams import Kind, Places, Windows

FOLDS: Final = 3
LEAST_GALLERY: Final = 3
"""People of a set that can be told apart; fewer say nothing."""

MOST_GALLERY: Final = 24
"""More would take attackers long, and be no harder to compare: R is against the same gallery."""

WITHIN: Final = "unseen people"

Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """`known` and `tested` bool (N,) over the windows; plans of one `setting` are averaged.

    `inner` plans are among the known people: what they say calibrates the sessions of the tested.
    Folds have none, and are calibrated by each other.
    """

    name: str
    setting: str
    known: Chosen
    tested: Chosen
    inner: tuple["Plan", ...] = ()


def folds_of_people(windows: Windows, count: int = FOLDS) -> Places:
    """The fold of each window, (N,): people of each set and sex dealt out in order."""
    dealt: dict[str, int] = {}
    for dataset in np.unique(windows.dataset):
        for sex in np.unique(windows.sex):
            for person in np.unique(
                windows.person[(windows.dataset == dataset) & (windows.sex == sex)]
            ):
                dealt[str(person)] = len(dealt) % count
    return np.asarray([dealt[str(person)] for person in windows.person], np.intp)


def plans_of(windows: Windows) -> tuple[Plan, ...]:
    """All plans.

    Raises:
        RecordingError: there are too few people for three folds.
    """
    fold = folds_of_people(windows)
    people = [len(np.unique(windows.person[fold == one])) for one in range(FOLDS)]
    if min(people) < LEAST_GALLERY:
        raise RecordingError(
            f"{sum(people)} people are too few to be judged by {FOLDS} folds.",
            f"Give recordings of at least {FOLDS * LEAST_GALLERY} people.",
        )
    return (*_within(windows, fold), *_across(windows))


def _within(windows: Windows, fold: Places) -> Iterator[Plan]:
    for one in range(FOLDS):
        yield Plan(f"fold-{one + 1}", WITHIN, fold != one, fold == one)


def _across(windows: Windows) -> Iterator[Plan]:
    """Each set learned alone where it can be, and each of the others tested."""
    sets = np.unique(windows.dataset)
    for one in sets:
        known = windows.dataset == one
        both = windows.truth[known, 2], windows.known[known, 2]
        if not (both[0] & both[1]).any() or not (~both[0] & both[1]).any():
            continue
        for other in sets[sets != one]:
            tested = windows.dataset == other
            if len(np.unique(windows.person[tested])) >= LEAST_GALLERY:
                name, setting = f"{one}-to-{other}", f"trained on {one}, tested on {other}"
                inner = tuple(_halves(windows, str(one), known))
                yield Plan(name, setting, known, tested, inner)


def _halves(windows: Windows, name: str, known: Chosen) -> Iterator[Plan]:
    """Half of a set's people taught, the other half asked, both ways."""
    half = folds_of_people(windows, 2)
    for one in range(2):
        asked = known & (half == one)
        yield Plan(f"{name}-half-{one + 1}", f"half of {name}", known & ~asked, asked)


def galleries(windows: Windows, tested: Chosen) -> Iterator[npt.NDArray[np.str_]]:
    """The people of each set among the tested: sets are attacked apart, as they differ in more
    than their people; of a large set as many galleries as keep each at 24 people or fewer.
    """
    chosen = tested & (windows.kind == Kind.CLIP) & (windows.take == 0)
    for dataset in np.unique(windows.dataset[chosen]):
        people = np.unique(windows.person[chosen & (windows.dataset == dataset)])
        count = -(-len(people) // MOST_GALLERY)
        for number in range(count):
            if len(people[number::count]) >= LEAST_GALLERY:
                yield people[number::count]
