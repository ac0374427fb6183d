"""The corpora: labels that a set can't know stay unknown, and a person is in one fold only."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import RecordingError
from edge_models.training.corpora import (
    Clinical,
    Clip,
    LabelError,
    Measured,
    Sex,
    Split,
    affect_clips,
    check,
    folds_of,
    gathered,
    labels_of,
    licences_of,
    manifest_corpus,
    named_corpus,
    what_is_measured,
)

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


WIDER = HEADER + ",session,sentence,sex,age,language,split,phq8,phq9,gad7,diagnosis"


def a_person(person: str, split: Split = Split.NONE, **clinical: int | bool) -> Clip:
    told = Clinical(**clinical)
    return Clip("x.wav", "set", "CC0", person, "", Sex.UNKNOWN, clinical=told, split=split)


def a_wider_manifest(folder: Path, *rows: str) -> Path:
    (folder / "MANIFEST.csv").write_text("\n".join([WIDER, *rows]) + "\n", encoding="utf-8")
    return folder


def test_a_manifest_may_tell_sessions_people_and_clinical_labels(tmp_path: Path) -> None:
    folder = a_wider_manifest(
        tmp_path,
        "speech/1.wav,own,CC0,p1,,1.0,,1,00,monday,,f,33,EN,train,12,,4,",
        "speech/2.wav,own,CC0,p2,,1.0,,1,00,monday,wind,m,,en,test,,3,15,no",
        "speech/3.wav,own,CC0,p3,,1.0,,1,00,,,,,,train,25,,,",
        "speech/4.wav,own,CC0,p3,,1.0,,1,00,,,,,,train,,,x,",
        "speech/5.wav,own,CC0,p4,purple,1.0,,1,00,,,,,,train,,,,",
    )
    corpus = manifest_corpus(folder)
    first, second = corpus.clips
    assert (first.session, first.sex, first.age_band) == ("monday", Sex.FEMALE, "30-44")
    assert (first.language, first.split, second.sentence) == ("en", Split.TRAIN, "wind")
    labels = labels_of(corpus.clips)
    assert labels.truth.tolist() == [[1, 0, 1], [0, 1, 1]] and labels.known.all()
    assert [str(one) for one in corpus.left_out] == [
        "1 left out, an unknown word as label: speech/5.wav",
        "2 left out, a label out of its range: speech/3.wav, speech/4.wav",
    ]
    assert what_is_measured(corpus.clips) is Measured.CLINICAL
    again = named_corpus(f"manifest={tmp_path}").clips
    assert again[0].path == str(tmp_path / "speech" / "1.wav")


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    row = "speech/../../1.wav,own,CC0,p1,sad,1.0,,1,00,,,,,,,,,,"
    with pytest.raises(RecordingError, match="leads out of the recordings' folder"):
        manifest_corpus(a_wider_manifest(tmp_path, row))


@pytest.mark.parametrize(
    ("clinical", "depression", "anxiety"),
    [
        ({"phq8": 9}, False, None),
        ({"phq8": 10, "gad7": 9}, True, False),
        ({"phq9": 4, "diagnosis": True}, True, None),
        ({"gad7": 10}, None, True),
        ({"sds": 52}, False, None),
        ({"sds": 53}, True, None),
    ],
)
def test_clinical_labels_are_cut_where_the_field_cuts_them(
    clinical: dict[str, int], depression: bool | None, anxiety: bool | None
) -> None:
    told = Clinical(**clinical)
    assert (told.depression, told.anxiety) == (depression, anxiety)
    labels = labels_of([a_person("p", **clinical)])
    both = depression is not None and anxiety is not None
    assert labels.known.tolist() == [[depression is not None, anxiety is not None, both]]


@pytest.mark.parametrize("sums", [{"phq8": 25}, {"phq9": 28}, {"gad7": -1}, {"sds": 24}])
def test_a_sum_outside_its_questionnaire_cannot_exist(sums: dict[str, int]) -> None:
    with pytest.raises(LabelError) as refused:
        Clinical(**sums)
    assert not any(str(value) in refused.value.cause.split() for value in sums.values())
    with pytest.raises(LabelError):
        Clip("x", "set", "CC0", "p", "sad", Sex.UNKNOWN, turns=((2.0, 1.0),))
    with pytest.raises(LabelError):
        Clip("x", "set", "CC0", "p", "sad", Sex.UNKNOWN, age=500)


def test_a_person_in_two_splits_is_named() -> None:
    clips = [a_person(f"p{n}", Split.TRAIN, phq8=n) for n in range(20)]
    check(clips)
    twice = [a_person(f"p{n}", Split.TEST, phq8=n) for n in range(7)]
    with pytest.raises(RecordingError, match=r"7 people .* p0, p1, p2, p3, p4 and 2 more"):
        check(clips + twice)
    with pytest.raises(RecordingError, match="1 people of set are in no split: new"):
        check([*clips, a_person("new", phq8=1)])


def test_one_class_two_truths_of_a_session_and_mixed_kinds_are_refused() -> None:
    with pytest.raises(RecordingError, match="nothing to tell apart"):
        check([a_person(f"p{n}", phq8=n) for n in range(9)])
    with pytest.raises(RecordingError, match="different labels in one session: p"):
        check([a_person("p", phq8=2), a_person("p", phq8=20)])
    with pytest.raises(RecordingError, match="affect"):
        check([a_person("p", phq8=2), a_person("q", phq8=20), a_clip("acted", "a", "sad")])
    with pytest.raises(RecordingError, match="nothing to tell apart"):
        check([a_clip("acted", "a", "sad"), a_clip("acted", "b", "sad")])
    with pytest.raises(RecordingError, match="two sexes"):
        check([a_clip("acted", "a", "sad", sex) for sex in (Sex.MALE, Sex.FEMALE)])


def test_both_answers_are_in_every_fold_and_official_folds_stay() -> None:
    clips = [a_person(f"p{n:02d}", phq8=20 if n % 4 == 0 else 2) for n in range(40)]
    folds = folds_of(clips, 5)
    low = np.asarray([bool(clip.clinical.depression) for clip in clips])
    assert [np.count_nonzero(low & (folds == fold)) for fold in range(5)] == [2] * 5
    given = [replace(clip, fold=(place * 3) % 5) for place, clip in enumerate(clips)]
    assert folds_of(given, 5).tolist() == [(place * 3) % 5 for place in range(40)]


def test_the_real_manifest_is_gathered_and_measures_affect(recordings: Path) -> None:
    corpus = gathered(recordings)
    assert corpus.left_out == () and what_is_measured(corpus.clips) is Measured.AFFECT
    spoken = {(clip.dataset, clip.sentence) for clip in corpus.clips}
    assert ("ravdess", "01") in spoken and ("emodb", "a01") in spoken
    assert {clip.session for clip in corpus.clips if clip.dataset == "ravdess"} == {"01", "02"}
    assert {clip.language for clip in corpus.clips} == {"en", "de"}
    only = named_corpus(f"emodb={recordings}")
    assert {clip.dataset for clip in only.clips} == {"emodb"}
    with pytest.raises(RecordingError, match="emodb is given twice"):
        gathered(recordings, [f"emodb={recordings}"])
    with pytest.raises(RecordingError, match="sets nowhere"):
        gathered(recordings, [f"emodb={recordings}"], ["nowhere"])
