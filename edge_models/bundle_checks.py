"""Every check of a bundle's folder, one by one, on this machine: for whoever makes or signs one.

Rules it upholds: each check has its own answer, so that everything that is wrong is told at once;
what depends on a part that failed is not called fine; a folder passes only if `load_bundle` takes
it too. `load_bundle` itself stops at the first fault.

Place in the life of a bundle: made → **checked** → published.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from edge_models.acoustic import AcousticFrontEnd
from edge_models.alignment import parse_moments
from edge_models.baseline import Population
from edge_models.bundle import load_bundle
from edge_models.bundle_files import read_manifest, refuse_unlisted, verified
from edge_models.card_statement import statement_of, text_of
from edge_models.errors import BundleError, Explained
from edge_models.golden import Golden, parse_golden
from edge_models.golden_sound import golden_summary, golden_window
from edge_models.graph_contracts import contracts, must_keep
from edge_models.head import Head, parse_head
from edge_models.licences import must_stay_restricted
from edge_models.manifest import (
    BODY,
    LARGEST_BODY_BYTES,
    MANIFEST_NAME,
    MOMENTS,
    SESSIONS,
    Manifest,
)
from edge_models.population import parse_population
from edge_models.runner import Graph, OnnxGraph, TfliteGraph
from edge_models.session import parse_sessions
from edge_models.speech_gate import SpeechGate

Reader = Callable[[bytes], str]
"""Reads a file's bytes, returns what to say of them, raises an `Explained` where they are wrong."""

Part = TypeVar("Part")

