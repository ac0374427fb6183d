"""Opens microphones by PortAudio; the only place that names pyaudio.

PortAudio lists devices when it is initialised, so each opening initialises it anew: a microphone
that was plugged in meanwhile is found. The chatter of ALSA and JACK on stderr is silenced while it
does; what is wrong is said by us, in one sentence.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pyaudio

from agent.frames import GapReason
from agent.microphone import BLOCK_S, Lost, OnBlock, OpenStream
from edge_models.raw import SAMPLE_RATE_HZ

_DEVICE_UNAVAILABLE: Final = -9985
_INVALID_RATE: Final = -9997
_ERROR_HANDLER = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)


def _ignore(*_: object) -> None:
    """ALSA reports every device that it tries; we report the one that matters."""


_say_nothing = _ERROR_HANDLER(_ignore)  # kept alive for as long as ALSA may call it


class PortAudio:
    """The real backend of `agent.microphone.Microphone`."""

    @contextmanager
    def opened(self, device: str, on_block: OnBlock) -> Iterator[OpenStream]:
        """Open "default" or the first input whose name contains `device`; see `Backend.opened`."""
        with _initialised() as audio:
            stream = _open(audio, _find(audio, device), on_block)
            try:
                yield stream
            finally:
                stream.close()


def input_names() -> list[str]:
    """The names of all microphones that can be chosen."""
    with _initialised() as audio:
        return [str(entry["name"]) for entry in _inputs(audio)]


@contextmanager
def _initialised() -> Iterator[Any]:
    with _quiet_stderr():
        _silence_alsa()
        audio = pyaudio.PyAudio()
    try:
        yield audio
    finally:
        audio.terminate()


def _silence_alsa() -> None:
    try:
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_say_nothing)
    except (OSError, AttributeError):
        return  # not ALSA: nothing to silence


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send the C libraries' stderr nowhere for a moment; our own messages are not in it."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _inputs(audio: Any) -> list[Mapping[str, Any]]:
    entries = [audio.get_device_info_by_index(i) for i in range(audio.get_device_count())]
    return [entry for entry in entries if entry["maxInputChannels"] > 0]


def _find(audio: Any, device: str) -> Mapping[str, Any]:
    inputs = _inputs(audio)
    if not inputs:
        raise Lost(GapReason.ABSENT, "There is no microphone on this machine. Plug one in.")
    if device == "default":
        try:
            chosen: Mapping[str, Any] = audio.get_default_input_device_info()
        except OSError:
            return inputs[0]
        return chosen
    for entry in inputs:
        if device.lower() in str(entry["name"]).lower():
            return entry
    names = ", ".join(f"'{entry['name']}'" for entry in inputs)
    raise Lost(GapReason.ABSENT, f"There is no microphone '{device}'. There are: {names}.")


class _Stream:
    """An open PortAudio stream."""

    def __init__(self, stream: Any, rate_hz: int) -> None:
        self._stream = stream
        self._rate_hz = rate_hz

    @property
    def rate_hz(self) -> int:
        return self._rate_hz

    def alive(self) -> bool:
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def close(self) -> None:
        try:
            self._stream.close()
        except OSError:
            return  # it went away by itself


def _open(audio: Any, entry: Mapping[str, Any], on_block: OnBlock) -> _Stream:
    def called_back(sound: bytes, *_: object) -> tuple[None, int]:
        on_block(np.frombuffer(sound, np.int16))
        return None, pyaudio.paContinue

    rates = dict.fromkeys((SAMPLE_RATE_HZ, round(entry["defaultSampleRate"])))
    for rate_hz in rates:
        try:
            with _quiet_stderr():
                stream = audio.open(
                    rate_hz,
                    1,
                    pyaudio.paInt16,
                    input=True,
                    input_device_index=entry["index"],
                    frames_per_buffer=round(rate_hz * BLOCK_S),
                    stream_callback=called_back,
                )
            return _Stream(stream, rate_hz)
        except OSError as fault:
            code = next((arg for arg in fault.args if isinstance(arg, int)), 0)
            if code == _INVALID_RATE:
                continue
            if code == _DEVICE_UNAVAILABLE:
                raise Lost(
                    GapReason.BUSY,
                    f"Another program holds the microphone '{entry['name']}'. Close it.",
                ) from fault
            raise Lost(
                GapReason.ABSENT,
                f"The microphone '{entry['name']}' can't be opened (PortAudio {code}). "
                "Plug it in again, or choose another.",
            ) from fault
    raise Lost(GapReason.ABSENT, f"The microphone '{entry['name']}' offers no usable sample rate.")
