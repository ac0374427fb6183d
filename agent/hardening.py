"""What the process does to itself before it senses: no core dumps, and freed memory is overwritten.

Raw sound passes through buffers that belong to libraries (the decoder, the resampler, the graph
runtime). They free them without a word; the C library is told to overwrite whatever is freed, so
that a dump of our memory holds the last seconds at most (DECISIONS.md, 7).
"""

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_M_PERTURB: Final = -6
_M_MMAP_THRESHOLD: Final = -3
_PATTERN: Final = 0xA5
_MMAP_FROM_BYTES: Final = 64 * 1024


def harden() -> None:
    """Turn core dumps off for good and have freed memory overwritten.

    Source: core(5), prctl(2) PR_SET_DUMPABLE, mallopt(3) M_PERTURB.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if hasattr(libc, "mallopt"):  # glibc; musl has no such switch
        libc.mallopt(_M_PERTURB, _PATTERN)
        # Large buffers (a window is 650 kB) go back to the system, which hands out zeros.
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_FROM_BYTES)
