"""A Flower strategy as a server optimiser, in an environment of its own.

Rules it upholds: Flower (which needs another protobuf than the device) is never imported here; its
process gets sums that are opened and noised already, and nothing else; what comes back is
bounded and checked; its telemetry is off, its home is a folder that is thrown away, and it has no
network.

A strategy sees one client in every round, the mean of everybody, so averaging, momentum and
adaptive strategies work (FedAvg, FedAvgM, FedAdam, FedYogi, FedAdagrad); those that compare
clients (Krum, medians, trimmed means) have nothing to compare, since under masks nobody has.

    with flower(Path("flower/bin/python"), "FedAdam", {"eta": 0.1}) as optimiser:
        state = optimiser.init(point)
        state = optimiser.apply(state, mean.update)

The strategy's memory is in its process: its states are applied in order, once each, and a new
process starts anew. In the life of a federated round: in the place of `optimisers`.
"""

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_models.errors import ContractError
from sync.coordinator.optimisers import Optimiser, Reals
from sync.errors import StrategyError

MOST_NUMBERS: Final = 10_000
MOST_BYTES: Final = 1 << 20
START_S: Final = 60.0
ROUND_S: Final = 30.0

_CHILD: Final = Path(__file__).with_name("flower_child.py")
_END_S: Final = 5.0
_AGAIN: Final = "Make the environment anew: `pip install --group flower`, in one of its own."


@dataclass(frozen=True, slots=True, eq=False)
class Lent:
    """State of a strategy elsewhere: where the head is, after how many rounds."""

    point: Reals
    rounds: int


@contextmanager
def flower(
    python: Path, strategy: str, options: Mapping[str, Any], *, members: int = 1
) -> Iterator[Optimiser[Lent, Reals]]:
    """The optimiser that a Flower strategy is, while its process runs.

    `python` is the interpreter of an environment with Flower; `strategy` a name in
    `flwr.serverapp.strategy` or `module:Class` there; `members` what it is told as the number of
    examples.

    Raises:
        StrategyError: the environment or the strategy can't be used; also while it is applied.
        ContractError: a state is applied twice or out of order.
    """
    with (
        tempfile.TemporaryDirectory(prefix="sottovoce-") as home,
        _started(python, strategy, options, Path(home)) as child,
    ):
        ready = child.answer(START_S)
        if ready.get("ready") != strategy:
            raise StrategyError(f"The strategy '{strategy}' did not start.", _AGAIN)
        done = 0

        def init(point: Reals) -> Lent:
            if not 1 <= len(point) <= MOST_NUMBERS:
                raise ContractError(f"A strategy moves 1 to {MOST_NUMBERS} numbers.")
            return Lent(point, 0)

        def apply(state: Lent, mean: Reals) -> Lent:
            nonlocal done
            if state.rounds != done or mean.shape != state.point.shape:
                raise ContractError("A strategy's states are applied in order, once each.")
            done += 1
            asked = {
                "round": done,
                "members": members,
                "point": state.point.tolist(),
                "mean": mean.tolist(),
            }
            return Lent(_point_in(child.asked(asked), len(state.point)), done)

        yield Optimiser(init, apply)


def _point_in(answer: dict[str, Any], size: int) -> Reals:
    if fault := answer.get("fault"):
        raise StrategyError(
            f"The strategy failed: {str(fault)!a}.", "Correct its options, or take another."
        )
    numbers = answer.get("point")
    if not isinstance(numbers, list) or len(numbers) != size:
        raise StrategyError("The strategy answered something else than a head.", _AGAIN)
    if not all(type(number) in (int, float) for number in numbers):
        raise StrategyError("The strategy answered something else than numbers.", _AGAIN)
    point = np.asarray(numbers, np.float64)
    if not np.isfinite(point).all():
        raise StrategyError("The strategy answered numbers that are none.", "Lower its rate.")
    return point


class _Child:
    """A process that answers a line with a line, in time and within bounds."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._rest = b""

    def asked(self, words: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps(words, allow_nan=False).encode() + b"\n"
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise StrategyError("The strategy's process has ended.", _AGAIN) from None
        return self.answer(ROUND_S)

    def answer(self, patience_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        until_s = time.monotonic() + patience_s
        while b"\n" not in self._rest:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([handle], [], [], left_s)[0]:
                raise StrategyError(
                    f"The strategy did not answer within {patience_s:g} s.", "Take a simpler one."
                )
            piece = os.read(handle, 1 << 16)
            self._rest += piece
            if not piece:
                raise StrategyError("The strategy's process has ended.", _AGAIN)
            if len(self._rest) > MOST_BYTES:
                raise StrategyError("The strategy's answer is too long.", _AGAIN)
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise StrategyError("The strategy's answer can't be read.", _AGAIN)
        return found


@contextmanager
def _started(
    python: Path, strategy: str, options: Mapping[str, Any], home: Path
) -> Iterator[_Child]:
    environment = {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_HOME": str(home),
        "HOME": str(home),
        "PATH": os.environ.get("PATH", ""),
    }
    command = [str(python), "-I", str(_CHILD), strategy, json.dumps(dict(options))]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=home,
        )
    except OSError as fault:
        raise StrategyError(f"'{python}' can't be run: {fault.strerror}.", _AGAIN) from fault
    try:
        yield _Child(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
