"""A file is fetched in as many tries as it takes, counted, checked, and only then named."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.updates import downloads
from sync.updates.downloads import fetch
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import Source
from tests.update_repository import Mirror, refused

PATH = "targets/bundles/affect-1/7.bundle"
CONTENT = bytes(range(256)) * 40


def hashes(content: bytes) -> tuple[tuple[str, str], ...]:
    return (("sha256", hashlib.sha256(content).hexdigest()),)


def get(source: Source, into: Path, content: bytes = CONTENT, name: str = "file") -> Path:
    return fetch(source, PATH, length=len(content), hashes=hashes(content), into=into, name=name)


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".*.part"))


@given(st.lists(st.integers(1, 41), max_size=6), st.integers(1, 3000))
def test_a_cut_costs_only_what_was_on_its_way(cuts: list[int], piece_bytes: int) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        mirror = Mirror({PATH: CONTENT}, piece_bytes)
        for cut in cuts:
            mirror.cut_after = lambda _path, sent, most=cut * 256: sent >= most  # type: ignore[misc]
            if cut * 256 < len(CONTENT):
                try:
                    get(mirror, Path(folder))
                except UpdateRejected as refusal:
                    assert refusal.reason is Reason.UNREACHABLE
        mirror.cut_after = lambda path, sent: False
        assert get(mirror, Path(folder)).read_bytes() == CONTENT
        starts = [start for _, start in mirror.asked]
        assert starts == sorted(starts)  # nothing that came was asked for again
        assert not parts(Path(folder))


def test_a_cut_before_the_first_byte_leaves_nothing(tmp_path: Path) -> None:
    mirror = Mirror({PATH: CONTENT})
    mirror.cut_after = lambda path, sent: True
    with refused(Reason.UNREACHABLE):
        get(mirror, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_part_of_another_file_is_thrown_away(tmp_path: Path) -> None:
    mirror = Mirror({PATH: CONTENT})
    mirror.cut_after = lambda path, sent: sent >= 3000
    with refused(Reason.UNREACHABLE):
        get(mirror, tmp_path)
    assert len(parts(tmp_path)) == 1
    newer = CONTENT[::-1]
    source = Mirror({PATH: newer})
    assert get(source, tmp_path, newer).read_bytes() == newer
    assert source.asked == [(PATH, 0)]
    assert not parts(tmp_path)


def test_a_part_that_was_harmed_on_the_disk_is_fetched_anew_at_once(tmp_path: Path) -> None:
    mirror = Mirror({PATH: CONTENT})
    mirror.cut_after = lambda path, sent: sent >= 3000
    with refused(Reason.UNREACHABLE):
        get(mirror, tmp_path)
    (part,) = parts(tmp_path)
    part.write_bytes(b"x" * 3000)
    mirror.cut_after = lambda path, sent: False
    assert get(mirror, tmp_path).read_bytes() == CONTENT
    assert [start for _, start in mirror.asked] == [0, 3000, 0]


def test_a_part_that_is_too_long_begins_again(tmp_path: Path) -> None:
    mirror = Mirror({PATH: CONTENT})
    mirror.cut_after = lambda path, sent: sent >= 3000
    with refused(Reason.UNREACHABLE):
        get(mirror, tmp_path)
    (part,) = parts(tmp_path)
    part.write_bytes(CONTENT + b"more")
    mirror.cut_after = lambda path, sent: False
    assert get(mirror, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("served", [b"", CONTENT[:-1], CONTENT[:-1] + b"?", bytes(len(CONTENT))])
def test_other_bytes_are_never_named_or_kept(tmp_path: Path, served: bytes) -> None:
    with refused(Reason.ALTERED):
        get(Mirror({PATH: served}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_hash_counts_and_an_unknown_one_is_no_hash(tmp_path: Path) -> None:
    good = hashes(CONTENT)
    for more in (("sha512", "0" * 128), ("shake_128", "0"), ("crc", "0")):
        with refused(Reason.ALTERED, Reason.MALFORMED):
            fetch(
                Mirror({PATH: CONTENT}),
                PATH,
                length=len(CONTENT),
                hashes=(*good, more),
                into=tmp_path,
                name="file",
            )
    assert not (tmp_path / "file").exists()


def test_a_file_that_was_harmed_after_it_was_named_is_fetched_again(tmp_path: Path) -> None:
    mirror = Mirror({PATH: CONTENT})
    get(mirror, tmp_path).write_bytes(b"x" * len(CONTENT))
    assert get(mirror, tmp_path).read_bytes() == CONTENT
    assert len(mirror.asked) == 2


@pytest.mark.parametrize("name", ["", ".", "..", "../file", "a/b", ".hidden", "n\0", "n" * 300])
def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    with refused(Reason.BAD_PATH):
        get(Mirror({PATH: CONTENT}), tmp_path / "parts", name=name)
    assert not (tmp_path / "file").exists()


def test_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "linked").symlink_to(real)
    mirror = Mirror({PATH: CONTENT})
    with refused(Reason.BAD_PATH):
        get(mirror, tmp_path / "linked")
    (real / "file").symlink_to(victim)
    with refused(Reason.BAD_PATH):
        get(mirror, real)
    (real / "file").unlink()
    mirror.cut_after = lambda path, sent: sent >= 3000
    with refused(Reason.UNREACHABLE):
        get(mirror, real)
    (part,) = parts(real)
    part.unlink()
    part.symlink_to(victim)
    with refused(Reason.BAD_PATH):
        get(mirror, real)
    assert victim.read_bytes() == b"mine"


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with refused(Reason.BAD_PATH):
        get(Mirror({PATH: CONTENT}), tmp_path)


def test_a_full_disk_is_noticed_before_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearly_full = SimpleNamespace(free=len(CONTENT))
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: nearly_full)
    mirror = Mirror({PATH: CONTENT})
    with refused(Reason.NO_ROOM):
        get(mirror, tmp_path)
    assert not mirror.asked and not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_on_the_way_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def always_full(path: object, flags: int, *rest: object, **more: object) -> int:
        if str(path).endswith(".part"):
            real(path, flags, *rest, **more)  # type: ignore[call-overload]
            return real("/dev/full", os.O_RDWR)
        return real(path, flags, *rest, **more)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(downloads.os, "open", always_full)
    monkeypatch.setattr(downloads.stat, "S_ISREG", lambda mode: True)
    monkeypatch.setattr(downloads, "_hashed", lambda file, digests: 0)
    with refused(Reason.NO_ROOM):
        get(Mirror({PATH: CONTENT}, 4096), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_can_not_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "parts").write_bytes(b"a file where a folder belongs")
    with refused(Reason.NO_ROOM, Reason.BAD_PATH):
        get(Mirror({PATH: CONTENT}), tmp_path / "parts")


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    assert get(Mirror({PATH: b""}), tmp_path, b"").read_bytes() == b""


def test_what_is_not_verified_is_hidden(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watching:
        def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
            seen.extend(entry.name for entry in tmp_path.iterdir())
            yield CONTENT

    get(Watching(), tmp_path)
    assert seen and all(name.startswith(".") for name in seen)
