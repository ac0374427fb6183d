"""Who is at the updates of a device right now: one agent, and one process that takes something.

Rules it upholds: a lock is held by an open file and ends with its process, however that ends.

In the life of a bundle: around each look, and around each agent that runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.errors import SlotError
from agent.home import Home
from agent.keys import UPDATES_FOLDER
from sync.updates.durable import locked_file

RUNNING: Final = "running"


def updates_folder(home: Home) -> Path:
    """Where everything about updates lies: signed metadata, slots, parts, history."""
    return home.settings.state_folder / UPDATES_FOLDER


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process looks for updates or takes any.

    Raises:
        SlotError: another one does, or the folder can't be used.
    """
    busy = SlotError("The agent is looking for updates right now.", "Wait a moment, and try again.")
    with held(folder / "lock", busy):
        yield


@contextmanager
def held(file: Path, busy: SlotError) -> Iterator[None]:
    """Inside, this process holds the file; raises `busy` where another one does.

    Raises:
        SlotError: or the folder can't be used.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = locked_file(file, wait=False)
    except BlockingIOError:
        raise busy from None
    except OSError as fault:
        raise SlotError(
            f"The folder of updates '{file.parent}' can't be used: {fault.strerror}.",
            "Check who owns it and whether its disk is full.",
        ) from fault
    with lock:
        yield


@contextmanager
def held_by_the_agent(home: Home) -> Iterator[None]:
    """Inside, the agent runs, and the line to the study is its own.

    Raises:
        SlotError: another agent runs with this state folder, or the folder can't be used.
    """
    busy = SlotError(
        "Another agent runs with this state folder.", "End it, or name another folder with --state."
    )
    with held(updates_folder(home) / RUNNING, busy):
        yield
