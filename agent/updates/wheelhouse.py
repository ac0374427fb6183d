"""A release's wheels, and the virtual environment that is made of them without any network.

Rules it upholds: a wheel is believed by its hash, wherever it came from; one that an older release
had is kept by its hash and not fetched again; what is inside is looked at (names, links, sizes, a
bomb) before pip sees it; pip is told every file, so it chooses nothing, asks nobody and builds
nothing; nothing of a wheel runs while it is installed, for a wheel has no script that would.

A virtual environment can't be moved, so it is made where it stays: a slot's own folder.

In the life of a release: list of wheels → **here** → idle slot → `release_trial` → `current`.

Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import ensurepip
import errno
import hashlib
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from agent.updates.child import Ended, run_child
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.wheels import Wheel

MOST_UNPACKED_BYTES: Final = 2 * 1024 * 1024 * 1024
"""Of a whole release; today's takes a third of it."""
MOST_ENTRIES: Final = 30_000
INSTALL_LIMIT_S: Final = 900.0
"""A Raspberry Pi 4 with a slow card takes a few minutes."""

SCRATCH: Final = ".scratch-"
"""How folders begin that lie beside the slots while one is filled."""

_RUN_PIP: Final = (
    "import runpy, sys; sys.path.insert(0, sys.argv[1]); sys.argv[:2] = ['pip']; "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)
_PIECE_BYTES: Final = 256 * 1024
_MOST_NAME_BYTES: Final = 512
_SPARE_BYTES: Final = 64 * 1024 * 1024
_SPREAD: Final = 1.5
"""Room that is asked for, over what is unpacked: compiled Python, and a file system's blocks."""
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    OverflowError,
)  # fmt: skip
"""What `zipfile` raises over bytes that are no zip, or one of a kind that is not used here."""


class Wheelhouse:
    """Wheels in `folder`, each as `<sha256>.<file>`; those of the running release stay there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, wheel: Wheel) -> bool:
        """Whether it is here, by name and size; its hash is checked when it is used."""
        try:
            found = self._place(wheel).lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == wheel.bytes

    def missing(self, wheels: Iterable[Wheel]) -> tuple[Wheel, ...]:
        """Those that have to be fetched."""
        return tuple(wheel for wheel in wheels if not self.has(wheel))

    def add(self, wheel: Wheel, file: Path) -> None:
        """Keep a copy of this file, if it is that wheel.

        Raises:
            UpdateRejected: ALTERED, INCOMPLETE (there is no such file) or NO_ROOM.
        """
        if self.has(wheel):
            return
        with _disk_faults():
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            beside = self.folder / f".{wheel.sha256}.new"
            try:
                with _opened(wheel, file) as source, beside.open("wb") as kept:
                    _check_bytes(wheel, source, kept)
                    kept.flush()
                    os.fsync(kept.fileno())
                beside.replace(self._place(wheel))
            finally:
                beside.unlink(missing_ok=True)

    def lay_out(self, wheels: Iterable[Wheel], folder: Path) -> tuple[Path, ...]:
        """Links under the wheels' own names, each wheel checked; `folder` is on the same disk.

        Raises:
            UpdateRejected: INCOMPLETE names a wheel that is not here; ALTERED one that was damaged
                on the disk, and is gone now so that it is fetched again; NO_ROOM.
        """
        laid = []
        with _disk_faults():
            for wheel in wheels:
                place = self._place(wheel)
                try:
                    with _opened(wheel, place) as source:
                        _check_bytes(wheel, source)
                except UpdateRejected as fault:
                    if fault.reason is Reason.ALTERED:
                        place.unlink(missing_ok=True)
                    raise
                laid.append(folder / wheel.file)
                laid[-1].hardlink_to(place)
        return tuple(laid)

    def keep_only(self, wheels: Iterable[Wheel]) -> None:
        """Remove all other wheels, such as those of the release before the last."""
        wanted = {self._place(wheel).name for wheel in wheels}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name not in wanted and not path.is_dir():
                path.unlink(missing_ok=True)

    def _place(self, wheel: Wheel) -> Path:
        return self.folder / f"{wheel.sha256}.{wheel.file}"


def check_wheel(file: Path, most_bytes: int = MOST_UNPACKED_BYTES) -> int:
    """How many bytes are in this wheel; every one of them was unpacked, to nowhere, and counted.

    Raises:
        UpdateRejected: MALFORMED, BAD_PATH or TOO_LARGE; names the wheel.
    """
    total = 0
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_ENTRIES or sum(e.file_size for e in entries) > most_bytes:
                raise _too_large(file)
            seen = set()
            for entry in entries:
                _check_name(file, entry)
                if entry.filename in seen:
                    raise _malformed(file, "names a file twice")
                seen.add(entry.filename)
                total += _unpacked(file, archive, entry)
    except _BROKEN as fault:
        raise _malformed(file, f"can't be unpacked ({type(fault).__name__})") from None
    return total


def build_environment(
    wheels: Sequence[Path],
    slot: Path,
    *,
    python: Path | None = None,
    limit_s: float = INSTALL_LIMIT_S,
) -> None:
    """Make a virtual environment of exactly these wheels in the empty folder `slot`, offline.

    Each wheel must have been checked. `python` makes it (default: the one of this process).

    Raises:
        UpdateRejected: INCOMPLETE (Python or pip refuses, or takes too long) or NO_ROOM.
    """
    base = python or base_python()
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=slot.parent) as scratch:
        environment = _quiet_environment(Path(scratch))
        bare = [str(base), "-I", "-m", "venv", "--without-pip", str(slot)]
        _check(run_child(bare, limit_s, environment), "made", slot)
        # Every file by its name: pip has nothing to find, so it needs no --find-links.
        pip = [str(slot / "bin" / "python"), "-I", "-c", _RUN_PIP, str(pip_wheel()), "--isolated"]
        pip += ["--disable-pip-version-check", "--no-input", "--no-cache-dir", "install", "--quiet"]
        pip += ["--no-index", "--no-deps", "--only-binary=:all:", *map(str, wheels)]
        _check(run_child(pip, limit_s, environment), "filled", slot)


def base_python() -> Path:
    """The interpreter that this one's virtual environment was made with."""
    major, minor = sys.version_info[:2]
    return Path(sys.base_prefix) / "bin" / f"python{major}.{minor}"


