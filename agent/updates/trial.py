"""The trial: a new bundle's golden vectors, on this device, in both runtimes, in a child process.

Rules it upholds: nothing of a new bundle is loaded into the agent before it has answered here; a
child that crashes, hangs, eats memory or answers anything else is a rejected update and harms
nothing; it is polite (a low priority), since the agent screens meanwhile.

In the life of a bundle: idle slot → **trial** → contracts → `current`.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from sync.updates.rejected import Reason, UpdateRejected

LIMIT_S: Final = 120.0
"""A small board loads and runs everything in about ten seconds."""
MEMORY_BYTES: Final = 768 * 1024 * 1024
_NICE: Final = 10
_MOST_ANSWER_BYTES: Final = 4096
_CHILD: Final = "from agent.updates.trial import child; child()"


@dataclass(frozen=True, slots=True)
class Tried:
    """What the trial measured: seconds, and how far answers were apart (`golden.Agreement`)."""

    seconds: float
    onnx_steps: float
    tflite_steps: float
    sound_spreads: float


def try_bundle(
    folder: Path, *, limit_s: float = LIMIT_S, memory_bytes: int = MEMORY_BYTES
) -> Tried:
    """Run the bundle in `folder` in a child, within these limits.

    Raises:
        UpdateRejected: GOLDEN, it does not answer as it should, in time, or at all; NO_ROOM, this
            device can't begin another process, which is not the bundle's fault.
    """
    begun_s = time.monotonic()
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, str(folder), str(memory_bytes), str(limit_s)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
            close_fds=True,
        )
    except OSError as fault:
        raise UpdateRejected(
            Reason.NO_ROOM, f"An update can't be tried on this device now ({fault.strerror})."
        ) from fault
    try:
        answer, _ = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise _rejected(f"it did not answer within {limit_s:.0f} s") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return _read(answer, child.returncode, time.monotonic() - begun_s)


def child() -> NoReturn:
    """What the child does: limits first, then everything that a window passes through."""
    folder, memory_bytes, limit_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    seconds = round(limit_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.nice(_NICE)
    from agent.screening import Screener  # only now: the limits hold for the runtimes, too
    from edge_models.bundle import load_bundle
    from edge_models.errors import Explained
    from edge_models.golden_sound import golden_window
    from edge_models.own import Own

    said: dict[str, Any]
    try:
        bundle = load_bundle(folder)
        agreement = bundle.check()
        screener = Screener(bundle)
        heard = screener.hear(golden_window())
        _, own = screener.judge(heard, Own.empty(bundle), alone=None, short=True)
        screener.judge(heard, own, alone=None, short=True)  # now its embeddings are aligned, too
        # It must answer; what, the golden vectors have said.
        said = {
            "onnx_steps": agreement.onnx_steps,
            "tflite_steps": agreement.tflite_steps,
            "sound_spreads": agreement.sound_spreads,
        }
    except Explained as fault:
        said = {"cause": fault.cause[:500]}
    except MemoryError:
        said = {"cause": "It needs more memory than an update may take."}
    os.write(1, json.dumps(said).encode())
    os._exit(0)  # no destructor of a new bundle's runtime has the last word


def _read(answer: bytes, code: int, seconds: float) -> Tried:
    if code < 0:
        raise _rejected(f"it ended by signal {-code}")
    if code:
        raise _rejected(f"it ended with code {code}")
    try:
        said = json.loads(answer[:_MOST_ANSWER_BYTES])
        cause = said.get("cause")
        if isinstance(cause, str):
            raise _rejected(cause.rstrip(".")[:500])
        steps = (said["onnx_steps"], said["tflite_steps"], said["sound_spreads"])
        return Tried(seconds, *map(float, steps))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _rejected("it gave no answer") from None


def _rejected(why: str) -> UpdateRejected:
    return UpdateRejected(Reason.GOLDEN, f"The update was tried on this device first: {why}.")
