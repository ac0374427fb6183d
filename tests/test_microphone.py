"""A microphone that misbehaves in every known way, in a world with its own time."""

import itertools
import pickle
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.capture.frames import Gap, GapReason, Sensor
from agent.capture.intake import Intake
from agent.capture.microphone import Microphone, Patience
from agent.capture.sensing import Indicator
from agent.capture.sound_device import MicrophoneFault
from agent.errors import DeviceError
from edge_models.errors import ContractError
from edge_models.raw import RawAudio
from tests.sound_world import Act, FakeMicrophone, World, fail, speak, then, vanish

BUSY = MicrophoneFault(GapReason.BUSY, "Another program holds it.", "Close it.")
ABSENT = MicrophoneFault(GapReason.ABSENT, "There is none.", "Plug one in.")


def _hear(
    device: FakeMicrophone,
    until_s: float,
    patience: Patience | None = None,
    indicator: Indicator | None = None,
) -> Iterator[RawAudio | Gap]:
    with Microphone(
        "default",
        backend=device,
        indicator=indicator or Indicator(),
        clock=device.world.clock,
        wait=device.world.wait,
        patience=patience,
    ) as microphone:
        device.world.at(device.world.now_s + until_s, microphone.stop)
        yield from microphone.blocks()


def _gaps(items: Sequence[RawAudio | Gap]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


def _sounds(items: Sequence[RawAudio | Gap]) -> list[RawAudio]:
    return [item for item in items if isinstance(item, RawAudio)]


def _spans(items: Sequence[RawAudio | Gap]) -> list[tuple[int, int]]:
    return [
        (item.first_sample, item.first_sample + len(item))
        if isinstance(item, RawAudio)
        else (round(item.start_s * 16_000), round(item.end_s * 16_000))
        for item in items
    ]


def _joined(items: Sequence[RawAudio | Gap]) -> np.ndarray:
    values = np.concatenate([sound.samples for sound in _sounds(items)])
    return np.rint(values * 32_768).astype(np.int64)


def test_all_that_is_said_is_heard_once_and_in_its_place() -> None:
    device = FakeMicrophone(World(), [speak(4.0)], opening_s=1.0)
    items = list(_hear(device, 4.5))
    assert _gaps(items) == []
    assert _sounds(items)[0].first_sample == 16_000  # the device took a second to open
    assert np.array_equal(_joined(items), np.concatenate(device.said)[: len(_joined(items))])
    assert len(_joined(items)) >= 3.4 * 16_000
    assert all(one[1] == other[0] for one, other in itertools.pairwise(_spans(items)))


@pytest.mark.parametrize(
    ("trouble", "reason", "noticed_s"),
    [
        (fail(BUSY), GapReason.BUSY, 0.0),
        (fail(ABSENT), GapReason.ABSENT, 0.0),
        (then(speak(5.0), vanish(5.0)), GapReason.UNPLUGGED, 2.0),
        (speak(5.0), GapReason.STALLED, 2.0),
        (speak(0.0), GapReason.STALLED, 3.0),
    ],
)
def test_every_loss_is_named_from_the_moment_it_began_until_sound_returns(
    trouble: Act, reason: GapReason, noticed_s: float
) -> None:
    device = FakeMicrophone(World(), [trouble, speak(60.0)])
    items = list(_hear(device, 12.0))
    gaps = _gaps(items)
    assert {gap.reason for gap in gaps} == {reason}
    assert {gap.sensor for gap in gaps} == {Sensor.MICROPHONE}
    assert all(gap.detail for gap in gaps)
    heard_before_s = 5.0 if noticed_s == 2.0 else 0.0
    assert gaps[0].start_s == heard_before_s
    # noticed, one pause of a second, and the first block of the next opening
    assert gaps[-1].end_s == pytest.approx(heard_before_s + noticed_s + 1.0, abs=0.001)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(_spans(items)))
    assert _spans(items)[-1][1] >= 11.9 * 16_000


