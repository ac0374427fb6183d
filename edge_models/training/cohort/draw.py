"""Draws a cohort: for each participant weeks of days with windows, and questionnaires.

Rules it upholds: one seed gives one cohort; a window is a place in the table of voices, never a
copy; truth (who is heard, the state of each week) stands beside what a device would know.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
    DAYS_A_WEEK,
    WEEKS_ASKED,
    Days,
    Habits,
    answered,
    asked_states,
    burden_of,
    hours_of,
    states_of,
    windows_of_days,
)
from edge_models.training.cohort.room import ALONE, Room, placed, together_with
from edge_models.training.cohort.voices import Voices, Words
from edge_models.training.streams import Floats

SMALLEST: Final = 20
LARGEST: Final = 5_000
MOST_WEEKS: Final = 104

_ALWAYS: Final = 0.05  # of a well person's windows sound sad, and as many fearful
_RISES: Final = 0.40  # more of them at the highest sum
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """A questionnaire's sums, and the windows of the fortnight before it, float32 (n, E).

    `items` are the PHQ-9's, each 0..3; `places` (n,) are the windows' rows in the voices.
    """

    phq8: int
    gad7: int
    windows: Floats
    items: tuple[int, ...] = ()
    places: Ints | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Participant:
    """One virtual participant: whose voice it has, what it answered, in order, and its name."""

    speaker: str
    answered: tuple[Answered, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """P participants over W weeks, with Q questionnaires, one after every two weeks.

    `name` and `speaker` (P,) words; `housemates` (P, 2) words: who else is heard where they live;
    `items` int8 (P, Q, 9) of the PHQ-9 and `gad7` int8 (P, Q), which stand in truth even where
    `answered` bool (P, Q) says that nobody gave them; `low` and `worried` int8 (P, W): the PHQ-9
    and GAD-7 that each week alone would have given; `silent` bool (P, 7 W): days without a window.
    """

    name: Words
    speaker: Words
    housemates: Words
    items: Small
    gad7: Small
    answered: Days
    low: Small
    worried: Small
    silent: Days

    def __len__(self) -> int:
        return len(self.name)

    @property
    def phq9(self) -> Small:
        """Sums 0..27, int8 (P, Q)."""
        return np.asarray(self.items.sum(axis=2), np.int8)

    @property
    def phq8(self) -> Small:
        """Sums 0..24 without the last item, int8 (P, Q)."""
        return np.asarray(self.items[:, :, :-1].sum(axis=2), np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """A simulated cohort: its people, and M windows in order of person, day and hour.

    `person` (M,) is a row of `people`; `day` counts from 0, `hour` is 0..23; `place` is a row of
    `voices`; `heard` says who speaks, one of `Heard`. 13 bytes a window.
    """

    voices: Voices
    people: People
    prior: Prior
    person: Ints
    day: npt.NDArray[np.int16]
    hour: npt.NDArray[np.int8]
    place: Ints
    heard: Small

    def __len__(self) -> int:
        return len(self.place)

    @property
    def asked(self) -> npt.NDArray[np.int16]:
        """Which questionnaire follows each window, (M,): a column of the people's answers."""
        return self.day // np.int16(DAYS_A_WEEK * WEEKS_ASKED)

    def embeddings(self, rows: slice | npt.NDArray[np.intp] = slice(None)) -> Floats:
        """The embeddings of some windows, float32 (n, E), in their order."""
        return np.asarray(self.voices.embeddings[self.place[rows]])

    def summaries(self, rows: slice | npt.NDArray[np.intp] = slice(None)) -> Floats:
        """The 88 functionals of some windows before any baseline, float32 (n, 88).

        Raises:
            ContractError: the voices are made up, and have none.
        """
        if self.voices.summaries is None:
            raise ContractError("Made-up voices have embeddings only.", "Give it recordings.")
        return np.asarray(self.voices.summaries[self.place[rows]])

    def participants(self) -> tuple[Participant, ...]:
        """The same people with their windows' embeddings, as devices would hold them."""
        return tuple(self._participants())

    def _participants(self) -> Iterator[Participant]:
        people, times = self.people, self.people.answered.shape[1]
        slot = self.person.astype(np.int64) * times + self.asked
        starts = np.searchsorted(slot, np.arange(len(people) * times + 1))
        phq8 = people.phq8
        for one in range(len(people)):
            told = []
            for time in np.flatnonzero(people.answered[one]).tolist():
                start, end = starts[one * times + time], starts[one * times + time + 1]
                places = self.place[start:end]
                sums = int(phq8[one, time]), int(people.gad7[one, time])
                items = tuple(people.items[one, time].tolist())
                told.append(Answered(*sums, self.voices.embeddings[places], items, places))
            yield Participant(str(people.speaker[one]), tuple(told), str(people.name[one]))


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
    prior: Prior = GENERAL,
    room: Room = ALONE,
) -> tuple[Participant, ...]:
    """Draw virtual participants who each answer some questionnaires, a fortnight apart.

    `silent_days` is the share of days on which nobody is heard, `unanswered` that of questionnaires
    which are left out, both over everybody.

    Raises:
        ContractError: fewer than 20 people or more than 5,000, or a number out of its domain.
    """
    habits = Habits(windows_a_day, silent_days, unanswered)
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
