"""A Flower strategy in the place of the server optimiser, in an environment of its own."""

import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_models.errors import ContractError
from sync.coordinator import flower as room
from sync.coordinator.flower import flower
from sync.coordinator.optimisers import fed_avg
from sync.errors import StrategyError


@pytest.fixture
def python() -> Path:
    """The interpreter of an environment with Flower; the test is skipped, by name, without."""
    found = os.environ.get("SOTTOVOCE_FLOWER", "")
    if not found:
        pytest.skip("needs an environment with Flower: set SOTTOVOCE_FLOWER to its python")
    return Path(found)


def _pretending(tmp_path: Path, body: str) -> Path:
    """An interpreter that answers as a strategy's process would not."""
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\nimport json, sys, time\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


READY = 'print(json.dumps({"ready": sys.argv[3]}), flush=True)\nsys.stdin.readline()\n'


def test_flowers_averaging_is_ours(python: Path) -> None:
    ours = fed_avg(1.0)
    means = np.random.default_rng(1).normal(size=(3, 51))
    with flower(python, "FedAvg", {}, members=300) as theirs:
        one, two = ours.init(np.ones(51)), theirs.init(np.ones(51))
        for mean in means:
            one, two = ours.apply(one, mean), theirs.apply(two, mean)
    assert np.allclose(one.point, two.point)


def test_flowers_adaptive_strategies_keep_their_memory_from_round_to_round(python: Path) -> None:
    """FedAdam by hand; Flower counts its bias correction one round ahead."""
    options = {"eta": 0.1, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3}
    point, first, second = np.zeros(3), np.zeros(3), np.zeros(3)
    with flower(python, "FedAdam", options) as optimiser:
        state = optimiser.init(point)
        for number in (1, 2, 3):
            mean = np.asarray([1.0, -0.5, 0.01]) / number
            state = optimiser.apply(state, mean)
            first, second = 0.9 * first + 0.1 * mean, 0.99 * second + 0.01 * mean**2
            rate = 0.1 * np.sqrt(1 - 0.99 ** (number + 1)) / (1 - 0.9 ** (number + 1))
            point = point + rate * first / (np.sqrt(second) + 1e-3)
            assert np.allclose(state.point, point)


def test_states_are_applied_in_order(python: Path) -> None:
    with flower(python, "FedAvgM", {"server_learning_rate": 1.0}) as optimiser:
        start = optimiser.init(np.zeros(2))
        optimiser.apply(start, np.ones(2))
        with pytest.raises(ContractError, match="in order"):
            optimiser.apply(start, np.ones(2))


def test_a_strategy_of_another_name_is_explained(python: Path) -> None:
    with pytest.raises(StrategyError), flower(python, "FedNothing", {}):
        pass


def test_a_strategys_own_failure_is_its_answer(python: Path) -> None:
    options = {"fraction_train": 0.0}
    with (
        flower(python, "FedAvg", options) as optimiser,
        pytest.raises(StrategyError, match="asks nobody"),
    ):
        optimiser.apply(optimiser.init(np.zeros(2)), np.ones(2))


def test_a_strategy_has_no_network(python: Path, tmp_path: Path) -> None:
    (tmp_path / "calling.py").write_text(
        "import socket, sys\nfrom flwr.serverapp.strategy import FedAvg\n"
        "class Calling(FedAvg):\n"
        "    def aggregate_train(self, server_round, replies):\n"
        "        socket.create_connection(('127.0.0.1', 9))\n",
        encoding="utf-8",
    )
    child = tmp_path / "child.py"
    child.write_text(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n"
        f"exec(open({str(room._CHILD)!r}).read())\n",
        encoding="utf-8",
    )
    original, room._CHILD = room._CHILD, child  # type: ignore[misc]
    try:
        with (
            flower(python, "calling:Calling", {}) as optimiser,
            pytest.raises(StrategyError, match="no network"),
        ):
            optimiser.apply(optimiser.init(np.zeros(2)), np.ones(2))
    finally:
        room._CHILD = original  # type: ignore[misc]


def test_an_environment_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match="can't be run"), flower(tmp_path / "no", "FedAvg", {}):
        pass


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ('print("[1]")', "can't be read"),
        ('print("{" * 100000)', "can't be read"),
        ('print(json.dumps({"point": [1.0]}))', "else than a head"),
        ('print(json.dumps({"point": [True, "1"]}))', "else than numbers"),
        ('print("{\\"point\\": [1e999, 1]}")', "numbers that are none"),
        ('print("x" * 3_000_000)', "too long"),
        ("", "has ended"),
        ("time.sleep(9)", "did not answer"),
    ],
)
def test_whatever_a_strategys_process_says_is_checked(
    tmp_path: Path, answer: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ROUND_S", 0.5 if "sleep" in answer else 20.0)
    monkeypatch.setattr(room, "_END_S", 0.1)
    with (
        flower(_pretending(tmp_path, READY + answer), "FedAvg", {}) as optimiser,
        pytest.raises(StrategyError, match=cause),
    ):
        optimiser.apply(optimiser.init(np.zeros(2)), np.ones(2))
