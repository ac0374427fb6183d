"""What `sottovoce describe` writes lines up with oracles and with what the agent computes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_models.acoustic import DESCRIPTOR_NAMES, SUMMARY_NAMES
from edge_models.command import main


def _clips(recordings: Path, count: int) -> list[Path]:
    return sorted((recordings / "speech" / "emodb").glob("*.flac"))[:count]


def _describe(out: Path, files: list[Path], *words: str) -> list[dict[str, str]]:
    assert main(["describe", *map(str, files), "--out", str(out), *words]) == 0
    with out.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_descriptors_are_a_row_every_10_ms_under_the_oracles_names(
    recordings: Path, tmp_path: Path
) -> None:
    clip = _clips(recordings, 1)[0]
    rows = _describe(tmp_path / "d.csv", [clip], "--stage", "descriptors")
    assert list(rows[0]) == ["file", "start_s", "end_s", *DESCRIPTOR_NAMES]
    samples, _ = soundfile.read(clip)
    assert len(rows) == -(-len(samples) // 160)
    assert float(rows[37]["start_s"]) == pytest.approx(0.37)


def test_a_file_window_gives_one_row_a_file_in_every_stage(
    recordings: Path, tmp_path: Path
) -> None:
    clips = _clips(recordings, 4)
    stages = {"summary": SUMMARY_NAMES[0], "embedding": "e00", "scores": "sadness"}
    for stage, column in stages.items():
        rows = _describe(tmp_path / "x.csv", clips, "--stage", stage, "--window", "file")
        assert [row["file"] for row in rows] == list(map(str, clips))
        assert all(np.isfinite(float(row[column])) for row in rows)
    assert {row["abstained"] for row in rows} == {"False"}
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("sadness", "fear"))


def test_people_have_their_own_baseline_and_an_order(recordings: Path, tmp_path: Path) -> None:
    clips = _clips(recordings, 6)
    table = tmp_path / "people.csv"
    table.write_text("file,person\n" + "".join(f"{clip.name},anna\n" for clip in clips))
    alone = _describe(tmp_path / "a.csv", clips, "--stage", "embedding", "--window", "file")
    shared = _describe(
        tmp_path / "b.csv",
        clips,
        "--stage",
        "embedding",
        "--window",
        "file",
        "--people",
        str(table),
    )
    columns = [name for name in alone[0] if name.startswith("e0")]
    assert [alone[0][name] for name in columns] == [shared[0][name] for name in columns]
    assert [alone[5][name] for name in columns] != [shared[5][name] for name in columns]


def test_ten_second_windows_tile_a_long_file_and_silence_abstains(tmp_path: Path) -> None:
    path = tmp_path / "quiet.wav"
    soundfile.write(path, np.zeros(25 * 16_000), 16_000)
    rows = _describe(tmp_path / "s.csv", [path], "--stage", "scores")
    assert [float(row["start_s"]) for row in rows] == [0.0, 10.0, 20.0]
    assert {row["abstained"] for row in rows} == {"True"}
    assert {row["sadness"] for row in rows} == {""}


def test_one_unreadable_file_is_told_and_the_others_are_written(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"nothing")
    clip = _clips(recordings, 1)[0]
    out = tmp_path / "x.csv"
    words = ["--window", "file", "--out", str(out)]
    assert main(["describe", str(broken), str(clip), *words]) == 1
    assert "broken.wav" in capsys.readouterr().err
    with out.open(newline="") as lines:
        assert [row["file"] for row in csv.DictReader(lines)] == [str(clip)]


def test_people_without_a_line_for_a_file_are_refused(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "people.csv"
    table.write_text("file,person\nother.wav,anna\n")
    clip = _clips(recordings, 1)[0]
    words = ["--people", str(table), "--out", str(tmp_path / "x.csv")]
    assert main(["describe", str(clip), *words]) == 2
    assert "names nobody" in capsys.readouterr().err


def test_faces_of_a_video_are_described(recordings: Path, tmp_path: Path) -> None:
    clip = recordings / "clips" / "pyfeat_single_face.mp4"
    rows = _describe(tmp_path / "f.csv", [clip], "--stage", "face")
    assert float(rows[0]["face_s"]) > 2
    assert rows[0]["alone"] == "True"
