"""The corpora: labels that a set can't know stay unknown, and a person is in one fold only."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import RecordingError
from edge_models.training.corpora import Clip, Sex, affect_clips, folds_of, labels_of, licences_of

HEADER = "path,dataset,licence,identity,label,seconds,extra,bytes,sha256"


def a_manifest(folder: Path, *rows: str) -> Path:
    (folder / "MANIFEST.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return folder


def a_row(path: str, dataset: str, person: str, label: str, extra: str = "") -> str:
    return f"speech/{path},{dataset},CC0,{person},{label},1.0,{extra},1,00"


def a_clip(dataset: str, person: str, emotion: str, sex: Sex = Sex.UNKNOWN) -> Clip:
    return Clip("speech/x.wav", dataset, "CC0", person, emotion, sex)


def test_sadness_and_fear_are_distress() -> None:
    labels = labels_of([a_clip("one", "a", word) for word in ("sad", "fearful", "calm")])
    assert labels.known.all()
    assert labels.truth.tolist() == [[1, 0, 1], [0, 1, 1], [0, 0, 0]]


def test_a_set_without_fear_knows_nothing_of_it_but_of_distress() -> None:
    clips = [a_clip("de", "a", "sad"), a_clip("de", "a", "angry"), a_clip("en", "b", "fearful")]
    labels = labels_of(clips)
    assert labels.known[:2].tolist() == [[1, 0, 1], [1, 0, 1]]
    assert labels.known[2].tolist() == [0, 1, 1]


def test_other_sets_words_are_understood_and_strange_ones_dropped(tmp_path: Path) -> None:
    folder = a_manifest(
        tmp_path,
        a_row("1.wav", "new", "p1", "Sadness", "sex=f"),
        a_row("2.wav", "new", "p1", "anxious"),
        a_row("3.wav", "new", "p2", "boredom", "take=2;sex=male"),
        a_row("4.wav", "new", "p2", "purple"),
        a_row("5.wav", "new", "", "sad"),
        a_row("6.wav", "reader", "p3", "neutral"),
        "noise/7.wav,new,CC0,p1,sad,1.0,,1,00",
    )
    clips = affect_clips(folder)
    assert [(clip.emotion, clip.sex) for clip in clips] == [
        ("sad", Sex.FEMALE),
        ("fearful", Sex.UNKNOWN),
        ("boredom", Sex.MALE),
    ]
    assert licences_of(clips) == (("new", "CC0"),)
    with pytest.raises(RecordingError):
        affect_clips(folder, ["reader"])


@pytest.mark.parametrize(
    "content", [b"", b"path,label\nx,sad\n", b"\xff\xfe\x00", (HEADER + "\n").encode()]
)
def test_a_manifest_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "MANIFEST.csv").write_bytes(content)
    with pytest.raises(RecordingError) as refused:
        affect_clips(tmp_path)
    assert refused.value.remedy


def test_no_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="MANIFEST"):
        affect_clips(tmp_path)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.sampled_from(list(Sex))),
        min_size=1,
        max_size=60,
    ),
    st.integers(2, 6),
)
def test_a_person_is_in_one_fold_whatever_the_order(
    drawn: list[tuple[str, int, Sex]], count: int
) -> None:
    sex_of = {(dataset, person): sex for dataset, person, sex in drawn}
    clips = [
        a_clip(dataset, f"{dataset}{person}", "sad", sex_of[dataset, person])
        for dataset, person, _ in drawn
    ]
    folds = folds_of(clips, count)
    owners = {(clip.person, int(fold)) for clip, fold in zip(clips, folds, strict=True)}
    assert len(owners) == len({clip.person for clip in clips})
    assert ((folds >= 0) & (folds < count)).all()
    assert np.array_equal(folds_of(clips[::-1], count), folds[::-1])


def test_the_real_recordings_give_balanced_folds_of_disjoint_people(recordings: Path) -> None:
    clips = affect_clips(recordings, ("ravdess", "emodb"))
    folds = folds_of(clips, 5)
    people = [
        {clip.person for clip, fold in zip(clips, folds, strict=True) if fold == k}
        for k in range(5)
    ]
    assert sum(map(len, people)) == len(set().union(*people)) == 28
    for fold in range(5):
        own = [clip for clip, place in zip(clips, folds, strict=True) if place == fold]
        assert {clip.dataset for clip in own} == {"ravdess", "emodb"}
        assert {clip.sex for clip in own} == {Sex.FEMALE, Sex.MALE}
    labels = labels_of(clips)
    german = np.asarray([clip.dataset == "emodb" for clip in clips])
    assert not labels.known[german, 1].any() and labels.known[~german].all()
