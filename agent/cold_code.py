"""Lets go of the code that only starting up needed.

Loading Python, the graph runtime and what reads settings touches 60 MB of libraries, most of it
never again. Their pages are given back once the first window is done; whatever is still run comes
back from the file, a few pages at a time. Only pages that nobody can write are given back: they
hold nothing but the files' own bytes, and the system may drop them at any time anyway.

Place in the life of a frame: none.
"""

import ctypes
import mmap
import sys
from typing import Any, Final

_PT_LOAD: Final = 1
_PF_W: Final = 2
_LAID_OUT_AS_BELOW: Final = sys.maxsize > 2**32  # on 64 bits, where nothing writes into code either
_MADV_DONTNEED: Final = 4


class _Segment(ctypes.Structure):
    """Source: elf(5), Elf64_Phdr."""

    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("physical", ctypes.c_uint64),
        ("file_bytes", ctypes.c_uint64),
        ("memory_bytes", ctypes.c_uint64),
        ("align", ctypes.c_uint64),
    )


class _Library(ctypes.Structure):
    """Source: dl_iterate_phdr(3); the fields that every C library has."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("segments", ctypes.POINTER(_Segment)),
        ("count", ctypes.c_uint16),
    )


_ON_LIBRARY: Final = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.c_void_p
)


def let_cold_code_go() -> int:
    """Give back every loaded library's read-only pages; returns how many bytes they span.

    Source: madvise(2), MADV_DONTNEED on a private file mapping: "subsequent accesses of pages in
    the range will succeed, but will result in repopulating the memory contents from the
    up-to-date contents of the underlying mapped file".
    """
    # The interpreter is held meanwhile: no other thread of Python loads a library under our feet.
    libc = ctypes.PyDLL(None)
    if not _LAID_OUT_AS_BELOW or not hasattr(libc, "dl_iterate_phdr"):
        return 0
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    given_back = 0

    def on_library(library: Any, _size: int, _ours: object) -> int:
        nonlocal given_back
        told = library.contents
        if (told.name or b"").startswith(b"linux-"):  # the kernel's own, without a file
            return 0
        for segment in told.segments[: told.count]:
            if segment.kind == _PT_LOAD and not segment.flags & _PF_W:
                first = told.base + segment.address
                # Whole pages only: the next segment may begin in the last one.
                start = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE
                end = (first + segment.file_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
                if end > start and libc.madvise(start, end - start, _MADV_DONTNEED) == 0:
                    given_back += end - start
        return 0

    libc.dl_iterate_phdr(_ON_LIBRARY(on_library), None)
    return given_back
