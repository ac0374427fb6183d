"""The classifier: z-scores to the body's embedding; an aligned one to scores or an abstention.

Rules it upholds: a window with too little speech, or with more than one face, is never scored;
an abstention says why. The scores are affect figures of a screening aid.

Place in the life of a frame: personal baseline → **int8 body** → own moments → **head** → record.
`own.Own` holds both of what is the person's.
"""

import numpy as np
import numpy.typing as npt

from edge_models.assessment import Abstention, Assessment
from edge_models.bundle import Bundle
from edge_models.errors import ContractError
from edge_models.head import Head

Row = npt.NDArray[np.float32]


class Classifier:
    """The body of a bundle and its head, or another `head` for its embeddings; loaded once.

    Raises:
        ContractError: the head is for embeddings of another size.
    """

    def __init__(self, bundle: Bundle, head: Head | None = None) -> None:
        self._body = bundle.graph("body")
        self._head = head or bundle.head
        if self._head.embedding_size != bundle.head.embedding_size:
            raise ContractError("A head is for embeddings of another size than the bundle's.")
        self._functionals = len(bundle.population)

    @property
    def embedding_size(self) -> int:
        """How many numbers an embedding has."""
        return self._head.embedding_size

    def embedding(self, z: Row) -> Row:
        """The body's answer, float32 (E,), to a window's z-scores, float32 (F,).

        Raises:
            ContractError: the z-scores are not one finite number for each functional.
        """
        if z.shape != (self._functionals,) or not np.isfinite(z).all():
            raise ContractError("A window has one finite z-score for each functional.")
        embedding: Row = self._body.run({"z": z[None].astype(np.float32, copy=False)})[0][0]
        return embedding

    def assess(self, embedding: Row, *, alone: bool | None = None) -> Assessment:
        """Score the aligned embedding of a window; `alone` is None when no camera looked.

        Raises:
            ContractError: the embedding has another length or isn't finite.
        """
        if alone is False:
            return Assessment(None, Abstention.NOT_ALONE)
        return Assessment(self._head.score(embedding), None)

    @staticmethod
    def abstain_for_speech() -> Assessment:
        """What to say of a window in which too little speech was heard."""
        return Assessment(None, Abstention.TOO_LITTLE_SPEECH)
