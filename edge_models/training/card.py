"""The model card of a bundle: what it is for, what it learned from, how good it is, its limits.

Rules it upholds: every figure is called an affect figure and stands beside a constant answer, a
network trained on shuffled labels, and its interval over people; nothing is left out because it
looks bad; its first lines state for machines which files the figures belong to.

Source: Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, for the sections.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_models.assessment import TASKS
from edge_models.baseline import LONGEST_MEMORY, MEAN_WEIGHT, SPREAD_WEIGHT
from edge_models.card_statement import MEASURED, Figure, Statement
from edge_models.golden import Agreement
from edge_models.manifest import FileEntry, Thresholds
from edge_models.training.corpora import Clip
from edge_models.training.encoder import EMBEDDING
from edge_models.training.evaluate import SIX, Affect, Condition, Evaluation
from edge_models.training.gate import GateFigures
from edge_models.training.gate_figures import SNRS_DB
from edge_models.training.metrics import Estimate

_INTENDED = """\
A screening aid for research: from ten seconds of speech it says how sad or fearful the voice
sounds beside the same person's earlier windows. It is **never a diagnosis**, it is not a medical
device, and no decision about anybody may rest on it. It stays silent when it hears too little
speech or when the camera sees more than one face.

Sadness stands in for the depression task and fear for the anxiety task, because no openly licensed
raw speech with depression or anxiety labels exists. **Every figure below is an affect figure on
acted speech.** None of them says how well depression or anxiety would be recognised."""

_LIMITS = """\
- Acted emotions of a few trained speakers in quiet rooms, a handful of sentences, two languages.
  Everyday speech, other languages, children, old age, illness and noise are untested.
- A score depends on the order of windows: somebody who has been sad since the first window looks
  usual to a baseline that has heard nothing else.
- What lasts becomes usual. In a simulation of 100 usual windows and then a shift of two spreads,
  the score of sadness was 0.81 at first, 0.62 a hundred windows later, 0.30 after eight hundred.
- Scores are calibrated as if both answers were equally common. At another base rate they must be
  shifted by its log-odds; the band edges are not clinical cut-offs.
- Distress is scored for itself and may come out below sadness or fear.
- The first windows of a person, which no baseline knows yet, tell more of who it is than later
  ones. The functionals before the baseline tell nearly everything; they never leave the device.
- Level 3 is not random. Whoever sees all of a person's embeddings in order, from the first on, can
  undo the alignment: on six unmet people R fell to 0.92 over six windows and 0.81 over twenty. Of
  the first six windows of a person alone R was 0.86; for an attacker who is told the emotion of
  each window 0.75. So embeddings stay on the device; they are no public data.
- Facial features are computed and shown to their owner, but not scored: no openly licensed labelled
  recordings of faces that would fit the tasks are at hand.
- The shipped network is trained on everybody; the figures are those of networks trained without
  the people they were tested on."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the card tells of how a bundle was made; `files` are those that lie there already."""

    name: str
    version: str
    licence: str
    notice: str
    made_with: tuple[str, ...]
    thresholds: Thresholds
    seed: int
    clips: Sequence[Clip]
    used: int
    joined: int
    files: tuple[FileEntry, ...]
    agreement: Agreement


def card(made: Made, evaluation: Evaluation, chapters: Sequence[str], together: str = "") -> str:
    """The card in Markdown; `chapters` are the front end's and the gate's own tables.

    `together` is the chapter of `sottovoce evaluate`, "" where it was not run.

    Raises:
        ValueError: a file that its figures depend on is not there yet (pydantic's, our bug).
    """
    text = (
        "\n\n".join(
            [
                f"# {made.name} {made.version}",
                "## Intended use\n\n" + _INTENDED,
                "## Licence\n\n" + f"{made.licence}. {made.notice}",
                "## How it works\n\n" + _how(made),
                "## Learned from\n\n" + _learned_from(made),
                *_together(together),
                "## Affect figures\n\n" + _figures(evaluation),
                "## Files and runtimes\n\n" + _files(made),
                "## Front end",
                *(_below_front_end(chapter) for chapter in chapters),
                "## Limits\n\n" + _LIMITS + _unknown(made.clips),
            ]
        )
        + "\n"
    )
    return _statement(made, evaluation).over(text)


