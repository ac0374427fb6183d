"""Described windows: cut as on a device, remembered by content; what can't be heard is named."""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_models.bundle import shipped_folder
from edge_models.errors import ContractError, RecordingError
from edge_models.training import hearing
from edge_models.training.corpora import Clinical, Clip, LeftOut, Sex, affect_clips, named_corpus
from edge_models.training.described import described
from edge_models.training.described_cache import Cache, Entry, usual_folder
from edge_models.training.hearing import Ear, FrontEnd, Source
from edge_models.training.streams import Kind, Windows
from tests.corpus_folders import a_sound, d_vlog_folder

GRAPHS = ("gate.onnx", "descriptors.onnx", "functionals.onnx")


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd.of_graphs(*((shipped_folder() / name).read_bytes() for name in GRAPHS))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short clips of two people, and one long recording of a third."""
    folder = tmp_path_factory.mktemp("spoken")
    for person in "ab":
        for number in range(4):
            a_sound(folder / f"{person}{number}.wav", level=0.4 + 0.1 * number)
    a_sound(folder / "long.wav", times=9)
    return folder


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which files were really heard, in order."""
    names: list[str] = []
    real = hearing.read_recording

    def noted(path: Path) -> Iterator[object]:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(hearing, "read_recording", noted)
    return names


def a_clip(path: str, person: str, emotion: str = "sad", sentence: str = "s1") -> Clip:
    return Clip(path, "set", "CC0", person, emotion, Sex.FEMALE, "1", sentence, age=40)


def short_clips() -> list[Clip]:
    return [a_clip(f"{p}{n}.wav", p, sentence=f"s{n}") for p in "ab" for n in range(4)]


def same(one: Windows, two: Windows) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in one.__slots__)


def test_short_clips_are_a_window_each_and_joined_to_as_long_as_a_live_one(
    spoken: Path, front_end: FrontEnd
) -> None:
    clips = short_clips()[::-1]
    windows = described(spoken, clips, front_end, seed=1)
    single = windows.at((windows.kind == Kind.CLIP) & (windows.take == 0))
    assert single.person.tolist() == [clip.person for clip in clips]
    assert single.sentence.tolist() == [clip.sentence for clip in clips]
    joined = windows.at(windows.kind == Kind.JOINED)
    assert len(joined) == 2 * 2 * 2 and set(joined.sentence) == {""}
    assert set(joined.session) == {"1"} and set(windows.age_band) == {"30-44"}


def test_a_person_is_described_alike_whoever_is_beside_them(
    spoken: Path, front_end: FrontEnd
) -> None:
    clips = short_clips()
    both = described(spoken, clips, front_end, seed=1)
    alone = described(spoken, clips[:4], front_end, seed=1)
    assert np.array_equal(both.at(both.person == "a").summaries, alone.summaries)


def test_an_interview_is_cut_into_windows_of_its_participants_turns(
    spoken: Path, front_end: FrontEnd
) -> None:
    turns = ((0.0, 9.0), (12.0, 24.5))
    told = Clinical(phq8=14)
    long = Clip(
        "long.wav", "clinic", "-", "p", "", Sex.MALE, session="m", clinical=told, turns=turns
    )
    windows = described(spoken, [long], front_end, seed=1)
    own = windows.at(windows.take == 0)
    assert len(own) == 2 and set(windows.kind) == {str(Kind.CLIP)}  # 21.5 s: the rest is too short
    assert own.truth[:, 0].all() and own.known.tolist() == [[True, False, False]] * 2
    assert set(own.session) == {"m"} and set(own.emotion) == {-1}
    rows = hearing.heard_rows(front_end, Source(spoken / "long.wav", turns=turns))
    whole = hearing.heard_rows(front_end, Source(spoken / "long.wav"))
    assert np.array_equal(rows.descriptors[900:1000], whole.descriptors[1200:1300])
    assert len(rows.speech) == 2150


def test_answers_of_two_sessions_are_not_joined(spoken: Path, front_end: FrontEnd) -> None:
    clips = [
        Clip(f"a{n}.wav", "c", "-", "a", "", Sex.MALE, str(n % 2), clinical=Clinical(phq8=n % 2))
        for n in range(4)
    ]
    windows = described(spoken, clips, front_end, seed=1)
    assert not (windows.kind == Kind.JOINED).any()  # each session has six seconds


def test_what_was_heard_is_not_heard_again_and_gives_the_same(
    spoken: Path, front_end: FrontEnd, tmp_path: Path, heard: list[str]
) -> None:
    clips = [*short_clips(), a_clip("long.wav", "c")]
    plain = described(spoken, clips, front_end, seed=1)
    heard.clear()
    first = described(spoken, clips, front_end, seed=1, cache=Cache(tmp_path / "c"))
    assert len(heard) == 2 * len(clips)
    heard.clear()
    again = described(spoken, clips, front_end, seed=1, cache=Cache(tmp_path / "c"))
    assert heard == [] and same(first, again) and same(first, plain)


