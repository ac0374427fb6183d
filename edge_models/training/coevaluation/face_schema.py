"""What `evaluation.json` holds of faces, and of faces bound to voices.

Rules it upholds: as in `schema.py`; expressions and identity of one level stand in one place; a
simulated pair is called so; names of photographs, and not a number of anybody's face.
"""

from edge_models.training.coevaluation.figure import Figure, Finite, Frozen


class FaceIdentity(Frozen):
    """How well people of one `gallery` are told apart by at most `windows` windows.

    `gallery` is "acted" (folds of people who showed expressions), "gallery" (people of another
    set) or "pairs". `reduction` is R against the first level.
    """

    gallery: str
    windows: int
    people: int
    top1: Figure
    chance: Figure
    reduction: Figure
    equal_error_rate: Figure
    accepted_at_1_percent: Figure
    worst_decile: Finite
    worst_decile_chance: Finite
    attackers: tuple[str, ...]


class FaceVerification(Frozen):
    """One photograph against one other; `measure` is the one that was the better of two."""

    people: int
    equal_error_rate: Figure
    accepted_at_1_percent: Figure
    top1: Figure
    one_in_n: Finite
    measure: str


class FaceUtility(Frozen):
    """`sad`: balanced accuracy of sad against the rest; `expressions`: macro-F1 of the four."""

    sad: Figure
    expressions: Figure


class FaceLevel(Frozen):
    """One level: photographs one by one, `sets` of one person and expression, and identity.

    `shuffled` is learnt from shuffled expressions; `transfer` is the balanced accuracy of happy
    against neutral on a set never trained on.
    """

    level: str
    single: FaceUtility
    sets: FaceUtility
    shuffled: FaceUtility
    transfer: Figure | None
    privacy: tuple[FaceIdentity, ...]
    verification: FaceVerification | None

    def identity_of(self, gallery: str, windows: int) -> FaceIdentity:
        """The identity figures of one gallery and question size."""
        named = ((one.gallery, one.windows) for one in self.privacy)
        return self.privacy[list(named).index((gallery, windows))]


class PairLevel(Frozen):
    """One level of the simulated pairs: sad against the rest, balanced accuracy of one moment.

    `both_of_six` pools six moments; None where nobody has six of both kinds.
    """

    level: str
    people: int
    face: Figure
    voice: Figure
    both: Figure
    both_of_six: Figure | None
    privacy: tuple[FaceIdentity, ...]

    def identity_of(self, windows: int) -> FaceIdentity:
        """The identity figures of one question size."""
        return next(one for one in self.privacy if one.windows == windows)


class SeenSet(Frozen):
    """What was looked at in one set: `windows` with one face, of those `listed`."""

    dataset: str
    licence: str
    people: int
    listed: int
    windows: int


class FaceFigures(Frozen):
    """Faces, and simulated pairs: () where too few voices say every expression.

    `unmoved` counts the summary's numbers that are the same in all acted windows.
    """

    seen: tuple[SeenSet, ...]
    no_face: tuple[str, ...]
    two_faces: tuple[str, ...]
    unreadable: tuple[str, ...]
    people: int
    folds: int
    constant_macro_f1: Finite
    unmoved: int
    levels: tuple[FaceLevel, ...]
    pairs: tuple[PairLevel, ...]

    def at(self, level: str) -> FaceLevel:
        """The figures of a level."""
        return next(one for one in self.levels if one.level == level)
