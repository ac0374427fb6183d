"""What every test may ask for: recordings, a browser, and a reason where they are absent."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, launched once for a file of tests."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield launched
        launched.close()