def test_retries_slow_down_to_the_longest_pause_and_are_quick_again_after_sound() -> None:
    acts = [*[fail(ABSENT)] * 9, then(speak(1.0), vanish(1.0)), fail(ABSENT), speak(1.0)]
    device = FakeMicrophone(World(), acts)
    list(_hear(device, 330.0))
    pauses = np.diff(device.opened_at_s)
    assert pauses[:9] == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])
    assert pauses[9] == pytest.approx(1.0 + 2.0 + 1.0)  # a second of sound, noticed, paused
    assert pauses[10] == pytest.approx(2.0)


def test_a_slow_listener_loses_blocks_but_every_lost_sample_is_counted() -> None:
    device = FakeMicrophone(World(), [speak(30.0)])
    items: list[RawAudio | Gap] = []
    for number, item in enumerate(_hear(device, 25.0, Patience(queue_s=1.0))):
        items.append(item)
        if number == 50:
            device.world.sleep(4.0)
    gaps = _gaps(items)
    assert [gap.reason for gap in gaps] == [GapReason.OVERRUN]
    assert gaps[0].duration_s == pytest.approx(3.0, abs=0.1)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(_spans(items)))
    said = np.concatenate(device.said)
    for sound in _sounds(items):
        place = slice(sound.first_sample, sound.first_sample + len(sound))
        assert np.array_equal(np.rint(sound.samples * 32_768), said[place])


def test_a_dead_microphone_is_named_reopened_ever_more_seldom_and_heard_when_it_speaks() -> None:
    dead = speak(1_000.0, silent=True)
    revived = then(speak(5.0, silent=True), speak(1_000.0, after_s=5.0))
    device = FakeMicrophone(World(), [dead, dead, dead, dead, dead, revived])
    items = list(_hear(device, 60.0))
    gaps = _gaps(items)
    assert {gap.reason for gap in gaps} == {GapReason.SILENT}
    assert gaps[0].start_s == 10.0  # ten seconds of digital silence may still be a quiet room
    assert np.diff(device.opened_at_s) == pytest.approx([10, 1, 2, 4, 8])
    assert gaps[-1].end_s == pytest.approx(25.0 + 5.0)
    after = [sound for sound in _sounds(items) if sound.first_sample >= 30 * 16_000]
    assert all(sound.samples.all() for sound in after)
    assert _spans(items)[-1][1] >= 59.9 * 16_000
    assert all(one[1] == other[0] for one, other in itertools.pairwise(_spans(items)))


def test_short_silence_is_sound() -> None:
    quiet = then(speak(2.0), speak(9.0, after_s=2.0, silent=True), speak(3.0, after_s=11.0))
    device = FakeMicrophone(World(), [quiet])
    items = list(_hear(device, 13.5))
    assert _gaps(items) == []
    assert _spans(items)[-1][1] >= 13.4 * 16_000


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_another_rate_is_resampled_to_16_khz_and_stays_in_its_place(rate_hz: int) -> None:
    device = FakeMicrophone(World(), [speak(2.5)], rate_hz=rate_hz)
    sounds = _sounds(list(_hear(device, 2.51)))
    assert sum(len(sound) for sound in sounds) / 16_000 == pytest.approx(2.4, abs=0.1)
    ends = [sound.first_sample + len(sound) for sound in sounds]
    assert [sound.first_sample for sound in sounds[1:]] == ends[:-1]
    per_sample = rate_hz / 16_000  # what is said is a ramp, one step a sample of the device
    middle = np.arange(1_000, round(29_000 / per_sample) - 1_000)[:30_000]
    assert np.abs(_joined(sounds)[middle] - (middle * per_sample + 1)).max() <= 3


@settings(max_examples=6, deadline=None)
@given(st.floats(-2e-3, 2e-3), st.integers(0, 2**32 - 1))
def test_the_stream_keeps_to_the_clock_whatever_the_crystal(drift: float, seed: int) -> None:
    late = np.random.default_rng(seed).exponential(0.02, 30_000)
    act = speak(600.0, crystal=1.0 + drift, late_s=lambda number: float(late[number]))
    device = FakeMicrophone(World(), [act])
    places = [0]
    for item in _hear(device, 590.0):
        assert isinstance(item, RawAudio)  # a crystal's drift is nobody's fault
        assert item.first_sample >= places[-1]
        places.append(item.first_sample + len(item))
        behind_s = device.world.now_s - places[-1] / 16_000
        assert -0.35 < behind_s < 1.0


