"""A session: several windows of one person, pooled to one calibrated answer or to none.

Rules it upholds: windows of one person are alike, so six of them say less than six times one;
an answer is given only where at most a stated share of people's sessions would be told the
wrong one; a session that is too short or unclear gets no answer, and says why. A figure of
affect under equal priors, never a diagnosis.

Place in the life of a frame: head → the windows' log-odds → **session** → page, report.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_models.assessment import TASKS
from edge_models.errors import BundleError, ContractError
from edge_models.head import Finite, sigmoid

_LONGEST_BYTES: Final = 64 * 1024

Reals = npt.NDArray[np.float64]
Answers = npt.NDArray[np.int8]


class Answer(StrEnum):
    """What is said of a session."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"
    TOO_FEW_WINDOWS = "too few windows"
    NOT_PROMISED = "too few people were heard in training to promise an error rate"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SessionRow(_Frozen):
    """How `windows` windows of one person become an answer to one task.

    Log-odds of the session = slope · mean log-odds of the windows + shift: no under `no_below`,
    yes over `yes_above`, unclear between.
    """

    windows: Annotated[int, Field(ge=1, le=1_000)]
    slope: Annotated[Finite, Field(gt=0)]
    shift: Finite
    no_below: Finite
    yes_above: Finite

    @model_validator(mode="after")
    def _in_order(self) -> "SessionRow":
        if self.no_below > self.yes_above:
            raise ValueError("what is answered no lies below what is answered yes")
        return self

    def log_odds(self, mean: Reals) -> Reals:
        """Calibrated log-odds of sessions from their windows' mean log-odds."""
        return np.asarray(self.slope * mean + self.shift)


class Sessions(_Frozen):
    """`sessions.json`: for each of `assessment.TASKS` its rows, by rising number of windows.

    `error_rate`: among the sessions of people who are so, at most this share is answered no, and
    among those of people who are not, at most this share is answered yes. A task without rows
    was heard of too few people, and is never answered.
    """

    format: Literal[1]
    error_rate: Annotated[float, Field(gt=0, lt=0.5, allow_inf_nan=False)]
    tasks: tuple[tuple[SessionRow, ...], tuple[SessionRow, ...], tuple[SessionRow, ...]]

    @model_validator(mode="after")
    def _rising(self) -> "Sessions":
        for rows in self.tasks:
            if any(one.windows >= next_.windows for one, next_ in pairwise(rows)):
                raise ValueError("rows rise by their number of windows")
        return self

    def answers(self, logits: Reals) -> tuple["SessionAnswer", "SessionAnswer", "SessionAnswer"]:
        """Sadness, fear and distress of a session: its windows' log-odds (N, 3), oldest first.

        Raises:
            ContractError: not three finite numbers for each window.
        """
        if logits.ndim != 2 or logits.shape[1] != len(TASKS) or not np.isfinite(logits).all():
            raise ContractError("A session has three finite log-odds for each window.")
        sadness, fear, distress = (
            _answer(rows, logits[:, task]) for task, rows in enumerate(self.tasks)
        )
        return sadness, fear, distress

    def to_bytes(self) -> bytes:
        """The bytes of `sessions.json`."""
        return self.model_dump_json(indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class SessionAnswer:
    """An answer from the last `windows` windows; `probability`, None where none can be told."""

    answer: Answer
    probability: float | None
    windows: int


def _answer(rows: tuple[SessionRow, ...], logits: Reals) -> SessionAnswer:
    """The largest row that the session fills, on its latest windows."""
    if not rows:
        return SessionAnswer(Answer.NOT_PROMISED, None, 0)
    fitting = [row for row in rows if row.windows <= len(logits)]
    if not fitting:
        return SessionAnswer(Answer.TOO_FEW_WINDOWS, None, len(logits))
    row = fitting[-1]
    log_odds = row.log_odds(logits[-row.windows :].mean(keepdims=True))
    said = answered(log_odds, row.no_below, row.yes_above)[0]
    answer = {1: Answer.YES, 0: Answer.NO, -1: Answer.UNCLEAR}[int(said)]
    return SessionAnswer(answer, float(sigmoid(log_odds)[0]), row.windows)


def answered(log_odds: Reals, no_below: float, yes_above: float) -> Answers:
    """1 yes, 0 no, -1 unclear for each session, int8 of the log-odds' shape.

    Where both limits are one number nothing is unclear, and that number itself is a yes.
    """
    unclear = (log_odds >= no_below) & (log_odds <= yes_above)
    said = np.where(unclear, -1, (log_odds > yes_above).astype(int))
    return np.asarray(np.where(unclear & (no_below == yes_above), 1, said), np.int8)


def parse_sessions(raw: bytes) -> Sessions:
    """Read `sessions.json`.

    Raises:
        BundleError: the bytes are not such a table.
    """
    reason: ValidationError | None = None
    if len(raw) <= _LONGEST_BYTES:
        try:
            return Sessions.model_validate_json(raw)
        except ValidationError as fault:
            reason = fault
    raise BundleError(
        "The bundle's 'sessions.json' is not one that this version understands.",
        "Install the bundle again.",
    ) from reason
