"""A broker of one's own on one machine: Mosquitto as a child process, else amqtt.

Rules upheld here: it listens on loopback only, or with a founded study's certificates and access
list (coordinator/founded); it never outlives the process that started it,
however that one ends; which of the two brokers runs is said, never silently different
(`Broker.kind`, `Broker.note`). A study on more than one machine runs deploy/mosquitto.conf.

In the life of a report: the device's `transport` publishes to a broker, and this is it where
there is no other. Both kinds speak MQTT at QoS 1; what differs is in `NOTES`.
"""

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sync.errors import BrokerError

Kind = Literal["mosquitto", "amqtt"]

SettingsOf = Callable[[Path, int], str]
"""Mosquitto's settings, given its folder and port."""

NOTES: Final[dict[Kind, str]] = {
    "mosquitto": "Mosquitto: MQTT 5; sessions and queued reports survive a restart.",
    "amqtt": "amqtt, because Mosquitto is not installed: it speaks MQTT 3.1.1 and keeps nothing "
    "for a coordinator that is away or can't store a report, so use it for a trial only.",
}

_LOOPBACK: Final = "127.0.0.1"
_PATIENCE_S: Final = 15.0  # amqtt on a slow board imports for several seconds
_LOOK_EVERY_S: Final = 0.02
_SETTLE_S: Final = 0.05
_TRIES: Final = 5  # a port found free may be taken before the child binds it
_PR_SET_PDEATHSIG: Final = 1  # Source: prctl(2)
_BESIDE_PATH: Final = "/usr/sbin:/usr/local/sbin"  # where Debian puts it, off a person's PATH

MOSQUITTO_CONF: Final = """\
# Written by sottovoce at every start; edits are lost.
listener {port} {host}
allow_anonymous true
pid_file {folder}/broker.pid
persistence true
persistence_location {folder}/
persistence_file broker.db
# Never with autosave_on_changes: writing at every change is six times slower.
autosave_interval 10
# paho loses messages when its window is wider than the broker's.
max_inflight_messages 20
max_queued_messages 100000
max_packet_size 65536
# A short message goes out at once, not after the 40 ms in which TCP hopes for more to send.
set_tcp_nodelay true
# A line per connection would be a diary of who was there when.
connection_messages false
log_dest stderr
log_type error
log_type warning
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker on loopback, and which one it is."""

    host: str
    port: int
    kind: Kind
    process: "subprocess.Popen[bytes]"

    @property
    def note(self) -> str:
        """One sentence for the person: what this kind of broker can't do."""
        return NOTES[self.kind]

    def reload(self) -> None:
        """Have it read its access list and certificates again; sessions go on."""
        if self.running:
            self.process.send_signal(signal.SIGHUP)

    @property
    def running(self) -> bool:
        """Whether the child is still there."""
        return self.process.poll() is None


