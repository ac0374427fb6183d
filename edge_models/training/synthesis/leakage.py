"""Leakage of a synthesiser over folds: members against control, with intervals over people.

Rules it upholds: a method's leakage counts as *indistinguishable from control* only if no
attack's interval lies on the members' side; membership at a false-positive rate is told only
where the control is large enough to have one false positive at it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge_models.training.metrics import Estimate, auroc, estimated
from edge_models.training.synthesis.attacks import Exposed
from edge_models.training.synthesis.fidelity import jackknife
from edge_models.training.synthesis.table import Flags, Reals, Words

FALSE_POSITIVES: Final = (0.01, 0.001)


@dataclass(frozen=True, slots=True)
class Excess:
    """What an attack reaches against members, against the control, and the difference."""

    attack: str
    members: float
    control: float
    excess: Estimate

    @property
    def tells(self) -> bool:
        """Whether the interval lies above nothing."""
        return self.excess.low > 0


@dataclass(frozen=True, slots=True)
class Membership:
    """Membership inference of people by one score; `auc` 0.5 is guessing.

    `caught` is the share of members found before the first false alarm. `windows_caught` is the
    true-positive rate of single *windows* at each of FALSE_POSITIVES, None where the control is
    too small for it.
    """

    score: str
    auc: Estimate
    caught: float
    windows_caught: tuple[float | None, ...]

    @property
    def tells(self) -> bool:
        """Whether the interval lies above guessing."""
        return self.auc.low > 0.5


@dataclass(frozen=True, slots=True)
class Leakage:
    """All figures of one method.

    `ratio` is the median of a synthetic row's distance to the nearest member's window over that
    to the nearest holdout window; `strangers` the same for real rows of held-out people: near it
    is well, near 0 is copying.
    """

    attacks: tuple[Excess, ...]
    membership: tuple[Membership, ...]
    ratio: Estimate
    strangers: float

    @property
    def told_by(self) -> tuple[str, ...]:
        """The attacks that tell members from control."""
        excesses = [one.attack for one in self.attacks if one.tells]
        return (*excesses, *(f"membership {one.score}" for one in self.membership if one.tells))

    @property
    def indistinguishable(self) -> bool:
        """Whether no attack tells members from control."""
        return not self.told_by


def leakage(folds: Sequence[Exposed], rng: np.random.Generator) -> Leakage:
    """Figures over all folds; a person is a member in some and control in others."""
    people = np.concatenate([fold.people for fold in folds])
    member = np.concatenate([fold.member for fold in folds])

    def of(name: str) -> Reals:
        return np.concatenate([getattr(fold, name) for fold in folds])

    named = {
        "singling out": of("singled_out"),
        "linkability": of("linked"),
        "attribute inference": of("inferred"),
        "nearest record": of("nearest"),
    }
    attacks = tuple(
        Excess(
            name,
            float(scores[member].mean()),
            float(scores[~member].mean()),
            estimated(_excess, scores, member, people, rng),
        )
        for name, scores in named.items()
    )
    guesses = tuple(
        _membership(label, name, folds, people, member, rng)
        for label, name in (("by distance", "by_distance"), ("by density", "by_density"))
    )
    strangers = float(np.mean([fold.strangers for fold in folds]))
    return Leakage(attacks, guesses, _ratio(folds), strangers)


def _excess(scores: Reals, member: Flags) -> float:
    return float(scores[member].mean() - scores[~member].mean())


def _membership(
    label: str,
    name: str,
    folds: Sequence[Exposed],
    people: Words,
    member: Flags,
    rng: np.random.Generator,
) -> Membership:
    scores = np.concatenate([_ranks(getattr(fold, name)) for fold in folds])
    rows = np.concatenate([_ranks(getattr(fold, f"row_{name}")) for fold in folds])
    inside = np.concatenate([fold.row_member for fold in folds])
    return Membership(
        label,
        estimated(auroc, scores, member, people, rng),
        float((scores[member] > scores[~member].max()).mean()),
        tuple(caught_at(rows, inside, rate) for rate in FALSE_POSITIVES),
    )


def _ranks(scores: Reals) -> Reals:
    """Ranks from 0 to 1, ties at their mean: folds have scores of different sizes."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - 0.5 * counts)[inverse] / len(scores))


def caught_at(scores: Reals, member: Flags, false_positives: float) -> float | None:
    """True-positive rate at a false-positive rate; None where not one control row would be one."""
    control = np.sort(scores[~member])[::-1]
    allowed = int(false_positives * len(control))
    if not allowed:
        return None
    return float((scores[member] > control[allowed]).mean())


def _ratio(folds: Sequence[Exposed]) -> Estimate:
    people = np.unique(np.concatenate([fold.people for fold in folds]))
    return jackknife(lambda at: _ratio_of(folds, people[at]), people)


def _ratio_of(folds: Sequence[Exposed], chosen: Words) -> float:
    medians = []
    for fold in folds:
        there = np.isin(fold.people, chosen)
        to_members = fold.distances[:, there & fold.member].min(axis=1)
        to_control = fold.distances[:, there & ~fold.member].min(axis=1)
        medians.append(np.median(to_members / np.maximum(to_control, 1e-9)))
    return float(np.mean(medians))
