"""A person's own running moments: each embedding is moved to where everybody's lie.

Rules it upholds: it is causal (a window never takes part in its own alignment); it starts as doing
nothing and comes to know the person as windows come in; training and the device run this same
code; what it holds are E means and E x E sums, never a window.

What tells people apart in an embedding of a few numbers is mostly where their windows lie on
average and how they scatter: their first two moments. Both are made everybody's here, the better
the more windows came before, so that an attacker who sees later windows, one or many, finds nearly
the same mean and covariance for each person. What a window says of the person's mood stays: how it
differs from their usual.

What it does not do: the first window is left where the body puts it, and nothing is random. Whoever
sees all of a person's embeddings in order, from the first on, can follow the moments and undo every
step; and how a person's moods differ from each other is theirs, and stays.

Place in the life of a frame: int8 body → **own moments** → head.

Source: the map between two normal distributions that moves least (Peyre and Cuturi, "Computational
Optimal Transport", 2019, remark 2.31), in the spirit of correlation alignment (Sun, Feng, Saenko,
"Return of Frustratingly Easy Domain Adaptation", AAAI 2016), with running, shrunk moments.
"""

import struct
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from edge_models.errors import BundleError, ContractError
from edge_models.head import Finite

Row = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]

MEAN_WEIGHT: Final = 2.0
COVARIANCE_WEIGHT: Final = 8.0
"""How many windows everybody's moments count for: a covariance takes more windows to know."""

LONGEST_MEMORY: Final = 360.0
"""Windows (an hour of speech) after which older ones fade, as in the baseline."""

_LEAST_SHARE: Final = 1e-6  # of the largest variance: nothing is narrower
_FAR: Final = 1e6
_LARGEST_SUM: Final = LONGEST_MEMORY * (2 * _FAR) ** 2
_LONGEST_BYTES: Final = 256 * 1024
_HEADER: Final = struct.Struct("<4sIId")
_MAGIC: Final = b"SVA1"


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Where embeddings of all people lie: `mean` float64 (E,), `covariance` float64 (E, E).

    The covariance is the average of people's own: how one person's windows scatter.
    """

    mean: Reals
    covariance: Reals

    def __post_init__(self) -> None:
        size = len(self.mean)
        if self.mean.ndim != 1 or not size or self.covariance.shape != (size, size):
            raise ContractError("Moments are a mean of E numbers and a covariance of E x E.")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise ContractError("Moments are finite.")
        if not np.allclose(self.covariance, self.covariance.T, rtol=1e-9, atol=1e-12):
            raise ContractError("A covariance is symmetric.")
        if np.linalg.eigvalsh(self.covariance)[0] <= 0:
            raise ContractError("A covariance is positive definite.")

    def __len__(self) -> int:
        return len(self.mean)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """The running mean and sums of products of one person's embeddings, float64 (E,), (E, E).

    `windows` is how many are remembered; it stops growing at `LONGEST_MEMORY`.
    """

    moments: Moments
    windows: float
    mean: Reals
    products: Reals

    @classmethod
    def empty(cls, moments: Moments) -> Self:
        """Of nobody yet: it leaves an embedding where it is."""
        size = len(moments)
        return cls(moments, 0.0, np.zeros(size), np.zeros((size, size)))

    def aligned(self, embedding: Row) -> Row:
        """An embedding, float32 (E,), moved as this person's moments must be to be everybody's.

        Raises:
            ContractError: it has another length or holds numbers that aren't finite.
        """
        point = self._checked(embedding)
        if not self.windows:
            return embedding
        usual = self.moments
        known = MEAN_WEIGHT + self.windows
        mean = (MEAN_WEIGHT * usual.mean + self.windows * self.mean) / known
        apart = self.mean - usual.mean
        between = np.outer(apart, apart) * MEAN_WEIGHT * self.windows / known
        scatter = COVARIANCE_WEIGHT * usual.covariance + self.products + between
        own = scatter / (COVARIANCE_WEIGHT + self.windows)
        moved: Row = (usual.mean + _map(own, usual.covariance) @ (point - mean)).astype(np.float32)
        return moved

    def including(self, embedding: Row) -> "Alignment":
        """The moments after this window; the ones before it are left as they were.

        Raises:
            ContractError: it has another length or holds numbers that aren't finite.

        Source: Welford 1962, as in `baseline`, for products of two numbers.
        """
        point = self._checked(embedding)
        kept = min(self.windows, LONGEST_MEMORY - 1)
        fade = kept / self.windows if self.windows else 1.0
        step = point - self.mean
        mean = self.mean + step / (kept + 1)
        after = point - mean
        products = fade * self.products + 0.5 * (np.outer(step, after) + np.outer(after, step))
        return Alignment(self.moments, kept + 1, mean, products)

    def _checked(self, embedding: Row) -> Reals:
        if embedding.shape != (len(self.moments),) or not np.isfinite(embedding).all():
            raise ContractError("An embedding is one finite number for each of the moments.")
        return np.clip(embedding.astype(np.float64), -_FAR, _FAR)

    def to_bytes(self) -> bytes:
        """The running moments without everybody's, for the encrypted store."""
        header = _HEADER.pack(_MAGIC, 1, len(self.moments), self.windows)
        body: bytes = np.concatenate([self.mean, self.products.ravel()]).astype("<f8").tobytes()
        return header + body

    @classmethod
    def from_bytes(cls, raw: bytes, moments: Moments) -> Self:
        """Read back what `to_bytes` wrote, for the same bundle's moments.

        Raises:
            ContractError: the bytes are not an alignment, or a damaged one.
        """
        size = len(moments)
        if len(raw) != _HEADER.size + 8 * size * (size + 1):
            raise ContractError("These bytes are not an alignment of this bundle.")
        magic, version, length, windows = _HEADER.unpack_from(raw)
        if (magic, version, length) != (_MAGIC, 1, size):
            raise ContractError("These bytes are not an alignment of this bundle.")
        body = np.frombuffer(raw, "<f8", offset=_HEADER.size).astype(np.float64)
        mean, products = body[:size], body[size:].reshape(size, size)
        whole = np.isfinite(body).all() and 0 <= windows <= LONGEST_MEMORY
        near = (np.abs(mean) <= _FAR).all() and (np.abs(products) <= _LARGEST_SUM).all()
        even = np.allclose(products, products.T) and (np.diag(products) >= 0).all()
        if not (whole and near and even):
            raise ContractError("These bytes are a damaged alignment.")
        return cls(moments, windows, mean, products)


