"""Who is public, who is private and who is tested: the ground on which a private curve is drawn.

Rules it upholds: three groups of *speakers*, each whole: a public one, whose recordings make the
body, the population and the frame; a private one, with whose voices the simulated people speak;
and a tested one, never trained on by anybody. Each group takes each part in turn. Everything that
measures private windows was made of the public group.

The body can also be the shipped bundle's. It was trained on *everybody*, tested speakers included,
so what is told with it is too good, and the report says so; public and private are one group then.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.baseline import Population
from edge_models.bundle import Bundle
from edge_models.classifier import Classifier
from edge_models.errors import RecordingError
from edge_models.frame import CALMER, Frame
from edge_models.head import Head
from edge_models.training.calibration import Platt
from edge_models.training.corpora import EMOTIONS
from edge_models.training.int8_model import trained
from edge_models.training.private_people import Truths
from edge_models.training.streams import (
    Floats,
    Kind,
    Passed,
    Places,
    Windows,
    embedded,
    passed,
    random_order,
)

TURNS: Final = 3
_UNCALIBRATED: Final = Platt((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


class Body(StrEnum):
    """Whose recordings the frozen body has heard."""

    PUBLIC = "public"
    SHIPPED = "shipped"


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Windows of some speakers: `z` float32 (N, 88), `embeddings` (N, E), `truth` bool (N, 3)."""

    z: Floats
    embeddings: Floats
    truth: Truths
    known: Truths
    speaker: npt.NDArray[np.str_]
    affect: npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """One turn: private and tested windows, and the public frame and head to measure them with.

    `frame` is of single windows: their spread is about one.
    """

    turn: int
    private: Heard
    tested: Heard
    frame: Frame
    public_head: Head


@dataclass(frozen=True, slots=True, eq=False)
class _Measure:
    population: Population
    embed: Callable[[Passed], Floats]


def ground_of(windows: Windows, turn: int, seed: int, bundle: Bundle | None = None) -> Ground:
    """The ground of a turn, 0 to 2. Without `bundle` the body is trained on the public group.

    Raises:
        RecordingError: fewer than six speakers are heard sad, fearful and otherwise.
    """
    whole = whole_speakers(windows)
    order = np.random.default_rng(seed).permutation(whole)
    groups = [order[place::TURNS] for place in range(TURNS)]
    tested = groups[turn % TURNS]
    if bundle is not None:
        private = np.concatenate([groups[(turn + 1) % TURNS], groups[(turn + 2) % TURNS]])
        body = Classifier(bundle)
        measure = _Measure(bundle.population, lambda stream: embedded(body, bundle.moments, stream))
        frame, head = bundle.frame, bundle.head
    else:
        private = groups[(turn + 1) % TURNS]
        public = windows.at(~np.isin(windows.person, np.concatenate([private, tested])))
        model = trained(public, seed)
        measure = _Measure(model.population, model.embeddings)
        heard = _heard(public, measure, tuple(Kind), seed)
        frame, head = Frame.of(heard.embeddings.astype(np.float64)), model.head(_UNCALIBRATED)
    return Ground(
        turn % TURNS,
        _heard(windows.at(np.isin(windows.person, private)), measure, tuple(Kind), seed),
        _heard(windows.at(np.isin(windows.person, tested)), measure, (Kind.CLIP,), seed),
        Frame(frame.centre, CALMER * frame.scale, frame.directions),
        head,
    )


def whole_speakers(windows: Windows) -> npt.NDArray[np.str_]:
    """Speakers who are heard sad, fearful and otherwise, in order of name.

    Raises:
        RecordingError: they are fewer than six.
    """
    sad, fearful, distressed = windows.truth.T
    sides = (windows.known.all(axis=1), sad, fearful, ~distressed)
    whole = [
        one
        for one in np.unique(windows.person)
        if all(side[windows.person == one].any() for side in sides)
    ]
    if len(whole) < 2 * TURNS:
        raise RecordingError(
            "Fewer than six speakers of the recordings are heard sad, fearful and otherwise.",
            "Public, private and tested people need two each; RAVDESS has such speakers.",
        )
    return np.asarray(whole)


def _heard(windows: Windows, measure: _Measure, kinds: tuple[Kind, ...], seed: int) -> Heard:
    """Each speaker's windows as recorded, in a random order, by their own causal baseline."""
    rng = np.random.default_rng(seed)
    streams: list[Places] = [own for kind in kinds for own in _own(windows, kind, rng)]
    stream = passed(windows, measure.population, streams)
    emotion = windows.emotion[stream.places]
    affect = np.full(len(emotion), "other", dtype="<U8")
    for word in ("sad", "fearful"):
        affect[emotion == EMOTIONS.index(word)] = word
    return Heard(
        stream.z,
        measure.embed(stream),
        windows.truth[stream.places],
        windows.known[stream.places],
        windows.person[stream.places],
        affect,
    )


def _own(windows: Windows, kind: Kind, rng: np.random.Generator) -> Iterator[Places]:
    return (own for own in random_order(windows, kind, rng) if len(own))
