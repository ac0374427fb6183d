"""A bundle's archive: one form, nothing that leads out of the folder, and nothing half-trusted."""

import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_models.bundle import load_bundle, shipped_folder
from edge_models.errors import ContractError
from sync.updates.archive import MOST_FILES, pack, unpack
from sync.updates.rejected import Reason, UpdateRejected

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
FOLDERS = st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=6)
SLOW = settings(suppress_health_check=list(HealthCheck), deadline=None)


def filled(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def zipped(*files: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """What another program makes of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for info, content in files:
            archive.writestr(info, content)
    return made.getvalue()


def good(tmp_path: Path) -> bytes:
    folder = tmp_path / "good"
    return pack(folder if folder.exists() else filled(folder, {"a": b"first", "b": b"second"}))


def refused(raw: bytes, tmp_path: Path, most_bytes: int = 10**6) -> Reason:
    """Why it is not unpacked; whatever the reason, nothing is left of it anywhere."""
    place = tmp_path / "refused"
    into = place / "inside" / "slot"
    into.mkdir(parents=True)
    file = tmp_path / "refused.bundle"
    file.write_bytes(raw)
    with pytest.raises(UpdateRejected) as caught:
        unpack(file, into, most_bytes)
    assert [path for path in place.rglob("*") if path not in (into, into.parent)] == []
    return caught.value.reason


def test_the_shipped_bundle_goes_there_and_back(tmp_path: Path) -> None:
    archive = tmp_path / "affect-1.bundle"
    archive.write_bytes(pack(shipped_folder()))
    slot = tmp_path / "slot"
    slot.mkdir()
    unpack(archive, slot)
    assert load_bundle(slot).manifest == load_bundle(shipped_folder()).manifest
    assert pack(slot) == archive.read_bytes()


@SLOW
@given(FOLDERS)
def test_any_folder_comes_back_as_it_was_and_packs_to_the_same_bytes(
    files: dict[str, bytes],
) -> None:
    with TemporaryDirectory() as name:
        place = Path(name)
        archive = place / "one.bundle"
        archive.write_bytes(pack(filled(place / "one", files)))
        (slot := place / "slot").mkdir()
        unpack(archive, slot)
        assert {path.name: path.read_bytes() for path in slot.iterdir()} == files
        assert pack(slot) == archive.read_bytes()


@SLOW
@given(FOLDERS)
def test_other_programs_read_the_archive_as_a_zip_file(files: dict[str, bytes]) -> None:
    with TemporaryDirectory() as name:
        raw = pack(filled(Path(name) / "one", files))
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == files
        assert [info.filename for info in archive.infolist()] == sorted(files)


@SLOW
@given(FOLDERS, st.data())
def test_any_change_of_a_byte_is_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        raw = bytearray(pack(filled(Path(name) / "one", files)))
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        refused(bytes(raw), Path(name))


@SLOW
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: b"PK\x03\x04" + tail))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with TemporaryDirectory() as name:
        refused(raw, Path(name))


@SLOW
@given(FOLDERS, st.data())
def test_an_archive_that_is_cut_off_is_refused(
    files: dict[str, bytes], data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        raw = pack(filled(Path(name) / "one", files))
        refused(raw[: data.draw(st.integers(0, len(raw) - 1))], Path(name))


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    bomb = zipped(("a", bytes(50_000_000)), method=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert refused(bomb, tmp_path) is Reason.MALFORMED


def test_a_declared_size_beyond_the_archive_is_refused(tmp_path: Path) -> None:
    raw = bytearray(good(tmp_path))
    raw[18:26] = struct.pack("<LL", 2**31, 2**31)
    assert refused(bytes(raw), tmp_path) is Reason.TOO_LARGE


def test_an_archive_beyond_the_cap_is_refused_unread(tmp_path: Path) -> None:
    assert refused(bytes(101), tmp_path, most_bytes=100) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "a/b",
        "/etc/a",
        "..",
        ".",
        ".hidden",
        "a\\b",
        "C:a",
        "a b",
        "a\nb",
        "é",
        "-",
        "x" * 65,
    ],
)
def test_a_name_that_is_not_a_plain_one_is_refused(name: str, tmp_path: Path) -> None:
    assert refused(zipped((name, b"x")), tmp_path) is Reason.BAD_PATH


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refused(zipped(("folder/", b"")), tmp_path) is Reason.BAD_PATH


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR]
)
def test_a_link_or_a_device_is_refused(kind: int, tmp_path: Path) -> None:
    raw = bytearray(good(tmp_path))
    at = raw.rindex(b"PK\x01\x02") + 38
    assert struct.unpack_from("<L", raw, at) == (0o100644 << 16,)
    struct.pack_into("<L", raw, at, (kind | 0o644) << 16)
    assert refused(bytes(raw), tmp_path) is Reason.BAD_PATH


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        raw = zipped((plain("a"), b"1"), (plain("a"), b"2"))
    assert refused(raw, tmp_path) is Reason.MALFORMED


def test_files_out_of_order_are_refused(tmp_path: Path) -> None:
    raw = zipped((plain("b"), b"1"), (plain("a"), b"2"))
    assert refused(raw, tmp_path) is Reason.MALFORMED


def test_an_encrypted_file_is_refused(tmp_path: Path) -> None:
    raw = bytearray(good(tmp_path))
    raw[6] |= 1
    assert refused(bytes(raw), tmp_path) is Reason.MALFORMED


def test_more_files_than_a_bundle_has_are_refused(tmp_path: Path) -> None:
    many = zipped(*((plain(f"{n:03}"), b"") for n in range(MOST_FILES + 1)))
    assert refused(many, tmp_path) is Reason.MALFORMED


def plain(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o100644 << 16
    return info


def in_front(raw: bytes) -> bytes:
    return b"MZ" + raw


def behind(raw: bytes) -> bytes:
    return raw + b"#"


def between(raw: bytes) -> bytes:
    at = raw.index(b"PK\x01\x02")
    return raw[:at] + b"hidden" + raw[at:]


def with_a_comment(raw: bytes) -> bytes:
    return raw[:-2] + b"\x03\x00" + b"abc"


def with_no_file(raw: bytes) -> bytes:
    return b"PK\x05\x06" + bytes(18)


def overlapping(raw: bytes) -> bytes:
    """The directory's second entry points to the first file's header."""
    at = raw.rindex(b"PK\x01\x02") + 42
    return raw[:at] + bytes(4) + raw[at + 4 :]


def shadowed(raw: bytes) -> bytes:
    """The directory calls the second file otherwise than its header does."""
    at = raw.rindex(b"PK\x01\x02") + 46
    return raw[:at] + b"c" + raw[at + 1 :]


def unlisted(raw: bytes) -> bytes:
    """The directory leaves the second file out."""
    first, second = raw.index(b"PK\x01\x02"), raw.rindex(b"PK\x01\x02")
    size = second - first
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 1, 1, size, first, 0)
    return raw[:second] + end


@pytest.mark.parametrize(
    "change",
    [in_front, behind, between, with_a_comment, with_no_file, overlapping, shadowed, unlisted],
)
def test_what_lies_around_the_files_is_as_packed_or_refused(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    assert refused(change(good(tmp_path)), tmp_path) is Reason.MALFORMED


def test_a_flipped_bit_of_a_file_is_refused_and_what_was_written_removed(tmp_path: Path) -> None:
    raw = good(tmp_path).replace(b"second", b"secone")
    assert refused(raw, tmp_path) is Reason.ALTERED


def test_a_folder_that_holds_something_is_not_unpacked_into(tmp_path: Path) -> None:
    archive = tmp_path / "good.bundle"
    archive.write_bytes(good(tmp_path))
    with pytest.raises(ContractError):
        unpack(archive, tmp_path / "good")
    assert (tmp_path / "good" / "a").read_bytes() == b"first"


@pytest.mark.parametrize("kind", ["link", "folder", "name"])
def test_only_plain_files_with_plain_names_are_packed(kind: str, tmp_path: Path) -> None:
    folder = filled(tmp_path / "bundle", {"a": b"x"})
    if kind == "link":
        (folder / "b").symlink_to(folder / "a")
    elif kind == "folder":
        (folder / "b").mkdir()
    else:
        (folder / "b c").write_bytes(b"x")
    with pytest.raises(UpdateRejected) as caught:
        pack(folder)
    assert caught.value.reason is Reason.BAD_PATH


_WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from sync.updates.archive import unpack
from sync.updates.rejected import UpdateRejected
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
except UpdateRejected as why:
    print(why.reason, why)
"""


def test_a_file_that_does_not_fit_on_the_disk_is_said_so_and_leaves_nothing(tmp_path: Path) -> None:
    files = {"a": b"fits", "b": os.urandom(200_000)}
    archive = tmp_path / "large.bundle"
    archive.write_bytes(pack(filled(tmp_path / "large", files)))
    (slot := tmp_path / "slot").mkdir()
    said = subprocess.run(
        [sys.executable, "-c", _WITH_LITTLE_ROOM, str(archive), str(slot)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.startswith("no-room The disk is full")
    assert list(slot.iterdir()) == []


def test_unpacking_takes_one_piece_of_memory_at_a_time(tmp_path: Path) -> None:
    files = {f"layer-{n}": bytes(20_000_000) for n in range(3)}
    archive = tmp_path / "large.bundle"
    archive.write_bytes(pack(filled(tmp_path / "large", files)))
    (slot := tmp_path / "slot").mkdir()
    asked = (
        "import sys, tracemalloc\nfrom pathlib import Path\n"
        "from sync.updates.archive import unpack\ntracemalloc.start()\n"
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]))\nprint(tracemalloc.get_traced_memory()[1])"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked, str(archive), str(slot)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(said.stdout) < 3_000_000
    assert zlib.crc32((slot / "layer-2").read_bytes()) == zlib.crc32(bytes(20_000_000))
