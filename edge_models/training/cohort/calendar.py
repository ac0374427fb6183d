"""Weeks of virtual participants: how they are, on which days they are heard, when they answer.

Rules it upholds: whoever is worse is heard on fewer days, less on these, and answers less often, so
what is missing is not missing at random; averaged over everybody the shares are those asked for.

    state      a trait and a mood: at k weeks' distance correlated by 0.7 + 0.3 · 0.8^k
    silence    runs of days: a silent day is likelier after a silent day
    missing    log-odds of a silent day, and of no answer, rise by 0.5 a spread of the state

At ten weeks the state's correlation is 0.73, as between StudentLife's two forms of 38 students
(Spearman 0.73). The week-to-week part and what makes missing depend on the state are assumptions.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.training.cohort.answers import Reals

DAYS_A_WEEK: Final = 7
WEEKS_ASKED: Final = 2
"""Both questionnaires ask about the last two weeks, and are given every two weeks."""

TRAIT: Final = 0.7
STEADY: Final = 0.8
_RUNS: Final = 0.5
"""Of the silent days' chain: how much of a day's silence is that of the day before."""

_FEWER: Final = 0.5  # log-odds of a silent day or of no answer, for a spread of the state
_LESS: Final = 0.15  # log of windows a day
_TALK: Final = (0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 4, 3, 3, 3, 4, 5, 6, 6, 5, 4, 2, 1)
"""How much of the talking falls into each hour of the day: an assumption."""

Days = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Habits:
    """What everybody averages to: `windows_a_day` on days with speech; shares of days and answers.

    `silent_days` is the share of days without a word (now and then another day holds no window,
    either), `unanswered` that of questionnaires. `worse_less` says how much more is missing of who
    is worse: 1 as above, 0 nothing more (missing at random).
    """

    windows_a_day: float = 3.0
    silent_days: float = 0.25
    unanswered: float = 0.0
    worse_less: float = 1.0

    def __post_init__(self) -> None:
        shares = (self.silent_days, self.unanswered)
        if not 0 < self.windows_a_day <= 1000 or not all(0 <= share < 1 for share in shares):
            raise ContractError(
                "Participants talk on some days and answer some questionnaires.",
                "Give --windows-a-day up to 1000, --silent-days and --unanswered shares below 1.",
            )
        if not 0 <= self.worse_less <= 4:
            raise ContractError("Being worse weighs 0 to 4 times as much as usual.")


def states_of(people: int, weeks: int, copula: float, rng: np.random.Generator) -> Reals:
    """Each person's two states week by week, standard normal: float64 (people, weeks, 2)."""
    mixing = np.linalg.cholesky(np.asarray([[1.0, copula], [copula, 1.0]]))
    trait = rng.normal(size=(people, 2))
    mood = rng.normal(size=(people, weeks, 2))
    for week in range(1, weeks):
        mood[:, week] = STEADY * mood[:, week - 1] + np.sqrt(1 - STEADY**2) * mood[:, week]
    states: Reals = np.sqrt(TRAIT) * trait[:, None] + np.sqrt(1 - TRAIT) * mood
    return states @ mixing.T


def asked_states(states: Reals) -> Reals:
    """The states that a questionnaire at the end of every two weeks asks about, standard normal.

    float64 (people, questionnaires, 2); the last one of an odd number of weeks asks about one.
    """
    fortnights = [states[:, week : week + WEEKS_ASKED] for week in range(0, states.shape[1], 2)]
    apart = TRAIT + (1 - TRAIT) * STEADY
    spreads = {1: 1.0, 2: np.sqrt(2 + 2 * apart)}
    asked = [two.sum(axis=1) / spreads[two.shape[1]] for two in fortnights]
    return np.stack(asked, axis=1)


def burden_of(states: Reals, copula: float) -> Reals:
    """Both states as one, standard normal, float64 (people, times)."""
    return np.asarray(states.sum(axis=-1) / np.sqrt(2 + 2 * copula))


def silent_days(burden: Reals, habits: Habits, rng: np.random.Generator) -> Days:
    """The days on which nobody is heard, in runs: bool (people, 7 weeks).

    A chain of two states whose share of silent days is that of the week.
    """
    likely = _likely(habits.silent_days, burden, habits.worse_less)
    share = np.repeat(likely, DAYS_A_WEEK, axis=1)
    drawn = rng.random(share.shape)
    silent = np.zeros(share.shape, bool)
    silent[:, 0] = drawn[:, 0] < share[:, 0]
    for day in range(1, share.shape[1]):
        after = share[:, day] * (1 - _RUNS) + _RUNS * silent[:, day - 1]
        silent[:, day] = drawn[:, day] < after
    return silent


def windows_of_days(burden: Reals, habits: Habits, rng: np.random.Generator) -> Counts:
    """How many windows each day holds, int64 (people, 7 weeks); none on a silent day."""
    silent = silent_days(burden, habits, rng)
    level, weight = _spreads()
    heard = 1 - _likely(habits.silent_days, level, habits.worse_less)
    less = _LESS * habits.worse_less
    usual = (1 - habits.silent_days) / float(weight @ (heard * np.exp(-less * level)))
    rate = habits.windows_a_day * usual * np.exp(-less * burden)
    return np.where(silent, 0, rng.poisson(np.repeat(rate, DAYS_A_WEEK, axis=1)))


def answered(burden: Reals, habits: Habits, rng: np.random.Generator) -> Days:
    """Which questionnaires are answered, bool (people, questionnaires)."""
    likely = _likely(habits.unanswered, burden, habits.worse_less)
    return np.asarray(rng.random(burden.shape) >= likely)


def hours_of(count: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """The hours of so many windows, 0..23, int8 (count,)."""
    talk = np.asarray(_TALK, float)
    return rng.choice(len(talk), count, p=talk / talk.sum()).astype(np.int8)


def _likely(share: float, burden: Reals, worse_less: float) -> Reals:
    """A chance that rises with the burden and averages to `share` over everybody."""
    if share == 0:
        return np.zeros_like(burden)
    fewer = _FEWER * worse_less
    level, weight = _spreads()
    low, high = -40.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(weight @ _logistic(middle + fewer * level))
        low, high = (middle, high) if mean < share else (low, middle)
    return _logistic(low + fewer * burden)


def _logistic(odds: Reals) -> Reals:
    return np.asarray(1 / (1 + np.exp(-odds)))


def _spreads() -> tuple[Reals, Reals]:
    """Places and weights that average a function over a standard normal."""
    level, weight = np.polynomial.hermite_e.hermegauss(32)  # type: ignore[no-untyped-call]
    return level, weight / weight.sum()
