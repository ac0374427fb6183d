"""What every test may ask for: the recordings, and a reason where they are absent."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

import edge_models  # noqa: F401  (first: it turns ONNX Runtime's telemetry off)

# A busy machine is no fault of the code: no test fails because it took its time.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

_DEFAULT = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; the test is skipped, by name, where there is none."""
    folder = Path(os.environ.get("SOTTOVOCE_DATA") or _DEFAULT).resolve()
    if not (folder / "MANIFEST.csv").exists():
        pytest.skip("needs the real recordings: set SOTTOVOCE_DATA to their folder")
    return folder
