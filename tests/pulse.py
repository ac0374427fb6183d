"""A PulseAudio server of the test's own: a microphone without hardware.

A null sink is played into, and its monitor is the machine's default microphone, by ALSA's `pulse`
device: so PortAudio opens, reads and loses it as it would a real one.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_ALSA = """
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.pulse { type pulse }
"""


@dataclass(slots=True)
class Pulse:
    """The server's environment for whoever records, and its hands on the cable."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None
    players: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def plug_in(self) -> None:
        """Start the server."""
        runtime = self.folder / "run"
        shutil.rmtree(runtime, ignore_errors=True)
        runtime.mkdir(mode=0o700, parents=True)
        config = self.folder / "asound.conf"
        config.write_text(_ALSA)
        self.environment = {
            **os.environ,
            "HOME": str(self.folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "PULSE_SERVER": f"unix:{runtime}/native",
            "PULSE_SOURCE": "test.monitor",
            "PULSE_SINK": "test",
            "ALSA_CONFIG_PATH": str(config),
        }
        self.server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
             "--disable-shm=yes", "--log-target=null",
             "-L", f"module-native-protocol-unix socket={runtime}/native auth-anonymous=1",
             "-L", "module-null-sink sink_name=test rate=16000 channels=1 format=s16le"],
            env=self.environment,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + 10
        while not (runtime / "native").exists():
            assert time.monotonic() < until, "PulseAudio did not start within 10 s"
            time.sleep(0.05)

    def pull_out(self) -> None:
        """End the server at once, as if the microphone's cable were pulled."""
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()

    def play(self, sound: Path) -> "subprocess.Popen[bytes]":
        """Play a file into the microphone; returns the running player, ended with the server."""
        player = subprocess.Popen(["paplay", str(sound)], env=self.environment)
        self.players.append(player)
        return player


@contextmanager
def pulse_server(folder: Path) -> Iterator[Pulse]:
    """A running server; the test is skipped, by name, where PulseAudio is not installed."""
    if not shutil.which("pulseaudio") or not shutil.which("paplay"):
        pytest.skip("needs PulseAudio: apt-get install pulseaudio pulseaudio-utils")
    pulse = Pulse(folder)
    pulse.plug_in()
    try:
        yield pulse
    finally:
        if pulse.server is not None and pulse.server.poll() is None:
            pulse.pull_out()
        for player in pulse.players:
            player.kill()
            player.wait()
