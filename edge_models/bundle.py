"""A bundle: graphs, head, thresholds, policy and golden vectors, verified before they are used.

Rules it upholds: every file's size and hash is checked before a byte of it is parsed; what is
loaded agrees with itself: card, contracts of the graphs, head, body and golden vectors; graphs but
the small body are built only when asked for.

Place in the life of a frame: none; it is read once at start, and every graph comes from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edge_models.acoustic import AcousticFrontEnd
from edge_models.alignment import Moments, parse_moments
from edge_models.baseline import Population
from edge_models.bundle_files import read_manifest, refuse_unlisted, verified
from edge_models.card_statement import Statement, statement_of
from edge_models.errors import BundleError
from edge_models.frame import Frame
from edge_models.golden import Agreement, Golden, parse_golden
from edge_models.golden_sound import golden_summary
from edge_models.graph_contracts import contracts, must_keep
from edge_models.head import Head, parse_head
from edge_models.manifest import (
    BODY,
    FRONT_END,
    MOMENTS,
    POPULATION,
    SESSIONS,
    Manifest,
    Runtime,
    Thresholds,
)
from edge_models.population import parse_population
from edge_models.runner import Graph, OnnxGraph, TfliteGraph
from edge_models.session import Sessions, parse_sessions

GraphName = Literal["gate", "descriptors", "functionals", "body"]

_SHIPPED: Final = Path(__file__).parent / "bundles" / "affect-1"
_AGAIN: Final = "Install the bundle again."


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle; made by `load_bundle`, which checked all that this holds.

    `moments` is None where the bundle has none: its embeddings stay where the body puts them.
    """

    manifest: Manifest
    head: Head
    population: Population
    moments: Moments | None
    _files: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """What records and reports call it, such as `affect-1`."""
        return self.manifest.name

    @property
    def hearing(self) -> str:
        """Whose measure a person's baseline is: front end and population, 16 hexadecimal digits.

        Bundles that hear alike share a person's baseline, whatever they are called.
        """
        return self.manifest.digest_of(*FRONT_END, POPULATION)

    @property
    def space(self) -> str:
        """Where embeddings lie, such as `affect-1-0123456789abcdef`: what a head is for.

        Two bundles of one name with other front ends, populations, bodies or moments have different
        ones, so that no head is trained, voted on or used for embeddings that mean something else.
        """
        moments = (MOMENTS,) if self.manifest.has(MOMENTS) else ()
        return f"{self.name}-{self.manifest.digest_of(*FRONT_END, POPULATION, *BODY, *moments)}"

    @property
    def consent(self) -> str:
        """What a person agrees to, Markdown."""
        return self._files["consent.md"].decode("utf-8", "replace")

    @property
    def thresholds(self) -> Thresholds:
        """When to abstain, and where bands begin."""
        return self.manifest.thresholds

    @property
    def policy(self) -> bytes:
        """The bytes of the differential-privacy policy; `sync.policy.parse_policy` reads them."""
        return self._files["policy.json"]

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return self._files["CARD.md"].decode("utf-8", "replace")

    def raw(self, file: str) -> bytes:
        """The bytes of one of its files.

        Raises:
            BundleError: it has no such file.
        """
        if file not in self._files:
            raise BundleError(f"The bundle '{self.name}' has no '{file}'.", _AGAIN)
        return self._files[file]

    def graph(self, name: GraphName, runtime: Runtime | None = None) -> Graph:
        """Load one graph, on the runtime that the manifest chooses unless told otherwise.

        Raises:
            BundleError: the runtime can't load the file, or the bundle has none for it.
            RuntimeMissing: the TFLite runtime is not installed.
        """
        chosen = runtime or getattr(self.manifest.runtimes, name)
        raw = self.raw(f"{name}.{chosen}")
        return TfliteGraph(raw) if chosen == "tflite" else OnnxGraph(raw)

    @property
    def statement(self) -> Statement | None:
        """What the card says for machines; None: it is a card from before cards did."""
        return statement_of(self._files["CARD.md"])

    @property
    def golden(self) -> Golden:
        """The golden vectors, as parsed anew from their file."""
        return parse_golden(self._files["golden.json"], self.population, self.head)

    @property
    def frame(self) -> Frame:
        """Where embeddings lie, as the public golden vectors say: what heads are trained in."""
        return Frame.of(self.golden.embeddings)

    @property
    def sessions(self) -> Sessions | None:
        """How several windows of one person become one answer; None: this bundle doesn't say."""
        raw = self._files.get(SESSIONS)
        return None if raw is None else parse_sessions(raw)

    def check(self) -> Agreement:
        """Run golden sound and vectors, the body in both runtimes, and compare with their answers.

        Raises:
            BundleError: an answer is further from the stored one than the bundle allows.
            RuntimeMissing: the TFLite runtime is not installed.
        """
        acoustic = AcousticFrontEnd(self.graph("descriptors"), self.graph("functionals"))
        bodies = (self.graph("body", "onnx"), self.graph("body", "tflite"))
        heard = golden_summary(acoustic)
        return self.golden.check(*bodies, heard, self.population, self.head)


def shipped_bundle() -> Bundle:
    """The bundle that comes with this version.

    Raises:
        BundleError: it was altered or is incomplete.
    """
    return load_bundle(_SHIPPED)


def shipped_folder() -> Path:
    """Where the shipped bundle lies; `sottovoce train` writes there unless told otherwise."""
    return _SHIPPED


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle's folder, verify every file against the manifest, and see that they agree.

    The graphs' edges must be those that the code calls, for the sizes of head and population;
    moments, where there are some, must have the head's; the card must be about these files;
    the head and the ONNX body must give the golden answers.

    Raises:
        BundleError: a file is missing, extra, altered, not a plain file, not understood, or does
            not agree with the others.
    """
    manifest = read_manifest(folder)
    refuse_unlisted(folder, manifest)
    files = {entry.name: verified(folder, entry) for entry in manifest.files}
    head, population = parse_head(files["head.json"]), parse_population(files[POPULATION])
    for name, contract in contracts(len(population), head.embedding_size).items():
        must_keep(name, files[name], contract)
    moments = parse_moments(files[MOMENTS], head.embedding_size) if MOMENTS in files else None
    statement = statement_of(files["CARD.md"])
    if statement is not None:
        statement.must_be_of(manifest)
    bundle = Bundle(manifest, head, population, moments, files)
    _ = bundle.sessions  # it can be read
    golden = bundle.golden
    golden.must_be_scored_by(head)
    golden.must_be_given_by(bundle.graph("body", "onnx"), population)
    return bundle
