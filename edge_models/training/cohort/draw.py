"""Draws a cohort: for each participant weeks of days with windows, and questionnaires.

Rules it upholds: one seed gives one cohort; how a window sounds follows the state of its own week,
what is answered the state of the fortnight; the two are never set apart by hand.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.training.cohort.answers import (
    GENERAL,
    MOST_GAD7,
    MOST_PHQ9,
    Prior,
    Reals,
    Small,
    items_of,
)
from edge_models.training.cohort.calendar import (
    WEEKS_ASKED,
    Habits,
    answered,
    asked_states,
    burden_of,
    hours_of,
    states_of,
    windows_of_days,
)
from edge_models.training.cohort.people import Cohort, Participant, People
from edge_models.training.cohort.room import ALONE, Room, placed, together_with
from edge_models.training.cohort.voices import Voices

SMALLEST: Final = 20
LARGEST: Final = 5_000
MOST_WEEKS: Final = 104

_ALWAYS: Final = 0.05  # of a well person's windows sound sad, and as many fearful
_RISES: Final = 0.40  # more of them at the highest sum
Ints = npt.NDArray[np.int32]


def refuse(people: int, weeks: int) -> None:
    """Refuse a size that was never tried.

    Raises:
        ContractError: fewer than 20 people or more than 5,000, no week or more than 104.
    """
    if not SMALLEST <= people <= LARGEST:
        raise ContractError(
            f"A simulated cohort has {SMALLEST} to {LARGEST:,} people.", "Ask for as many."
        )
    if not 1 <= weeks <= MOST_WEEKS:
        raise ContractError(f"A simulated cohort lasts 1 to {MOST_WEEKS} weeks.", "Ask for these.")


def drawn_cohort(
    voices: Voices,
    people: int,
    weeks: int,
    seed: int,
    *,
    prior: Prior = GENERAL,
    habits: Habits | None = None,
    room: Room = ALONE,
) -> Cohort:
    """Draw a cohort of virtual participants over some weeks.

    Raises:
        ContractError: fewer than 20 people or more than 5,000, no week or more than 104, or the
            voices hold nobody who could be heard beside another.
    """
    refuse(people, weeks)
    habits = habits or Habits()
    rng = np.random.default_rng(seed)
    names = rng.choice(np.asarray(voices.speakers), people)
    mates = together_with(voices, names, room, rng)
    states = states_of(people, weeks, prior.copula, rng)
    burden = burden_of(states, prior.copula)
    asked = asked_states(states)
    low, worried = prior.phq9.sums(states[..., 0]), prior.gad7.sums(states[..., 1])
    phq9 = prior.phq9.sums(asked[..., 0])
    counts = windows_of_days(burden, habits, rng)
    everybody = People(
        name=np.asarray([f"sim-{number:04d}" for number in range(1, people + 1)]),
        speaker=names,
        housemates=mates,
        items=items_of(phq9.ravel(), rng).reshape(*phq9.shape, -1),
        gad7=prior.gad7.sums(asked[..., 1]),
        answered=answered(burden_of(asked, prior.copula), habits, rng),
        low=low,
        worried=worried,
        silent=counts == 0,
    )
    person, day = (
        np.repeat(axis, counts.ravel()) for axis in np.indices(counts.shape).reshape(2, -1)
    )
    hour = hours_of(len(person), rng)
    hour = hour[np.lexsort((hour, day, person))]
    affect = _affects(low[person, day // 7], worried[person, day // 7], rng)
    heard, place = placed(voices, everybody.speaker, mates, person, affect, room, rng)
    return Cohort(
        voices,
        everybody,
        prior,
        person.astype(np.int32),
        day.astype(np.int16),
        hour,
        place,
        heard,
    )


def _affects(low: Small, worried: Small, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """How each window sounds, (M,): a place in `AFFECTS`, by the state of its week."""
    sad: Reals = _ALWAYS + _RISES * low / MOST_PHQ9
    fearful: Reals = _ALWAYS + _RISES * worried / MOST_GAD7
    drawn = rng.random(len(low))
    return np.where(drawn < sad, 0, np.where(drawn < sad + fearful, 1, 2)).astype(np.intp)


def simulated_cohort(
    voices: Voices,
    people: int,
    seed: int,
    *,
    questionnaires: int = 2,
    windows_a_day: float = 3.0,
    silent_days: float = 0.25,
    unanswered: float = 0.0,
    worse_less: float = 0.0,
    prior: Prior = GENERAL,
    room: Room = ALONE,
) -> tuple[Participant, ...]:
    """Draw virtual participants who each answer some questionnaires, a fortnight apart.

    `silent_days` is the share of days without a word, `unanswered` that of questionnaires which are
    left out, both over everybody. Unlike in `drawn_cohort` days are missing at random
    and nobody else is heard, unless `worse_less` and `room` ask for it.

    Raises:
        ContractError: fewer than 20 people or more than 5,000, or a number out of its domain.
    """
    habits = Habits(windows_a_day, silent_days, unanswered, worse_less)
    cohort = drawn_cohort(
        voices,
        people,
        WEEKS_ASKED * questionnaires,
        seed,
        prior=prior,
        habits=habits,
        room=room,
    )
    return cohort.participants()
