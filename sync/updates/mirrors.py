"""Mirrors of a repository: any static web server, or a folder on a USB stick (`file:`).

Rules it upholds: a mirror is asked by GET for a path below its address, and answers bytes, counted
and timed: never more than were asked for, never slower than `LEAST_BYTES_PER_S` for long, never
from another kind of address than was given; a folder is read without following a link, and no path
leads out of it. What a mirror says is checked by others: plain HTTP is as good as HTTPS here, but
for who sees that something was fetched.

In the life of a bundle: where it comes from when it does not come over the device's own connection.
A device that has joined a study uses `by_line`; mirrors serve `sottovoce ota` and sticks.
"""

import errno
import http.client
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere, Source

LEAST_BYTES_PER_S: Final = 1024
"""Slower than this, over all that came, a mirror holds the device up on purpose or is of no use."""
PATIENCE_S: Final = 20.0
"""How long nothing may come, at the beginning or at any later time."""
_PIECE_BYTES: Final = 64 * 1024
_MOST_REDIRECTS: Final = 3
_ABSENT: Final = (403, 404, 410)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_WIRE_FAULTS: Final = (HTTPError, http.client.HTTPException, OSError, ValueError)
_URL_LETTERS: Final = "/%:@!$&'()*+,;=~"
_HEADERS: Final = {"User-Agent": "sottovoce", "Accept-Encoding": "identity", "Accept": "*/*"}


def mirror_at(address: str) -> Source:
    """The mirror at an address (`http:`, `https:` or `file:`); asks it for nothing as yet.

    Raises:
        UpdateRejected: UNREACHABLE, an address of another kind.
    """
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.hostname:
        return WebMirror(address)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return FolderMirror(Path(unquote(parts.path)))
    raise UpdateRejected(
        Reason.UNREACHABLE,
        "A mirror's address begins with http://, https:// or file:///.",
        "Check the address.",
    )


class WebMirror:
    """A mirror behind HTTP or HTTPS; its paths are taken as relative URLs, written as they are."""

    def __init__(
        self,
        address: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
        least_bytes_per_s: float = LEAST_BYTES_PER_S,
    ) -> None:
        self._base = address if address.endswith("/") else f"{address}/"
        self._clock = clock
        self._patience_s = patience_s
        self._least = least_bytes_per_s

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        """As `Source.read`; a mirror that can't start in the middle is read past it."""
        address = self._base + quote(path, safe=_URL_LETTERS)
        for _ in range(1 + _MOST_REDIRECTS):
            with _Exchange(address, start, self._patience_s) as exchange:
                answer = exchange.answer
                if answer.status in _REDIRECTS:
                    address = _redirected(address, answer.headers.get("Location", ""))
                    continue
                if answer.status in _ABSENT:
                    raise NotThere(path)
                yield from self._body(answer, most_bytes, start)
                return
        raise UpdateRejected(Reason.UNREACHABLE, "The mirror sends this device round in circles.")

    def _body(self, answer: BaseHTTPResponse, most_bytes: int, start: int) -> Iterator[bytes]:
        past = start if answer.status == 200 else 0  # it began at the beginning: skip what we have
        if answer.status not in (200, 206):
            raise UpdateRejected(
                Reason.UNREACHABLE, f"The mirror answers with an error ({answer.status})."
            )
        if answer.status == 206 and not _begins_at(answer.headers.get("Content-Range", ""), start):
            raise UpdateRejected(
                Reason.UNREACHABLE, "The mirror gives another piece than was asked for."
            )
        came = 0
        began = self._clock()
        while piece := answer.read1(_PIECE_BYTES, decode_content=False):
            came += len(piece)
            if start - past + came > most_bytes:
                raise UpdateRejected(Reason.TOO_LARGE, "A mirror's file is longer than it may be.")
            if self._clock() - began > self._patience_s + came / self._least:
                raise _too_slow()
            skipped = min(past, len(piece))
            past -= skipped
            if len(piece) > skipped:
                yield piece[skipped:]