def _together(chapter: str) -> Iterator[str]:
    if chapter:
        yield "## Privacy beside utility\n\n" + chapter.strip()


def _statement(made: Made, evaluation: Evaluation) -> Statement:
    return Statement(
        name=made.name,
        version=made.version,
        licence=made.licence,
        files={entry.name: entry.sha256 for entry in made.files if entry.name in MEASURED},
        figures=tuple(_headline(evaluation)),
    )


def _headline(evaluation: Evaluation) -> Iterator[Figure]:
    """Balanced accuracy of one clip and of six, by task and set, on people never met."""
    for one in evaluation.figures:
        if (one.condition, one.group) == (Condition.CLIPS, "everyone"):
            of = f"balanced accuracy, {one.task}, {one.dataset}"
            yield Figure(of=f"{of}, one clip", value=str(one.balanced_accuracy))
            yield Figure(of=f"{of}, {SIX} clips", value=_or_none(one.six))


def _below_front_end(chapter: str) -> str:
    """A chapter's headings, moved so that its highest is of the third level."""
    marks = re.findall(r"^(#+) ", chapter, re.MULTILINE)
    deeper = "#" * max(3 - min(map(len, marks), default=3), 0)
    return re.sub(r"^(?=#+ )", deeper, chapter, flags=re.MULTILINE).strip()


def _how(made: Made) -> str:
    limits = made.thresholds
    return f"""\
1. A speech gate marks the 10 ms rows that hold near speech. Under {limits.minimum_speech_s:g} s of
   speech in a window of ten seconds ({limits.minimum_speech_short_s:g} s where a whole short
   recording is one window) nothing is described or scored.
2. 25 descriptors at 100 Hz and 88 functionals over the speech rows, by their eGeMAPSv02 names.
3. The person's own running baseline: means shrunk to the population by {MEAN_WEIGHT:g} windows'
   weight, spreads by {SPREAD_WEIGHT:g}; memory {LONGEST_MEMORY:g} windows; z-scores within ±4.
   It is causal: a window is measured against earlier ones only.
4. An int8 body 88 → {EMBEDDING}, linear: the raw embedding.
5. The person's own running moments: mean and covariance of the raw embedding are moved to
   everybody's, causally, so that neither where somebody's windows lie nor how they scatter tells
   who it is. The result is the embedding: level 3, what is kept for learning.
6. A linear head of {3 * (EMBEDDING + 1)} parameters, and a slope and a shift for each score.

Bands: middle from {limits.middle_from:g}, high from {limits.high_from:g}."""


def _learned_from(made: Made) -> str:
    rows = ["| set | people | clips | licence |", "|---|---|---|---|"]
    for dataset in sorted({clip.dataset for clip in made.clips}):
        own = [clip for clip in made.clips if clip.dataset == dataset]
        people = len({clip.person for clip in own})
        rows.append(f"| {dataset} | {people} | {len(own)} | {own[0].licence} |")
    return "\n".join(
        [
            *rows,
            "",
            f"{made.used} of {len(made.clips)} clips held enough speech. Each person was heard as "
            f"recorded and once more at another level; {made.joined} windows of about ten seconds "
            "were joined from clips of one person and emotion. "
            "To learn from, and for nothing else, each clip was heard slower and faster, too. "
            f"Seed {made.seed}; {', '.join(made.made_with)}.",
        ]
    )


def _unknown(clips: Sequence[Clip]) -> str:
    """What a set holds no clip of, and so nobody can say how good it is there."""
    lines = []
    for dataset in sorted({clip.dataset for clip in clips}):
        emotions = {clip.emotion for clip in clips if clip.dataset == dataset}
        for emotion, task in (("sad", "sadness"), ("fearful", "fear")):
            if emotion not in emotions:
                lines.append(
                    f"\n- {dataset} holds no {task}: how {task} is scored there is unknown."
                )
    return "".join(lines)


