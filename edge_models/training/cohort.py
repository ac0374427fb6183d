"""A *simulated* cohort: virtual participants made of real recordings, answers drawn from a survey.

Rules it upholds: nobody in it exists, and nothing measured on it is a clinical figure; train and
test participants speak with the voices of *different* speakers; one seed gives one cohort; the
embeddings come from the shipped bundle's own front end, baseline and body.

A participant has a voice (one speaker's windows), a PHQ-8 and a GAD-7 that change little over the
weeks, and talks on most days. The share of windows that sound sad rises with the PHQ-8, of
fearful ones with the GAD-7; the rest are of other emotions.

    sums        the geometric law of whole numbers, one parameter, mode at 0 as in surveys
    PHQ >= 10   10.8 %, GAD-7 >= 8 14.7 %, half of those with either have both
    both        a Gaussian copula; its correlation 0.873 gives that half

Without recordings the windows come from a Gaussian mixture of public constants: a voice is an
offset, an affect is a direction.

Source: Johansson, Carlbring, Heedman, Paxling, Andersson, "Depression, anxiety and their
comorbidity in the Swedish general population", PeerJ 1:e98, 2013 (n = 1,329, PHQ-9 and GAD-7).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.acoustic import AcousticFrontEnd
from edge_models.bundle import Bundle
from edge_models.classifier import Classifier
from edge_models.errors import ContractError, RecordingError
from edge_models.frame import CALMER
from edge_models.speech_gate import SpeechGate
from edge_models.training.corpora import EMOTIONS, Clip, affect_clips
from edge_models.training.described import FrontEnd, described
from edge_models.training.streams import Floats, Kind, Places, passed, random_order

PHQ_FROM_10: Final = 0.108
GAD_FROM_8: Final = 0.147
COPULA: Final = 0.873
MOST_PHQ8: Final = 24
MOST_GAD7: Final = 21
SMALLEST: Final = 20
LARGEST: Final = 5_000

_PHQ_STAYS: Final = PHQ_FROM_10 ** (1 / 10)  # of the geometric law: P(sum >= k) = stays^k
_GAD_STAYS: Final = GAD_FROM_8 ** (1 / 8)
_ALWAYS: Final = 0.05  # of a well person's windows sound sad, and as many fearful
_RISES: Final = 0.40  # more of them at the highest sum
_STEADY: Final = 0.95  # correlation of a person's state from one questionnaire to the next
_DAYS_HEARD: Final = 14  # around one questionnaire
_WINDOW: Final = 0.6  # of the mixture, in spreads of the frame: how far windows lie apart
_VOICE: Final = 0.05  # and voices: the baseline has taken the rest
_AFFECT: Final = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """Windows of speakers: `embeddings` float32 (N, E); `speaker` and `affect` (N,) words.

    `affect` is "sad", "fearful" or "other"; each speaker has all three. `made_up` says that no
    recording is behind them.
    """

    embeddings: Floats
    speaker: npt.NDArray[np.str_]
    affect: npt.NDArray[np.str_]
    made_up: bool

    @property
    def speakers(self) -> tuple[str, ...]:
        """Everybody who speaks, in order of name."""
        return tuple(np.unique(self.speaker).tolist())

    def of(self, speakers: Sequence[str]) -> "Voices":
        """The windows of some speakers."""
        rows = np.isin(self.speaker, speakers)
        return Voices(self.embeddings[rows], self.speaker[rows], self.affect[rows], self.made_up)

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


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """A questionnaire's sums, and the windows of the fortnight around it, float32 (n, E)."""

    phq8: int
    gad7: int
    windows: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Participant:
    """One virtual participant: whose voice it has, and what it answered, in order."""

    speaker: str
    answered: tuple[Answered, ...]


def voices_of_recordings(
    folder: Path,
    bundle: Bundle,
    seed: int,
    told: Callable[[Sequence[Clip]], Iterator[Clip]] = iter,
    *,
    clips: Sequence[Clip] = (),
) -> Voices:
    """Embeddings of the recordings' affect speech, by speakers who were sad, fearful and other.

    The same front end, personal baseline and body as on a device (and as `sottovoce describe
    --stage embedding`), each speaker's windows in a random order. `clips` takes some only.

    Raises:
        RecordingError: there is no manifest, or no speaker with all three.
    """
    clips = clips or affect_clips(folder)
    acoustic = AcousticFrontEnd(bundle.graph("descriptors"), bundle.graph("functionals"))
    front_end = FrontEnd(SpeechGate(bundle.graph("gate")), acoustic)
    windows = described(folder, clips, front_end, seed, told)
    rng = np.random.default_rng(seed)
    streams = [order for kind in Kind for order in random_order(windows, kind, rng)]
    stream = passed(windows, bundle.population, streams)
    body = Classifier(bundle)
    embeddings = np.asarray([body.embedding(z) for z in stream.z], np.float32)
    emotion = windows.emotion[stream.places]
    affect = np.full(len(emotion), "other", dtype="<U8")
    for word in ("sad", "fearful"):
        affect[emotion == EMOTIONS.index(word)] = word
    speaker = windows.person[stream.places]
    whole = [one for one in np.unique(speaker) if len(np.unique(affect[speaker == one])) == 3]
    if len(whole) < 2:
        raise RecordingError(
            "No two speakers of the recordings are heard sad, fearful and otherwise.",
            "A simulated cohort needs such speakers, RAVDESS's for instance.",
        )
    return Voices(embeddings, speaker, affect, made_up=False).of(whole)


