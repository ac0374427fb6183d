"""One measured figure of the bench, beside its target."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`met` is None where there is no target; `how` says what was run, in one line."""

    name: str
    value: str
    target: str
    met: bool | None
    how: str