def pip_wheel() -> Path:
    """The pip that comes with Python for `ensurepip`; it runs from its wheel, and leaves no trace.

    Raises:
        UpdateRejected: INCOMPLETE, this Python came without it.
    """
    elsewhere = sysconfig.get_config_var("WHEEL_PKG_DIR")  # Debian's place
    folders = [Path(elsewhere)] if elsewhere else []
    folders.append(Path(ensurepip.__file__).parent / "_bundled")
    found = next((file for folder in folders for file in folder.glob("pip-*.whl")), None)
    if found is None:
        raise UpdateRejected(
            Reason.INCOMPLETE,
            "This device's Python has no pip to install with.",
            "sudo apt-get install python3-venv",
        )
    return found


def check_room(folder: Path, unpacked_bytes: int) -> None:
    """Refuse a release that the disk has no room for, before a byte of it is written.

    Raises:
        UpdateRejected: NO_ROOM.
    """
    needed = int(unpacked_bytes * _SPREAD) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UpdateRejected(
            Reason.NO_ROOM,
            f"The new version needs {needed // 2**20} MiB on the disk; {free // 2**20} are free.",
            "Make room; it is tried again. What runs now stays as it is.",
        )


def _quiet_environment(scratch: Path) -> dict[str, str]:
    """Nothing of ours but where programs are: no proxies, no settings of pip, no home."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
    }


def _check(ended: Ended, what: str, slot: Path) -> None:
    if ended.code == 0 and not ended.was_late:
        return
    if "No space left on device" in ended.said or "[Errno 28]" in ended.said:
        raise _no_room()
    if ended.was_late:
        why = "it took too long"
    else:
        lines = [line for line in ended.said.splitlines() if line.strip()]
        why = lines[-1].removeprefix("ERROR: ")[:300].rstrip(".") if lines else "no reason given"
    raise UpdateRejected(
        Reason.INCOMPLETE,
        f"The new version's folder could not be {what}: {why}.".replace(f"{slot.parent}/", ""),
    )


def _check_name(file: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    parts = name.removesuffix("/").split("/")
    odd = any(ord(letter) < 32 or letter in "\\\x7f" for letter in name)
    if odd or len(name.encode(errors="replace")) > _MOST_NAME_BYTES:
        raise _bad_path(file)
    if any(part in ("", ".", "..") for part in parts):
        raise _bad_path(file)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _bad_path(file)
    if entry.flag_bits & 1 or entry.compress_type not in _COMPRESSIONS:
        raise _malformed(file, "is encrypted or packed in an unusual way")


def _unpacked(file: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """The entry's length, counted; `zipfile` checks its CRC at the end, and gives no byte more."""
    count = 0
    with archive.open(entry) as content:
        while piece := content.read(_PIECE_BYTES):
            count += len(piece)
    if count != entry.file_size:
        raise _malformed(file, "holds less than it says")
    return count


@contextmanager
def _opened(wheel: Wheel, path: Path) -> Iterator[BinaryIO]:
    """A plain file, opened without following a link or waiting for a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except OSError:
        raise _not_there(wheel) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _not_there(wheel)
    with os.fdopen(handle, "rb") as file:
        yield file


def _check_bytes(wheel: Wheel, source: BinaryIO, copy: BinaryIO | None = None) -> None:
    digest, count = hashlib.sha256(), 0
    while count <= wheel.bytes and (piece := source.read(_PIECE_BYTES)):
        count += len(piece)
        digest.update(piece)
        if copy is not None:
            copy.write(piece)
    if count != wheel.bytes or digest.hexdigest() != wheel.sha256:
        raise UpdateRejected(
            Reason.ALTERED, f"The wheel '{wheel.file}' is not the one that was signed for."
        )


@contextmanager
def _disk_faults() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno in _FULL:
            raise _no_room() from fault
        raise UpdateRejected(
            Reason.NO_ROOM, f"Wheels can't be kept on this disk ({fault.strerror})."
        ) from fault


def _not_there(wheel: Wheel) -> UpdateRejected:
    return UpdateRejected(
        Reason.INCOMPLETE, f"The wheel '{wheel.file}' of the new version is not there."
    )


def _no_room() -> UpdateRejected:
    return UpdateRejected(
        Reason.NO_ROOM,
        "There is no room on the disk for the new version.",
        "Make room; it is tried again. What runs now stays as it is.",
    )


def _bad_path(file: Path) -> UpdateRejected:
    return UpdateRejected(
        Reason.BAD_PATH, f"The wheel '{file.name[:80]}' holds a name that leads elsewhere."
    )


def _too_large(file: Path) -> UpdateRejected:
    return UpdateRejected(
        Reason.TOO_LARGE, f"The wheel '{file.name[:80]}' would take more room than a release may."
    )


def _malformed(file: Path, how: str) -> UpdateRejected:
    return UpdateRejected(Reason.MALFORMED, f"The wheel '{file.name[:80]}' {how}.")
