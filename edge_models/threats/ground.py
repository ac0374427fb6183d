"""What is attacked: recordings described, levels of people whom no model met, faces, systems.

Rules it upholds: what an attack gets was made by the production code, with nobody on both sides;
tables are made once, kept in a cache that is their owner's alone, and read by every attack's
process; what is missing is named, so that the attack can say *not run*.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from edge_models.bundle import Bundle, shipped_bundle
from edge_models.errors import ModelError, RecordingError
from edge_models.threats.systems.system import System
from edge_models.training.coevaluation.plans import WITHIN, Plan, plans_of
from edge_models.training.coevaluation.subjects import TrainedAnew
from edge_models.training.coevaluation.tested import Tested, carried_out
from edge_models.training.corpora import Clip, gathered
from edge_models.training.described import SPEEDS, FrontEnd, described
from edge_models.training.described_cache import Cache, usual_folder
from edge_models.training.face_evaluation import LookedAt, looked_at
from edge_models.training.recordings import recordings_folder
from edge_models.training.shown import shown
from edge_models.training.streams import Windows

GROUND_SEED: Final = 7
"""Joins of short clips and training do not depend on the seed of an attack."""


@dataclass(frozen=True)
class Ground:
    """Everything lazily made.

    `recordings` is a folder with a manifest (None: SOTTOVOCE_DATA); `corpora` words NAME=DIR.
    `systems` are those of others, beside ours. `quiet` shows no progress.
    """

    recordings: Path | None = None
    corpora: tuple[str, ...] = ()
    cache: Path = field(default_factory=usual_folder)
    systems: tuple[System, ...] = ()
    quiet: bool = True

    @cached_property
    def bundle(self) -> Bundle:
        """The shipped bundle: its front end hears, its card says what it promises."""
        return shipped_bundle()

    @cached_property
    def folder(self) -> Path:
        """Where the manifest is; the present folder where corpora are named instead.

        Raises:
            RecordingError: there are no recordings.
        """
        if self.recordings is not None or self.corpora:
            return self.recordings or Path()
        return recordings_folder()

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """Every recording of speech; paths are below `folder` or whole.

        Raises:
            RecordingError: there are none, or they can't be split by person.
        """
        listed = self.folder if self.recordings is not None or not self.corpora else None
        return gathered(listed, self.corpora).clips

    @cached_property
    def windows(self) -> Windows:
        """All clips described by the bundle's front end, with other speeds to learn from.

        Raises:
            RecordingError: there are no recordings, or most can't be heard.
        """
        console = Console(stderr=True, quiet=self.quiet)
        return described(
            self.folder,
            self.clips,
            FrontEnd.of_bundle(self.bundle),
            GROUND_SEED,
            lambda told: shown(told, "Describing recordings", console),
            cache=Cache(self.cache),
            speeds=SPEEDS,
        )

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """Three folds over people: who taught a model, and who is attacked, never met by it.

        Raises:
            RecordingError: there are too few people.
        """
        return tuple(plan for plan in plans_of(self.windows) if plan.setting == WITHIN)

    def tested(self, plan: Plan, seed: int = GROUND_SEED, noises: Sequence[float] = ()) -> Tested:
        """Every level but 0 of a plan's people, by a model trained anew on the others (8 s)."""
        return carried_out(
            plan, TrainedAnew(seed), self.windows, seed, 1, noises, None, with_shuffled=False
        )

    @cached_property
    def faces(self) -> LookedAt:
        """What the manifest's photographs and clips of faces show.

        Raises:
            RecordingError: there are none, or of too few people.
        """
        if self.recordings is None and self.corpora:
            raise RecordingError(
                "Corpora of speech hold no faces.", "Name a folder that does by --recordings."
            )
        console = Console(stderr=True, quiet=self.quiet)
        below = (
            self.cache.parent / "faces" if self.cache == usual_folder() else self.cache / "faces"
        )
        return looked_at(self.folder, below, partial(shown, console=console))

    def prepare(self) -> None:
        """Fill the caches, so that several processes do not do the same; what lacks is left."""
        for name in ("windows", "faces"):
            try:
                getattr(self, name)
            except ModelError:
                continue

    def people(self) -> int:
        """How many people speak."""
        return len(np.unique(self.windows.person))
