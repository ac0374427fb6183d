"""What a cohort is made of: participants, what they answered, and their windows as places.

Rules it upholds: a window is a place in the table of voices, never a copy; truth (who is heard, the
state of each week) stands beside what a device would know.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.training.cohort.answers import Prior, Small
from edge_models.training.cohort.calendar import DAYS_A_WEEK, WEEKS_ASKED, Days
from edge_models.training.cohort.voices import Voices, Words
from edge_models.training.streams import Floats

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
