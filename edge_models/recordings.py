"""Reads recordings as a microphone would have heard them; the only place naming soundfile, soxr.

Rules it upholds: whatever the format, what comes out is mono float32 at 16 kHz, in -1..1, in
blocks; the samples don't depend on the block length; a file that can't be heard, or only in part,
is told in one sentence and never becomes silence.

Place in the life of a frame: file → **here** → windows, exactly where a microphone's blocks go.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from edge_models.errors import RecordingError
from edge_models.raw import SAMPLE_RATE_HZ, RawAudio

_RATES_HZ: Final = range(1_000, 384_001)
_MOST_CHANNELS: Final = 64
_VIDEO: Final = {".mp4", ".m4v", ".mpg", ".mpeg", ".mov", ".avi", ".mkv", ".webm", ".gif", ".wmv"}
_CLIPPED_AT: Final = 0.999
_LOUDEST: Final = 100.0
"""Float files go a little above full scale; this far above, they hold integers in disguise."""
_UNTOLD_FRAMES: Final = 2**62  # a FLAC from a pipe does not say how long it is
_UNTOLD_BYTES: Final = 0x7FFF_0000  # nor does a WAV; recorders then write about 2^31 or 2^32
_SHORTER_THAN_TOLD: Final = re.compile(
    r"^ *(?:data|SSND|Data Size) *: *(\d+) +\(should be (\d+)\)", re.M
)
_OGG_END: Final = 0x04  # Source: RFC 3533, section 6, header type flag of the last page
_LONGEST_PAGE: Final = 65_536
_MP3_PADDING: Final = 2 * 1_152  # samples: an encoder's delay and its last, partly filled frame
_COPY_AGAIN: Final = "Copy the file again from where it was recorded."

Samples = npt.NDArray[np.float32]


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its start to its end.

    Told that it can seek, `soundfile` does so after every read: an MP3 decoder then starts anew at
    each block, and a FLAC that does not tell its length fails at its end.
    """

    def seekable(self) -> bool:
        return False


class Resampler:
    """A streaming resampler of mono sound to 16 kHz; at 16 kHz it passes everything through.

    Source: the SoX resampler library, quality HQ.
    """

    def __init__(self, rate_hz: float) -> None:
        self._stream = (
            None
            if rate_hz == SAMPLE_RATE_HZ
            else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        )

    def push(self, samples: Samples, *, last: bool = False) -> Samples:
        """Take samples (n,) in -1..1, give what is ready (m,), in -1..1; `last` gives the rest."""
        if self._stream is None:
            return samples
        ready: Samples = self._stream.resample_chunk(samples, last=last)
        return np.clip(ready, -1.0, 1.0)  # a filter rings beyond full scale where sound is clipped


def read_recording(path: Path, block_s: float = 1.0) -> Iterator[RawAudio]:
    """Yield a recording's sound in blocks of about `block_s` seconds.

    Channels are averaged; 8, 16, 24 and 32 bit and float files are all scaled to -1..1. A file
    that breaks off, or turns bad on its way, yields what came before; then the error is raised.

    Raises:
        RecordingError: absent, empty, corrupt, cut short, not a sound format, a video, or with
            samples that are not numbers.
    """
    with _opened(path) as file:
        resampler = Resampler(file.samplerate)
        block_frames = max(1, round(block_s * file.samplerate))
        first, heard = 0, 0
        whole, ended = True, False
        while not ended:
            frames, whole = _decoded(file, block_frames)
            heard += len(frames)
            mono = _mono(frames, path)
            frames.fill(0)
            ended = len(mono) < block_frames
            ready = resampler.push(mono, last=ended)
            if len(ready):
                yield RawAudio(np.ascontiguousarray(ready, np.float32), first)
                first += len(ready)
        if not whole:
            raise RecordingError(
                f"'{path.name}' is damaged: it can be decoded for {heard / file.samplerate:.1f} s.",
                _COPY_AGAIN,
            )
        if _breaks_off(file, heard, path):
            raise RecordingError(
                f"'{path.name}' breaks off after {heard / file.samplerate:.1f} s: its end is "
                "missing.",
                _COPY_AGAIN,
            )
    if first == 0:
        raise RecordingError(f"'{path.name}' holds no sound (0 seconds).", "Record it again.")


def duration_s(path: Path) -> float:
    """How long a recording says it is, in seconds; of one that does not say, it is counted.

    Raises:
        RecordingError: as `read_recording`.
    """
    with _opened(path) as file:
        if file.frames < _UNTOLD_FRAMES:
            return float(file.frames / file.samplerate)
    return sum(len(block) for block in read_recording(path)) / SAMPLE_RATE_HZ


def clipped_fraction(samples: Samples) -> float:
    """The share of samples (n,) at full scale: above about 0.01 the recording is overdriven."""
    return float(np.mean(np.abs(samples) >= _CLIPPED_AT)) if len(samples) else 0.0


