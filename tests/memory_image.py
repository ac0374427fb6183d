"""Looks for raw sound or pixels in bytes, files and another process's memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_PIECE_SAMPLES = 24
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Needles:
    """Short runs of a recording in every form that raw data takes in memory or on a wire."""

    patterns: tuple[bytes, ...]

    @staticmethod
    def of_sound(samples: npt.NDArray[np.int16], every: int = 997) -> "Needles":
        """Runs of int16 samples (n,): as int16, as float32 in -1..1, as float32 unscaled."""
        forms = (samples, samples.astype(np.float32) / 32768, samples.astype(np.float32))
        found = []
        for start in range(0, len(samples) - _PIECE_SAMPLES, every):
            piece = slice(start, start + _PIECE_SAMPLES)
            if len(np.unique(samples[piece])) > _PIECE_SAMPLES // 2:
                found += [form[piece].tobytes() for form in forms]
        return Needles(tuple(found))

    @staticmethod
    def of_picture(pixels: npt.NDArray[np.uint8], every: int = 37) -> "Needles":
        """Runs of an RGB picture (h, w, 3): its rows as RGB and as BGR."""
        found = []
        for form in (pixels, pixels[:, :, ::-1]):
            rows = np.ascontiguousarray(form).reshape(len(pixels), -1)
            for row in rows[::7]:
                for start in range(0, len(row) - 48, every * 3):
                    piece = row[start : start + 48]
                    if len(np.unique(piece)) > 12:
                        found.append(piece.tobytes())
        return Needles(tuple(found))

    def count_in(self, haystack: bytes) -> int:
        """How many of the runs occur."""
        return sum(pattern in haystack for pattern in self.patterns)


def files_below(folder: Path) -> Iterator[bytes]:
    """The content of each file below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


def traced_writes(trace: Path) -> bytes:
    """Everything that an `strace -xx` log shows as written or sent, as bytes."""
    hexadecimal = re.compile(r'"((?:\\x[0-9a-f]{2})+)"')
    pieces = []
    for line in trace.read_text(encoding="ascii", errors="replace").splitlines():
        for match in hexadecimal.finditer(line):
            pieces.append(bytes.fromhex(match.group(1).replace("\\x", "")))
    return b"".join(pieces)


def memory_of(pid: int) -> Iterator[bytes]:
    """The writable memory of another process, as a core dump would hold it."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="ascii", errors="replace")
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps.splitlines():
            area, mode, *_ = line.split()
            start, end = (int(word, 16) for word in area.split("-"))
            if not mode.startswith("rw") or "[vvar" in line:
                continue
            tail = b""
            for place in range(start, end, _CHUNK_BYTES):
                try:
                    memory.seek(place)
                    chunk = memory.read(min(_CHUNK_BYTES, end - place))
                except OSError:
                    break  # a page that the kernel does not show
                yield tail + chunk
                tail = chunk[-4096:]
