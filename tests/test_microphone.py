"""A microphone that misbehaves in every known way, played by a fake device."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from agent.frames import Gap, GapReason, Sensor
from agent.microphone import Lost, Microphone, OnBlock, OpenStream, Patience
from agent.recorded import recorded
from agent.sensing import Indicator
from edge_models.raw import RawAudio

QUICK = Patience(
    first_block_s=0.3,
    stalled_s=0.2,
    silent_s=0.2,
    queue_s=0.2,
    retry_first_s=0.01,
    retry_most_s=0.04,
)
Act = Callable[["FakeDevice", OnBlock], None]


@dataclass
class FakeDevice:
    """Plays one act after another each time it is opened; the last one is repeated."""

    acts: list[Act]
    rate_hz: int = 16_000
    plugged: bool = True
    opened_at: list[float] = field(default_factory=list)

    def alive(self) -> bool:
        return self.plugged

    @contextmanager
    def opened(self, device: str, on_block: OnBlock) -> Iterator[OpenStream]:
        self.opened_at.append(time.monotonic())
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        player = threading.Thread(target=act, args=(self, on_block), daemon=True)
        if act in (busy, absent):
            act(self, on_block)
        player.start()
        yield self


def speak(device: FakeDevice, on_block: OnBlock) -> None:
    for number in range(200):
        on_block(np.full(device.rate_hz // 50, number % 100 + 1, np.int16))
        time.sleep(0.002)


def say_a_little_and_vanish(device: FakeDevice, on_block: OnBlock) -> None:
    on_block(np.ones(320, np.int16))
    device.plugged = False


def say_a_little_and_stall(device: FakeDevice, on_block: OnBlock) -> None:
    device.plugged = True
    on_block(np.ones(320, np.int16))


def be_silent(device: FakeDevice, on_block: OnBlock) -> None:
    for _ in range(40):
        on_block(np.zeros(320, np.int16))
        time.sleep(0.001)


def busy(device: FakeDevice, on_block: OnBlock) -> None:
    raise Lost(GapReason.BUSY, "Another program holds the microphone.")


def absent(device: FakeDevice, on_block: OnBlock) -> None:
    raise Lost(GapReason.ABSENT, "There is no microphone.")


def _hear(device: FakeDevice, until: Callable[[RawAudio | Gap], bool]) -> list[RawAudio | Gap]:
    indicator = Indicator()
    microphone = Microphone("default", backend=device, indicator=indicator, patience=QUICK)
    heard = []
    for item in microphone.blocks():
        heard.append(item)
        if until(item) or len(heard) > 2_000:
            microphone.stop()
            break
    assert indicator.now == frozenset() or isinstance(heard[-1], RawAudio)
    return heard


def _gaps(items: list[RawAudio | Gap]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


def test_every_trouble_is_named_and_the_stream_goes_on() -> None:
    troubles: list[tuple[Act, GapReason]] = [
        (busy, GapReason.BUSY),
        (absent, GapReason.ABSENT),
        (say_a_little_and_vanish, GapReason.UNPLUGGED),
        (say_a_little_and_stall, GapReason.STALLED),
        (be_silent, GapReason.SILENT),
    ]
    for act, reason in troubles:
        items = _hear(
            FakeDevice([act, speak]),
            lambda item: isinstance(item, RawAudio) and bool(item.samples.max() > 5e-5),
        )
        assert _gaps(items)[0].reason is reason
        assert _gaps(items)[0].sensor is Sensor.MICROPHONE
        assert _gaps(items)[0].detail
        assert isinstance(items[-1], RawAudio)


def test_blocks_are_in_order_and_a_loss_leaves_a_hole_as_long_as_it_lasted() -> None:
    items = _hear(
        FakeDevice([say_a_little_and_stall, speak]),
        lambda item: isinstance(item, RawAudio) and bool(item.samples.max() > 5e-5),
    )
    sounds = [item for item in items if isinstance(item, RawAudio)]
    ends = [sound.first_sample + len(sound) for sound in sounds]
    assert all(end <= later.first_sample for end, later in zip(ends, sounds[1:], strict=False))
    assert max(b.first_sample - e for e, b in zip(ends, sounds[1:], strict=False)) > 0.15 * 16_000


def test_retries_slow_down_up_to_the_bound() -> None:
    device = FakeDevice([absent])
    _hear(device, lambda item: len(device.opened_at) >= 6)
    waits = np.diff(device.opened_at)
    assert waits[-1] >= 0.035 > 0.02 > 0.009
    assert waits[0] < waits[-1]


def test_a_slow_consumer_loses_blocks_but_every_lost_sample_is_counted() -> None:
    device = FakeDevice([speak])
    indicator = Indicator()
    microphone = Microphone("default", backend=device, indicator=indicator, patience=QUICK)
    dropped_s, heard, last = 0.0, 0, 0
    for item in microphone.blocks():
        if isinstance(item, Gap):
            if item.reason is not GapReason.OVERRUN:
                break  # the fake has said all it had to say
            dropped_s += item.duration_s
            continue
        if heard == 0:
            first = item.first_sample
            time.sleep(0.1)  # longer than the queue: 50 blocks come, 10 fit
        heard += len(item)
        last = item.first_sample + len(item)
    assert dropped_s > 0
    assert heard + round(dropped_s * 16_000) == last - first


def test_another_rate_is_resampled_to_16_khz() -> None:
    device = FakeDevice([speak], rate_hz=48_000)
    seconds = 0.0
    for item in _hear(
        device, lambda item: isinstance(item, RawAudio) and item.first_sample > 30_000
    ):
        if isinstance(item, RawAudio):
            seconds += len(item) / 16_000
    assert 0.5 < seconds < 4.2


def test_the_light_is_on_while_open_and_off_after(tmp_path: Path) -> None:
    changes: list[frozenset[Sensor]] = []
    indicator = Indicator(changes.append)
    microphone = Microphone("x", backend=FakeDevice([speak]), indicator=indicator, patience=QUICK)
    stream = microphone.blocks()
    next(stream)
    assert indicator.now == {Sensor.MICROPHONE}
    stream.close()
    assert indicator.now == frozenset()


def test_recordings_are_one_stream_and_an_unreadable_one_is_a_gap(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.5), 16_000)
    (tmp_path / "b.wav").write_bytes(b"not sound at all")
    soundfile.write(tmp_path / "c.wav", np.full(8_000, 0.25), 16_000)
    indicator = Indicator()
    names = [tmp_path / f"{letter}.wav" for letter in "abc"]
    items = list(recorded(names, indicator=indicator))
    gaps = _gaps(items)
    assert [gap.reason for gap in gaps] == [GapReason.UNREADABLE]
    assert "can't be decoded" in gaps[0].detail
    sounds = [item for item in items if isinstance(item, RawAudio)]
    assert sum(len(sound) for sound in sounds) == 24_000
    assert sounds[-1].first_sample == 16_000
    assert indicator.now == frozenset()


def test_real_pace_takes_as_long_as_the_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.5), 16_000)
    now = 0.0

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now
            now += timeout or 0.0
            return False

    list(
        recorded(
            [tmp_path / "a.wav"],
            indicator=Indicator(),
            real_pace=True,
            stop=Stop(),
            clock=lambda: now,
        )
    )
    assert abs(now - 1.0) < 1e-6
