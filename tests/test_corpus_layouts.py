"""Each corpus is read by its documented layout; what is missing or can't be true is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_models.errors import RecordingError
from edge_models.training.corpora import (
    LOADERS,
    Corpus,
    Measured,
    Sex,
    Split,
    gathered,
    labels_of,
    named_corpus,
    what_is_measured,
)
from tests import corpus_folders as folders

FOLDERS: dict[str, Callable[[Path], Path]] = {
    "ravdess": folders.ravdess_folder,
    "emodb": folders.emodb_folder,
    "daic-woz": folders.daic_woz_folder,
    "e-daic": folders.e_daic_folder,
    "androids": folders.androids_folder,
    "eatd": folders.eatd_folder,
    "modma": folders.modma_folder,
    "d-vlog": folders.d_vlog_folder,
}
CLINICAL = tuple(name for name in FOLDERS if name not in ("ravdess", "emodb"))


def a_corpus(name: str, folder: Path) -> Corpus:
    return named_corpus(f"{name}={FOLDERS[name](folder)}")


def said(corpus: Corpus) -> str:
    return "; ".join(map(str, corpus.left_out))


@pytest.mark.parametrize("name", FOLDERS)
def test_an_absent_corpus_is_told_with_its_tree_and_where_it_is_requested(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(RecordingError) as refused:
        named_corpus(f"{name}={tmp_path / 'nowhere'}")
    assert "nowhere" in refused.value.cause
    assert "http" in refused.value.remedy and "DIR/\n└" in refused.value.remedy.replace("├", "└")


@pytest.mark.parametrize("name", FOLDERS)
def test_every_corpus_gives_whole_records_of_files_that_are_there(
    name: str, tmp_path: Path
) -> None:
    corpus = a_corpus(name, tmp_path)
    assert corpus.clips
    for clip in corpus.clips:
        assert Path(clip.path).is_absolute() and Path(clip.path).is_file()
        assert clip.dataset == name and clip.person and clip.licence and clip.language
        assert clip.clinical.known == (name in CLINICAL) == (clip.emotion == "")
        assert clip.features_only == (name == "d-vlog")
    kind = Measured.CLINICAL if name in CLINICAL else Measured.AFFECT
    assert what_is_measured(corpus.clips) is kind


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    for words in ("avec=/tmp", "ravdess", "ravdess="):
        with pytest.raises(RecordingError) as refused:
            named_corpus(words)
        assert all(name in refused.value.remedy for name in LOADERS)


def test_ravdess_is_read_from_its_actors_and_songs_are_left_out(tmp_path: Path) -> None:
    corpus = a_corpus("ravdess", tmp_path)
    assert len(corpus.clips) == 6
    first = corpus.clips[0]
    assert (first.person, first.emotion, first.sex) == ("rav01", "neutral", Sex.MALE)
    assert (first.sentence, first.session, first.language) == ("02", "01", "en")
    assert "1 left out" in said(corpus) and "03-02-04" in said(corpus)


def test_emodb_tells_text_version_age_and_fear(tmp_path: Path) -> None:
    clips = a_corpus("emodb", tmp_path).clips
    told = [(one.person, one.emotion, one.sentence, one.session, one.age_band) for one in clips]
    assert told == [
        ("emo03", "happy", "a01", "a", "30-44"),
        ("emo03", "sad", "b10", "b", "30-44"),
        ("emo08", "neutral", "a01", "a", "30-44"),
        ("emo08", "fearful", "a02", "c", "30-44"),
    ]


def test_daic_woz_takes_the_participants_turns_and_the_official_splits(tmp_path: Path) -> None:
    corpus = a_corpus("daic-woz", tmp_path)
    by_person = {clip.person: clip for clip in corpus.clips}
    assert set(by_person) == {"daic300", "daic302", "daic303", "daic318"}
    assert by_person["daic302"].turns == ((1.0, 2.5), (4.0, 9.0), (9.0, 9.5))
    shift = by_person["daic318"].turns[0][0] - 1.0
    assert shift == pytest.approx(34.32, abs=0.01)
    assert [by_person[f"daic{n}"].split for n in (303, 302, 300)] == ["train", "dev", "test"]
    assert by_person["daic318"].clinical.depression is True
    assert by_person["daic303"].sex is Sex.FEMALE and by_person["daic300"].sex is Sex.MALE
    for words in ("without sound: 301", "out of range: 320", "in no split list: 373"):
        assert words in said(corpus)


@pytest.mark.parametrize("name", ["daic-woz", "e-daic"])
def test_a_missing_split_and_a_person_in_two_are_refused(name: str, tmp_path: Path) -> None:
    FOLDERS[name](tmp_path)
    lists = sorted(tmp_path.rglob("*split*.csv"))
    dev = next(path for path in lists if "dev" in path.name)
    train = next(path for path in lists if "train" in path.name)
    kept = dev.read_bytes()
    dev.write_bytes(train.read_bytes())
    with pytest.raises(RecordingError, match="two splits"):
        named_corpus(f"{name}={tmp_path}")
    dev.unlink()
    with pytest.raises(RecordingError, match=dev.name):
        named_corpus(f"{name}={tmp_path}")
    dev.write_bytes(kept.replace(b"PHQ", b"Q"))
    with pytest.raises(RecordingError, match="lacks a column"):
        named_corpus(f"{name}={tmp_path}")


def test_a_daic_woz_transcript_that_is_none_leaves_its_session_out(tmp_path: Path) -> None:
    folders.daic_woz_folder(tmp_path)
    (tmp_path / "302_P" / "302_TRANSCRIPT.csv").write_bytes(b"\x00\x05\x16\x07\xff\xb0")
    corpus = named_corpus(f"daic-woz={tmp_path}")
    assert "daic302" not in {clip.person for clip in corpus.clips}
    assert "transcript of the participant: 302" in said(corpus)


def test_e_daic_names_the_people_of_daic_woz_alike_and_is_not_taken_beside_it(
    tmp_path: Path,
) -> None:
    corpus = a_corpus("e-daic", tmp_path / "e")
    assert [clip.person for clip in corpus.clips] == ["daic302", "daic303", "daic600"]
    assert [clip.clinical.phq8 for clip in corpus.clips] == [4, 15, 12]
    assert [clip.sex for clip in corpus.clips] == [Sex.MALE, Sex.FEMALE, Sex.FEMALE]
    woz = folders.daic_woz_folder(tmp_path / "woz")
    with pytest.raises(RecordingError, match="E-DAIC holds"):
        gathered(None, [f"e-daic={tmp_path / 'e'}", f"daic-woz={woz}"])


def test_androids_keeps_a_person_in_one_fold_over_both_tasks(tmp_path: Path) -> None:
    corpus = a_corpus("androids", tmp_path)
    folds = {(clip.person, clip.fold) for clip in corpus.clips}
    assert folds == {
        ("androids01C", 2),
        ("androids02C", 1),
        ("androids01P", 4),
        ("androids03P", 3),
    }
    woman = next(clip for clip in corpus.clips if clip.person == "androids01C")
    assert (woman.sex, woman.age, woman.clinical.diagnosis) == (Sex.FEMALE, 56, False)
    assert {clip.session for clip in corpus.clips} == {"reading", "interview"}
    assert "in no fold: androids09P" in said(corpus)
    (tmp_path / "fold-lists.csv").unlink()
    with pytest.raises(RecordingError, match="fold-lists"):
        named_corpus(f"androids={tmp_path}")


def test_eatd_takes_raw_answers_and_the_index_of_53(tmp_path: Path) -> None:
    corpus = a_corpus("eatd", tmp_path)
    told = {clip.person: clip.clinical.depression for clip in corpus.clips}
    assert told == {"eatd-t_1": False, "eatd-t_2": True, "eatd-v_1": True}
    assert not any("_out" in clip.path for clip in corpus.clips)
    assert {clip.split for clip in corpus.clips} == {Split.TRAIN, Split.DEV}
    assert "v_1/neutral.wav" in said(corpus) and "out of range: t_3" in said(corpus)


def test_eatd_without_its_validation_set_is_refused(tmp_path: Path) -> None:
    folders.eatd_folder(tmp_path)
    (tmp_path / "v_1").rename(tmp_path / "elsewhere")
    with pytest.raises(RecordingError, match="validation set"):
        named_corpus(f"eatd={tmp_path}")


def test_modma_reads_its_excel_sheet_and_knows_all_three_columns(tmp_path: Path) -> None:
    corpus = a_corpus("modma", tmp_path)
    assert {clip.person for clip in corpus.clips} == {"modma02010001", "modma02020002"}
    labels = labels_of(corpus.clips)
    assert labels.known.all()
    assert labels.truth.tolist() == [[True] * 3] * 3 + [[False] * 3] * 3
    assert [clip.sentence for clip in corpus.clips[:3]] == ["", "19", ""]
    assert "out of range: 02020003" in said(corpus) and "without sound: 02020004" in said(corpus)


def test_modma_is_read_from_csv_alike(tmp_path: Path) -> None:
    folders.modma_folder(tmp_path)
    told = named_corpus(f"modma={tmp_path}")
    sheet = tmp_path / "subjects_information_audio_lanzhou_2015.xlsx"
    folders.a_table(sheet.with_suffix(".csv"), folders.MODMA)
    sheet.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(RecordingError, match="Excel"):
        named_corpus(f"modma={tmp_path}")
    sheet.unlink()
    assert named_corpus(f"modma={tmp_path}") == told


def test_d_vlog_is_listed_as_features_only_and_needs_every_fold(tmp_path: Path) -> None:
    corpus = a_corpus("d-vlog", tmp_path)
    assert [clip.split for clip in corpus.clips] == ["train", "dev", "test"]
    assert "without features: 3" in said(corpus)
    listed = tmp_path / "labels.csv"
    listed.write_text(listed.read_text().replace("valid", "train"))
    with pytest.raises(RecordingError, match="fold 'valid'"):
        named_corpus(f"d-vlog={tmp_path}")