def test_an_interrupted_run_resumes_with_the_next_person(
    spoken: Path, front_end: FrontEnd, tmp_path: Path, heard: list[str]
) -> None:
    clips, cache = short_clips(), Cache(tmp_path)

    def broken_off(told: Sequence[Clip]) -> Iterator[Clip]:
        for number, clip in enumerate(told):
            if number == 6:
                raise KeyboardInterrupt
            yield clip

    with pytest.raises(KeyboardInterrupt):
        described(spoken, clips, front_end, 1, broken_off, cache=cache)
    heard.clear()
    windows = described(spoken, clips, front_end, seed=1, cache=cache)
    assert not any(name.startswith("a") for name in heard)
    assert same(windows, described(spoken, clips, front_end, seed=1))


def test_an_entry_depends_on_sound_level_turns_and_graphs(
    spoken: Path, front_end: FrontEnd, tmp_path: Path, heard: list[str]
) -> None:
    cache, path = Cache(tmp_path), a_sound(tmp_path / "x" / "one.wav")
    first = Ear(front_end, cache).described(Source(path))
    copy = path.with_name("copy.wav")
    copy.write_bytes(path.read_bytes())
    heard.clear()
    Ear(front_end, cache).described(Source(copy))
    assert heard == []  # by content, not by name
    for source in (Source(path, -6.0), Source(path, turns=((0.0, 2.0),))):
        other = Ear(front_end, cache).described(source)
        assert not np.array_equal(other.summaries, first.summaries)
    a_sound(path, level=0.3)
    softer = Ear(front_end, cache).described(Source(path))
    assert not np.array_equal(softer.summaries, first.summaries)
    assert len(heard) == 3
    renamed = FrontEnd(front_end.gate, front_end.acoustic, "other graphs")
    Ear(renamed, cache).described(Source(path))
    assert len(heard) == 4
    with pytest.raises(ContractError):
        Ear(FrontEnd(front_end.gate, front_end.acoustic), cache)


@pytest.mark.parametrize("damage", ["empty", "torn", "flipped", "foreign", "narrow"])
def test_a_damaged_entry_is_described_anew(damage: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    whole = Entry(np.ones((2, 88), np.float32), 700)
    cache.put("key", whole)
    content = (tmp_path / "key").read_bytes()
    flipped = bytearray(content)
    flipped[-40] ^= 1
    cache.put("narrow", Entry(np.ones((2, 7), np.float32), 700))
    (tmp_path / "key").write_bytes(
        {
            "empty": b"",
            "torn": content[:-9],
            "flipped": bytes(flipped),
            "foreign": b"\x80\x04K\x01.",
            "narrow": (tmp_path / "narrow").read_bytes(),
        }[damage]
    )
    assert cache.get("key") is None
    cache.put("key", whole)
    again = cache.get("key")
    assert again is not None and np.array_equal(again.summaries, whole.summaries)
    assert again.rows == 700


def test_the_cache_is_its_owners_alone_and_says_that_it_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = usual_folder()
    assert folder == tmp_path / "sottovoce" / "described"
    folder.mkdir(parents=True, mode=0o755)
    Cache(folder).put("key", Entry(np.zeros((0, 88), np.float32), 0))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert "delete this folder any time" in (folder / "CACHEDIR.TAG").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["CACHEDIR.TAG", "key"]
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError) as refused:
        Cache(tmp_path / "file")
    assert "--cache" in refused.value.remedy


def test_what_cannot_be_heard_is_skipped_by_name_and_refused_where_it_is_most(
    spoken: Path, front_end: FrontEnd, tmp_path: Path
) -> None:
    (spoken / "bad.wav").write_bytes(b"RIFF no sound")
    a_sound(spoken / "still.wav", level=0.0)
    lost = [a_clip(name, "a") for name in ("bad.wav", "still.wav", "gone.wav")]
    told: list[LeftOut] = []
    windows = described(
        spoken, [*short_clips(), *lost], front_end, 1, cache=Cache(tmp_path), skipped=told.append
    )
    assert same(windows, described(spoken, short_clips(), front_end, seed=1))
    assert [(one.reason, [Path(name).name for name in one.names]) for one in told] == [
        ("can't be read", ["bad.wav", "gone.wav"]),
        ("too little speech", ["still.wav"]),
    ]
    with pytest.raises(RecordingError, match=r"More than half of the 5 .*bad\.wav"):
        described(spoken, [*short_clips()[:2], *lost], front_end, seed=1)


def test_features_without_sound_are_refused_with_a_sentence(
    front_end: FrontEnd, tmp_path: Path
) -> None:
    clips = named_corpus(f"d-vlog={d_vlog_folder(tmp_path)}").clips
    with pytest.raises(RecordingError, match="d-vlog holds features"):
        described(tmp_path, clips, front_end, seed=1)


def test_real_recordings_become_windows_of_one_person_and_emotion(
    recordings: Path, front_end: FrontEnd
) -> None:
    clips = affect_clips(recordings, ["ravdess"])[:16]
    windows = described(recordings, clips, front_end, seed=1)
    assert windows.summaries.shape[1] == 88 and np.isfinite(windows.summaries).all()
    single = windows.at((windows.kind == Kind.CLIP) & (windows.take == 0))
    assert single.person.tolist() == [clip.person for clip in clips]
    assert single.session.tolist() == [clip.session for clip in clips]
    quiet = windows.at((windows.kind == Kind.CLIP) & (windows.take == 1))
    assert not np.allclose(quiet.summaries, single.summaries[: len(quiet)])
