"""Corpora of speech: who said what how, or how they answered, and what each set can know.

Rules it upholds: the person is the unit of every split; a label that a set does not hold is
unknown there, never negative; what can't be used is counted and named.

Acted emotions stand in for what nobody publishes: *sadness* for the depression task, *fear* for
the anxiety task, either of them for *distress*. Every figure on them is an affect figure. Licensed
clinical corpora are read by their documented layout, one loader a module:

    LOADERS             by name, for `--corpus NAME=DIR`
    gathered            manifest and corpora together, checked
    what_is_measured    affect or clinical
"""

from edge_models.training.corpora.folds import check, folds_of
from edge_models.training.corpora.labels import (
    CLINICAL_TASKS,
    Labels,
    Measured,
    labels_of,
    licences_of,
    what_is_measured,
)
from edge_models.training.corpora.layout import Corpus, Layout, LeftOut, first_few
from edge_models.training.corpora.loading import LOADERS, gathered, named_corpus
from edge_models.training.corpora.manifest import affect_clips, manifest_corpus
from edge_models.training.corpora.records import EMOTIONS, Clinical, Clip, LabelError, Sex, Split

__all__ = [
    "CLINICAL_TASKS",
    "EMOTIONS",
    "LOADERS",
    "Clinical",
    "Clip",
    "Corpus",
    "LabelError",
    "Labels",
    "Layout",
    "LeftOut",
    "Measured",
    "Sex",
    "Split",
    "affect_clips",
    "check",
    "first_few",
    "folds_of",
    "gathered",
    "labels_of",
    "licences_of",
    "manifest_corpus",
    "named_corpus",
    "what_is_measured",
]
