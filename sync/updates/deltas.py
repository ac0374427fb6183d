"""A patch from one archive to the next: zstd, with the old archive as its dictionary.

Rules it upholds: a patch is only ever a way to get the bytes that were signed for, so whoever
calls `patch` checks the result's hash and fetches the whole file where it is another; what a patch
can cost is bounded before it is read: it says how long its result is and how far back it looks,
and neither may exceed what is allowed; the result is written a piece at a time.

Memory: the old file (twice, since zstd keeps a copy), and a window as long as the new one, at
most `MOST_WINDOW_BYTES`.

In the life of a bundle: old and new archive → **patch** → signed → device → **new archive**.

Source: zstd's `--patch-from`: RFC 8878, 5 (raw-content dictionary) and 3.1.1.1 (frame header).
"""

import os
from pathlib import Path
from typing import Final

import zstandard

from edge_models.errors import ContractError
from sync.updates.offers import MOST_BUNDLE_BYTES
from sync.updates.rejected import Reason, UpdateRejected, kept_on_disk

MOST_WINDOW_BYTES: Final = MOST_BUNDLE_BYTES
"""As long as the longest archive: every byte of the old one stays in sight until the end."""

_LEVEL: Final = 19
"""Lower ones look less far: one layer of ten megabytes costs 44 % of them at 12, and 4 % at 19."""
_TABLE_SHORT_OF_WINDOW: Final = 2
"""zstd leaves out the head of a dictionary beyond eight times its tables; these hold all of it."""
_SHORTEST_WINDOW_LOG: Final = 10
_LONGEST_HEADER: Final = 18
_PIECE_BYTES: Final = 256 * 1024


def make(old: bytes, new: bytes) -> bytes:
    """A patch that turns `old` into `new`; the same bytes for the same two and one zstandard.

    Raises:
        ContractError: one of both is empty, or longer than an archive can be.
    """
    if not (0 < len(old) <= MOST_BUNDLE_BYTES and 0 < len(new) <= MOST_BUNDLE_BYTES):
        raise ContractError("A patch leads from one archive to another.")
    longest = max(len(old), len(new))
    window_log = max(_SHORTEST_WINDOW_LOG, (longest - 1).bit_length())
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=len(new),
        dict_size=len(old),
        window_log=window_log,
        hash_log=window_log - _TABLE_SHORT_OF_WINDOW,
        chain_log=window_log - _TABLE_SHORT_OF_WINDOW,
        enable_ldm=True,
        write_checksum=True,
        write_content_size=True,
        write_dict_id=False,
    )
    compressor = zstandard.ZstdCompressor(dict_data=_dictionary(old), compression_params=parameters)
    return compressor.compress(new)


def patch(old: Path, delta: Path, new: Path, most_bytes: int) -> None:
    """Write into `new` what the patch makes of `old`; on disk when this returns.

    The caller compares its hash with the one that was signed. Nothing is left where it fails.

    Raises:
        UpdateRejected: TOO_LARGE, the result or what it takes to make it; MALFORMED, it is no
            patch of this file; NO_ROOM; INCOMPLETE, where the disk fails.
    """
    with kept_on_disk("an update"):
        try:
            _patch(old, delta, new, most_bytes)
        except BaseException as fault:
            new.unlink(missing_ok=True)
            if isinstance(fault, zstandard.ZstdError):
                raise _malformed() from fault
            if isinstance(fault, MemoryError):
                raise _too_large() from fault
            raise


def _patch(old: Path, delta: Path, new: Path, most_bytes: int) -> None:
    if max(old.stat().st_size, delta.stat().st_size) > MOST_BUNDLE_BYTES:
        raise _too_large()
    with delta.open("rb") as source:
        length = _length(source.read(_LONGEST_HEADER), most_bytes)
        source.seek(0)
        decompressor = zstandard.ZstdDecompressor(
            dict_data=_dictionary(old.read_bytes()), max_window_size=MOST_WINDOW_BYTES
        )
        left = length
        with decompressor.stream_reader(source) as result, new.open("wb") as target:
            while piece := result.read(_PIECE_BYTES):
                left -= len(piece)
                if left < 0:
                    raise _malformed()
                target.write(piece)
            if left:
                raise _malformed()
            target.flush()
            os.fsync(target.fileno())


def _length(header: bytes, most_bytes: int) -> int:
    """How long the result will be, as the patch says, if that is allowed."""
    says = zstandard.get_frame_parameters(header)
    if says.content_size == zstandard.CONTENTSIZE_UNKNOWN or says.dict_id:
        raise _malformed()
    if says.content_size > most_bytes or says.window_size > MOST_WINDOW_BYTES:
        raise _too_large()
    return int(says.content_size)


def _dictionary(old: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _malformed() -> UpdateRejected:
    return UpdateRejected(
        Reason.MALFORMED, "A patch is not one of the file here.", "The whole file is fetched."
    )


def _too_large() -> UpdateRejected:
    return UpdateRejected(
        Reason.TOO_LARGE, "A patch makes more than is allowed.", "The whole file is fetched."
    )
