"""Opens microphones by PortAudio; the only place that names pyaudio.

PortAudio lists devices when it is initialised, so each opening initialises it anew: a microphone
that was plugged in meanwhile is found. ALSA and JACK report to stderr whatever they try; they are
given reporters that say nothing. What is wrong is said by us, in one sentence.
"""

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyaudio

from agent.capture.frames import GapReason
from agent.capture.sound_device import BLOCK_S, MicrophoneFault, OnBlock, OpenStream
from edge_models.quiet import native_chatter_held_back
from edge_models.raw import SAMPLE_RATE_HZ

_INVALID_DEVICE: Final = -9996
_INVALID_RATE: Final = -9997
_DEVICE_UNAVAILABLE: Final = -9985

_ALSA_REPORTER = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)
_JACK_REPORTER = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


def _say_nothing(*_: object) -> None:
    """Takes the place of a C library's reporter."""


# Kept alive for as long as the libraries may call them: always.
_alsa_says_nothing: Final = _ALSA_REPORTER(_say_nothing)
_jack_says_nothing: Final = _JACK_REPORTER(_say_nothing)


@dataclass(frozen=True, slots=True)
class InputDevice:
    """A microphone that can be chosen by its name, or by a part of it."""

    name: str
    rate_hz: int
    channels: int


class PortAudio:
    """The real backend of `agent.capture.microphone.Microphone`."""

    @contextmanager
    def opened(self, device: str, on_block: OnBlock) -> Iterator[OpenStream]:
        """Open "default" or the first input whose name contains `device`; see `Backend.opened`."""
        with _initialised() as audio:
            stream = _open(audio, _find(audio, device), on_block)
            try:
                yield stream
            finally:
                stream.close()


def list_devices() -> tuple[InputDevice, ...]:
    """All microphones that can be chosen at this moment."""
    with _initialised() as audio:
        return tuple(
            InputDevice(
                str(entry["name"]),
                round(entry["defaultSampleRate"]),
                int(entry["maxInputChannels"]),
            )
            for entry in _inputs(audio)
        )


@contextmanager
def _initialised() -> Iterator[Any]:
    _silence_reporters()
    audio = pyaudio.PyAudio()
    try:
        yield audio
    finally:
        audio.terminate()


def _silence_reporters() -> None:
    """Source: alsa-lib snd_lib_error_set_handler; JACK jack_set_error_function, …_info_function."""
    with suppress(OSError, AttributeError):  # not there: nothing to silence
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_alsa_says_nothing)
    with suppress(OSError, AttributeError):
        jack = ctypes.CDLL("libjack.so.0")
        jack.jack_set_error_function(_jack_says_nothing)
        jack.jack_set_info_function(_jack_says_nothing)


def _inputs(audio: Any) -> list[Mapping[str, Any]]:
    entries = [audio.get_device_info_by_index(i) for i in range(audio.get_device_count())]
    return [entry for entry in entries if entry["maxInputChannels"] > 0]


def _find(audio: Any, device: str) -> Mapping[str, Any]:
    inputs = _inputs(audio)
    if not inputs:
        raise MicrophoneFault(
            GapReason.ABSENT,
            "There is no microphone that this user may open.",
            "Plug one in; if there is one, add the user to the group 'audio' and log in again.",
        )
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
    raise MicrophoneFault(
        GapReason.ABSENT, f"There is no microphone '{device}'.", f"There are: {names}."
    )


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
        with suppress(OSError):  # it went away by itself
            self._stream.close()


def _open(audio: Any, entry: Mapping[str, Any], on_block: OnBlock) -> _Stream:
    def called_back(sound: bytes, *_: object) -> tuple[None, int]:
        on_block(np.frombuffer(sound, np.int16))
        return None, pyaudio.paContinue

    rates = dict.fromkeys((SAMPLE_RATE_HZ, round(entry["defaultSampleRate"])))
    for rate_hz in rates:
        try:
            with native_chatter_held_back():
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
            if code != _INVALID_RATE:
                raise _explained(code, str(entry["name"])) from fault
    raise MicrophoneFault(
        GapReason.ABSENT,
        f"The microphone '{entry['name']}' offers no usable sample rate.",
        "Choose another.",
    )


def _explained(code: int, name: str) -> MicrophoneFault:
    if code in (_DEVICE_UNAVAILABLE, _INVALID_DEVICE):
        return MicrophoneFault(
            GapReason.BUSY,
            f"Another program holds the microphone '{name}'.",
            "Close that program; the microphone is tried again by itself.",
        )
    return MicrophoneFault(
        GapReason.ABSENT,
        f"The microphone '{name}' can't be opened (PortAudio {code}).",
        "Plug it in again, or choose another.",
    )