def _figures(evaluation: Evaluation) -> str:
    parts = [
        "Five folds over people, the same for every set; network, population, int8 ranges and "
        "calibration come from other people (calibration from folds inside the others). "
        "In brackets: 95 % bootstrap intervals over people (drawing people twice makes ECE "
        "look a little larger, so its interval may lie above it). "
        f"*Six*: the mean log-odds of {SIX} windows of one person. *ECE*: calibration error, both "
        "classes weighing the same. A constant answer has balanced accuracy 0.50 and AUROC 0.50; "
        "its macro-F1 is in the last column but one; the last is the balanced accuracy of "
        "networks trained on shuffled labels."
    ]
    for task in TASKS:
        figures = [figure for figure in evaluation.figures if figure.task == task]
        parts.append(f"### {task.capitalize()}\n\n" + _table(figures))
    return "\n\n".join(parts)


def _table(figures: Sequence[Affect]) -> str:
    rows = [
        "| set | windows | people, n | balanced accuracy | macro-F1 | AUROC | ECE | "
        "balanced accuracy, six | AUROC, six | constant F1 | shuffled |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in figures:
        whom = "" if one.group == "everyone" else f", {one.group}"
        shuffled = "" if one.shuffled is None else f"{one.shuffled:.2f}"
        rows.append(
            f"| {one.dataset}{whom} | {one.condition} | {one.people}, {one.windows} | "
            f"{one.balanced_accuracy} | {one.macro_f1} | {one.auroc} | {one.calibration_error} | "
            f"{_or_none(one.six)} | {_or_none(one.six_auroc)} | {one.constant_macro_f1:.2f} | "
            f"{shuffled} |"
        )
    return "\n".join(rows)


def _or_none(estimate: Estimate | None) -> str:
    return "too few windows" if estimate is None else str(estimate)


def _files(made: Made) -> str:
    sizes = (f"| {entry.name} | {entry.bytes:,} |" for entry in made.files)
    rows = ["| file | bytes |", "|---|---|", *sizes]
    agreement = made.agreement
    return "\n".join(
        [
            *rows,
            "",
            f"On {agreement.vectors} golden vectors ONNX Runtime and TFLite differ by at most "
            f"{agreement.between_steps:.0f} int8 step of the embedding, and by "
            f"{agreement.between_scores:.4f} in a score. Golden vectors are averages over people "
            "plus noise: no window of anybody.",
        ]
    )


def gate_chapter(figures: GateFigures) -> str:
    """The table of a gate that was trained just now, beside bare webrtcvad."""
    detectors = sorted({outcome.detector for outcome in figures.outcomes})
    rows = [
        "### Speech gate",
        "",
        "Precision / recall / F1 of 10 ms rows on mixtures of people and noises that were in no "
        "training, over all kinds of noise.",
        "",
        "| detector | " + " | ".join(f"{snr_db} dB" for snr_db in SNRS_DB) + " |",
        "|---" * (1 + len(SNRS_DB)) + "|",
    ]
    for detector in detectors:
        counted = [figures.of(detector, snr_db) for snr_db in SNRS_DB]
        cells = (f"{one.precision:.3f} / {one.recall:.3f} / **{one.f1:.3f}**" for one in counted)
        rows.append(f"| {detector} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def main_figure(evaluation: Evaluation, dataset: str) -> Affect:
    """The figure that is quoted first: distress of one set's clips with their own baseline.

    A set that can't know distress is quoted by the last task that it knows.
    """
    own = [
        figure
        for figure in evaluation.figures
        if (figure.condition, figure.dataset, figure.group)
        == (Condition.CLIPS, dataset, "everyone")
    ]
    return max(own, key=lambda figure: TASKS.index(figure.task))
