"""Attacks that end in every way an attack can end, and a bug that one of them notices."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from edge_models.errors import ContractError
from edge_models.threats.attack import Attack, Effort, Family, NotRun
from edge_models.threats.ground import Ground
from edge_models.threats.planted.bug import Bug
from edge_models.threats.result import Finding, Told
from edge_models.training.metrics import Estimate


def leaked() -> float:
    """What the bug changes."""
    return 0.0


def told(value: float) -> Told:
    figure = Estimate(value, value - 0.1, value + 0.1)
    finding = Finding.of("x", "x", figure, attacker="a", sample="1 person", at_most=0.0)
    return Told(findings=(finding,), says=("It says.",))


def _well(ground: Ground, effort: Effort, seed: int) -> Told:
    return told(leaked() - seed)


def _lacking(ground: Ground, effort: Effort, seed: int) -> Told:
    raise NotRun("Two people are too few.", "Give three.")


def _contract(ground: Ground, effort: Effort, seed: int) -> Told:
    raise ContractError("A caller broke a shape.")


def _no_number(ground: Ground, effort: Effort, seed: int) -> Told:
    return told(float("nan"))


def _fallen(ground: Ground, effort: Effort, seed: int) -> Told:
    raise ZeroDivisionError("one by none")


def _killed(ground: Ground, effort: Effort, seed: int) -> Told:
    os.kill(os.getpid(), 9)
    raise AssertionError


def _heard(ground: Ground, effort: Effort, seed: int) -> Told:
    return told(-float(len(ground.windows)))


def _package(ground: Ground, effort: Effort, seed: int) -> Told:
    import not_installed_here  # type: ignore[import-not-found]

    return told(not_installed_here.value)


def made(name: str, run: object, *, needs_ground: bool = False, seconds: int = 1) -> Attack:
    return Attack(
        name,
        Family.METHOD,
        "Does it?",
        run,
        needs_ground=needs_ground,
        seconds=seconds,  # type: ignore[arg-type]
    )


WELL = made("well", _well)
LACKING = made("lacking", _lacking)
CONTRACT = made("contract", _contract)
NO_NUMBER = made("no-number", _no_number)
FALLEN = made("fallen", _fallen)
KILLED = made("killed", _killed)
HEARD = made("heard", _heard, needs_ground=True, seconds=99)
PACKAGE = made("package", _package)
EVERY = (WELL, LACKING, CONTRACT, NO_NUMBER, FALLEN, KILLED, HEARD, PACKAGE)


@contextmanager
def _plant() -> Iterator[None]:
    with patch(f"{__name__}.leaked", lambda: 5.0):
        yield


@contextmanager
def _plant_nothing() -> Iterator[None]:
    yield


LEAK = Bug("leak", "It leaks.", "well", _plant)
NOT_A_BUG = Bug("harmless", "It does nothing.", "well", _plant_nothing)
UNSEEN = Bug("unseen", "Nobody looks.", "lacking", _plant_nothing)
