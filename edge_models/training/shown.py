"""Progress of what takes long: a bar on the console, as things pass by."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def shown(items: Sequence[Item], text: str, console: Console) -> Iterator[Item]:
    """The same things in order; the bar begins when the first is asked for."""
    yield from track(items, text, console=console)
