"""The private seams of python-tuf that `tuf_client` holds on to: this fails where they move."""

import inspect
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import tuf
from tuf.ngclient import Updater

from sync.updates.rejected import Reason
from sync.updates.trust import Trust
from sync.updates.trusted_time import Floor
from sync.updates.tuf_client import Client
from tests.update_repository import NOW, STUDY, Mirror, Repository, refused


def test_the_version_is_the_one_that_these_seams_were_read_in() -> None:
    assert tuf.__version__ == "7.0.1"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_persist_root", ["self", "version", "data"]),
        ("_persist_metadata", ["self", "rolename", "data"]),
        ("_persist_file", ["self", "filename", "data"]),
        ("_update_root_symlink", ["self"]),
        ("_load_local_metadata", ["self", "rolename"]),
    ],
)
def test_the_seam_is_there_and_has_its_form(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(Updater, name)).parameters) == parameters


def test_the_time_that_is_put_in_is_the_time_that_expiry_is_judged_by(tmp_path: Path) -> None:
    """python-tuf asks the system's clock when it is made; ours must be the one that counts."""
    repository = Repository(clock=NOW.replace(year=2001))  # long past by any real clock
    mirror = Mirror(repository.files)

    def at(moment: datetime) -> Trust:
        return Trust(tmp_path, mirror, mirror, now=lambda: moment, study=STUDY)

    at(repository.clock).init(repository.first_root)
    at(repository.clock).refresh()
    at(repository.clock + timedelta(days=1)).refresh()
    with refused(Reason.EXPIRED):
        at(repository.clock + timedelta(days=3)).refresh()


def test_each_document_is_looked_at_before_it_is_kept(tmp_path: Path) -> None:
    """Every file that python-tuf keeps goes through our own hands."""
    repository = Repository()
    repository.add_bundle(7, b"content")
    repository.publish("root")
    repository.release("bundles", "targets")
    kept: list[str] = []

    class Watching(Client):
        def _persist_file(self, filename: str, data: bytes) -> None:
            kept.append(str(Path(filename).relative_to(tmp_path)))
            super()._persist_file(filename, data)

    client = Watching(
        tmp_path, Mirror(repository.files), repository.first_root, Floor(), NOW, STUDY
    )
    client.refresh()
    client.get_targetinfo("bundles/affect-1/7.bundle")
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {*kept, "root.json"}
    assert {"root_history/2.root.json", "timestamp.json", "bundles.json"} <= set(kept)
    assert (tmp_path / "root.json").readlink() == Path("root_history/2.root.json")
