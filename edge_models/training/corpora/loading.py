"""Which corpora are known, and how what a person names becomes one checked list of clips.

Rules it upholds: nothing is learned from before it can be split by person; E-DAIC and DAIC-WOZ
share people and sessions and are never taken together.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from edge_models.errors import RecordingError
from edge_models.training.corpora.androids import androids
from edge_models.training.corpora.d_vlog import d_vlog
from edge_models.training.corpora.daic_woz import daic_woz
from edge_models.training.corpora.e_daic import e_daic
from edge_models.training.corpora.eatd import eatd
from edge_models.training.corpora.emodb import emodb
from edge_models.training.corpora.folds import check
from edge_models.training.corpora.layout import Corpus
from edge_models.training.corpora.manifest import MANIFEST, manifest_corpus
from edge_models.training.corpora.modma import modma
from edge_models.training.corpora.ravdess import ravdess


def _of_manifest(folder: Path, datasets: Sequence[str] = ()) -> Corpus:
    """A manifest's corpus with whole paths."""
    found = manifest_corpus(folder, datasets)
    clips = tuple(replace(clip, path=str(folder / clip.path)) for clip in found.clips)
    return replace(found, clips=clips)


LOADERS: Final[Mapping[str, Callable[[Path], Corpus]]] = MappingProxyType(
    {
        "ravdess": ravdess,
        "emodb": emodb,
        "daic-woz": daic_woz,
        "e-daic": e_daic,
        "androids": androids,
        "eatd": eatd,
        "modma": modma,
        "d-vlog": d_vlog,
        "manifest": _of_manifest,
    }
)
"""Each corpus by the name that `--corpus NAME=DIR` takes; each gives whole paths."""


def named_corpus(words: str) -> Corpus:
    """The corpus of `NAME=DIR`; RAVDESS and EmoDB are also found by a manifest in DIR.

    Raises:
        RecordingError: the name is unknown, no folder is named, or the loader refuses.
    """
    name, _, place = words.partition("=")
    if name not in LOADERS or not place:
        raise RecordingError(
            f"'{words}' names no corpus.", f"Say NAME=DIR; NAME is one of {', '.join(LOADERS)}."
        )
    folder = Path(place).expanduser().absolute()
    if name in ("ravdess", "emodb") and (folder / MANIFEST).is_file():
        return _of_manifest(folder, [name])
    return LOADERS[name](folder)


def gathered(
    recordings: Path | None, corpora: Sequence[str] = (), datasets: Sequence[str] = ()
) -> Corpus:
    """The manifest of `recordings` (if any) and each of `corpora`, checked as one.

    `datasets` restricts all of them to sets of these names.

    Raises:
        RecordingError: a corpus is missing, broken or given twice, or `check` refuses them
            together.
    """
    names = {words.partition("=")[0] for words in corpora}
    if {"daic-woz", "e-daic"} <= names:
        raise RecordingError("E-DAIC holds all of DAIC-WOZ.", "Give one of the two.")
    found = [manifest_corpus(recordings)] if recordings is not None else []
    found += [named_corpus(words) for words in corpora]
    clips = tuple(
        clip
        for corpus in found
        for clip in corpus.clips
        if not datasets or clip.dataset in datasets
    )
    if not clips:
        raise RecordingError(
            f"None of the recordings is of the sets {', '.join(datasets)}.", "Check the names."
        )
    _refuse_twice(found)
    check(clips)
    return Corpus(clips, tuple(one for corpus in found for one in corpus.left_out))


def _refuse_twice(found: Sequence[Corpus]) -> None:
    counted = Counter(name for one in found for name in {clip.dataset for clip in one.clips})
    twice = sorted(name for name, times in counted.items() if times > 1)
    if twice:
        raise RecordingError(
            f"{', '.join(twice)} is given twice.", "Leave out --recordings or that --corpus."
        )
