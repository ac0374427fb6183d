"""People with keys, a repository, and python-tuf's own client as a reader that shares no code."""

import argparse
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tuf.ngclient import Updater, UpdaterConfig

from sync.publishing import drafts, publish
from sync.publishing.keys import SigningKey, new_key
from sync.publishing.publication import publish as publish_documents
from sync.publishing.repository import Repository

STUDY = "north"
PEOPLE = ("asha", "ben", "cleo")


def now() -> datetime:
    """python-tuf's client has no other clock than the machine's."""
    return datetime.now(UTC)


def keys_of(folder: Path, *names: str) -> dict[str, SigningKey]:
    return {name: new_key(folder, name, None) for name in names}


def founded(folder: Path, keys: dict[str, SigningKey]) -> Repository:
    """A repository with nothing in it yet, of three people and the key `online`."""
    repository = Repository(folder)
    people = [keys[name].public for name in PEOPLE]
    staged = drafts.new_repository(STUDY, people, 2, keys["online"].public, None, now())
    staged = staged.signed_by([keys["asha"], keys["ben"]])
    put_out(repository, staged, keys)
    return repository


def put_out(repository: Repository, staged: drafts.Staged, keys: dict[str, SigningKey]) -> None:
    publish_documents(
        repository, staged.documents, [keys["online"]], act=staged.act, details=staged.details,
        now=now(),
    )  # fmt: skip


def said(*words: str) -> None:
    """Run `sottovoce publish` in this process."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    publish.add_arguments(parser)
    assert publish.run(parser.parse_args(list(words))) == 0


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The repository as any static server hands it out, on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Reader:
    """A device that knows one root and believes what python-tuf believes."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.folder = folder
        (folder / "targets").mkdir(parents=True)
        self._root: bytes | None = root

    def refreshed(self, url: str) -> Updater:
        updater = Updater(
            str(self.folder / "metadata"),
            f"{url}/metadata/",
            str(self.folder / "targets"),
            f"{url}/targets/",
            config=UpdaterConfig(),
            bootstrap=self._root,
        )
        self._root = None  # from now on it has what it trusted
        updater.refresh()
        return updater

    def fetched(self, url: str, path: str) -> bytes | None:
        updater = self.refreshed(url)
        info = updater.get_targetinfo(path)
        return None if info is None else Path(updater.download_target(info)).read_bytes()


def first_root(repository: Repository) -> bytes:
    return (repository.folder / "metadata" / "1.root.json").read_bytes()


def words(*parts: str | Path | Sequence[str]) -> list[str]:
    found: list[str] = []
    for part in parts:
        found += list(map(str, part)) if isinstance(part, list | tuple) else [str(part)]
    return found
