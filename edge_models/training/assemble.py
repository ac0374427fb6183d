"""Puts a bundle together: head, population, golden vectors, card, and the manifest over all.

Rules it upholds: the manifest is written last and names every file of the folder; a bundle is
loaded, verified and run in both runtimes before it replaces another; a model carries the
licence of what it learned from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge_models import alignment
from edge_models.baseline import Baseline
from edge_models.bundle import Bundle, load_bundle
from edge_models.card_statement import MEASURED, Statement, statement_of, text_of
from edge_models.golden import Golden, Vector
from edge_models.head import Head
from edge_models.licences import AS_ITS_DATA
from edge_models.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    Runtimes,
    Thresholds,
    parse_manifest,
)
from edge_models.population import written
from edge_models.training.corpora import Clip
from edge_models.training.int8_model import Int8Model
from edge_models.training.quantise import onnx_body
from edge_models.training.streams import Floats, Windows
from edge_models.training.tflite_writer import tflite_body

VERSION: Final = "2.0.0"
CONSENT_VERSION: Final = 1
"""Of `consent.md`; raised by whoever changes what the text means."""
PURPOSE: Final = (
    "Screening aid, never a diagnosis: how sad or fearful speech sounds beside the same person's "
    "earlier speech. Affect figures on acted speech only."
)
THRESHOLDS: Final = Thresholds(
    minimum_speech_s=3.0, minimum_speech_short_s=0.5, middle_from=0.35, high_from=0.65
)
RUNTIMES: Final = Runtimes()
ALLOWED_STEPS: Final = 1.0
ALLOWED_SPREADS: Final = 0.1
GOLDEN_NOISE: Final = 0.5
_RESTRICTED: Final = ("BY-NC", "BY-NC-SA")


@dataclass(frozen=True, slots=True)
class Said:
    """What a manifest says besides its name, its licence and its files; what `train` says."""

    version: str = VERSION
    purpose: str = PURPOSE
    consent_version: int = CONSENT_VERSION
    runtimes: Runtimes = RUNTIMES
    thresholds: Thresholds = THRESHOLDS


def licence_of(clips: Sequence[Clip]) -> tuple[str, str]:
    """The licence of a model of these clips, and a sentence why."""
    sets = ", ".join(sorted({f"{clip.dataset} ({clip.licence})" for clip in clips}))
    terms = {term for clip in clips for term in clip.licence.upper().split()[1:2]}
    carried = max((name for name in _RESTRICTED if name in terms), key=len, default=None)
    if carried is None:
        return AS_ITS_DATA, f"Trained on {sets}: look at the terms of each of them."
    return (
        f"CC {carried} 4.0",
        f"Trained on {sets}: this model is for non-commercial use and carries the terms of its "
        "training data; the licence of the code does not cover it.",
    )


def write_body(folder: Path, model: Int8Model, head: Head, functionals: Sequence[str]) -> None:
    """Write both bodies, the head, the population and everybody's moments."""
    (folder / "body.onnx").write_bytes(onnx_body(model.body))
    (folder / "body.tflite").write_bytes(tflite_body(model.body))
    (folder / "head.json").write_bytes(head.model_dump_json(indent=1).encode() + b"\n")
    (folder / "population.json").write_bytes(written(model.population, tuple(functionals)))
    (folder / "moments.json").write_bytes(alignment.written(model.moments))


def write_golden(
    folder: Path, model: Int8Model, head: Head, windows: Windows, sound: Floats, seed: int
) -> None:
    """Write golden vectors: averages over people, by set and emotion, plus noise.

    `sound` float32 (88,) is what the front end hears of the golden sound.
    """
    rng = np.random.default_rng(seed)
    population = model.population
    means = [
        windows.summaries[chosen].mean(axis=0)
        for dataset in np.unique(windows.dataset)
        for emotion in np.unique(windows.emotion)
        if (chosen := (windows.dataset == dataset) & (windows.emotion == emotion)).any()
    ]
    vectors = []
    for mean in means:
        noise = rng.normal(0, GOLDEN_NOISE, len(mean)) * population.spread
        summary = (mean + noise).astype(np.float32)
        z = Baseline.empty(population).normalised(summary)
        embedding = model.body.run(z[None])[0]
        scores = head.score(embedding)
        vectors.append(
            Vector(
                summary=tuple(map(float, summary)),
                embedding=tuple(map(float, embedding)),
                scores=(scores.sadness, scores.fear, scores.distress),
            )
        )
    golden = Golden(
        format=1,
        step=model.body.embed.leaving.step,
        allowed_steps=ALLOWED_STEPS,
        sound=tuple(map(float, sound)),
        allowed_spreads=ALLOWED_SPREADS,
        vectors=tuple(vectors),
    )
    (folder / "golden.json").write_bytes(golden.model_dump_json().encode() + b"\n")


def write_manifest(
    folder: Path,
    name: str,
    licence: tuple[str, str],
    made_with: Sequence[str],
    said: Said = Said(),
) -> None:
    """Write the manifest over every file that lies in the folder now.

    `licence` is its name and the notice why.

    Raises:
        ValueError: a file that every bundle needs is missing (pydantic's error, our bug).
    """
    manifest = Manifest(
        format=1,
        name=name,
        version=said.version,
        purpose=said.purpose,
        licence=licence[0],
        notice=licence[1],
        made_with=tuple(made_with),
        consent_version=said.consent_version,
        runtimes=said.runtimes,
        thresholds=said.thresholds,
        files=entries_of(folder),
    )
    (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())


def write_bundle(folder: Path) -> Bundle:
    """Renew the sizes and hashes in a folder's manifest, after one of its files was made anew.

    What a card's figures depend on can't be made anew without the card.

    Raises:
        BundleError: there is no manifest to renew, or the bundle does not hold together.
    """
    old = parse_manifest((folder / MANIFEST_NAME).read_bytes())
    renewed = old.model_copy(update={"files": entries_of(folder)})
    (folder / MANIFEST_NAME).write_bytes(renewed.to_bytes())
    return load_bundle(folder)


def restate_card(folder: Path, name: str, version: str, licence: str) -> None:
    """Let the card say that it is of the files that lie in the folder, under this name.

    For whoever vouches that its figures are theirs; a card without a statement gets one.

    Raises:
        BundleError: the card's statement can't be understood.
        ValueError: a file that every bundle needs is missing (pydantic's error, our bug).
    """
    path = folder / "CARD.md"
    before = statement_of(path.read_bytes())
    entries = entries_of(folder)
    statement = Statement(
        name=name,
        version=version,
        licence=licence,
        files={entry.name: entry.sha256 for entry in entries if entry.name in MEASURED},
        figures=() if before is None else before.figures,
    )
    text = text_of(path.read_text(encoding="utf-8"))
    if before is not None:
        text = text.replace(f"# {before.name} {before.version}\n", f"# {name} {version}\n", 1)
    path.write_text(statement.over(text), encoding="utf-8")


def entries_of(folder: Path) -> tuple[FileEntry, ...]:
    """Name, size and hash of every file of the folder but its manifest."""
    contents = (
        (path.name, path.read_bytes())
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST_NAME
    )
    return tuple(
        FileEntry(name=name, bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest())
        for name, raw in contents
    )
