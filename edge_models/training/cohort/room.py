"""Who is heard in a window: the participant, they and another at once, or somebody else.

Rules it upholds: the others are speakers of the same voices, so no test voice is heard among
training people; two people share a few housemates at most, as at home; who is heard is kept.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.training.cohort.answers import Small
from edge_models.training.cohort.voices import AFFECTS, Voices, Words
from edge_models.training.streams import Places

HOUSEMATES: Final = 2
_FIRST: Final = 0.7  # of the windows with another voice hold the first housemate's
Ints = npt.NDArray[np.int32]


class Heard(IntEnum):
    """Who speaks in a window."""

    OWN = 0
    BOTH = 1
    OTHER = 2


@dataclass(frozen=True, slots=True)
class Room:
    """Shares of windows in which a housemate speaks, too (`both`), or alone (`other`)."""

    both: float = 0.0
    other: float = 0.0

    def __post_init__(self) -> None:
        if not (self.both >= 0 and self.other >= 0 and self.both + self.other < 1):
            raise ContractError(
                "Shares of windows with other voices add up to less than one.",
                "Give --both and --other shares such as 0.06.",
            )

    @property
    def shared(self) -> bool:
        """Whether anybody else is ever heard."""
        return self.both + self.other > 0


ALONE: Final = Room()
AT_HOME: Final = Room(both=0.06, other=0.06)
"""What the command draws: an assumption, about one window in eight."""


class _Groups:
    """Rows of the voices by some key, to draw one of each key's rows evenly."""

    def __init__(self, keys: Places, rows: Places, count: int) -> None:
        self._rows = rows[np.argsort(keys, kind="stable")]
        self.sizes = np.bincount(keys, minlength=count)
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    def draw(self, keys: Places, rng: np.random.Generator) -> Places:
        """A row for each key (n,), (n,)."""
        within = (rng.random(len(keys)) * self.sizes[keys]).astype(np.intp)
        return np.asarray(self._rows[self._starts[keys] + within])


def together_with(voices: Voices, speakers: Words, room: Room, rng: np.random.Generator) -> Words:
    """Two housemates of each participant (P,), (P, 2) words; "" where nobody else is ever heard.

    Raises:
        ContractError: somebody's voice has no other beside it.
    """
    if not room.shared:
        return np.full((len(speakers), HOUSEMATES), "")
    everybody = voices.speakers
    beside = voices.beside
    mates = np.empty((len(speakers), HOUSEMATES), dtype=voices.speaker.dtype)
    for speaker in everybody:
        own = np.flatnonzero(speakers == speaker)
        known = [one for one in everybody if one != speaker]
        if room.both:
            heard = [set(beside[_of(voices, speaker, affect)].tolist()) for affect in AFFECTS]
            known = [one for one in known if all(one in some for some in heard)]
        if not known:
            raise ContractError(
                f"Nobody is heard beside the voice '{speaker}'.",
                "Describe voices together, or leave other voices out.",
            )
        mates[own] = rng.choice(np.asarray(known), (len(own), HOUSEMATES))
    return mates


def _of(voices: Voices, speaker: str, affect: str) -> npt.NDArray[np.bool_]:
    return np.asarray((voices.speaker == speaker) & (voices.affect == affect))


def placed(
    voices: Voices,
    speakers: Words,
    mates: Words,
    person: Places,
    affect: Places,
    room: Room,
    rng: np.random.Generator,
) -> tuple[Small, Ints]:
    """Who is heard in each of M windows, int8 (M,), and a row of the voices, int32 (M,).

    `person` (M,) is a row of `speakers` (P,) and `mates` (P, 2), `affect` (M,) a place in AFFECTS;
    somebody else speaks as they please.
    """
    names = np.asarray(voices.speakers)
    count, kinds = len(names), len(AFFECTS)
    speaker, sound = np.searchsorted(names, voices.speaker), _places(voices.affect)
    alone = np.flatnonzero(voices.beside == "")
    own = _Groups(speaker[alone] * kinds + sound[alone], alone, count * kinds)
    whose = np.searchsorted(names, speakers)[person]
    place = own.draw(whose * kinds + affect, rng)
    heard = np.full(len(person), Heard.OWN, np.int8)
    if not room.shared:
        return heard, place.astype(np.int32)
    drawn = rng.random(len(person))
    heard[drawn < room.both + room.other] = Heard.OTHER
    heard[drawn < room.both] = Heard.BOTH
    which = (rng.random(len(person)) >= _FIRST).astype(np.intp)
    mate = np.searchsorted(names, mates)[person, which]
    others = _Groups(speaker[alone], alone, count)
    rows = heard == Heard.OTHER
    place[rows] = others.draw(mate[rows], rng)
    mixed = np.flatnonzero(voices.beside != "")
    second = np.searchsorted(names, voices.beside[mixed])
    keys = (speaker[mixed] * count + second) * kinds + sound[mixed]
    both = _Groups(keys, mixed, count * count * kinds)
    rows = heard == Heard.BOTH
    place[rows] = both.draw((whose[rows] * count + mate[rows]) * kinds + affect[rows], rng)
    return heard, place.astype(np.int32)


def _places(affect: Words) -> Places:
    places = np.full(len(affect), len(AFFECTS) - 1, np.intp)
    for place, word in enumerate(AFFECTS):
        places[affect == word] = place
    return places
