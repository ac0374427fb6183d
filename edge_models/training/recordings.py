"""Where the real recordings are; nothing of them ever enters the project."""

import os
from pathlib import Path

from edge_models.errors import RecordingError


def recordings_folder() -> Path:
    """The folder named by SOTTOVOCE_DATA, else `../shared/data` beside the checkout.

    Raises:
        RecordingError: there is no MANIFEST.csv in it.
    """
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("SOTTOVOCE_DATA") or beside).resolve()
    if not (folder / "MANIFEST.csv").exists():
        raise RecordingError(
            f"There are no recordings in '{folder}'.",
            "Set SOTTOVOCE_DATA to the folder that holds MANIFEST.csv.",
        )
    return folder
