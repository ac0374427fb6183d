"""Attackers that learn what a person sounds like from single windows, or from moments of sessions.

Rules it upholds: whatever an attacker needs to know (means, spreads, directions) it takes from its
enrolment; second-order statistics are attacked too, because they identify where means do not.

An attacker answers a session of windows: those that learn from single windows add up what they
say of each (Source: Kittler et al., "On combining classifiers", IEEE TPAMI 20(3), 1998, the
product rule).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from edge_models.training.identity.samples import SIX, Floats, Places, sessions_of

Reals = npt.NDArray[np.float64]

PRODUCTS_UP_TO: Final = 16
"""Columns of which all products are formed; of more, only squares."""

GAUSSIAN_DIRECTIONS: Final = 12
SHRINKAGE: Final = 0.3
TRAINING_SESSIONS: Final = 40
_HELD: Final = 6.0
_DOUBT: Final = 0.02
"""Of its belief an attacker leaves so much to everybody: one window never rules a person out."""


class Attacker(Protocol):
    """Learns from N windows of C people (or kinds of people); answers sessions of W windows."""

    def fit(self, rows: Floats, person: Places, owner: Places | None = None) -> "Attacker":
        """Enrol: `rows` float32 (N, D), `person` int (N,), 0..C-1, each of them present.

        Sessions to learn from hold windows of one `owner`, int (N,), else of one person.
        """
        ...

    def log_probabilities(self, sessions: Floats) -> Reals:
        """Who it was, float64 (S, C), of sessions, float32 (S, W, D)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """Columns at mean 0 and spread 1 over the enrolment, held at six spreads."""

    mean: Reals
    spread: Reals

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> "Standard":
        """The means and spreads of rows (N, D)."""
        spread = rows.std(axis=0, dtype=np.float64)
        return cls(rows.mean(axis=0, dtype=np.float64), np.where(spread > 1e-9, spread, 1.0))

    def __call__(self, rows: npt.NDArray[Any]) -> Reals:
        """Standardised rows."""
        return np.clip((rows - self.mean) / self.spread, -_HELD, _HELD)


def with_products(rows: Reals) -> Reals:
    """Columns, their squares, and where they are few their products: a linear rule turns quadratic.

    (N, D) → (N, D + D(D+1)/2), or (N, 2D) for D > 16.
    """
    if rows.shape[1] > PRODUCTS_UP_TO:
        return np.concatenate([rows, rows**2], axis=1)
    left, right = np.triu_indices(rows.shape[1])
    return np.concatenate([rows, rows[:, left] * rows[:, right]], axis=1)


def log_softmax(scores: Reals) -> Reals:
    """Scores (N, C) as log-probabilities."""
    top = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(axis=1, keepdims=True)))


def window_by_window(sessions: Floats, answer: Callable[[Floats], Reals]) -> Reals:
    """Sum an answer about windows (N, D) → (N, C) over each session."""
    count, size, width = sessions.shape
    each = answer(sessions.reshape(count * size, width))
    return log_softmax(each.reshape(count, size, -1).sum(axis=1))


class Windowed:
    """One of scikit-learn's classifiers, on standardised windows, with products if asked for."""

    def __init__(self, make: Callable[[], Any], *, products: bool = False) -> None:
        self._make = make
        self._products = products

    def fit(self, rows: Floats, person: Places, owner: Places | None = None) -> "Windowed":
        """See `Attacker`."""
        self._standard = Standard.of(rows)
        wide = self._seen(rows, first=True)
        self._model = self._make().fit(wide, person)
        return self

    def _seen(self, rows: Floats, *, first: bool = False) -> Reals:
        plain = self._standard(rows)
        if not self._products:
            return plain
        wide = with_products(plain)
        if first:
            self._again = Standard.of(wide)
        return self._again(wide)

    def log_probabilities(self, sessions: Floats) -> Reals:
        """See `Attacker`."""
        return window_by_window(sessions, lambda rows: _answers(self._model, self._seen(rows)))


def _answers(model: Any, rows: Reals) -> Reals:
    if hasattr(model, "predict_proba"):
        likely = np.asarray(model.predict_proba(rows), np.float64)
        return np.asarray(np.log((1 - _DOUBT) * likely + _DOUBT / likely.shape[1]))
    margins = model.decision_function(rows)
    if margins.ndim == 1:
        margins = np.stack([-margins, margins], axis=1)
    return log_softmax(2 * margins)