def made_up_voices(bundle: Bundle, seed: int, speakers: int = 18, each: int = 60) -> Voices:
    """A labelled Gaussian mixture in the bundle's frame; voices are offsets, affects directions.

    In spreads of the frame: noise of `_WINDOW`, voices apart by `_VOICE`, sad windows `_AFFECT`
    along the head's sadness row, fearful ones as far along its fear row.
    """
    rng = np.random.default_rng(seed)
    frame, head = bundle.frame, bundle.head
    rows = np.asarray(head.weights)[:2]
    ways = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    affect = np.tile(np.asarray(["sad", "fearful", "other"]), speakers * each // 3)
    owner = np.repeat(np.arange(speakers), each)
    windows = rng.normal(0, _WINDOW, (speakers * each, head.embedding_size))
    windows += rng.normal(0, _VOICE, (speakers, head.embedding_size))[owner]
    for word, way in zip(("sad", "fearful"), ways, strict=True):
        windows[affect == word] += _AFFECT * way
    windows = frame.centre + CALMER * frame.scale * windows
    names = np.asarray([f"made-up-{number:02d}" for number in owner])
    return Voices(windows.astype(np.float32), names, affect, made_up=True)


def simulated_cohort(
    voices: Voices,
    people: int,
    seed: int,
    *,
    questionnaires: int = 2,
    windows_a_day: float = 3.0,
    silent_days: float = 0.25,
) -> tuple[Participant, ...]:
    """Draw virtual participants who each answer some questionnaires, a fortnight apart.

    `silent_days` is the share of days without a window.

    Raises:
        ContractError: fewer than 20 people or more than 5,000, or a number out of its domain.
    """
    if not SMALLEST <= people <= LARGEST:
        raise ContractError(f"A simulated cohort has {SMALLEST} to {LARGEST} people.")
    if questionnaires < 1 or windows_a_day <= 0 or not 0 <= silent_days < 1:
        raise ContractError("Participants answer, and talk on some days.")
    rng = np.random.default_rng(seed)
    by_affect = {
        speaker: tuple(
            np.flatnonzero((voices.speaker == speaker) & (voices.affect == word))
            for word in ("sad", "fearful", "other")
        )
        for speaker in voices.speakers
    }
    names = rng.choice(np.asarray(voices.speakers), people)
    drawn = []
    for name in names.tolist():
        states = _states(rng, questionnaires)
        answered = tuple(
            _answered(voices, by_affect[name], phq8, gad7, windows_a_day, silent_days, rng)
            for phq8, gad7 in states
        )
        drawn.append(Participant(name, answered))
    return tuple(drawn)


def _states(rng: np.random.Generator, times: int) -> Iterator[tuple[int, int]]:
    """PHQ-8 and GAD-7 of one person from one questionnaire to the next."""
    mixing = np.linalg.cholesky(np.asarray([[1.0, COPULA], [COPULA, 1.0]]))
    state = mixing @ rng.normal(size=2)
    for _ in range(times):
        low, worried = (NormalDist().cdf(float(value)) for value in state)
        yield _sum(low, _PHQ_STAYS, MOST_PHQ8), _sum(worried, _GAD_STAYS, MOST_GAD7)
        state = _STEADY * state + math.sqrt(1 - _STEADY**2) * (mixing @ rng.normal(size=2))


def _sum(place: float, stays: float, most: int) -> int:
    """The sum at a place (0..1) of the geometric law, capped."""
    return min(most, int(math.log(max(1.0 - place, 1e-12)) / math.log(stays)))


def _answered(
    voices: Voices,
    own: tuple[Places, ...],
    phq8: int,
    gad7: int,
    windows_a_day: float,
    silent_days: float,
    rng: np.random.Generator,
) -> Answered:
    sad = _ALWAYS + _RISES * phq8 / MOST_PHQ8
    fearful = _ALWAYS + _RISES * gad7 / MOST_GAD7
    days = int(rng.binomial(_DAYS_HEARD, 1.0 - silent_days))
    count = int(rng.poisson(windows_a_day, days).sum())
    affects = rng.choice(3, count, p=[sad, fearful, 1.0 - sad - fearful])
    rows = np.asarray([rng.choice(own[affect]) for affect in affects], np.intp)
    return Answered(phq8, gad7, voices.embeddings[rows])
