"""Made-up figures of faces and pairs, for tests of how they are told."""

from edge_models.training.coevaluation.face_schema import (
    FaceFigures,
    FaceIdentity,
    FaceLevel,
    FaceUtility,
    PairLevel,
    SeenSet,
)
from edge_models.training.coevaluation.figure import Figure
from edge_models.training.face_levels import Level
from edge_models.training.face_pairs import PAIR_LEVELS
from edge_models.training.identity.panel import SIZES


def made_faces() -> FaceFigures:
    """Every level with the same figures: photographs of 20 people, a gallery of 40, 20 pairs."""
    utility = FaceUtility(sad=figure(0.61), expressions=figure(0.41))
    galleries = tuple(identity(name, size) for name in ("acted", "gallery") for size in SIZES)
    level = FaceLevel(
        level="",
        single=utility,
        sets=utility,
        shuffled=utility,
        transfer=None,
        privacy=galleries,
        verification=None,
    )
    pair = PairLevel(
        level="",
        people=20,
        face=figure(0.61),
        voice=figure(0.83),
        both=figure(0.84),
        both_of_six=None,
        privacy=tuple(identity("pairs", size) for size in SIZES),
    )
    return FaceFigures(
        seen=(SeenSet(dataset="faces", licence="CC0", people=20, listed=300, windows=299),),
        no_face=("faces/wall.png",),
        two_faces=(),
        unreadable=(),
        people=20,
        folds=4,
        constant_macro_f1=0.1,
        unmoved=11,
        levels=tuple(level.model_copy(update={"level": str(one)}) for one in Level),
        pairs=tuple(pair.model_copy(update={"level": str(one)}) for one in PAIR_LEVELS),
    )


def figure(value: float) -> Figure:
    """A figure with an interval of a tenth to both sides."""
    return Figure(value=value, low=round(value - 0.1, 2), high=round(value + 0.1, 2))


def identity(gallery: str, windows: int) -> FaceIdentity:
    """One gallery's figures."""
    return FaceIdentity(
        gallery=gallery,
        windows=windows,
        people=20,
        top1=figure(0.3),
        chance=figure(0.2),
        reduction=figure(0.88),
        equal_error_rate=figure(0.44),
        accepted_at_1_percent=figure(0.15),
        worst_decile=0.8,
        worst_decile_chance=0.7,
        attackers=("LDA", "RBF SVM, C 10"),
    )