class Gaussian:
    """A normal distribution for each person, means and covariances their own, both shrunk.

    Source: Friedman, "Regularized discriminant analysis", JASA 84(405), 1989, on the leading
    principal directions of the enrolment.
    """

    def fit(self, rows: Floats, person: Places, owner: Places | None = None) -> "Gaussian":
        """See `Attacker`."""
        self._standard = Standard.of(rows)
        plain = self._standard(rows)
        directions = min(GAUSSIAN_DIRECTIONS, plain.shape[1], len(plain) - 1)
        self._turn = PCA(directions, whiten=True).fit(plain)
        turned = self._turn.transform(plain)
        people = range(int(person.max()) + 1)
        self._means = np.stack([turned[person == one].mean(axis=0) for one in people])
        shared = np.cov((turned - self._means[person]).T).reshape(directions, directions)
        own = [self._shrunk(turned[person == one], shared) for one in people]
        self._roots = np.stack([np.linalg.inv(np.linalg.cholesky(one)) for one in own])
        self._volumes = np.asarray([0.5 * np.linalg.slogdet(one)[1] for one in own])
        return self

    @staticmethod
    def _shrunk(own: Reals, shared: Reals) -> Reals:
        size = len(shared)
        apart = own - own.mean(axis=0)
        weight = SHRINKAGE + (1 - SHRINKAGE) * size / (size + len(own))
        mixed = (1 - weight) * apart.T @ apart / len(own) + weight * shared
        floor = 0.05 * np.trace(shared) / size + 1e-6
        return np.asarray(mixed + floor * np.eye(size))

    def log_probabilities(self, sessions: Floats) -> Reals:
        """See `Attacker`."""
        return window_by_window(sessions, self._densities)

    def _densities(self, rows: Floats) -> Reals:
        turned = self._turn.transform(self._standard(rows))
        apart = turned[:, None, :] - self._means
        scaled = np.einsum("cij,ncj->nci", self._roots, apart)
        return np.asarray(-0.5 * (scaled**2).sum(axis=2) - self._volumes)


def moments(sessions: npt.NDArray[Any]) -> Reals:
    """Means, spreads, extremes and (of up to 16 columns) covariances of sessions (S, W, D)."""
    plain = sessions.astype(np.float64)
    apart = plain - plain.mean(axis=1, keepdims=True)
    parts = [plain.mean(axis=1), plain.std(axis=1), plain.min(axis=1), plain.max(axis=1)]
    if plain.shape[2] <= PRODUCTS_UP_TO:
        left, right = np.triu_indices(plain.shape[2], 1)
        parts.append((apart[:, :, left] * apart[:, :, right]).mean(axis=1))
        parts.append(np.log(apart.var(axis=1) + 1e-3))
    return np.concatenate(parts, axis=1)


class SessionMoments:
    """Discriminant analysis of the moments of sessions drawn from the enrolment."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, rows: Floats, person: Places, owner: Places | None = None) -> "SessionMoments":
        """See `Attacker`."""
        rng = np.random.default_rng(self._seed)
        self._standard = Standard.of(rows)
        plain = self._standard(rows).astype(np.float32)
        drawn = sessions_of(plain, person, SIX, TRAINING_SESSIONS, rng, owner)
        seen = moments(drawn.rows)
        self._moments = Standard.of(seen)
        self._model = discriminant().fit(self._moments(seen), drawn.person)
        return self

    def log_probabilities(self, sessions: Floats) -> Reals:
        """See `Attacker`."""
        seen = moments(self._standard(sessions))
        return _answers(self._model, self._moments(seen))


def discriminant() -> Any:
    """Linear discriminant analysis, its covariance shrunk after Ledoit and Wolf."""
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def logistic(strength: float) -> Any:
    """Multinomial logistic regression with an L2 penalty of 1/strength."""
    return LogisticRegression(C=strength, max_iter=200, tol=1e-3)


def support_vectors(strength: float) -> Any:
    """A support vector machine with a Gaussian kernel."""
    return SVC(C=strength, gamma="scale", decision_function_shape="ovr")


def boosted(seed: int) -> Any:
    """Gradient boosting of shallow trees."""
    return HistGradientBoostingClassifier(
        max_iter=25,
        learning_rate=0.2,
        max_leaf_nodes=5,
        min_samples_leaf=4,
        max_bins=32,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )


def trees(seed: int) -> Any:
    """Extremely randomised trees: they find the values at which a normalised constant ends up."""
    return ExtraTreesClassifier(60, min_samples_leaf=2, random_state=seed, n_jobs=1)