def _opened(path: Path) -> _Forward:
    beginning = _beginning(path)
    # A full path: libsndfile takes the name "-" for the standard input.
    whole = path.absolute()
    convert = f"ffmpeg -i {shlex.quote(str(path))} -ac 1 -ar {SAMPLE_RATE_HZ}"
    wav = shlex.quote(f"{path.stem}-16k.wav")
    if path.suffix.lower() in _VIDEO or _is_video(beginning):
        raise RecordingError(
            f"'{path.name}' is a video: its sound is not read from it.",
            f"Extract its sound first: {convert} {wav}",
        )
    try:
        file = _Forward(os.fsencode(whole))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as fault:
        raise RecordingError(
            f"'{path.name}' can't be decoded as sound.",
            f"Use WAV, FLAC, Ogg or MP3 (or convert it: {convert} {wav}); "
            "if it is one of these, the file is damaged: copy it again.",
        ) from fault
    if file.samplerate not in _RATES_HZ or file.channels > _MOST_CHANNELS:
        file.close()
        raise RecordingError(
            f"'{path.name}' has {file.channels} channels at {file.samplerate} Hz.",
            f"Convert it: {convert} {wav}",
        )
    return file


def _beginning(path: Path) -> bytes:
    """The first bytes of a file that exists, is a plain file, may be read, and isn't empty."""
    try:
        if path.is_dir():
            raise RecordingError(f"'{path}' is a folder.", "Name the recordings in it, one by one.")
        if path.exists() and not path.is_file():  # a named pipe would wait for ever
            raise RecordingError(f"'{path}' is not a plain file.", "Name a recording.")
        with path.open("rb") as file:
            beginning = file.read(12)
    except FileNotFoundError:
        raise RecordingError(f"There is no file '{path}'.", "Check the name.") from None
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "no such name is possible"
        raise RecordingError(
            f"'{path}' can't be read: {reason}.", "Check its name and its permissions."
        ) from fault
    if not beginning:
        raise RecordingError(f"'{path.name}' is empty (0 bytes).", "Record or copy it again.")
    return beginning


def _is_video(beginning: bytes) -> bool:
    """Whether a file begins as MPEG, AVI, MP4 (or QuickTime), Matroska or GIF do."""
    return (
        beginning.startswith((b"\x00\x00\x01\xba", b"\x1a\x45\xdf\xa3", b"GIF8"))
        or (beginning[:4] == b"RIFF" and beginning[8:12] == b"AVI ")
        or (beginning[4:8] == b"ftyp" and beginning[8:11] != b"M4A")
    )


def _decoded(file: _Forward, frames: int) -> tuple[Samples, bool]:
    """The next frames (up to `frames`, channels), and whether the decoder got through them."""
    decoded = np.full((frames, file.channels), np.nan, np.float32)
    try:
        return file.read(frames, dtype="float32", always_2d=True, out=decoded), True
    except (soundfile.SoundFileError, RuntimeError):
        # The formats that can fail hold integers, so NaN shows how far the decoder came.
        return decoded[: int(np.argmax(np.append(np.isnan(decoded[:, 0]), True)))], False


def _mono(frames: Samples, path: Path) -> Samples:
    if not np.isfinite(frames).all():
        raise RecordingError(
            f"'{path.name}' holds samples that are not numbers (NaN or infinite).",
            "Export it again as 16-bit WAV or FLAC.",
        )
    if len(frames) and max(frames.max(), -frames.min()) > _LOUDEST:
        raise RecordingError(
            f"'{path.name}' is a float file whose samples are not in -1..1.",
            "Divide them by full scale (32768 for 16 bits), or export it as 16-bit WAV.",
        )
    mono: Samples = frames.mean(axis=1, dtype=np.float32) if frames.shape[1] > 1 else frames[:, 0]
    return np.clip(mono, -1.0, 1.0)


def _breaks_off(file: _Forward, heard: int, path: Path) -> bool:
    """Whether the file's own words promise more sound than it holds."""
    if file.format == "OGG":
        return not _ends_as_ogg(path)
    if file.format == "MP3":
        return heard + _MP3_PADDING < file.frames and _tells_its_length(path)
    if heard < file.frames < _UNTOLD_FRAMES:
        return True
    told = ((int(a), int(b)) for a, b in _SHORTER_THAN_TOLD.findall(file.extra_info))
    return any(held < promised < _UNTOLD_BYTES for promised, held in told)


def _ends_as_ogg(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_PAGE))
        end = file.read()
    page = end.rfind(b"OggS")
    return 0 <= page < len(end) - 5 and bool(end[page + 5] & _OGG_END)


def _tells_its_length(path: Path) -> bool:
    """Whether an MP3 begins with a count of its frames; else its length is an estimate."""
    with path.open("rb") as file:
        beginning = file.read(_LONGEST_PAGE)
    return b"Xing" in beginning or b"Info" in beginning
