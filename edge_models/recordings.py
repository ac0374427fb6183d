"""Reads recordings as a microphone would have heard them; the only place naming soundfile, soxr.

Rules it upholds: whatever the format, what comes out is mono float32 at 16 kHz in blocks; the
samples don't depend on the block length; a file that can't be heard is told in one sentence, and
never becomes silence.

Place in the life of a frame: file → **here** → windows, exactly where a microphone's blocks go.
"""

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
_VIDEO: Final = {".mp4", ".mpg", ".mpeg", ".mov", ".avi", ".mkv", ".webm", ".gif"}
_CLIPPED_AT: Final = 0.999

Samples = npt.NDArray[np.float32]


class Resampler:
    """A streaming resampler of mono sound to 16 kHz; at 16 kHz it passes everything through.

    Source: the SoX resampler library, quality HQ.
    """

    def __init__(self, rate_hz: int) -> None:
        self._stream = (
            None
            if rate_hz == SAMPLE_RATE_HZ
            else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        )

    def push(self, samples: Samples, *, last: bool = False) -> Samples:
        """Take samples (n,), give what is ready (m,); `last` gives the rest."""
        if self._stream is None:
            return samples
        ready: Samples = self._stream.resample_chunk(samples, last=last)
        return ready


def read_recording(path: Path, block_s: float = 1.0) -> Iterator[RawAudio]:
    """Yield a recording's sound in blocks of about `block_s` seconds.

    Channels are averaged; 8, 16, 24 and 32 bit and float files are all scaled to -1..1. A file
    that breaks off yields what could be decoded before the error is raised.

    Raises:
        RecordingError: absent, empty, corrupt, not a sound format, a video, or with samples that
            are not numbers.
    """
    with _opened(path) as file:
        resampler = Resampler(file.samplerate)
        block_frames = max(1, round(block_s * file.samplerate))
        first, heard = 0, 0
        while True:
            frames = _decoded(file, block_frames, path)
            heard += len(frames)
            mono = _mono(frames, path)
            ready = resampler.push(mono, last=len(frames) == 0)
            if len(ready):
                yield RawAudio(np.ascontiguousarray(ready, np.float32), first)
                first += len(ready)
            frames.fill(0)
            if len(mono) == 0:
                break
        if heard < file.frames:
            raise RecordingError(
                f"'{path.name}' breaks off after {heard / file.samplerate:.1f} s of "
                f"{file.frames / file.samplerate:.1f} s.",
                "Copy the file again from where it was recorded.",
            )
    if heard == 0:
        raise RecordingError(f"'{path.name}' holds no sound (0 seconds).", "Record it again.")


def duration_s(path: Path) -> float:
    """How long a recording says it is, in seconds.

    Raises:
        RecordingError: as `read_recording`, from what the header tells.
    """
    with _opened(path) as file:
        return float(file.frames / file.samplerate)


def clipped_fraction(samples: Samples) -> float:
    """The share of samples (n,) at full scale: above about 0.01 the recording is overdriven."""
    return float(np.mean(np.abs(samples) >= _CLIPPED_AT)) if len(samples) else 0.0


def _opened(path: Path) -> soundfile.SoundFile:
    if not path.exists():
        raise RecordingError(f"There is no file '{path}'.", "Check the name.")
    if path.is_dir():
        raise RecordingError(f"'{path}' is a folder.", "Name the recordings in it, one by one.")
    if path.suffix.lower() in _VIDEO:
        raise RecordingError(
            f"'{path.name}' is a video: its sound is not read from it.",
            f"Extract it first: ffmpeg -i {path.name} -ac 1 -ar 16000 {path.stem}.wav",
        )
    if path.stat().st_size == 0:
        raise RecordingError(f"'{path.name}' is empty (0 bytes).", "Record or copy it again.")
    try:
        file = soundfile.SoundFile(str(path))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as fault:
        raise RecordingError(
            f"'{path.name}' can't be decoded as sound.",
            "Use WAV, FLAC, Ogg or MP3; if it is one of these, the file is damaged: copy it again.",
        ) from fault
    if file.samplerate not in _RATES_HZ or file.channels > 64:
        file.close()
        raise RecordingError(
            f"'{path.name}' has {file.channels} channels at {file.samplerate} Hz.",
            "Convert it to mono at 16 kHz: ffmpeg -i FILE -ac 1 -ar 16000 OUT.wav",
        )
    return file


def _decoded(file: soundfile.SoundFile, frames: int, path: Path) -> Samples:
    try:
        decoded: Samples = file.read(frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as fault:
        raise RecordingError(
            f"'{path.name}' is damaged: decoding stopped at {file.tell() / file.samplerate:.1f} s.",
            "Copy the file again from where it was recorded.",
        ) from fault
    return decoded


def _mono(frames: Samples, path: Path) -> Samples:
    if not np.isfinite(frames).all():
        raise RecordingError(
            f"'{path.name}' holds samples that are not numbers (NaN or infinite).",
            "Export it again as 16-bit WAV or FLAC.",
        )
    mono: Samples = frames.mean(axis=1, dtype=np.float32) if frames.shape[1] > 1 else frames[:, 0]
    return np.clip(mono, -1.0, 1.0)
