"""What virtual participants answer: PHQ-9, item by item, and the sum of a GAD-7.

Rules it upholds: the sums' laws have three constants each, the item law twelve, all public and
derived once; nobody's answers stand here. The PHQ-8 is the PHQ-9 without its last item.

    sums   negative binomial from a least sum; shape 1 is geometric, P(sum >= k) = stays^k
    both   a Gaussian copula, its correlation chosen for the published share of people over both
    items  a rating scale model: given the sum, the items are independent of who answers

`GENERAL` meets P(PHQ-9 >= 10), P(GAD-7 >= 8) and their overlap exactly; the tails between and
beyond are the geometric law's own. `PUPILS` is fitted by maximum likelihood; in that table nobody
has a PHQ-9 below 2, and so here. Both questionnaires' items are answered alike by both.

Source: `GENERAL`: Johansson, Carlbring, Heedman, Paxling, Andersson, "Depression, anxiety and their
comorbidity in the Swedish general population", PeerJ 1:e98, 2013 (n = 1,329). `PUPILS`: MMPsy, the
released table of PHQ-9 and GAD-7 sums (n = 1,275, MIT). Items: Andrich, "A rating formulation
for ordered response categories", Psychometrika 43, 1978, by conditional maximum likelihood on the
84 forms of 46 students in StudentLife (Wang et al., UbiComp 2014).
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.errors import ContractError
from edge_models.training.streams import Places

Reals = npt.NDArray[np.float64]
Small = npt.NDArray[np.int8]

PHQ_FROM_10: Final = 0.108
GAD_FROM_8: Final = 0.147
BOTH_OF_EITHER: Final = 0.483
"""10.8 % and 14.7 %, and 17.2 % with either: so 8.3 % have both."""

COPULA: Final = 0.873
MOST_PHQ9: Final = 27
MOST_PHQ8: Final = 24
MOST_GAD7: Final = 21
LOW_FROM: Final = 10
WORRIED_FROM: Final = 8

_DIFFICULTY: Final = (-0.3, -0.3, -0.6, -1.2, -0.7, -0.2, 0.0, 1.1, 2.2)
"""Of each PHQ-9 item, in log-odds: tiredness is told most easily, the last item least."""

_STEPS: Final = (0.0, 0.0, 1.8, 4.4)  # of answers 0 to 3: what an answer costs at any item


@dataclass(frozen=True, slots=True)
class Law:
    """A sum's law: `least` plus a negative binomial of `shape` and `stays`, held at `most`."""

    least: int
    shape: float
    stays: float
    most: int

    def __post_init__(self) -> None:
        if not 0 <= self.least < self.most or self.shape <= 0 or not 0 < self.stays < 1:
            raise ContractError("A sum's law has a least below its most, a shape and a share.")

    def chances(self) -> Reals:
        """The chance of each sum 0..most, float64 (most + 1,)."""
        chances = np.zeros(self.most + 1)
        now = (1 - self.stays) ** self.shape
        for number in range(self.most - self.least):
            chances[self.least + number] = now
            now *= (number + self.shape) / (number + 1) * self.stays
        chances[self.most] = 1 - chances.sum()
        return chances

    def reaches(self, sum_from: int) -> float:
        """The chance of a sum of at least `sum_from`."""
        return float(self.chances()[sum_from:].sum())

    def sums(self, states: Reals) -> Small:
        """The sums at standard normal states, int8 of the same shape."""
        below = np.cumsum(self.chances())[:-1]
        edges = [NormalDist().inv_cdf(one) if 0 < one < 1 else _edge(one) for one in below.tolist()]
        return np.searchsorted(np.asarray(edges), states, side="right").astype(np.int8)


def _edge(share: float) -> float:
    return -math.inf if share <= 0 else math.inf


@dataclass(frozen=True, slots=True)
class Prior:
    """How a population answers; `phq_from_10`, `gad_from_8` and `both_of_either` are published.

    `copula` is the correlation of the two states; `people` how many the publication asked.
    """

    phq9: Law
    gad7: Law
    copula: float
    phq_from_10: float
    gad_from_8: float
    both_of_either: float
    people: int
    source: str


class PriorName(StrEnum):
    """Whose answers a cohort is drawn like."""

    GENERAL = "general"
    PUPILS = "pupils"


GENERAL: Final = Prior(
    phq9=Law(0, 1.0, PHQ_FROM_10 ** (1 / LOW_FROM), MOST_PHQ9),
    gad7=Law(0, 1.0, GAD_FROM_8 ** (1 / WORRIED_FROM), MOST_GAD7),
    copula=COPULA,
    phq_from_10=PHQ_FROM_10,
    gad_from_8=GAD_FROM_8,
    both_of_either=BOTH_OF_EITHER,
    people=1_329,
    source="Swedish adults, PeerJ 1:e98, 2013",
)
PUPILS: Final = Prior(
    phq9=Law(2, 1.92, 0.712, MOST_PHQ9),
    gad7=Law(0, 0.906, 0.807, MOST_GAD7),
    copula=0.90,
    phq_from_10=0.202,
    gad_from_8=0.160,
    both_of_either=0.556,
    people=1_275,
    source="pupils, MMPsy's table",
)
PRIORS: Final = {PriorName.GENERAL: GENERAL, PriorName.PUPILS: PUPILS}


def items_of(sums: Small, rng: np.random.Generator) -> Small:
    """PHQ-9 items of given sums (N,), int8 (N, 9) in 0..3: each row adds up to its sum.

    Given the sum, item i is x with a chance proportional to exp(-x difficulty_i - step_x) times
    the weight of all ways in which the later items make up the rest.
    """
    weights = np.exp(-np.outer(_DIFFICULTY, range(4)) - np.asarray(_STEPS))
    later = _ways(weights)
    left: Places = sums.astype(np.intp)
    items = np.zeros((len(sums), len(weights)), np.int8)
    for item, weight in enumerate(weights):
        rest = left[:, None] - np.arange(4)
        ways = np.where(rest >= 0, later[item + 1][np.maximum(rest, 0)], 0.0) * weight
        upto = np.cumsum(ways, axis=1)
        drawn = rng.random(len(sums))[:, None] * upto[:, -1:]
        items[:, item] = (drawn >= upto[:, :-1]).sum(axis=1)
        left = left - items[:, item]
    return items


def _ways(weights: Reals) -> list[Reals]:
    """For each item, the summed weight of the ways in which it and later ones make up each sum."""
    last = np.zeros(MOST_PHQ9 + 1)
    last[0] = 1.0
    ways = [last]
    for weight in weights[::-1]:
        ways.append(np.convolve(ways[-1], weight)[: MOST_PHQ9 + 1])
    return ways[::-1]
