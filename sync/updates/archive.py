"""A bundle's folder as one file, and back: an uncompressed zip of which there is only one form.

Rules it upholds: equal folders give equal bytes (names in order, no times, no owners), and nothing
is compressed, so a patch from one archive to the next is as small as what changed; what is
unpacked was laid out exactly as `pack` lays it out, to the byte, or it is refused before a file is
written: an archive can't say one thing to this reader and another to the next, there is nothing to
inflate, and no name, link or mode in it leads out of the folder; a file is read a piece at a time.

In the life of a bundle: folder → **archive** → signed → device → **folder** in the idle slot.

Source: PKWARE APPNOTE 6.3.10, 4.3 (local header, central directory, end record).
"""

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from edge_models.errors import ContractError
from edge_models.manifest import SAFE_NAME
from sync.updates.offers import MOST_BUNDLE_BYTES
from sync.updates.rejected import Reason, UpdateRejected, kept_on_disk

MOST_FILES: Final = 64

_LOCAL: Final = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END: Final = struct.Struct("<4sHHHHLLH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION: Final = 20
_MADE_BY_UNIX: Final = 3 << 8 | _VERSION
_MIDNIGHT, _FIRST_OF_JANUARY_1980 = 0, 1 << 5 | 1
_PLAIN_FILE: Final = 0o100644 << 16
_PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of an archive: where its header and its content begin, and what they say."""

    name: str
    crc: int
    size: int
    header_at: int

    @property
    def content_at(self) -> int:
        return self.header_at + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        return self.content_at + self.size

    def local(self) -> bytes:
        return _LOCAL.pack(_LOCAL_MARK, _VERSION, 0, 0, *self._what()) + self.name.encode()

    def central(self) -> bytes:
        head = _CENTRAL.pack(
            _CENTRAL_MARK, _MADE_BY_UNIX, _VERSION, 0, 0, *self._what(), 0, 0, 0, _PLAIN_FILE,
            self.header_at,
        )  # fmt: skip
        return head + self.name.encode()

    def _what(self) -> tuple[int, ...]:
        when = (_MIDNIGHT, _FIRST_OF_JANUARY_1980)
        return (*when, self.crc, self.size, self.size, len(self.name), 0)


def pack(folder: Path) -> bytes:
    """The archive of a folder of plain files; the same bytes whenever and wherever it is made.

    Raises:
        UpdateRejected: BAD_PATH or TOO_LARGE, the folder holds what no device would unpack.
        OSError: it can't be read.
    """
    parts: list[bytes] = []
    entries: list[_Entry] = []
    at = 0
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_symlink() or not path.is_file():
            raise _bad_path(path.name)
        content = path.read_bytes()
        entry = _Entry(_safe(path.name), zlib.crc32(content), len(content), at)
        at = entry.end
        _within(at, MOST_BUNDLE_BYTES)
        entries.append(entry)
        parts += [entry.local(), content]
    _counted(len(entries))
    return b"".join([*parts, _directory(entries)])


def unpack(file: Path, into: Path, most_bytes: int = MOST_BUNDLE_BYTES) -> None:
    """Write an archive's files into an empty folder, on disk when this returns.

    What was written is removed again where it fails.

    Raises:
        UpdateRejected: MALFORMED, TOO_LARGE or BAD_PATH, before anything is written; ALTERED,
            where a file has another checksum; NO_ROOM; INCOMPLETE, where the disk fails.
        ContractError: `into` is not an empty folder.
    """
    if not into.is_dir() or any(into.iterdir()):
        raise ContractError("An archive is unpacked into an empty folder.")
    with kept_on_disk("an update"), file.open("rb") as source:
        entries = _listed(source, most_bytes)
        folder = os.open(into, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for entry in entries:
                _write(source, entry, folder)
            os.fsync(folder)
        except BaseException:
            for entry in entries:
                with suppress(OSError):
                    os.unlink(entry.name, dir_fd=folder)
            raise
        finally:
            os.close(folder)


def _listed(source: BinaryIO, most_bytes: int) -> list[_Entry]:
    """The entries of an archive whose every byte outside its files' content is as `pack` has it."""
    size = source.seek(0, os.SEEK_END)
    _within(size, most_bytes)
    entries: list[_Entry] = []
    at = 0
    while _read_at(source, at, 4, size) == _LOCAL_MARK:
        entry = _entry_at(source, at, size)
        if entries and entries[-1].name >= entry.name:
            raise _malformed("names a file twice, or its files out of order")
        entries.append(entry)
        _counted(len(entries))
        at = entry.end
    _counted(len(entries))
    directory = _directory(entries)
    if size - at != len(directory) or _read_at(source, at, len(directory), size) != directory:
        _refuse_kinds(source, at, size)
        raise _malformed("does not end as it began")
    return entries


def _entry_at(source: BinaryIO, at: int, size: int) -> _Entry:
    raw = _read_at(source, at, _LOCAL.size, size)
    _, _, flags, method, _, _, crc, packed, length, name_bytes, extra = _LOCAL.unpack(raw)
    if flags & 1:
        raise _malformed("has an encrypted file")
    if method or packed != length:
        raise _malformed("has a compressed file")
    if extra or not name_bytes:
        raise _malformed("says more of a file than there is to say")
    name = _safe(_read_at(source, at + _LOCAL.size, name_bytes, size).decode("latin-1"))
    entry = _Entry(name, crc, length, at)
    if entry.end > size:
        raise UpdateRejected(
            Reason.TOO_LARGE, "An archive promises a file that is larger than itself."
        )
    if entry.local() != raw + name.encode():
        raise _malformed("describes a file in an unknown way")
    return entry


def _refuse_kinds(source: BinaryIO, at: int, size: int) -> None:
    """Say so where the directory names a link, a device or a folder: it is worth its own word."""
    while at + _CENTRAL.size <= size and _read_at(source, at, 4, size) == _CENTRAL_MARK:
        fields = _CENTRAL.unpack(_read_at(source, at, _CENTRAL.size, size))
        name_bytes, extra, comment, mode = fields[10], fields[11], fields[12], fields[15] >> 16
        if mode & 0o170000 not in (0, 0o100000):
            raise _bad_path("a link, a device or a folder")
        at += _CENTRAL.size + name_bytes + extra + comment


def _write(source: BinaryIO, entry: _Entry, folder: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    source.seek(entry.content_at)
    left, crc = entry.size, 0
    with os.fdopen(os.open(entry.name, flags, 0o644, dir_fd=folder), "wb") as target:
        while left and (piece := source.read(min(left, _PIECE_BYTES))):
            target.write(piece)
            crc = zlib.crc32(piece, crc)
            left -= len(piece)
        target.flush()
        os.fsync(target.fileno())
    if left or crc != entry.crc:
        raise UpdateRejected(Reason.ALTERED, "A file of an archive is not the one that was packed.")


def _directory(entries: list[_Entry]) -> bytes:
    central = b"".join(entry.central() for entry in entries)
    at = entries[-1].end if entries else 0
    return central + _END.pack(_END_MARK, 0, 0, len(entries), len(entries), len(central), at, 0)


def _read_at(source: BinaryIO, at: int, count: int, size: int) -> bytes:
    if at + count > size:
        raise _malformed("is cut off")
    source.seek(at)
    return source.read(count)


def _safe(name: str) -> str:
    if not SAFE_NAME.match(name):
        raise _bad_path(name)
    return name


def _within(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise UpdateRejected(
            Reason.TOO_LARGE,
            f"An archive is longer than {most_bytes} bytes, more than a bundle is.",
        )


def _counted(files: int) -> None:
    if not 0 < files <= MOST_FILES:
        raise _malformed(f"has no file, or more than {MOST_FILES}")


def _malformed(how: str) -> UpdateRejected:
    return UpdateRejected(Reason.MALFORMED, f"An archive {how}.")


def _bad_path(name: str) -> UpdateRejected:
    return UpdateRejected(
        Reason.BAD_PATH, f"An archive holds what is not a plain file of a bundle: {name[:80]!a}."
    )
