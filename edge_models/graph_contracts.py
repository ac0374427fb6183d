"""What each graph of a bundle must take and give: names, types and shapes.

Rules it upholds: both bodies take one z-score for each functional of the population and give one
number for each weight of the head, which is the size of the moments, too; the code calls a graph's
edges by these names, so a graph with others is refused when the bundle is loaded, in one sentence
that names the graph and the edge.

Place in the life of a bundle: edges → **contracts** → golden vectors → use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge_models.acoustic import DESCRIPTOR_NAMES, SUMMARY_NAMES
from edge_models.edges import Edge, Edges, edges_of
from edge_models.errors import BundleError

_REMEDY: Final = "Install the bundle again, or a version of sottovoce that it was made for."
_PLAIN: Final = ("float32",)
_EITHER: Final = ("float32", "int8")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One edge as it must be: `shape` has None where the axis must take any length.

    `may_be_open`: an axis of a known length may also be stated as of any length, because a
    traced graph does not always know; its reader checks each answer's shape.
    """

    name: str
    shape: tuple[int | None, ...]
    dtypes: tuple[str, ...] = _PLAIN
    may_be_open: bool = False

    def __str__(self) -> str:
        axes = ", ".join("any" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name!a} {' or '.join(self.dtypes)} ({axes})"

    def is_met_by(self, edge: Edge) -> bool:
        """Whether an edge is as it must be; int8 needs the one step that makes it a number."""
        lengths = len(edge.shape) == len(self.shape) and all(
            stated == wanted or (self.may_be_open and stated is None)
            for stated, wanted in zip(edge.shape, self.shape, strict=True)
        )
        means_something = edge.dtype != "int8" or edge.steps == 1
        return edge.name == self.name and edge.dtype in self.dtypes and lengths and means_something


@dataclass(frozen=True, slots=True)
class Contract:
    """All edges of one graph."""

    inputs: tuple[Wanted, ...]
    output: Wanted


_FRONT_END: Final = {
    "gate.onnx": Contract(
        (Wanted("samples", (None,)), Wanted("votes", (None,))), Wanted("speech", (None,))
    ),
    "descriptors.onnx": Contract(
        (Wanted("samples", (None,)),),
        Wanted("descriptors", (None, len(DESCRIPTOR_NAMES)), may_be_open=True),
    ),
    "functionals.onnx": Contract(
        (Wanted("descriptors", (None, len(DESCRIPTOR_NAMES))), Wanted("speech", (None,))),
        Wanted("summary", (len(SUMMARY_NAMES),), may_be_open=True),
    ),
}


def contracts(functionals: int, embedding: int) -> dict[str, Contract]:
    """The contract of each graph's file, for a population and a head of these sizes."""
    return _FRONT_END | {
        "body.onnx": Contract(
            (Wanted("z", (None, functionals)),), Wanted("embedding", (None, embedding))
        ),
        "body.tflite": Contract(
            (Wanted("z", (1, functionals), _EITHER),), Wanted("embedding", (1, embedding), _EITHER)
        ),
    }


def must_keep(file: str, raw: bytes, contract: Contract) -> Edges:
    """The edges of a graph's file, if they are those of its contract.

    Raises:
        BundleError: it is no graph, or one with other edges; the cause names the first.
    """
    edges = edges_of(file, raw)
    _must_match(file, "takes", edges.inputs, contract.inputs)
    _must_match(file, "gives", edges.outputs, (contract.output,))
    return edges


def _must_match(file: str, does: str, edges: Sequence[Edge], wanted: Sequence[Wanted]) -> None:
    stated = {edge.name: edge for edge in edges}
    for want in wanted:
        edge = stated.pop(want.name, None)
        if edge is None:
            raise BundleError(f"The bundle's graph '{file}' never {does} {want}.", _REMEDY)
        if not want.is_met_by(edge):
            without = "" if edge.dtype != "int8" or edge.steps == 1 else " without its one step"
            raise BundleError(
                f"The bundle's graph '{file}' {does} {edge}{without}, where it must be {want}.",
                _REMEDY,
            )
    if stated or len(edges) != len(wanted):
        extra = next(iter(stated), edges[0].name if edges else "")
        raise BundleError(
            f"The bundle's graph '{file}' also {does} {extra!a}, which nobody knows.", _REMEDY
        )
