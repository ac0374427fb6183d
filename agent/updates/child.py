"""Runs a program that may hang, flood or crash: with limits, and to its certain end.

Rules it upholds: a child gets the environment that is given to it and no other, no input, a time
limit, and at most `MOST_SAID_BYTES` of an ear; when time is up, it and all that it started end; it
does not outlive us, leaves no core dump, and runs politely, since the agent screens meanwhile.

In the life of a release: the environment is made, and the new version tried, by such children.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MOST_SAID_BYTES: Final = 64 * 1024
_NICE: Final = 10
_PR_SET_PDEATHSIG: Final = 1
_LOOK_EVERY_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a child runs as, by number."""

    user: int
    group: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code (negative: a signal), and the end of what it said."""

    code: int
    said: str
    was_late: bool = False


def run_child(
    command: Sequence[str],
    limit_s: float,
    environment: Mapping[str, str],
    *,
    owner: Owner | None = None,
    folder: Path = Path("/"),
) -> Ended:
    """Run it and wait; `owner` (root only) is whom it runs as, with no further groups."""
    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                umask=0o022,
                start_new_session=True,
                preexec_fn=_behave,
                user=owner.user if owner else None,
                group=owner.group if owner else None,
                extra_groups=[] if owner else None,
            )
        except (OSError, subprocess.SubprocessError) as fault:
            return Ended(127, f"it can't be started ({type(fault).__name__})")
        was_late = not _has_ended(child.pid, time.monotonic() + limit_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # with whatever it started; not waited for yet
        code = child.wait()
        said.seek(max(0, said.seek(0, os.SEEK_END) - MOST_SAID_BYTES))
        return Ended(code, said.read().decode("utf-8", "replace"), was_late)


def _has_ended(number: int, until_s: float) -> bool:
    """Whether it ends in time; its number stays its own until somebody waits for it."""
    flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, number, flags) is None:
        if time.monotonic() > until_s:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _behave() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICE)
