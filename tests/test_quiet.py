"""Known chatter of native libraries is dropped, everything else arrives, whatever the threads."""

import os
import threading

import pytest

from edge_models.quiet import native_chatter_held_back

_ABSL = b"W0000 00:00:1700000000.000000 123 inference.cc:1] chatter\n"
_PORTAUDIO = b"Expression 'ret' failed in 'src/hostapi/alsa/pa_linux_alsa.c', line: 1736\n"


def test_chatter_is_dropped_and_our_own_words_arrive(capfd: pytest.CaptureFixture[str]) -> None:
    with native_chatter_held_back():
        os.write(2, _ABSL + b"ours\n" + _PORTAUDIO)
    assert capfd.readouterr().err == "ours\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_threads_inside_at_once_give_the_terminal_back(capfd: pytest.CaptureFixture[str]) -> None:
    inside = threading.Barrier(2, timeout=10)
    first_out = threading.Event()

    def first() -> None:
        with native_chatter_held_back():
            inside.wait()
        first_out.set()

    other = threading.Thread(target=first)
    other.start()
    with native_chatter_held_back():
        inside.wait()
        assert first_out.wait(timeout=10)
        os.write(2, _ABSL + b"still held\n")
    other.join(timeout=10)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "still held\nafter\n"


def test_a_failure_inside_gives_the_terminal_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="no device"), native_chatter_held_back():
        raise OSError("no device")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
