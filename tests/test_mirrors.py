"""Mirrors over loopback HTTP and in folders: counted, timed, and never followed elsewhere."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sync.updates.mirrors import FolderMirror, WebMirror, mirror_at
from sync.updates.rejected import Reason
from sync.updates.source import NotThere
from tests.update_repository import refused

CONTENT = bytes(range(256)) * 1000
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """A web server on loopback that answers every GET so; its address."""
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            try:
                answer(self)
            except OSError:
                gone.set()  # the client went away, as it should in some tests

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/study"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def plain(request: BaseHTTPRequestHandler) -> None:
    """A server that knows no ranges."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT)


def ranged(request: BaseHTTPRequestHandler) -> None:
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    request.send_header("Content-Length", str(len(CONTENT) - start))
    request.end_headers()
    request.wfile.write(CONTENT[start:])


def chunked(request: BaseHTTPRequestHandler) -> None:
    request.protocol_version = "HTTP/1.1"
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    for at in range(0, len(CONTENT), 5000):
        piece = CONTENT[at : at + 5000]
        request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    request.wfile.write(b"0\r\n\r\n")


def read(address: str, most_bytes: int = 10**6, start: int = 0, path: str = "a/b.bin") -> bytes:
    return b"".join(WebMirror(address).read(path, most_bytes, start))


@pytest.mark.parametrize("answer", [plain, ranged, chunked])
@pytest.mark.parametrize("start", [0, 1, 70_000, len(CONTENT) - 1])
def test_a_file_comes_from_wherever_it_was_left(answer: Answer, start: int) -> None:
    with served(answer) as address:
        assert read(address, start=start) == CONTENT[start:]


def test_the_path_is_asked_for_as_it_is_written() -> None:
    asked: list[str] = []

    def note(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        plain(request)

    with served(note) as address:
        for path in ("1.%3F.json", "a b", "w-1.0+cpu.whl", "..%2Fx.json", "q?x#y"):
            read(address, path=path)
    assert asked == [
        "/study/1.%3F.json",
        "/study/a%20b",
        "/study/w-1.0+cpu.whl",
        "/study/..%2Fx.json",
        "/study/q%3Fx%23y",
    ]


@pytest.mark.parametrize("answer", [plain, chunked])
def test_no_more_than_was_asked_for_is_taken(answer: Answer) -> None:
    with served(answer) as address, refused(Reason.TOO_LARGE):
        read(address, most_bytes=len(CONTENT) - 1)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_absent_file_is_not_there(status: int) -> None:
    with served(lambda request: request.send_error(status)) as address, pytest.raises(NotThere):
        read(address)


@pytest.mark.parametrize("status", [204, 401, 416, 500, 503])
def test_another_answer_is_no_file(status: int) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with served(answer) as address, refused(Reason.UNREACHABLE):
        read(address)


def test_another_piece_than_was_asked_for_is_refused() -> None:
    def shifted(request: BaseHTTPRequestHandler) -> None:
        request.send_response(206)
        request.send_header("Content-Range", f"bytes 9-{len(CONTENT) - 1}/{len(CONTENT)}")
        request.send_header("Content-Length", str(len(CONTENT) - 9))
        request.end_headers()
        request.wfile.write(CONTENT[9:])

    with served(shifted) as address, refused(Reason.UNREACHABLE):
        read(address, start=10)


def test_what_came_before_a_cut_is_given_on() -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:5000])

    came = bytearray()
    with served(cut) as address, refused(Reason.UNREACHABLE):
        for piece in WebMirror(address).read("a", 10**6):
            came += piece
    assert came == CONTENT[:5000]


def test_nobody_there_is_unreachable() -> None:
    with served(plain) as address:
        pass
    with refused(Reason.UNREACHABLE):
        read(address)


def test_what_is_no_http_is_unreachable() -> None:
    def noise(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"\0\xff\r\n\r\n" * 10)

    with served(noise) as address, refused(Reason.UNREACHABLE):
        read(address)


# Slow retrieval.


