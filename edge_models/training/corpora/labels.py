"""What is known of each clip, in three columns: affect stand-ins, or clinical labels.

Rules it upholds: a label that a set does not hold is unknown there, never negative; what is
measured on acted speech is called affect, whatever stands in which column.

    column 0    sadness        depression: PHQ >= 10, SDS >= 53 or a diagnosis
    column 1    fear           anxiety: GAD-7 >= 10
    column 2    distress       either of them
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.assessment import TASKS
from edge_models.errors import RecordingError
from edge_models.training.corpora.records import Clip

CLINICAL_TASKS: Final = ("depression", "anxiety", "either")


class Measured(StrEnum):
    """What figures on a set are figures of; the word that cards and reports print."""

    AFFECT = "affect"
    CLINICAL = "clinical"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The three columns by name."""
        return TASKS if self is Measured.AFFECT else CLINICAL_TASKS


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """For N clips: `truth` bool and `known` bool, both (N, 3), one column for each of TASKS."""

    truth: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]


def what_is_measured(clips: Iterable[Clip]) -> Measured:
    """Affect or clinical; a set with any clinical label is a clinical one.

    Raises:
        RecordingError: the clips are of both kinds, which one model can't learn together.
    """
    kinds = _kinds(clips)
    if len(set(kinds.values())) > 1:
        named = ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items()))
        raise RecordingError(
            f"Affect and clinical sets can't be learned together: {named}.",
            "Train once on each kind.",
        )
    return next(iter(kinds.values()), Measured.AFFECT)


def labels_of(clips: Sequence[Clip]) -> Labels:
    """What is known of each clip, by its set's kind."""
    kinds = _kinds(clips)
    sets = np.asarray([clip.dataset for clip in clips])
    truth, known = _of_affect(clips, sets)
    for place, clip in enumerate(clips):
        if kinds[clip.dataset] is Measured.CLINICAL:
            truth[place], known[place] = _of_session(clip)
    return Labels(truth, known)


def licences_of(clips: Iterable[Clip]) -> tuple[tuple[str, str], ...]:
    """Each set's name and licence, in order of name."""
    return tuple(sorted({(clip.dataset, clip.licence) for clip in clips}))


def _kinds(clips: Iterable[Clip]) -> dict[str, Measured]:
    kinds: dict[str, Measured] = {}
    for clip in clips:
        if clip.clinical.known:
            kinds[clip.dataset] = Measured.CLINICAL
        else:
            kinds.setdefault(clip.dataset, Measured.AFFECT)
    return kinds


def _of_affect(
    clips: Sequence[Clip], sets: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """A set without a single fearful clip knows nothing of fear.

    There *distress* is known all the same: whoever isn't sad there isn't fearful either.
    """
    emotions = np.asarray([clip.emotion for clip in clips])
    sad, fearful = emotions == "sad", emotions == "fearful"
    truth = np.stack([sad, fearful, sad | fearful], axis=1)
    known = np.zeros_like(truth)
    for name in set(sets.tolist()):
        known[sets == name] = truth[sets == name].any(axis=0)
    return truth, known


def _of_session(clip: Clip) -> tuple[list[bool], list[bool]]:
    """*Either* is known only where both are: who isn't depressed may be anxious."""
    low, worried = clip.clinical.depression, clip.clinical.anxiety
    both = low is not None and worried is not None
    truth = [bool(low), bool(worried), both and bool(low or worried)]
    return truth, [low is not None, worried is not None, both]
