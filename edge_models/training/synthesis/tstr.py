"""Train on synthetic, test on real people whom no synthesiser met.

Rules it upholds: the tested people are in no training row of the synthesiser, the frame or the
body; the same classifier learns from every table; real training rows, their shuffled labels and
a constant answer stand beside; intervals are over people.

Source: Esteban, Hyland, Rätsch, "Real-valued (Medical) Time Series Generation with Recurrent
Conditional GANs", arXiv 1706.02633, section 4.1.2.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.linear_model import LogisticRegression

from edge_models.assessment import TASKS
from edge_models.head import sigmoid
from edge_models.training.metrics import (
    Estimate,
    balanced_accuracy,
    both_sides,
    constant_macro_f1,
    estimated,
    macro_f1,
    pooled,
)
from edge_models.training.synthesis.table import Labels, Reals, Table, Words

SIX: Final = 6
STRENGTH: Final = 0.05
"""Inverse of the ridge penalty, on values in spreads."""


@dataclass(frozen=True, slots=True)
class Utility:
    """One task, learnt from one table, tested on real people never met.

    A constant answer has a balanced accuracy of 0.5; `six` pools six windows of a person and is
    None where nobody has six of both kinds.
    """

    task: str
    balanced_accuracy: Estimate
    macro_f1: Estimate
    constant_macro_f1: float
    six: Estimate | None


def logits(learnt: Table, tested: Table) -> Reals:
    """Log-odds of the three tasks for the tested rows, float64 (N, 3), by logistic regression.

    A task of which the learnt rows know one side only is answered 0 throughout.
    """
    told = np.zeros((len(tested), len(TASKS)))
    for task in range(len(TASKS)):
        known = learnt.labels.known[:, task]
        truth = learnt.labels.truth[known, task]
        if both_sides(truth):
            model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1_000)
            fit = model.fit(learnt.values[known], truth)
            told[:, task] = fit.decision_function(tested.values)
    return told


def shuffled(table: Table, rng: np.random.Generator) -> Table:
    """The rows with labels permuted within each set and kind."""
    order = np.arange(len(table))
    for dataset in np.unique(table.labels.dataset):
        for kind in np.unique(table.labels.kind):
            rows = (table.labels.dataset == dataset) & (table.labels.kind == kind)
            order[rows] = rng.permutation(np.flatnonzero(rows))
    return Table(table.values, table.labels.at(order), table.person, table.group)


def utilities(
    told: Reals, labels: Labels, people: Words, rng: np.random.Generator
) -> tuple[Utility, ...]:
    """Figures of out-of-fold log-odds (N, 3) of all tested windows, for each task."""
    figures = []
    for task, name in enumerate(TASKS):
        known = labels.known[:, task]
        truth = labels.truth[known, task]
        if not both_sides(truth):
            continue
        scores, own = sigmoid(told[known, task]), people[known]
        six = pooled(told[known, task], truth, own, SIX, rng)
        figures.append(
            Utility(
                task=name,
                balanced_accuracy=estimated(balanced_accuracy, scores, truth, own, rng),
                macro_f1=estimated(macro_f1, scores, truth, own, rng),
                constant_macro_f1=constant_macro_f1(truth),
                six=estimated(balanced_accuracy, six.scores, six.truth, six.people, rng)
                if both_sides(six.truth)
                else None,
            )
        )
    return tuple(figures)