_TITLE: Final = re.compile(r"# ([a-z][a-z0-9-]*) (\d+\.\d+\.\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what there is to say of it, and why it failed ("" where it did not)."""

    what: str
    said: str
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return not self.fault


def checks(folder: Path, others: Mapping[str, Reader] | None = None) -> Iterator[Check]:
    """Look at everything in a folder; `others` reads the files that other rooms understand."""
    look = _Look(folder, dict(others or {}))
    yield look.at(MANIFEST_NAME, look.manifest)
    yield look.at("list of files", look.unlisted)
    manifest = look.parts.get("manifest")
    if isinstance(manifest, Manifest):
        for entry in manifest.files:
            yield look.at(entry.name, partial(look.file, entry.name))
    for what, step in look.contents():
        yield look.at(what, step)
    yield look.at("loads on a device", look.loads)


class _NotLookedAt(Exception):
    """What a check needs has failed already."""


@dataclass(slots=True)
class _Look:
    """One pass over a folder; `parts` is what has been found to be fine so far."""

    folder: Path
    others: dict[str, Reader]
    parts: dict[str, object] = field(default_factory=dict)

    def at(self, what: str, step: Callable[[], str]) -> Check:
        try:
            return Check(what, step())
        except _NotLookedAt as missing:
            return Check(what, "", f"Not looked at, since {missing} failed.")
        except Explained as fault:
            return Check(what, "", fault.cause)

    def contents(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "head", self.head
        yield "population", self.population
        yield "moments", self.moments
        yield "sessions", self.sessions
        for name in contracts(1, 1):
            yield f"contract of {name}", partial(self.contract, name)
        for name in BODY:
            yield f"size of {name}", partial(self.size, name)
        yield "card", self.card
        yield "licence", self.licence
        yield "consent", self.consent
        for name, reader in self.others.items():
            yield name.partition(".")[0], partial(self.other, name, reader)
        yield "golden scores", self.golden_scores
        yield "golden vectors, ONNX Runtime", partial(self.golden_vectors, "body.onnx")
        yield "golden vectors, TFLite", partial(self.golden_vectors, "body.tflite")
        yield "golden sound", self.golden_sound
        yield "speech gate", self.gate

    def manifest(self) -> str:
        manifest = read_manifest(self.folder)
        self.parts["manifest"] = manifest
        return f"{manifest.name} {manifest.version}"

    def unlisted(self) -> str:
        manifest = self._manifest()
        refuse_unlisted(self.folder, manifest)
        return f"{len(manifest.files)} files and the manifest"

    def file(self, name: str) -> str:
        raw = verified(self.folder, self._manifest().file(name))
        self.parts[name] = raw
        return f"{len(raw):,} bytes, as hashed"

    def head(self) -> str:
        head = parse_head(self.raw("head.json"))
        self.parts["head"] = head
        return f"3 scores of an embedding of {head.embedding_size}"

    def population(self) -> str:
        population = parse_population(self.raw("population.json"))
        self.parts["population"] = population
        return f"{len(population)} functionals"

    def moments(self) -> str:
        if not self._manifest().has(MOMENTS):
            return "none: embeddings stay where the body puts them"
        moments = parse_moments(self.raw(MOMENTS), self._head().embedding_size)
        return f"means and covariance of {len(moments)} numbers"

    def sessions(self) -> str:
        if not self._manifest().has(SESSIONS):
            return "none: windows are not pooled"
        sessions = parse_sessions(self.raw(SESSIONS))
        answered = sum(bool(rows) for rows in sessions.tasks)
        return f"{answered} of 3 tasks are answered at an error rate of {sessions.error_rate:g}"

    def contract(self, name: str) -> str:
        sizes = len(self._population()), self._head().embedding_size
        edges = must_keep(name, self.raw(name), contracts(*sizes)[name])
        takes, gives = (", ".join(map(str, each)) for each in (edges.inputs, edges.outputs))
        return f"{takes} → {gives}"

    def size(self, name: str) -> str:
        size = len(self.raw(name))
        if size >= LARGEST_BODY_BYTES:
            raise BundleError(f"It has {size:,} bytes; a body has fewer than 300,000.")
        return f"{size:,} of less than {LARGEST_BODY_BYTES:,} bytes"

    def card(self) -> str:
        manifest, raw = self._manifest(), self.raw("CARD.md")
        statement = statement_of(raw)
        if statement is not None:
            statement.must_be_of(manifest)
        title = _TITLE.match(text_of(_text("CARD.md", raw)))
        if title and title.groups() != (manifest.name, manifest.version):
            is_ = f"{manifest.name} {manifest.version}"
            raise BundleError(f"The card's title is {title[0]!a}, and this is {is_}.")
        if statement is None:
            return "states nothing: written before cards did"
        return f"of this name, version, licence and {len(statement.files)} files"

    def licence(self) -> str:
        manifest = self._manifest()
        card = _text("CARD.md", self.raw("CARD.md"))
        must_stay_restricted((manifest.licence, manifest.notice), {"its card": card})
        return manifest.licence

    def consent(self) -> str:
        text = _text("consent.md", self.raw("consent.md"))
        if not text.strip():
            raise BundleError("There is no text that anybody could agree to.")
        return f"version {self._manifest().consent_version}, {len(text.split())} words"

    def other(self, name: str, reader: Reader) -> str:
        return reader(self.raw(name))

    def golden_scores(self) -> str:
        head = self._head()
        golden = parse_golden(self.raw("golden.json"), self._population(), head)
        golden.must_be_scored_by(head)
        self.parts["golden"] = golden
        return f"{len(golden.vectors)} vectors"

    def golden_vectors(self, name: str) -> str:
        golden, raw = self._golden(), self.raw(name)
        tflite = name.endswith(".tflite")
        graph: Graph = TfliteGraph(raw) if tflite else OnnxGraph(raw)
        runtime = "TFLite" if tflite else "ONNX Runtime"
        given = golden.must_be_given_by(graph, self._population(), runtime)
        steps = float(np.abs(given - golden.embeddings).max()) / golden.step
        return f"within {steps:.1f} int8 steps of {golden.allowed_steps:g}"

    def golden_sound(self) -> str:
        graphs = (OnnxGraph(self.raw(f"{name}.onnx")) for name in ("descriptors", "functionals"))
        heard = golden_summary(AcousticFrontEnd(*graphs))
        golden = self._golden()
        spreads = golden.must_be_heard_in(heard, self._population())
        return f"within {spreads:.4f} spreads of {golden.allowed_spreads:g}"

    def gate(self) -> str:
        belief = SpeechGate(OnnxGraph(self.raw("gate.onnx"))).probability(golden_window())
        if not ((belief >= 0) & (belief <= 1)).all():
            raise BundleError("The speech gate gives something else than a probability.")
        return f"{len(belief)} rows of the golden sound"

    def loads(self) -> str:
        load_bundle(self.folder)
        return "load_bundle takes it"

    def raw(self, name: str) -> bytes:
        """A file that was found to be the one that the manifest describes."""
        return self._part(name, bytes, name)

    def _manifest(self) -> Manifest:
        return self._part("manifest", Manifest, MANIFEST_NAME)

    def _head(self) -> Head:
        return self._part("head", Head, "the head")

    def _population(self) -> Population:
        return self._part("population", Population, "the population")

    def _golden(self) -> Golden:
        return self._part("golden", Golden, "the check of the golden scores")

    def _part(self, key: str, kind: type[Part], told: str) -> Part:
        part = self.parts.get(key)
        if not isinstance(part, kind):
            raise _NotLookedAt(told)
        return part


def _text(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise BundleError(f"'{name}' is not UTF-8 text.") from fault
