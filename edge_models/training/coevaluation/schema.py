"""What `evaluation.json` holds: the co-evaluation in figures, a format with a version.

Rules it upholds: every estimate has its 95 % interval over people; identity and affect of one
level stand in one place; what was not measured is absent, never 0.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import ValidationError

from edge_models.errors import RecordingError
from edge_models.training.coevaluation.face_schema import FaceFigures
from edge_models.training.coevaluation.figure import Figure, Finite, Frozen


class Identity(Frozen):
    """How well people are told apart by `windows` windows (closed set; verification).

    `chance` is the panel's top-1 under permuted identities, `one_in_n` one over the gallery's
    size. `reduction` is R against level 1; `reduction_of_one_in_n` the same with `one_in_n` as
    chance. `chosen` counts how often each attacker was chosen; `members` is each one's own top-1.
    """

    windows: int
    people: int
    top1: Figure
    chance: Figure
    one_in_n: Finite
    reduction: Figure | None
    reduction_of_one_in_n: Figure | None
    equal_error_rate: Figure
    accepted_at_1_percent: Figure
    accepted_at_01_percent: Figure
    worst_decile: Finite
    worst_decile_chance: Finite
    chosen: dict[str, int]
    members: dict[str, Finite]


class Attribute(Frozen):
    """How well an attribute of people never met is recognised by `windows` windows."""

    name: str
    values: tuple[str, ...]
    windows: int
    people: int
    balanced_accuracy: Figure
    chance: Finite


class Gap(Frozen):
    """The largest difference of balanced accuracy between groups, and what chance alone gives."""

    attribute: str
    lowest: str
    highest: str
    largest: Figure
    by_chance_95: Finite
    confounded: bool


class Affect(Frozen):
    """How well one task is told from sessions of `windows` windows of people never met.

    `abstained`, `missed` and `false_alarms` are of the rule that promises at most `error_rate` of
    each; None where too few people were heard to promise it. `shuffled` is the balanced accuracy
    of models of shuffled labels.
    """

    task: str
    dataset: str
    windows: int
    people: int
    balanced_accuracy: Figure
    macro_f1: Figure
    auroc: Figure
    calibration_error: Figure
    one_window: Figure
    constant_macro_f1: Finite
    shuffled: Finite | None
    error_rate: Finite | None = None
    abstained: Figure | None = None
    missed: Figure | None = None
    false_alarms: Figure | None = None
    gaps: tuple[Gap, ...] = ()


class LevelFigures(Frozen):
    """One level: `columns` numbers a window, what they tell of people, and of affect."""

    level: str
    columns: int
    identity: tuple[Identity, ...]
    attributes: tuple[Attribute, ...]
    affect: tuple[Affect, ...]

    def identity_of(self, windows: int) -> Identity:
        """The identity figures of one question size."""
        return next(one for one in self.identity if one.windows == windows)

    def affect_of(self, task: str, dataset: str = "all") -> Affect | None:
        """The figures of one task in one set, or in all."""
        own = (one for one in self.affect if (one.task, one.dataset) == (task, dataset))
        return next(own, None)

    def attribute_of(self, name: str, windows: int) -> Attribute | None:
        """The figures of one attribute and question size."""
        own = (one for one in self.attributes if (one.name, one.windows) == (name, windows))
        return next(own, None)


class Setting(Frozen):
    """One way to meet people never met: by folds, in another corpus, or with a given bundle.

    `learned` are the tasks that the training people show both answers to; () of a bundle.
    """

    name: str
    about: str
    people: int
    learned: tuple[str, ...]
    levels: tuple[LevelFigures, ...]

    def level(self, name: str) -> LevelFigures | None:
        """One level's figures."""
        return next((one for one in self.levels if one.level == name), None)


class Corpus(Frozen):
    """A set that was used."""

    name: str
    licence: str
    people: int
    windows: int


class Evaluation(Frozen):
    """`evaluation.json`; `faces` is None where they were not asked for, or there are none."""

    format: Literal[1]
    subject: str
    seed: int
    quick: bool
    passes: int
    permutations: int
    panel: tuple[str, ...]
    corpora: tuple[Corpus, ...]
    versions: tuple[str, ...]
    seconds: Finite
    settings: tuple[Setting, ...]
    limits: tuple[str, ...]
    faces: FaceFigures | None = None

    def pairs(self) -> Iterator[tuple[Setting, LevelFigures]]:
        """Every level of every setting."""
        for setting in self.settings:
            for level in setting.levels:
                yield setting, level


def parse_evaluation(raw: bytes) -> Evaluation:
    """Read `evaluation.json`.

    Raises:
        RecordingError: the bytes are not an evaluation of this format.
    """
    try:
        return Evaluation.model_validate_json(raw)
    except ValidationError as fault:
        raise RecordingError(
            "This is no evaluation that this version understands.",
            "Run `sottovoce evaluate` again.",
        ) from fault
