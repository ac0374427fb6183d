"""What is judged: a model trained anew for each plan, or a given bundle as it is.

Rules it upholds: a bundle is run through its own graphs and head, as on a device; a trained
model is the quantised one; levels without a body get a network of their own, as large.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edge_models.baseline import Population
from edge_models.bundle import Bundle
from edge_models.classifier import Classifier
from edge_models.training.coevaluation.plans import Plan
from edge_models.training.encoder import task_weights
from edge_models.training.evaluate import with_shuffled_labels
from edge_models.training.int8_model import trained
from edge_models.training.levels import (
    DESCRIPTORS,
    EMBEDDING,
    FUNCTIONALS,
    NORMALISED,
    LevelTable,
    Reals,
    Scorer,
    TrainedScorer,
    training_rows,
)
from edge_models.training.plain import plain_network
from edge_models.training.streams import Floats, Windows


class Subject(Protocol):
    """What gives a scorer for a plan, and the log-odds at levels that have no body."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def scorer(self, windows: Windows, plan: Plan) -> Scorer:
        """The model of a plan, made without its tested people."""
        ...

    def logits(
        self,
        scorer: Scorer,
        windows: Windows,
        plan: Plan,
        table: LevelTable,
        contours: Floats | None,
    ) -> dict[str, Reals]:
        """Log-odds (M, 3) at levels below the embedding, for the table's windows."""
        ...

    def shuffled(self, windows: Windows, plan: Plan, table: LevelTable) -> Reals | None:
        """Log-odds (M, 3) of a model that learned shuffled labels."""
        ...


@dataclass(frozen=True, slots=True)
class TrainedAnew:
    """Today's way to train, once for each plan."""

    seed: int
    epochs: int | None = None

    @property
    def name(self) -> str:
        """See `Subject`."""
        return "models trained anew for each plan"

    def scorer(self, windows: Windows, plan: Plan) -> Scorer:
        """See `Subject`."""
        return TrainedScorer(trained(windows.at(plan.known), self.seed, self.epochs))

    def logits(
        self,
        scorer: Scorer,
        windows: Windows,
        plan: Plan,
        table: LevelTable,
        contours: Floats | None,
    ) -> dict[str, Reals]:
        """See `Subject`."""
        known = windows.at(plan.known)
        weights = task_weights(known)
        rng = np.random.default_rng(self.seed)
        population = scorer.population
        said = {}
        for level in (FUNCTIONALS, NORMALISED):
            rows, places = training_rows(level, known, population, rng)
            network = plain_network(rows, known.truth[places], weights[places], self.seed)
            said[level] = network.logits(table.rows[level])
        if contours is not None:
            places = np.flatnonzero(plan.known & np.isfinite(contours[:, 0]))
            own = windows.at(places)
            network = plain_network(contours[places], own.truth, task_weights(own), self.seed)
            said[DESCRIPTORS] = network.logits(table.rows[DESCRIPTORS])
        return said

    def shuffled(self, windows: Windows, plan: Plan, table: LevelTable) -> Reals | None:
        """See `Subject`."""
        rng = np.random.default_rng([self.seed, 1])
        wrong = with_shuffled_labels(windows, rng)
        model = trained(wrong.at(plan.known), self.seed, self.epochs)
        return TrainedScorer(model).scored(model.body.run(table.rows[NORMALISED]))


@dataclass(frozen=True, slots=True, eq=False)
class GivenBundle:
    """A bundle, judged on people whom its maker never met (the caller's word)."""

    bundle: Bundle

    @property
    def name(self) -> str:
        """See `Subject`."""
        return f"bundle {self.bundle.name} {self.bundle.manifest.version}"

    def scorer(self, windows: Windows, plan: Plan) -> Scorer:
        """See `Subject`."""
        return BundleScorer(self.bundle)

    def logits(
        self,
        scorer: Scorer,
        windows: Windows,
        plan: Plan,
        table: LevelTable,
        contours: Floats | None,
    ) -> dict[str, Reals]:
        """None: nothing is trained."""
        return {}

    def shuffled(self, windows: Windows, plan: Plan, table: LevelTable) -> Reals | None:
        """None: nothing is trained."""
        return None


class BundleScorer:
    """A bundle's population, body (in its own runtime) and calibrated head."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._classifier = Classifier(bundle)

    @property
    def population(self) -> Population:
        """See `Scorer`."""
        return self._bundle.population

    def embeddings(self, z: Floats) -> Floats:
        """See `Scorer`."""
        rows = [self._classifier.embedding(row) for row in z]
        return np.asarray(rows, np.float32).reshape(-1, self._bundle.head.embedding_size)

    def scored(self, embeddings: Floats) -> Reals:
        """See `Scorer`."""
        rows: list[npt.NDArray[np.float64]] = [self._bundle.head.logits(row) for row in embeddings]
        return np.asarray(rows, np.float64).reshape(-1, 3)


def level_logits(scorer: Scorer, table: LevelTable) -> dict[str, Reals]:
    """Log-odds at level 3, with and without noise."""
    return {
        level: scorer.scored(rows)
        for level, rows in table.rows.items()
        if level.startswith(EMBEDDING)
    }
