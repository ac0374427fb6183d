"""The agent's sign of life: it comes from the work, never waits, and reaches the launcher alone."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from agent.updates.heart import Heart
from agent.updates.launch import BEAT_VARIABLE


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    os.set_inheritable(ends[1], True)
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


def heard(pipe: tuple[int, int]) -> int:
    try:
        return len(os.read(pipe[0], 1 << 20))
    except BlockingIOError:
        return 0


def test_a_beat_comes_with_each_piece_of_work(pipe: tuple[int, int]) -> None:
    heart = Heart({BEAT_VARIABLE: str(pipe[1])})
    work = heart.beating(iter("abc"))
    assert heard(pipe) == 0  # it has not begun
    assert next(work) == "a"
    assert heard(pipe) == 1
    assert list(work) == ["b", "c"]
    assert heard(pipe) == 3


def test_a_launcher_that_does_not_look_holds_nothing_up(pipe: tuple[int, int]) -> None:
    heart = Heart({BEAT_VARIABLE: str(pipe[1])})
    for _ in range(100_000):  # a pipe holds 65,536
        heart.beat()
    assert heard(pipe) == 65_536


def test_no_child_of_the_agent_can_beat_for_it(pipe: tuple[int, int]) -> None:
    environment = {**os.environ, BEAT_VARIABLE: str(pipe[1])}
    Heart(environment)
    assert BEAT_VARIABLE not in environment
    tries = f"import os; os.write({pipe[1]}, b'.')"
    done = subprocess.run(
        [sys.executable, "-c", tries], close_fds=False, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert heard(pipe) == 0


@pytest.mark.parametrize("said", ["", "x", "-1", "999999", "1e3"])
def test_without_a_launcher_it_beats_for_none(said: str) -> None:
    heart = Heart({BEAT_VARIABLE: said} if said else {})
    heart.beat()
    assert list(heart.beating(iter("ab"))) == ["a", "b"]
