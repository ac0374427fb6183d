"""Keeps a native library's chatter off the terminal, and loses nothing else.

MediaPipe's C++ log writes to descriptor 2 before any setting of ours can reach it. While such a
library starts, descriptor 2 is a file in memory; afterwards every line that is not the library's
own chatter goes on to where it was meant to go.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_STDERR: Final = 2
_CHATTER: Final = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:"  # absl: severity, month and day, time
    rb"|WARNING: All log messages before absl"
    rb"|INFO: Created TensorFlow Lite"
)


@contextmanager
def native_chatter_held_back() -> Iterator[None]:
    """Inside, what native code says to the terminal is held; its known chatter is then dropped."""
    try:
        terminal = os.dup(_STDERR)
    except OSError:  # started without a standard error: nothing to keep clean
        yield
        return
    held = os.memfd_create("chatter")
    os.dup2(held, _STDERR)
    try:
        yield
    finally:
        os.dup2(terminal, _STDERR)
        os.lseek(held, 0, os.SEEK_SET)
        with os.fdopen(held, "rb") as lines, os.fdopen(terminal, "wb") as onward:
            onward.writelines(line for line in lines if not _CHATTER.match(line))
