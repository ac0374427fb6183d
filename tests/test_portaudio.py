"""What PortAudio answers, told to a person; the real library is in test_pulse_capture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyaudio
import pytest

from agent.capture.frames import GapReason
from agent.capture.portaudio import InputDevice, PortAudio, list_devices
from agent.capture.sound_device import MicrophoneFault

_Entry = dict[str, Any]


def _entry(index: int, name: str, rate_hz: float = 48_000.0, inputs: int = 1) -> _Entry:
    return {
        "index": index,
        "name": name,
        "defaultSampleRate": rate_hz,
        "maxInputChannels": inputs,
    }


@dataclass
class FakePortAudio:
    """Devices, and the error code with which they refuse a rate."""

    entries: list[_Entry]
    refusals: dict[int, int] = field(default_factory=dict)
    active: bool = True
    terminated: int = 0
    closed: int = 0

    def __call__(self) -> "FakePortAudio":
        return self

    def get_device_count(self) -> int:
        return len(self.entries)

    def get_device_info_by_index(self, index: int) -> _Entry:
        return self.entries[index]

    def get_default_input_device_info(self) -> _Entry:
        raise OSError("No Default Input Device Available")

    def open(self, rate_hz: int, *_: object, **options: Any) -> "FakePortAudio":
        if rate_hz in self.refusals:
            raise OSError(self.refusals[rate_hz], "refused")
        self.rate_hz, self.options = rate_hz, options
        return self

    def is_active(self) -> bool:
        return self.active

    def close(self) -> None:
        self.closed += 1

    def terminate(self) -> None:
        self.terminated += 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakePortAudio]:
    def install(*entries: _Entry, **refusals: Any) -> FakePortAudio:
        fake = FakePortAudio(list(entries), **refusals)
        monkeypatch.setattr(pyaudio, "PyAudio", fake)
        return fake

    return install


def _refused(device: str = "default") -> MicrophoneFault:
    with pytest.raises(MicrophoneFault) as failure, PortAudio().opened(device, lambda block: None):
        pass
    assert failure.value.remedy
    return failure.value


def test_a_machine_without_a_microphone_says_so(library: Callable[..., FakePortAudio]) -> None:
    fake = library(_entry(0, "speakers", inputs=0))
    assert _refused().reason is GapReason.ABSENT
    assert fake.terminated == 1
    assert list_devices() == ()


def test_an_unknown_name_is_answered_with_the_known_ones(
    library: Callable[..., FakePortAudio],
) -> None:
    library(_entry(0, "speakers", inputs=0), _entry(1, "USB mic"), _entry(2, "pulse"))
    fault = _refused("Bluetooth")
    assert fault.reason is GapReason.ABSENT
    assert fault.remedy == "There are: 'USB mic', 'pulse'."
    assert list_devices()[0] == InputDevice("USB mic", 48_000, 1)


def test_a_part_of_a_name_chooses_whatever_its_case(library: Callable[..., FakePortAudio]) -> None:
    fake = library(_entry(0, "HDMI", inputs=0), _entry(1, "Array"), _entry(2, "USB Mic: Audio"))
    with PortAudio().opened("usb mic", lambda block: None) as stream:
        assert stream.alive()
        assert stream.rate_hz == 16_000
    assert fake.options["input_device_index"] == 2
    assert (fake.closed, fake.terminated) == (1, 1)


def test_a_device_that_refuses_16_khz_is_opened_at_its_own_rate(
    library: Callable[..., FakePortAudio],
) -> None:
    fake = library(_entry(0, "mic", 44_100.0), refusals={16_000: -9997})
    heard: list[np.ndarray] = []
    with PortAudio().opened("default", lambda block: heard.append(block.copy())) as stream:
        assert stream.rate_hz == 44_100
        assert fake.options["frames_per_buffer"] == 4_410
        answer = fake.options["stream_callback"](np.arange(882, dtype=np.int16).tobytes(), 882)
    assert answer == (None, pyaudio.paContinue)
    assert np.array_equal(heard[0], np.arange(882))


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (-9985, GapReason.BUSY, "Another program holds"),
        (-9996, GapReason.BUSY, "Another program holds"),
        (-9999, GapReason.ABSENT, "PortAudio -9999"),
    ],
)
def test_refusals_are_told_apart(
    library: Callable[..., FakePortAudio], code: int, reason: GapReason, words: str
) -> None:
    fake = library(_entry(0, "mic"), refusals={16_000: code})
    fault = _refused()
    assert fault.reason is reason
    assert words in fault.cause
    assert fake.terminated == 1


def test_a_device_that_refuses_every_rate_says_so(library: Callable[..., FakePortAudio]) -> None:
    library(_entry(0, "mic"), refusals={16_000: -9997, 48_000: -9997})
    assert "no usable sample rate" in _refused().cause


def test_a_stream_that_went_away_is_not_alive_and_closes_quietly(
    library: Callable[..., FakePortAudio], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: FakePortAudio) -> bool:
        raise OSError(-9988, "Stream closed")

    fake = library(_entry(0, "mic"))
    monkeypatch.setattr(FakePortAudio, "is_active", gone)
    monkeypatch.setattr(FakePortAudio, "close", gone)
    with PortAudio().opened("mic", lambda block: None) as stream:
        assert not stream.alive()
    assert fake.terminated == 1
