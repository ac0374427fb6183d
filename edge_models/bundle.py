"""A bundle: graphs, head, thresholds, policy and golden vectors, verified before they are used.

Rules it upholds: every file's size and hash is checked before a byte of it is parsed; a file too
many, too few or altered is refused by name; graphs are built only when asked for, so a device
without a camera never loads what it doesn't need.

Place in the life of a frame: none; it is read once at start, and every graph comes from it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from edge_models.acoustic import AcousticFrontEnd
from edge_models.baseline import Population
from edge_models.errors import BundleError
from edge_models.frame import Frame
from edge_models.golden import Agreement, parse_golden
from edge_models.golden_sound import golden_summary
from edge_models.head import Head, parse_head
from edge_models.manifest import (
    BODY,
    FRONT_END,
    LARGEST_MANIFEST_BYTES,
    MANIFEST_NAME,
    POPULATION,
    FileEntry,
    Manifest,
    Runtime,
    Thresholds,
    parse_manifest,
)
from edge_models.population import parse_population
from edge_models.runner import Graph, OnnxGraph, TfliteGraph

GraphName = Literal["gate", "descriptors", "functionals", "body"]

_SHIPPED: Final = Path(__file__).parent / "bundles" / "affect-1"
_AGAIN: Final = "Install the bundle again."


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle; made by `load_bundle`, which checked all that this holds."""

    manifest: Manifest
    head: Head
    population: Population
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

        Two bundles of one name with other front ends, populations or bodies have different ones, so
        that no head is trained, voted on or used for embeddings that mean something else.
        """
        return f"{self.name}-{self.manifest.digest_of(*FRONT_END, POPULATION, *BODY)}"

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

    def graph(self, name: GraphName, runtime: Runtime | None = None) -> Graph:
        """Load one graph, on the runtime that the manifest chooses unless told otherwise.

        Raises:
            BundleError: the runtime can't load the file, or the bundle has none for it.
            RuntimeMissing: the TFLite runtime is not installed.
        """
        chosen = runtime or getattr(self.manifest.runtimes, name)
        file = f"{name}.{chosen}"
        if file not in self._files:
            raise BundleError(f"The bundle '{self.name}' has no '{file}'.", _AGAIN)
        return (
            TfliteGraph(self._files[file]) if chosen == "tflite" else OnnxGraph(self._files[file])
        )

    @property
    def frame(self) -> Frame:
        """Where embeddings lie, as the public golden vectors say: what heads are trained in."""
        golden = parse_golden(self._files["golden.json"], self.population, self.head)
        return Frame.of(np.asarray([vector.embedding for vector in golden.vectors], np.float64))

    def check(self) -> Agreement:
        """Run golden sound and vectors, the body in both runtimes, and compare with their answers.

        Raises:
            BundleError: an answer is further from the stored one than the bundle allows.
            RuntimeMissing: the TFLite runtime is not installed.
        """
        golden = parse_golden(self._files["golden.json"], self.population, self.head)
        acoustic = AcousticFrontEnd(self.graph("descriptors"), self.graph("functionals"))
        bodies = (self.graph("body", "onnx"), self.graph("body", "tflite"))
        heard = golden_summary(acoustic)
        return golden.check(*bodies, heard, self.population, self.head)


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
    """Read a bundle's folder, verify every file against the manifest, then parse what is small.

    Raises:
        BundleError: a file is missing, extra, altered, not a plain file, or not understood.
    """
    manifest = parse_manifest(_read(folder, MANIFEST_NAME, LARGEST_MANIFEST_BYTES))
    _refuse_extra_files(folder, manifest)
    files = {entry.name: _verified(folder, entry) for entry in manifest.files}
    return Bundle(
        manifest,
        parse_head(files["head.json"]),
        parse_population(files["population.json"]),
        files,
    )


def _verified(folder: Path, entry: FileEntry) -> bytes:
    raw = _read(folder, entry.name, entry.bytes)
    if len(raw) != entry.bytes or hashlib.sha256(raw).hexdigest() != entry.sha256:
        raise BundleError(
            f"The bundle's file '{entry.name}' is not the one that its manifest describes.",
            f"{_AGAIN} It was altered or damaged.",
        )
    return raw


def _read(folder: Path, name: str, largest_bytes: int) -> bytes:
    """At most one byte more than allowed is read: enough to notice."""
    path = folder / name
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise BundleError(f"The bundle's '{name}' is not a plain file.", _AGAIN)
    try:
        with path.open("rb") as file:
            return file.read(largest_bytes + 1)
    except OSError as fault:
        raise BundleError(
            f"The bundle's file '{name}' can't be read from '{folder}'.",
            f"{_AGAIN} Or give the folder that holds {MANIFEST_NAME}.",
        ) from fault


def _refuse_extra_files(folder: Path, manifest: Manifest) -> None:
    listed = {entry.name for entry in manifest.files} | {MANIFEST_NAME}
    extra = sorted(path.name for path in folder.iterdir() if path.name not in listed)
    if extra:
        raise BundleError(
            f"The bundle's folder holds a file that its manifest doesn't list: {extra[0]!a}.",
            "Remove it, or install the bundle again.",
        )
