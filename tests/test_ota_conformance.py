"""`sottovoce ota` as TUF's public conformance suite drives it: a process, a server, an exit code.

The suite itself isn't on any package index, so these are its main flows, in our words. The whole
suite was run against the command by hand; `sync/updates.md` says which version, and the result.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Targets

from tests.update_repository import LASTS, Repository

CONTENT = b"content of a target"
ROOT = Path(__file__).resolve().parent.parent


class Suite:
    """A repository that names no study, a web server over it, and the command under test."""

    def __init__(self, repository: Repository, address: str, folder: Path) -> None:
        self.repository = repository
        self.address = address
        self.metadata = folder / "metadata"
        self.targets = folder / "targets"
        self.first_root = folder / "initial_root.json"
        self.metadata.mkdir()
        self.targets.mkdir()
        self.first_root.write_bytes(repository.first_root)

    def ota(self, *words: str) -> int:
        command = "from edge_models.command import main; raise SystemExit(main())"
        done = subprocess.run(
            [sys.executable, "-c", command, "ota", "--metadata-dir", str(self.metadata), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 1), done.stderr
        assert done.returncode == 0 or done.stderr.startswith("sottovoce ota: ")
        return done.returncode

    def init(self) -> int:
        return self.ota("init", str(self.first_root))

    def refresh(self) -> int:
        return self.ota("--metadata-url", f"{self.address}/metadata/", "refresh")

    def download(self, *names: str) -> int:
        asked = [word for name in names for word in ("--target-name", name)]
        urls = ["--metadata-url", f"{self.address}/metadata/"]
        urls += ["--target-base-url", f"{self.address}/targets/"]
        return self.ota(*urls, *asked, "--target-dir", str(self.targets), "download")

    def versions(self) -> dict[str, int]:
        return {
            path.name.removesuffix(".json"): Metadata.from_file(str(path)).signed.version
            for path in sorted(self.metadata.glob("*.json"))
        }

    def downloaded(self) -> list[bytes]:
        return [path.read_bytes() for path in self.targets.rglob("*") if path.is_file()]


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def suite(tmp_path: Path, asked: list[str]) -> Iterator[Suite]:
    repository = Repository(study=None, clock=datetime.now(UTC))
    repository.targets.delegations = None
    for role in ("bundles", "releases", "heads"):
        del repository.documents["snapshot"].meta[f"{role}.json"]
    repository.give_keys("snapshot", 1)  # or the lists taken out would be missed
    repository.release("root", "targets")
    repository.first_root = repository.files["metadata/2.root.json"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            asked.append(path)
            content = repository.files.get(path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield Suite(repository, f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_first_refresh_asks_for_four_lists_and_keeps_them_byte_for_byte(
    suite: Suite, asked: list[str]
) -> None:
    suite.repository.files["metadata/timestamp.json"] += b" "
    assert suite.init() == 0
    assert not asked and suite.versions() == {"root": 2}
    assert suite.refresh() == 0
    assert asked == [
        "metadata/3.root.json",
        "metadata/timestamp.json",
        "metadata/2.snapshot.json",
        "metadata/2.targets.json",
    ]
    for role, name in (("timestamp", "timestamp"), ("snapshot", "2.snapshot"), ("root", "2.root")):
        kept = (suite.metadata / f"{role}.json").read_bytes()
        assert kept == suite.repository.files[f"metadata/{name}.json"]


def test_a_root_that_is_none_or_unsigned_fails_and_nobody_is_asked(
    suite: Suite, asked: list[str]
) -> None:
    root = json.loads(suite.repository.first_root)
    root["signatures"] = root["signatures"][:1]
    suite.first_root.write_text(json.dumps(root))
    suite.init()
    assert suite.refresh() == 1
    suite.first_root.write_text("{}")
    suite.init()
    assert suite.refresh() == 1
    assert not asked


def test_targets_are_downloaded_once_and_again_when_they_change(
    suite: Suite, asked: list[str]
) -> None:
    suite.repository.add("path/to/target.txt", CONTENT, role="targets")
    suite.repository.release("targets")
    assert suite.init() == 0
    assert suite.download("path/to/target.txt") == 0
    assert suite.download("path/to/target.txt") == 0
    assert suite.downloaded() == [CONTENT]
    assert len([path for path in asked if path.startswith("targets/")]) == 1
    suite.repository.add("path/to/target.txt", b"other content", role="targets")
    suite.repository.release("targets")
    assert suite.download("path/to/target.txt") == 0
    assert suite.downloaded() == [b"other content"]


def test_an_absent_target_fails_and_the_lists_are_refreshed_all_the_same(suite: Suite) -> None:
    assert suite.init() == 0
    assert suite.download("nonexistent artifact") == 1
    assert suite.versions() == {"root": 2, "snapshot": 2, "targets": 2, "timestamp": 2}


def test_a_swapped_target_fails_and_leaves_nothing(suite: Suite) -> None:
    suite.repository.add("a.txt", CONTENT, role="targets")
    suite.repository.add("b.txt", CONTENT, role="targets")
    suite.repository.release("targets")
    for path in suite.repository.files:
        if path.endswith(".b.txt"):
            suite.repository.files[path] = b"malicious content!!"
    assert suite.init() == 0
    assert suite.download("a.txt", "b.txt") == 1
    assert suite.downloaded() == [CONTENT]


@pytest.mark.parametrize(
    ("role", "left"),
    [
        ("root", {"root": 2}),
        ("timestamp", {"root": 3}),
        ("snapshot", {"root": 3, "timestamp": 3}),
        ("targets", {"root": 3, "snapshot": 3, "timestamp": 3}),
    ],
)
def test_an_unsigned_list_stops_a_refresh_just_there(
    suite: Suite, role: str, left: dict[str, int]
) -> None:
    suite.repository.keys[role] = suite.repository.keys[role][:1] if left != {"root": 2} else []
    if role in ("timestamp", "snapshot"):
        suite.repository.keys[role] = []
    suite.repository.release("root", "targets")
    assert suite.init() == 0
    assert suite.refresh() == 1
    assert suite.versions() == left


def test_a_rolled_back_timestamp_fails(suite: Suite) -> None:
    old = suite.repository.files["metadata/timestamp.json"]
    suite.repository.publish("timestamp")
    assert suite.init() == 0 and suite.refresh() == 0
    suite.repository.files["metadata/timestamp.json"] = old
    assert suite.refresh() == 1
    assert suite.versions()["timestamp"] == 3


def test_an_equal_version_with_other_content_is_not_taken_and_is_no_failure(suite: Suite) -> None:
    assert suite.init() == 0 and suite.refresh() == 0
    kept = (suite.metadata / "timestamp.json").read_bytes()
    suite.repository.documents["timestamp"].snapshot_meta.version = 100
    suite.repository.serve("timestamp", suite.repository.sign("timestamp"))
    assert suite.refresh() == 0
    assert (suite.metadata / "timestamp.json").read_bytes() == kept


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_an_expired_list_fails(suite: Suite, role: str) -> None:
    assert suite.init() == 0 and suite.refresh() == 0
    before = suite.versions()
    suite.repository.lasts = {**LASTS, role: -1}
    suite.repository.release("root", "targets")
    assert suite.refresh() == 1
    after = suite.versions()
    assert after["root"] == 3  # an expired root is kept, and leads to the next one only
    assert role == "root" or after[role] == before[role]


def test_a_fast_forward_ends_with_a_rotation_of_keys(suite: Suite) -> None:
    for role in ("snapshot", "timestamp"):
        suite.repository.documents[role].version = 1000
    suite.repository.publish("snapshot", "timestamp")
    assert suite.init() == 0 and suite.refresh() == 0
    for role in ("snapshot", "timestamp"):
        suite.repository.give_keys(role, 1)
        suite.repository.documents[role].version = 2
    suite.repository.release("root", "targets")
    assert suite.refresh() == 0
    assert suite.versions()["snapshot"] == suite.versions()["timestamp"] == 3


@pytest.mark.parametrize("name", ["?", "#", "/role", "../role"])
def test_an_odd_role_name_is_quoted_on_the_way_and_on_the_disk(
    suite: Suite, asked: list[str], name: str
) -> None:
    repository = suite.repository
    repository.documents[name] = Targets()
    repository.targets.delegations = Delegations(
        {}, {name: DelegatedRole(name, [], 1, True, ["*"])}
    )
    repository.keys[name] = [CryptoSigner.generate_ed25519()]
    repository.targets.add_key(repository.keys[name][0].public_key, name)
    repository.lasts[name] = 9
    repository.publish(name)
    quoted = name.replace("?", "%3F").replace("#", "%23").replace("/", "%2F")
    repository.files[f"metadata/1.{quoted}.json"] = repository.files[f"metadata/1.{name}.json"]
    repository.release("targets")
    assert suite.init() == 0
    assert suite.download("nonexistent") == 1
    assert f"metadata/1.{quoted}.json" in asked
    assert len(suite.versions()) == 5
    assert not [path for path in suite.metadata.parent.rglob("role*")]


def test_a_stick_is_as_good_as_a_web_server(suite: Suite, tmp_path: Path) -> None:
    suite.repository.add("a.txt", CONTENT, role="targets")
    suite.repository.release("targets")
    for path, content in suite.repository.files.items():
        (tmp_path / "stick" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stick" / path).write_bytes(content)
    suite.address = (tmp_path / "stick").as_uri()
    assert suite.init() == 0
    assert suite.download("a.txt") == 0
    assert suite.downloaded() == [CONTENT]


def test_what_is_left_out_is_asked_for_in_one_sentence(suite: Suite) -> None:
    assert suite.ota("refresh") == 1
    assert suite.ota("--metadata-url", suite.address, "download") == 1
    assert suite.ota("init", str(suite.metadata / "nothing")) == 1


def test_the_bare_client_loads_nothing_heavy(suite: Suite) -> None:
    """It is started hundreds of times, and on boards: no model, no camera, no broker."""
    code = (
        "import sys\nfrom edge_models.command import main\n"
        f"main(['ota', '--metadata-dir', {str(suite.metadata)!r}, 'init', "
        f"{str(suite.first_root)!r}])\n"
        "heavy = {'numpy', 'onnxruntime', 'cv2', 'mediapipe', 'paho', 'torch', 'fastapi'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "LOADED []" in said
