"""The other side of `flower`: runs a Flower strategy in an environment of its own.

It is run by that environment's Python, by its path, and imports nothing of this project. Lines of
JSON come in and go out; standard output carries nothing else. Flower's telemetry is off before
Flower is loaded, and no socket of this process may connect anywhere.

    python flower_child.py FedAdam '{"eta": 0.1}'
    python flower_child.py my_package.strategies:Mine '{}'

In:  {"round": 1, "members": 300, "point": [...], "mean": [...]}
Out: {"ready": "FedAdam", "flwr": "1.41.0"} once, then {"point": [...]} or {"fault": "..."}.
"""

import importlib
import json
import os
import sys
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

MOST_BYTES = 1 << 20
_WORD = "train"
_NODES = (1, 2)  # as many as Flower's strategies ask for at least; only a sum answers


def _no_network(event: str, _: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        raise PermissionError(f"a strategy has no network here ({event})")


class Nodes:
    """What a strategy needs of Flower's grid: that there are nodes. Nothing is sent to them."""

    def get_node_ids(self) -> tuple[int, ...]:
        """Two nodes that stand for everybody."""
        return _NODES


def strategy_named(name: str, options: dict[str, Any]) -> Any:
    """A strategy of `flwr.serverapp.strategy`, or `module:Class` of this environment."""
    module, _, kind = name.rpartition(":")
    return getattr(importlib.import_module(module or "flwr.serverapp.strategy"), kind)(**options)


def stepped(strategy: Any, asked: dict[str, Any]) -> list[float]:
    """One round: the strategy sees one client, who is the mean of everybody."""
    import numpy as np
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

    point = np.asarray(asked["point"], np.float64)
    moved = point + np.asarray(asked["mean"], np.float64)
    number = int(asked["round"])
    arrays = ArrayRecord({"head": Array(point)})
    sent = list(strategy.configure_train(number, arrays, ConfigRecord(), Nodes()))
    if not sent:
        raise ValueError("the strategy asks nobody in this round")
    told = RecordDict(
        {
            "arrays": ArrayRecord({"head": Array(moved)}),
            "metrics": MetricRecord({"num-examples": int(asked["members"])}),
        }
    )
    request = Message(sent[0].content, dst_node_id=_NODES[0], message_type=_WORD)
    found, _ = strategy.aggregate_train(number, [Message(told, reply_to=request)])
    if found is None:
        raise ValueError("the strategy makes nothing of a single sum")
    answer = found["head"].numpy()
    if answer.shape != point.shape or not np.isfinite(answer).all():
        raise ValueError("the strategy gave something else than a head")
    return [float(number) for number in answer]


def main(name: str, options: str) -> int:
    """Answer line by line until the input ends."""
    out, sys.stdout = sys.stdout, sys.stderr  # a strategy may print
    sys.addaudithook(_no_network)
    strategy = strategy_named(name, json.loads(options))
    import flwr
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # messages bear them

    print(json.dumps({"ready": name, "flwr": flwr.__version__}), file=out, flush=True)
    while line := sys.stdin.readline(MOST_BYTES):
        try:
            answer: dict[str, Any] = {"point": stepped(strategy, json.loads(line))}
        except Exception as fault:  # noqa: BLE001  (whatever a foreign strategy raises is its answer)
            answer = {"fault": f"{type(fault).__name__}: {fault}"[:500]}
        print(json.dumps(answer), file=out, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
