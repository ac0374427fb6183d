"""Membership inference on a synthesiser: was this person among those it learnt from?

Rules it upholds: the attacker knows the person's windows, the synthetic table, and reference
people (the held-out ones but the person; for a member one of the same group is left out, so that
both sides are measured against equally many); scores are averaged over a person's windows, because
membership is a person's.

    by distance  log distance to the nearest reference window − to the nearest synthetic one
    by density   log density of synthetic rows − of reference rows, Gaussian kernels, 8 components

Source: Chen, Yu, Zhang, Fritz, "GAN-Leaks", CCS 2020 (calibrated distance); van Breugel, Sun, Qian,
van der Schaar, "Membership Inference Attacks against Synthetic Data through Overfitting
Detection" (DOMIAS), AISTATS 2023, arXiv 2302.12580 (density ratio).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial.distance import cdist

from edge_models.training.synthesis.table import Reals, Table, Words

COMPONENTS: Final = 8
_NOTHING: Final = 1e-6  # keeps the logarithm of a copy's distance, and of no density, finite


@dataclass(frozen=True, slots=True, eq=False)
class Suspected:
    """Scores of M rows of members, then C rows of the control, float64 (M + C,) each."""

    by_distance: Reals
    by_density: Reals


def suspected(synthetic: Reals, members: Table, control: Table) -> Suspected:
    """Score every window: the higher, the likelier its person was learnt from."""
    rows = np.concatenate([members.values, control.values])
    names = np.unique(control.person)
    left_out = _left_out(members, control, names)
    gaps = np.stack(
        [cdist(rows, control.values[control.person == name]).min(axis=1) for name in names], 1
    )
    to_reference = np.stack([np.delete(gaps, j, axis=1).min(axis=1) for j in range(len(names))], 1)
    to_synthetic = cdist(rows, synthetic).min(axis=1)
    by_distance = _log(to_reference, left_out) - np.log(to_synthetic + _NOTHING)
    return Suspected(by_distance, _density_ratio(rows, synthetic, control, names, left_out))


def _left_out(members: Table, control: Table, names: Words) -> Reals:
    """Which control person each row is measured without: shares, float64 (N, C), rows sum to 1.

    A control row is measured without its own person, a member's without one of the same group:
    each of them in turn, averaged.
    """
    groups = np.asarray([control.group[control.person == name][0] for name in names])
    alike = (members.group[:, None] == groups[None]).astype(np.float64)
    alike[~alike.any(axis=1)] = 1.0
    own = (control.person[:, None] == names[None]).astype(np.float64)
    shares = np.concatenate([alike, own])
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _log(values: Reals, shares: Reals) -> Reals:
    """Mean logarithm over who is left out, (N,)."""
    return np.asarray((shares * np.log(values + _NOTHING)).sum(axis=1))


def _density_ratio(
    rows: Reals, synthetic: Reals, control: Table, names: Words, left_out: Reals
) -> Reals:
    mean = synthetic.mean(axis=0)
    axes = np.linalg.svd(synthetic - mean, full_matrices=False)[2][:COMPONENTS].T
    scale = np.maximum(((synthetic - mean) @ axes).std(axis=0), _NOTHING)
    seen, drawn, known = (
        ((values - mean) @ axes) / scale for values in (rows, synthetic, control.values)
    )
    to_drawn = _kernel(seen, drawn)
    to_known = _kernel(seen, known)
    sums = np.stack([to_known[:, control.person == name].sum(axis=1) for name in names], 1)
    counts = np.asarray([np.count_nonzero(control.person == name) for name in names])
    reference = (sums.sum(axis=1, keepdims=True) - sums) / (counts.sum() - counts)
    ratio = np.log(to_drawn.mean(axis=1) + _NOTHING**2)
    ratio -= (left_out * np.log(np.maximum(reference, 0) + _NOTHING**2)).sum(axis=1)
    return np.asarray(ratio)


def _kernel(rows: Reals, around: Reals) -> Reals:
    """Gaussian kernels of Scott's width, as densities but for a constant of the dimensions."""
    size = rows.shape[1]
    width = len(around) ** (-1 / (size + 4))
    kernel = np.exp(-cdist(rows, around, "sqeuclidean") / (2 * width**2))
    return np.asarray(kernel / width**size)