def test_a_mirror_that_sends_a_byte_now_and_then_is_given_up() -> None:
    """The clock is the test's own: each piece takes a minute by it, and none in truth."""
    minutes = iter(range(10**6))

    def dripping(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        for byte in CONTENT:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()

    came = bytearray()
    with served(dripping) as address, refused(Reason.TOO_SLOW):
        mirror = WebMirror(address, clock=lambda: 60.0 * next(minutes), least_bytes_per_s=4000)
        for piece in mirror.read("a", 10**6):
            came += piece
    assert CONTENT.startswith(came) and len(came) < len(CONTENT)


def test_a_mirror_that_falls_silent_is_given_up_and_what_came_is_kept() -> None:
    over = threading.Event()

    def silent(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:100])
        over.wait(60)

    came = bytearray()
    with served(silent) as address:
        with refused(Reason.TOO_SLOW):
            for piece in WebMirror(address, patience_s=0.2).read("a", 10**6):
                came += piece
        over.set()
    assert came == CONTENT[:100]


def test_a_head_that_never_ends_is_given_up() -> None:
    """Each line of it comes in time; only the whole head never does."""
    over = threading.Event()

    def heading(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.02):
            request.wfile.write(b"x")

    with served(heading) as address:
        with refused(Reason.TOO_SLOW):
            list(WebMirror(address, patience_s=0.3).read("a", 10**6))
        over.set()


# Sent on.


def test_a_mirror_may_send_on_within_its_own_kind_of_address() -> None:
    def sending_on(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/study/a":
            request.send_response(302)
            request.send_header("Location", "/elsewhere/a")
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            ranged(request)

    with served(sending_on) as address:
        assert read(address, path="a", start=7) == CONTENT[7:]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "https://127.0.0.1/a",
        "gopher://127.0.0.1/",
        "",
        "http:///",
        "/study/a",
    ],
)
def test_a_mirror_sends_nobody_to_another_kind_of_address_or_in_circles(location: str) -> None:
    def sending_on(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", location)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with served(sending_on) as address, refused(Reason.UNREACHABLE):
        read(address, path="a")


# Folders.


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    (folder / "targets").mkdir(parents=True)
    (folder / "targets" / "a.bin").write_bytes(CONTENT)
    return folder


@pytest.mark.parametrize("start", [0, 1, 70_000, len(CONTENT), len(CONTENT) + 5])
def test_a_folder_is_a_mirror(stick: Path, start: int) -> None:
    assert b"".join(FolderMirror(stick).read("targets/a.bin", 10**6, start)) == CONTENT[start:]


def test_a_folder_has_bounds_too(stick: Path) -> None:
    with refused(Reason.TOO_LARGE):
        list(FolderMirror(stick).read("targets/a.bin", len(CONTENT) - 1))
    with pytest.raises(NotThere):
        list(FolderMirror(stick).read("targets/b.bin", 10))


@pytest.mark.parametrize("path", ["", ".", "../secret", "targets/../../secret", "/etc/x", "a\0"])
def test_no_path_leads_out_of_a_folder(stick: Path, path: str) -> None:
    (stick.parent / "secret").write_bytes(b"secret")
    with refused(Reason.BAD_PATH):
        list(FolderMirror(stick).read(path, 10))


def test_no_link_in_a_folder_is_followed(stick: Path) -> None:
    (stick.parent / "secret").write_bytes(b"secret")
    (stick / "targets" / "link").symlink_to(stick.parent / "secret")
    (stick / "door").symlink_to(stick.parent)
    os.mkfifo(stick / "pipe")
    for path in ("targets/link", "door/secret", "pipe", "targets"):
        with refused(Reason.BAD_PATH):
            list(FolderMirror(stick).read(path, 10))


def test_an_address_says_which_mirror_it_is(stick: Path) -> None:
    assert isinstance(mirror_at("http://127.0.0.1:1/"), WebMirror)
    assert isinstance(mirror_at("https://study.example/"), WebMirror)
    mirror = mirror_at(stick.as_uri())
    assert b"".join(mirror.read("targets/a.bin", 10**6)) == CONTENT


@pytest.mark.parametrize("address", ["", "/media/stick", "ftp://a/", "http://", "file://host/x"])
def test_another_address_is_refused(address: str) -> None:
    with refused(Reason.UNREACHABLE):
        mirror_at(address)
