"""Who takes part in the demo: identities of a manifest, sub-folders, or single files."""

from pathlib import Path

import pytest

from agent.demo.people import people_from
from agent.errors import SettingError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_manifests_identities_are_people_and_data_sets_take_turns(tmp_path: Path) -> None:
    _touch(tmp_path, "s/a1.flac", "s/a2.flac", "s/b1.flac", "t/c1.flac", "noise/n.flac", "f.mp4")
    lines = ["path,dataset,identity"]
    lines += ["s/a1.flac,one,anna", "s/a2.flac,one,anna", "s/b1.flac,one,ben", "t/c1.flac,two,cem"]
    lines += ["noise/n.flac,esc,rain", "s/gone.flac,one,dora"]
    (tmp_path / "MANIFEST.csv").write_text("\n".join(lines))
    people = people_from(tmp_path, 10)
    assert [person.name for person in people] == ["anna", "cem", "ben"]  # all have few
    assert [path.name for path in people[0].sounds] == ["a1.flac", "a2.flac"]
    assert people[0].video == tmp_path / "f.mp4"
    assert people[1].video is None


def test_sub_folders_are_people(tmp_path: Path) -> None:
    _touch(tmp_path, "anna/1.wav", "anna/2.wav", "ben/1.ogg")
    assert {p.name: len(p.sounds) for p in people_from(tmp_path, 9)} == {"anna": 2, "ben": 1}


def test_files_side_by_side_are_a_person_each_up_to_the_count(tmp_path: Path) -> None:
    _touch(tmp_path, "x.wav", "y.wav", "z.wav")
    assert [person.name for person in people_from(tmp_path, 2)] == ["x", "y"]


def test_a_folder_without_recordings_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no recordings"):
        people_from(tmp_path, 3)
    with pytest.raises(SettingError, match="no folder"):
        people_from(tmp_path / "none", 3)
