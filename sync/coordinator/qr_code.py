"""An invite as a QR code, for a terminal and as a picture."""

import io
from pathlib import Path

import segno

from sync.errors import StudyError


def in_terminal(text: str) -> str:
    """The code in half blocks; it fits a terminal of 80 columns."""
    out = io.StringIO()
    _code(text).terminal(out, compact=True, border=2)
    return out.getvalue()


def save_svg(text: str, path: Path) -> None:
    """Write the code as a picture that its owner alone can read.

    Raises:
        StudyError: it can't be written.
    """
    out = io.BytesIO()
    _code(text).save(out, kind="svg", scale=4, border=4, light="white")
    try:
        path.touch(mode=0o600)
        path.write_bytes(out.getvalue())
    except OSError as fault:
        raise StudyError(
            f"The picture '{path}' can't be written ({fault.strerror}).",
            "Name another file with --qr.",
        ) from fault


def _code(text: str) -> segno.QRCode:
    return segno.make_qr(text, error="l", boost_error=False)
