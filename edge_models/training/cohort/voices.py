"""Voices of a cohort: real described windows of speakers.

Rules it upholds: the embeddings come from the bundle's own front end, baseline and body; who speaks
beside whom is kept in truth; parted voices share no speaker, not even in the background.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.bundle import Bundle
from edge_models.classifier import Classifier
from edge_models.errors import ContractError, RecordingError
from edge_models.training.cohort.together import Pair, pairs_of, spoken_together
from edge_models.training.corpora import EMOTIONS, Clip, affect_clips
from edge_models.training.described import FrontEnd, described
from edge_models.training.described_cache import Cache
from edge_models.training.streams import Floats, Kind, Windows, embedded, own_windows, passed

Words = npt.NDArray[np.str_]
AFFECTS: Final = ("sad", "fearful", "other")


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where each window comes from, (N,) words, "" where unknown.

    `segment` names it in its set: person/emotion/kind/number, in the order of the manifest.
    """

    dataset: Words
    segment: Words
    sex: Words
    language: Words
    age_band: Words

    def at(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Origin":
        """Of some of the windows."""
        return Origin(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """Windows of speakers: `embeddings` float32 (N, E); `speaker` and `affect` (N,) words.

    `affect` is "sad", "fearful" or "other"; each speaker has all three. `made_up` says that no
    recording is behind them: then there are neither `summaries`, float32 (N, 88), nor an `origin`.
    `second` (N,) names who else is heard in a window, "" for nobody; None: in no window.
    """

    embeddings: Floats
    speaker: Words
    affect: Words
    made_up: bool
    summaries: Floats | None = None
    second: Words | None = None
    origin: Origin | None = None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Everybody who speaks, in order of name."""
        return tuple(np.unique(self.speaker).tolist())

    @property
    def beside(self) -> Words:
        """Who else is heard in each window, (N,) words, "" for nobody."""
        return np.full(len(self.speaker), "") if self.second is None else self.second

    def at(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Voices":
        """Some of the windows."""
        return Voices(
            self.embeddings[rows],
            self.speaker[rows],
            self.affect[rows],
            self.made_up,
            None if self.summaries is None else self.summaries[rows],
            None if self.second is None else self.second[rows],
            None if self.origin is None else self.origin.at(rows),
        )

    def of(self, speakers: Sequence[str]) -> "Voices":
        """The windows in which some speakers are heard, and nobody else."""
        return self.at(
            np.isin(self.speaker, speakers) & np.isin(self.beside, np.asarray([*speakers, ""]))
        )

    def parted(self, seed: int, share: float = 2 / 3) -> tuple["Voices", "Voices"]:
        """Speakers for training and, wholly other ones, for testing.

        Raises:
            ContractError: there are fewer than two speakers.
        """
        order = np.random.default_rng(seed).permutation(np.asarray(self.speakers))
        first = min(max(round(share * len(order)), 1), len(order) - 1)
        if len(order) < 2:
            raise ContractError("To part speakers, there must be two.")
        return self.of(order[:first].tolist()), self.of(order[first:].tolist())


def voices_of_recordings(
    folder: Path,
    bundle: Bundle,
    seed: int,
    told: Callable[[Sequence[Clip]], Iterator[Clip]] = iter,
    *,
    clips: Sequence[Clip] = (),
    together: Callable[[Sequence[Pair]], Iterator[Pair]] | None = None,
    cache: Cache | None = None,
) -> Voices:
    """Summaries and embeddings of affect speech, by speakers who were sad, fearful and other.

    The same front end, personal baseline and body as on a device (and as `sottovoce describe
    --stage embedding`), each speaker's windows in a random order. `clips` takes some only. With
    `together` (`iter`, or what shows progress) windows of two speakers at once are described, too;
    they pass by last, so that nobody else's embeddings depend on them. A `cache` remembers the
    windows of one speaker, and is the one of `sottovoce train`.

    Raises:
        RecordingError: there is no manifest, or no two speakers with all three.
    """
    clips = clips or affect_clips(folder)
    front_end = FrontEnd.of_bundle(bundle)
    windows = described(folder, clips, front_end, seed, told, cache=cache)
    second = np.full(len(windows), "")
    if together is not None:
        pairs = pairs_of([clip for clip in clips if clip.person in _whole(windows)], seed)
        mixed, others = spoken_together(folder, together(pairs), windows, front_end)
        windows, second = _both(windows, mixed), np.concatenate([second, others])
    voices = _embedded(windows, second, bundle, seed)
    return voices.of(_whole(windows))


def _whole(windows: Windows) -> list[str]:
    """Speakers heard sad, fearful and otherwise."""
    people = [
        str(person)
        for person in np.unique(windows.person)
        if len(np.unique(_affect_of(windows.emotion[windows.person == person]))) == len(AFFECTS)
    ]
    if len(people) < 2:
        raise RecordingError(
            "No two speakers of the recordings are heard sad, fearful and otherwise.",
            "A simulated cohort needs such speakers, RAVDESS's for instance.",
        )
    return people


def _affect_of(emotion: npt.NDArray[np.intp]) -> Words:
    affect = np.full(len(emotion), "other", dtype="<U8")
    for word in ("sad", "fearful"):
        affect[emotion == EMOTIONS.index(word)] = word
    return affect


def _both(one: Windows, other: Windows) -> Windows:
    names = Windows.__slots__
    columns = (np.concatenate([getattr(one, name), getattr(other, name)]) for name in names)
    return Windows(*columns)


def _embedded(windows: Windows, second: Words, bundle: Bundle, seed: int) -> Voices:
    """Every window once: a person's own in random order, then those shared with another."""
    rng = np.random.default_rng(seed)
    alone = second == ""
    streams = []
    for kind in Kind:
        for person in np.unique(windows.person):
            own = own_windows(windows, person, kind, 0)
            order = rng.permutation(own[alone[own]])
            streams.append(np.concatenate([order, own[~alone[own]]]))
    stream = passed(windows, bundle.population, streams)
    body = Classifier(bundle)
    embeddings = embedded(body, bundle.moments, stream)
    places = stream.places
    return Voices(
        embeddings,
        windows.person[places],
        _affect_of(windows.emotion[places]),
        made_up=False,
        summaries=windows.summaries[places],
        second=second[places],
        origin=_origin(windows, second).at(places),
    )


def _origin(windows: Windows, second: Words) -> Origin:
    emotions = np.asarray([*EMOTIONS, "other"])[windows.emotion]
    seen: dict[str, int] = {}
    segments = []
    for person, emotion, kind, other in zip(
        windows.person, emotions, windows.kind, second, strict=True
    ):
        name = f"{person}/{emotion}/{kind}" if not other else f"{person}/{emotion}/with-{other}"
        seen[name] = seen.get(name, 0) + 1
        segments.append(f"{name}/{seen[name]}")
    return Origin(
        windows.dataset, np.asarray(segments), windows.sex, windows.language, windows.age_band
    )