def test_sound_lost_in_a_driver_that_tells_nobody_is_noticed_and_counted() -> None:
    device = FakeMicrophone(World(), [then(speak(20.0), speak(40.0, after_s=21.5))])
    items = list(_hear(device, 50.0))
    gaps = _gaps(items)
    assert [gap.reason for gap in gaps] == [GapReason.OVERRUN]
    assert gaps[0].duration_s == pytest.approx(1.5, abs=0.01)
    assert device.world.now_s - _spans(items)[-1][1] / 16_000 < 0.11


def test_the_light_is_on_exactly_while_the_device_is_open() -> None:
    changes: list[frozenset[Sensor]] = []
    indicator = Indicator(changes.append)
    device = FakeMicrophone(World(), [speak(1.0)])
    for item in _hear(device, 10.0, indicator=indicator):
        if isinstance(item, RawAudio):
            assert indicator.now == {Sensor.MICROPHONE}
        elif item.reason is GapReason.STALLED and item.end_s > 3.5:
            break
    assert indicator.now == frozenset()
    assert device.closed == len(device.opened_at_s) == len(changes) / 2


def test_leaving_the_microphone_closes_the_device_at_once() -> None:
    device = FakeMicrophone(World(), [speak(10.0)])
    indicator = Indicator()
    with Microphone(
        "x", backend=device, indicator=indicator, clock=device.world.clock, wait=device.world.wait
    ) as microphone:
        next(iter(microphone.blocks()))
        assert indicator.now == {Sensor.MICROPHONE}
    assert indicator.now == frozenset()
    assert device.closed == 1


def test_a_stop_is_heard_during_a_pause_and_while_nothing_comes() -> None:
    for act in (fail(ABSENT), speak(0.0)):
        device = FakeMicrophone(World(), [act])
        list(_hear(device, 0.5))
        assert device.world.now_s == pytest.approx(0.5)


def test_a_lamp_that_cannot_be_lit_ends_the_stream_before_the_device_opens() -> None:
    def broken(now: frozenset[Sensor]) -> None:
        if now:
            raise DeviceError("The lamp can't be driven any more.", "Repair it.")

    device = FakeMicrophone(World(), [speak(1.0)])
    with pytest.raises(DeviceError, match="lamp"):
        list(_hear(device, 1.0, indicator=Indicator(broken)))
    assert device.opened_at_s == []


def test_a_block_shows_and_gives_nothing_of_its_sound() -> None:
    intake = Intake(1, lambda: 0.0)
    intake.put(np.full(4, 12_345, np.int16))
    block = intake.take(0.0)
    assert "12345" not in repr(block)
    with pytest.raises(ContractError):
        pickle.dumps(block)


def test_what_was_never_taken_is_overwritten() -> None:
    intake = Intake(2, lambda: 0.0)
    intake.put(np.full(4, 12_345, np.int16))
    (block,) = intake._blocks
    intake.restart()
    assert not block.samples.any()
    with pytest.raises(TimeoutError):
        intake.take(0.0)


def test_real_threads_lose_nothing() -> None:
    world = World()
    device = FakeMicrophone(world, [speak(0.0)])
    microphone = Microphone(
        "default", backend=device, indicator=Indicator(), patience=Patience(queue_s=60.0)
    )
    said = np.arange(1, 200 * 320 + 1).astype(np.int16)

    def play() -> None:
        for block in said.reshape(-1, 320):
            put(block)

    items: list[RawAudio] = []
    put = microphone._intake.put
    player = threading.Thread(target=play)
    stream = microphone.blocks()
    device.acts = [lambda *_: player.start()]
    for item in stream:
        assert isinstance(item, RawAudio)
        items.append(item)
        if len(items) == 200:
            microphone.stop()
    player.join(timeout=10)
    assert np.array_equal(np.rint(_joined(items)), said)
