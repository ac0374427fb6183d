"""Many devices report at once, and each report is in the sum exactly once."""

from pathlib import Path

import pytest

from sync.broker import mosquitto_path
from tests.rushing import rush


def test_a_hundred_devices_report_at_once_and_each_is_counted_once(tmp_path: Path) -> None:
    if mosquitto_path() is None:
        pytest.skip("needs Mosquitto (Debian: apt-get install mosquitto)")
    came = rush(100, tmp_path)
    assert (came.lost, came.repeated, came.exact) == (0, 10, True)
