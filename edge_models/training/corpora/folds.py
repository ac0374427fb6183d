"""Folds over people, and the refusals of clips from which nothing honest can be learned.

Rules it upholds: the person is the unit of every split and fold; a person stands in one official
split, and a session has one truth; whoever breaks that is named, and nothing is guessed.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edge_models.errors import RecordingError
from edge_models.training.corpora.labels import labels_of, what_is_measured
from edge_models.training.corpora.layout import first_few
from edge_models.training.corpora.records import Clip, Sex


def folds_of(clips: Sequence[Clip], count: int) -> npt.NDArray[np.intp]:
    """The fold of each clip, 0..count-1, (N,): a person is in one fold, whatever the seed.

    The people of each set, sex and clinical label are dealt out in order, so every fold holds
    some of each. Whoever has an official fold of the set below `count` keeps it.
    """
    official: dict[str, int] = {}
    stratum: dict[str, tuple[str, str, bool]] = {}
    for clip in clips:
        if clip.fold is not None and clip.fold < count:
            official[clip.person] = min(clip.fold, official.get(clip.person, count))
        own = (clip.dataset, str(clip.sex), bool(clip.clinical.depression or clip.clinical.anxiety))
        stratum[clip.person] = min(own, stratum.get(clip.person, own))
    people: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for person, own in stratum.items():
        if person not in official:
            people[own].append(person)
    dealt = dict(official)
    place = 0
    for _, group in sorted(people.items()):
        for person in sorted(group):
            dealt[person] = place % count
            place += 1
    return np.asarray([dealt[clip.person] for clip in clips], np.intp)


def check(clips: Sequence[Clip]) -> None:
    """Refuse clips that can't be split by person, or that leave nothing to tell apart.

    Raises:
        RecordingError: a person is in two splits or of two sexes; some of a set's clips have a
            split and others none; a session has two truths; affect and clinical sets are mixed;
            or no task has both a yes and a no.
    """
    _one_each(clips, _split_of, "in two splits", "Correct the lists of splits.")
    _one_each(clips, _sex_of, "of two sexes", "Correct the table of people.")
    _one_truth_each(clips)
    for dataset in sorted({clip.dataset for clip in clips}):
        own = [clip for clip in clips if clip.dataset == dataset]
        without = sorted({clip.person for clip in own if not clip.split})
        if without and any(clip.split for clip in own):
            raise RecordingError(
                f"{len(without)} people of {dataset} are in no split: {first_few(without)}.",
                "Give each of them a split, or none of them.",
            )
    _two_classes(clips)


def _split_of(clip: Clip) -> str:
    return clip.split


def _sex_of(clip: Clip) -> str:
    return "" if clip.sex is Sex.UNKNOWN else clip.sex


def _one_each(clips: Sequence[Clip], of: Callable[[Clip], str], what: str, remedy: str) -> None:
    told: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        told[clip.person].update([of(clip)] if of(clip) else [])
    several = sorted(person for person, values in told.items() if len(values) > 1)
    if several:
        raise RecordingError(f"{len(several)} people are {what}: {first_few(several)}.", remedy)


def _one_truth_each(clips: Sequence[Clip]) -> None:
    told: dict[tuple[str, str], set[object]] = defaultdict(set)
    for clip in clips:
        told[clip.person, clip.session].add(clip.clinical)
    several = sorted({person for (person, _), said in told.items() if len(said) > 1})
    if several:
        raise RecordingError(
            f"{len(several)} people have different labels in one session: {first_few(several)}.",
            "Name sessions apart, or correct the labels.",
        )


def _two_classes(clips: Sequence[Clip]) -> None:
    measured, labels = what_is_measured(clips), labels_of(clips)
    for column in range(labels.truth.shape[1]):
        if len(np.unique(labels.truth[labels.known[:, column], column])) > 1:
            return
    raise RecordingError(
        f"Of {len(clips)} clips none of {', '.join(measured.tasks)} is known both as yes and as "
        "no: there is nothing to tell apart.",
        "Give recordings of both.",
    )
