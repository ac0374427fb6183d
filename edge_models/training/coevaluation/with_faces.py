"""Faces in the evaluation: looked at first, judged last, left out in a sentence where none are.

Rules it upholds: looks are remembered beside the described windows, and finished parts until the
evaluation is complete, so an interrupted run resumes.
"""

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from edge_models.errors import NoFaces, RecordingError
from edge_models.training.coevaluation.cells import Cells, key_of
from edge_models.training.coevaluation.face_schema import FaceFigures
from edge_models.training.coevaluation.schema import Evaluation
from edge_models.training.described_cache import usual_folder
from edge_models.training.face_attacks import FaceEffort
from edge_models.training.face_evaluation import LookedAt, evaluated_faces, looked_at
from edge_models.training.shown import shown
from edge_models.training.streams import Windows

LEFT_OUT: Final = "Faces were asked for and left out: "
_NAME: Final = "unfinished-faces"


def refused_with_a_bundle() -> RecordingError:
    """No bundle holds a facial body: there is nothing of it to judge by faces."""
    return RecordingError(
        "A bundle holds no facial body, so faces can't judge it.", "Leave out --faces or --bundle."
    )


def looked(recordings: Path | None, cache: Path | None, console: Console) -> LookedAt | str:
    """What the manifest's faces show, or the sentence that says why there are none, told at once.

    `cache` is the folder of described windows that was named; faces are remembered in `faces`
    below it, else beside the usual one.

    Raises:
        RecordingError: the cache can't be written.
    """
    if recordings is None:
        said = f"{LEFT_OUT}corpora of speech hold none; --recordings names a folder that does."
    else:
        folder = (cache or usual_folder().parent) / "faces"
        try:
            return looked_at(recordings, folder, partial(shown, console=console))
        except NoFaces as fault:
            said = f"{LEFT_OUT}{fault.cause[0].lower()}{fault.cause[1:]}"
    console.print(said)
    return said


class FacePart:
    """The part of an evaluation that is about faces, with its own finished parts in `out`."""

    def __init__(
        self,
        seen: LookedAt,
        voices: Windows,
        seed: int,
        effort: FaceEffort,
        out: Path,
        words: Iterable[str],
    ) -> None:
        """Open or begin; `words` are what else the figures depend on.

        Raises:
            RecordingError: `out` can't be written.
        """
        tables = (seen.faces, voices)
        columns = [getattr(table, name) for table in tables for name in table.__slots__]
        self._cells = Cells(out, key_of(columns, [*words, str(seed), str(effort)]), _NAME)
        self._seen, self._voices, self._seed, self._effort = seen, voices, seed, effort

    def joined(self, evaluation: Evaluation, console: Console) -> Evaluation:
        """The evaluation with all figures of faces, and the time that they took."""
        began = time.monotonic()
        faces = evaluated_faces(
            self._seen,
            self._seed,
            partial(shown, console=console),
            self._voices,
            self._effort,
            self._cells,
        )
        seconds = round(evaluation.seconds + time.monotonic() - began, 1)
        figures = FaceFigures.model_validate(faces)
        return evaluation.model_copy(update={"faces": figures, "seconds": seconds})

    def remove(self) -> None:
        """Forget the parts: the evaluation is written."""
        self._cells.remove()