def _map(own: Reals, usual: Reals) -> Reals:
    """The symmetric matrix that turns covariance `own` into `usual` and moves least."""
    root, inverse = _powers(own, 0.5, -0.5)
    (middle,) = _powers(root @ usual @ root, 0.5)
    return np.asarray(inverse @ middle @ inverse)


def _powers(covariance: Reals, *exponents: float) -> list[Reals]:
    sizes, ways = np.linalg.eigh(covariance)
    sizes = np.maximum(sizes, _LEAST_SHARE * max(sizes[-1], 1e-12))
    return [np.asarray((ways * sizes**exponent) @ ways.T) for exponent in exponents]


class _Written(BaseModel):
    """`moments.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[Finite, ...]
    covariance: tuple[tuple[Finite, ...], ...]


def written(moments: Moments) -> bytes:
    """The moments as `moments.json`."""
    rows = tuple(tuple(map(float, row)) for row in moments.covariance)
    told = _Written(mean=tuple(map(float, moments.mean)), covariance=rows)
    return told.model_dump_json(indent=1).encode() + b"\n"


def parse_moments(raw: bytes, embedding_size: int) -> Moments:
    """Read `moments.json` of a bundle whose embeddings have this size.

    Raises:
        BundleError: the bytes are not moments, or of another size.
    """
    remedy = "Install the bundle again."
    try:
        told = _Written.model_validate_json(raw) if len(raw) <= _LONGEST_BYTES else None
        if told is None or len(told.mean) != embedding_size:
            raise ContractError("They have another size.")
        covariance = np.asarray(told.covariance, np.float64)
        return Moments(np.asarray(told.mean, np.float64), covariance)
    except (ValidationError, ValueError, ContractError) as fault:
        raise BundleError("The bundle's 'moments.json' is not valid.", remedy) from fault
