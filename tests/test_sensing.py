"""The light is on exactly while a device is open."""

import itertools
import threading
import time
from pathlib import Path

import pytest

from agent.capture.frames import Sensor
from agent.capture.sensing import Indicator, Lamp
from agent.errors import DeviceError, SettingError


def test_the_light_is_on_inside_and_off_outside() -> None:
    indicator = Indicator()
    assert indicator.now == frozenset()
    with indicator.sensing(Sensor.MICROPHONE):
        assert indicator.now == {Sensor.MICROPHONE}
        with indicator.sensing(Sensor.CAMERA):
            assert indicator.now == {Sensor.MICROPHONE, Sensor.CAMERA}
        assert indicator.now == {Sensor.MICROPHONE}
    assert indicator.now == frozenset()


def test_a_failing_device_leaves_the_light_off() -> None:
    indicator = Indicator()
    with pytest.raises(OSError, match="unplugged"), indicator.sensing(Sensor.CAMERA):
        raise OSError("unplugged")
    assert indicator.now == frozenset()


def test_the_same_sensor_opened_twice_goes_dark_only_after_both_close() -> None:
    indicator = Indicator()
    with indicator.sensing(Sensor.CAMERA):
        with indicator.sensing(Sensor.CAMERA):
            pass
        assert indicator.now == {Sensor.CAMERA}


def test_listeners_and_the_lamp_follow_each_change(tmp_path: Path) -> None:
    brightness = tmp_path / "brightness"
    brightness.write_text("0")
    told: list[frozenset[Sensor]] = []
    indicator = Indicator(told.append, Lamp(brightness))
    with indicator.sensing(Sensor.MICROPHONE):
        assert brightness.read_text() == "1"
    assert brightness.read_text() == "0"
    assert told == [frozenset({Sensor.MICROPHONE}), frozenset()]


def test_a_lamp_that_cannot_be_driven_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="can't be driven"):
        Lamp(tmp_path / "nothing")


def test_a_lamp_that_went_away_keeps_the_device_shut_and_the_account_right(tmp_path: Path) -> None:
    brightness = tmp_path / "brightness"
    brightness.write_text("0")
    told: list[frozenset[Sensor]] = []
    indicator = Indicator(Lamp(brightness), told.append)
    brightness.unlink()
    opened = False
    with pytest.raises(DeviceError, match="any more"), indicator.sensing(Sensor.CAMERA):
        opened = True
    assert not opened
    assert indicator.now == frozenset()
    assert told == [frozenset({Sensor.CAMERA}), frozenset()]


def test_listeners_are_told_in_the_order_of_the_changes_whatever_the_threads() -> None:
    told: list[frozenset[Sensor]] = []

    def slow_to_listen(now: frozenset[Sensor]) -> None:
        time.sleep(0.0005 * (len(told) % 3))
        told.append(now)

    indicator = Indicator(slow_to_listen)

    def sense(sensor: Sensor) -> None:
        for _ in range(30):
            with indicator.sensing(sensor):
                pass

    threads = [threading.Thread(target=sense, args=(sensor,)) for sensor in Sensor]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert told[-1] == indicator.now == frozenset()
    assert len(told) == 120
    # One change at a time: neighbours differ in exactly one sensor.
    assert all(len(one ^ other) == 1 for one, other in itertools.pairwise(told))
