"""What there is to know of a loaded bundle, as one table that reads the same for machines.

Place in the life of a bundle: loaded → **facts** → a page, or JSON.
"""

from pydantic import BaseModel, ConfigDict

from edge_models.bundle import Bundle
from edge_models.card_statement import Figure
from edge_models.edges import edges_of
from edge_models.graph_contracts import contracts
from edge_models.manifest import GRAPHS, FileEntry, Thresholds


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GraphFacts(_Frozen):
    """One graph's file: its edges, and whether the manifest chooses it on a device."""

    file: str
    chosen: bool
    takes: tuple[str, ...]
    gives: tuple[str, ...]


class GoldenFacts(_Frozen):
    """How many golden vectors there are, and how far an answer may be off."""

    vectors: int
    allowed_steps: float
    allowed_spreads: float


class CardFacts(_Frozen):
    """Whether the card states its files, its headline figures, and its first heading."""

    states_its_files: bool
    figures: tuple[Figure, ...]
    title: str


class Facts(_Frozen):
    """A bundle's facts; `hearing` and `space` are as `bundle.Bundle` says.

    `aligned`: whether it has moments, to which each person's embeddings are moved.
    """

    name: str
    version: str
    format: int
    purpose: str
    licence: str
    notice: str
    made_with: tuple[str, ...]
    consent_version: int
    hearing: str
    space: str
    functionals: int
    embedding: int
    aligned: bool
    thresholds: Thresholds
    golden: GoldenFacts
    card: CardFacts
    graphs: tuple[GraphFacts, ...]
    files: tuple[FileEntry, ...]


def facts_of(bundle: Bundle) -> Facts:
    """The facts of a bundle; nothing is run."""
    about, golden, statement = bundle.manifest, bundle.golden, bundle.statement
    headings = (line[2:].strip() for line in bundle.card.splitlines() if line.startswith("# "))
    return Facts(
        name=about.name,
        version=about.version,
        format=about.format,
        purpose=about.purpose,
        licence=about.licence,
        notice=about.notice,
        made_with=about.made_with,
        consent_version=about.consent_version,
        hearing=bundle.hearing,
        space=bundle.space,
        functionals=len(bundle.population),
        embedding=bundle.head.embedding_size,
        aligned=bundle.moments is not None,
        thresholds=about.thresholds,
        golden=GoldenFacts(
            vectors=len(golden.vectors),
            allowed_steps=golden.allowed_steps,
            allowed_spreads=golden.allowed_spreads,
        ),
        card=CardFacts(
            states_its_files=statement is not None,
            figures=() if statement is None else statement.figures,
            title=next(headings, ""),
        ),
        graphs=tuple(_graphs(bundle)),
        files=about.files,
    )


def _graphs(bundle: Bundle) -> list[GraphFacts]:
    chosen = {f"{name}.{getattr(bundle.manifest.runtimes, name)}" for name in GRAPHS}
    found = []
    for file in contracts(1, 1):
        edges = edges_of(file, bundle.raw(file))
        takes, gives = (tuple(map(str, each)) for each in (edges.inputs, edges.outputs))
        found.append(GraphFacts(file=file, chosen=file in chosen, takes=takes, gives=gives))
    return found
