"""Runs one bench by its name.

A module of its own: a spawned process does not import a package's `__main__` again.
"""

from importlib import import_module

from tests.bench.figure import Figure


def measured(name: str) -> list[Figure]:
    """What the bench of this name measures."""
    figures: list[Figure] = import_module(f"tests.bench.{name}").measure()
    return figures