def mosquitto_path() -> Path | None:
    """Where Mosquitto is installed, also where a person's PATH does not look."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=_BESIDE_PATH)
    return Path(found) if found else None


@contextmanager
def embedded_broker(
    folder: Path, port: int = 0, kind: Kind | None = None, *, settings_of: SettingsOf | None = None
) -> Iterator[Broker]:
    """Run a broker on loopback for as long as the context lasts; it accepts when entered.

    `port` 0 picks a free one; `kind` None takes Mosquitto where it is installed. `folder` holds
    its settings, log and (Mosquitto) its queue. `settings_of` makes other settings, for a
    Mosquitto with TLS. Enter it in a thread that outlives it: the kernel ends the child when that
    *thread* ends.

    Raises:
        BrokerError: the port is taken, neither broker is installed, or it does not start.
    """
    chosen: Kind = kind or ("mosquitto" if mosquitto_path() else "amqtt")
    if settings_of is not None and chosen != "mosquitto":
        raise BrokerError(
            "A study's broker needs Mosquitto, which is not installed.",
            "Debian: apt-get install mosquitto",
        )
    folder = _prepared(folder)
    broker = _started(folder, port, chosen, settings_of or _plain)
    try:
        yield broker
    finally:
        _ended(broker.process)


def _prepared(folder: Path) -> Path:
    if any(ord(letter) < 32 for letter in str(folder)):
        raise BrokerError(
            "The broker's folder has a control character in its name.", "Name another folder."
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise BrokerError(
            f"The broker's folder '{folder}' can't be made ({fault.strerror}).",
            "Name a folder that you may write to.",
        ) from fault
    return folder.resolve()


def _plain(folder: Path, port: int) -> str:
    return MOSQUITTO_CONF.format(port=port, host=_LOOPBACK, folder=folder)


def _started(folder: Path, port: int, kind: Kind, settings_of: SettingsOf) -> Broker:
    for attempt in range(_TRIES):
        chosen = _bindable(port)
        process = _child(folder, chosen, kind, settings_of(folder, chosen))
        try:
            if _accepts(process, chosen):
                return Broker(_LOOPBACK, chosen, kind, process)
        except BaseException:  # also Ctrl-C while waiting: no child is left behind
            _ended(process)
            raise
        last_words = _last_words(folder)
        if port or attempt + 1 == _TRIES:
            raise BrokerError(
                f"The embedded broker ({kind}) ended before it accepted: {last_words}",
                f"Its log is {folder / 'broker.log'}; or name a running one with --broker.",
            )
    raise AssertionError("unreachable")


def _bindable(port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except (OSError, OverflowError) as fault:
            why = getattr(fault, "strerror", None) or "it is not a port"
            raise BrokerError(
                f"Port {port} on {_LOOPBACK} can't be used by the embedded broker ({why}).",
                "Name a free port, or 0 for any, with --port-mqtt.",
            ) from fault
        return int(probe.getsockname()[1])


def _child(folder: Path, port: int, kind: Kind, content: str) -> "subprocess.Popen[bytes]":
    settings = folder / "broker.conf"
    # As root it would become another user, who can't read the folder, and whose death the kernel
    # would no longer tie to ours.
    user = pwd.getpwuid(os.geteuid()).pw_name
    try:
        settings.write_text(f"{content}user {user}\n", encoding="utf-8")
        with (folder / "broker.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sync.broker", kind, str(os.getpid()), str(port),
                 str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us first: we end it in order
            )  # fmt: skip
    except OSError as fault:
        raise BrokerError(
            f"The embedded broker can't be started in '{folder}' ({fault.strerror}).",
            "Free some space, or name another folder with --state.",
        ) from fault


def _accepts(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until the child accepts; False when it ended first."""
    until = time.monotonic() + _PATIENCE_S
    while process.poll() is None:
        try:
            socket.create_connection((_LOOPBACK, port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise BrokerError(
                    f"The embedded broker did not accept within {_PATIENCE_S:.0f} s.",
                    "Try again when the machine is less busy.",
                ) from None
            time.sleep(_LOOK_EVERY_S)
            continue
        try:  # another program may have taken the port: then our child is about to end
            process.wait(_SETTLE_S)
        except subprocess.TimeoutExpired:
            return True
    return False


def _ended(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(folder: Path) -> str:
    lines = (folder / "broker.log").read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing.")


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when the thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before we could ask
        raise SystemExit(1)


async def _serve_amqtt(port: int) -> None:
    from amqtt.broker import Broker as PureBroker

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    broker = PureBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{_LOOPBACK}:{port}"}},
            "plugins": {
                # Any name will do; but for clients without one it would queue nothing.
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": False}
            },
        }
    )
    await broker.start()
    await stop.wait()
    await broker.shutdown()


def _main(kind: str, parent: str, port: str, settings: str) -> None:
    """The child: bind its life to its parent's, then become the broker."""
    _die_with(int(parent))
    if kind == "mosquitto":
        path = mosquitto_path()
        if path is None:
            raise SystemExit("Mosquitto is not installed (Debian: apt-get install mosquitto).")
        os.execv(path, [str(path), "-c", settings])  # the death signal survives an exec
    try:
        asyncio.run(_serve_amqtt(int(port)))
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"Neither Mosquitto nor amqtt is here (no '{missing.name}'). Install one: "
            "apt-get install mosquitto, or pip install 'sottovoce[coordinator]'."
        ) from missing


if __name__ == "__main__":
    _main(*sys.argv[1:])
