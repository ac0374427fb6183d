"""What one person usually sounds like: their baseline and their own moments, kept together.

Rules it upholds: a window is measured by what came before it, then joins it; a window in which
somebody else may speak joins nothing; training and the device run this same code.

Place in the life of a frame: functionals → **personal baseline** → int8 body → **own moments** →
head.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from edge_models.alignment import Alignment, Moments
from edge_models.baseline import Baseline, Population
from edge_models.errors import ContractError

Row = npt.NDArray[np.float32]
Body = Callable[[Row], Row]
"""From z-scores, float32 (F,), to the body's own embedding, float32 (E,)."""

_HEADER: Final = struct.Struct("<4sI16sII")
_MAGIC: Final = b"SVO1"
_BASELINE_ALONE: Final = b"SVB1"  # what devices kept before there were own moments


class Measures(Protocol):
    """What people are measured by: a bundle."""

    @property
    def population(self) -> Population:
        """Of everybody's functionals."""
        ...

    @property
    def moments(self) -> Moments | None:
        """Of everybody's embeddings; None: embeddings stay where the body puts them."""
        ...

    @property
    def space(self) -> str:
        """Where embeddings lie (`edge_models.bundle.Bundle.space`)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """One person's `baseline` and `alignment` (None: the bundle has no moments), in a `space`."""

    baseline: Baseline
    alignment: Alignment | None
    space: str

    @classmethod
    def empty(cls, bundle: Measures) -> Self:
        """Of nobody yet: windows are measured against everybody."""
        return cls(Baseline.empty(bundle.population), _fresh(bundle), bundle.space)

    def heard(self, summary: Row, body: Body) -> tuple[Row, "Own"]:
        """A window's embedding beside the person's earlier ones; the person with this window.

        `summary` is float32 (F,); the embedding is float32 (E,), aligned.

        Raises:
            ContractError: the window or the body's answer has another length or isn't finite.
        """
        raw = body(self.baseline.normalised(summary))
        alignment = self.alignment
        after = None if alignment is None else alignment.including(raw)
        return self._aligned(raw), Own(self.baseline.including(summary), after, self.space)

    def overheard(self, summary: Row, body: Body) -> Row:
        """The same embedding of a window that says nothing of this person's own; raises alike."""
        return self._aligned(body(self.baseline.normalised(summary)))

    def _aligned(self, raw: Row) -> Row:
        return raw if self.alignment is None else self.alignment.aligned(raw)

    def to_bytes(self) -> bytes:
        """All of it but what is everybody's, for the encrypted store."""
        baseline = self.baseline.to_bytes()
        alignment = b"" if self.alignment is None else self.alignment.to_bytes()
        space = _digest(self.space)
        header = _HEADER.pack(_MAGIC, 1, space, len(baseline), len(alignment))
        return header + baseline + alignment

    @classmethod
    def from_bytes(cls, raw: bytes, bundle: Measures) -> Self:
        """Read back what `to_bytes` wrote, for a bundle that hears alike.

        In another space, or where a device kept only a baseline, the alignment begins anew.

        Raises:
            ContractError: the bytes are nobody's, by another measure, or damaged.
        """
        if raw.startswith(_BASELINE_ALONE):
            baseline = Baseline.from_bytes(raw, bundle.population)
            return cls(baseline, _fresh(bundle), bundle.space)
        space, first, second = _parted(raw)
        baseline = Baseline.from_bytes(first, bundle.population)
        if space != _digest(bundle.space):
            return cls(baseline, _fresh(bundle), bundle.space)
        if bundle.moments is not None:
            return cls(baseline, Alignment.from_bytes(second, bundle.moments), bundle.space)
        if second:
            raise ContractError("These bytes align embeddings where this bundle does not.")
        return cls(baseline, None, bundle.space)


def _fresh(bundle: Measures) -> Alignment | None:
    return None if bundle.moments is None else Alignment.empty(bundle.moments)


def _digest(space: str) -> bytes:
    return hashlib.sha256(space.encode()).digest()[:16]


def _parted(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """The space's digest, the baseline and the alignment."""
    if len(raw) < _HEADER.size:
        raise ContractError("These bytes are not what one person usually sounds like.")
    magic, version, space, first, second = _HEADER.unpack_from(raw)
    if (magic, version, len(raw)) != (_MAGIC, 1, _HEADER.size + first + second):
        raise ContractError("These bytes are not what one person usually sounds like.")
    middle = _HEADER.size + first
    return space, raw[_HEADER.size : middle], raw[middle:]