class FolderMirror:
    """A mirror that is a folder, such as a USB stick's; links in it are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str, most_bytes: int, start: int = 0) -> Iterator[bytes]:
        """As `Source.read`.

        Raises:
            UpdateRejected: BAD_PATH, too, if the path leads out of the folder or over a link.
        """
        names = path.split("/")
        if any(name in ("", ".", "..") or "\0" in name for name in names):
            raise UpdateRejected(Reason.BAD_PATH, "A path leads out of the folder of updates.")
        try:
            with os.fdopen(_opened(self._folder, names), "rb") as file:
                if os.fstat(file.fileno()).st_size > most_bytes:
                    raise UpdateRejected(Reason.TOO_LARGE, "A file is longer than it may be.")
                file.seek(start)
                left = most_bytes - start
                while left > 0 and (piece := file.read(min(_PIECE_BYTES, left))):
                    left -= len(piece)
                    yield piece
        except FileNotFoundError:
            raise NotThere(path) from None
        except OSError as fault:
            if fault.errno in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR):
                raise UpdateRejected(
                    Reason.BAD_PATH, "Something lies in the folder of updates that is no file."
                ) from None
            raise UpdateRejected(
                Reason.UNREACHABLE, f"The folder of updates can't be read ({fault.strerror})."
            ) from None


class _Exchange:
    """One request and its answer, over a connection that is closed with it.

    An answer whose head is not there in time is given up from a second thread: a mirror that sends
    a letter now and then would otherwise hold the caller up without ever being silent.
    """

    def __init__(self, address: str, start: int, patience_s: float) -> None:
        self._address = address
        self._start = start
        self._patience_s = patience_s

    def __enter__(self) -> "_Exchange":
        parts = urlsplit(self._address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        headers = dict(_HEADERS)
        if self._start:
            headers["Range"] = f"bytes={self._start}-"
        slow = threading.Event()

        def give_up() -> None:
            slow.set()
            with suppress(OSError, AttributeError):
                self._connection.sock.shutdown(2)  # both ways (SHUT_RDWR)

        self._connection = kind(
            parts.hostname or "", port=parts.port, timeout=self._patience_s, blocksize=_PIECE_BYTES
        )
        watch = threading.Timer(self._patience_s, give_up)
        watch.daemon = True
        watch.start()
        try:
            where = parts.path + (f"?{parts.query}" if parts.query else "")
            self._connection.request("GET", where, headers=headers, preload_content=False)
            self.answer: BaseHTTPResponse = self._connection.getresponse()
        except _WIRE_FAULTS as fault:
            self._connection.close()
            raise _fault(fault, slow.is_set()) from None
        finally:
            watch.cancel()
        if slow.is_set():  # a head that was cut off looks like one that is over
            self._connection.close()
            raise _too_slow()
        return self

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        self._connection.close()
        if isinstance(fault, _WIRE_FAULTS):
            raise _fault(fault, slow=False) from None


def _opened(folder: Path, names: list[str]) -> int:
    """A descriptor of a plain file, each step on the way opened without following a link."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            at, last = os.open(name, flags, dir_fd=at), at
            os.close(last)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(names[-1], flags, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EISDIR, "no plain file")
    return file


def _redirected(address: str, location: str) -> str:
    """Where a mirror sends us on to, if that is an address of the same kind."""
    further = urljoin(address, location)
    if urlsplit(further).scheme != urlsplit(address).scheme or not urlsplit(further).hostname:
        raise UpdateRejected(
            Reason.UNREACHABLE, "The mirror points to another kind of address than was asked."
        )
    return further


def _begins_at(content_range: str, start: int) -> bool:
    """Whether `bytes 100-199/200` begins where it should (RFC 9110, 14.4)."""
    return content_range.strip().lower().startswith(f"bytes {start}-")


def _fault(fault: Exception, slow: bool) -> UpdateRejected:
    if slow or isinstance(fault, TimeoutError) or "timed out" in str(fault).lower():
        return _too_slow()
    return UpdateRejected(
        Reason.UNREACHABLE,
        "The mirror can't be reached, or went away.",
        "What came is kept; the next try goes on from there.",
    )


def _too_slow() -> UpdateRejected:
    return UpdateRejected(
        Reason.TOO_SLOW,
        "The mirror sends so slowly that it was given up.",
        "What came is kept; the next try goes on from there.",
    )
