"""The repository as devices see it: enough signatures, the right order, and no state in between."""

import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import UnsignedMetadataError

from sync.errors import PublishingError
from sync.publishing import drafts
from sync.publishing.bundles import Addition, Content, checked_offer
from sync.publishing.keys import SigningKey
from sync.publishing.online import OnlineSigner
from sync.publishing.publication import publish, verified_log
from sync.publishing.repository import Repository
from sync.publishing.roles import LASTS, OFFLINE, RoleName
from sync.publishing.staged import Staged, parse_staged
from sync.updates.offers import BINDING_FIELD, OFFER_FIELD, Kind, Offer, bundle_path
from tests.signing import (
    PEOPLE,
    STUDY,
    Reader,
    first_root,
    founded,
    keys_of,
    now,
    put_out,
    served,
)

Keys = dict[str, SigningKey]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return keys_of(tmp_path / "keys", *PEOPLE, "dora", "eve", "online", "online-2")


@pytest.fixture
def repository(tmp_path: Path, keys: Keys) -> Repository:
    return founded(tmp_path / "repository", keys)


def drafted(repository: Repository, serial: int = 1) -> Staged:
    """A draft of something small in the bundles' role."""
    state = repository.state()
    offer = checked_offer(Kind.BUNDLE, "affect-1", serial, f"1.0.{serial}")
    new = Content.of(bundle_path("affect-1", serial), b"bundle %d" % serial, offer)
    addition = Addition(offer, (new,), (*state.bundles.listed, new.listed))
    return drafts.with_addition(repository, state, Kind.BUNDLE, addition, now())


def published(repository: Repository, keys: Keys, serial: int = 1) -> None:
    put_out(repository, drafted(repository, serial).signed_by([keys["asha"], keys["cleo"]]), keys)


def rotated(repository: Repository, keys: Keys, **replace: str) -> Staged:
    named = {old.replace("_", "-"): keys[new].public for old, new in replace.items()}
    return drafts.new_keyholders(repository.state(), now(), replace=named)


def test_a_client_that_shares_no_code_fetches_what_was_published(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    reader = Reader(tmp_path / "device", first_root(repository))
    with served(repository.folder) as url:
        assert reader.fetched(url, bundle_path("affect-1", 1)) is None
        published(repository, keys)
        assert reader.fetched(url, bundle_path("affect-1", 1)) == b"bundle 1"
        info = reader.refreshed(url).get_targetinfo(bundle_path("affect-1", 1))
    assert info is not None
    offer = Offer.model_validate(info.custom[OFFER_FIELD])
    assert (offer.kind, offer.name, offer.serial) == (Kind.BUNDLE, "affect-1", 1)


def test_every_document_is_bound_to_its_study_and_time(repository: Repository, keys: Keys) -> None:
    published(repository, keys)
    for path in (repository.folder / "metadata").iterdir():
        said = json.loads(path.read_bytes())["signed"][BINDING_FIELD]
        assert said["study"] == STUDY
        assert abs(said["signed_at"] - now().timestamp()) < 600


def test_each_role_may_fill_its_own_folder_and_the_search_ends_there(
    repository: Repository,
) -> None:
    targets = json.loads((repository.folder / "metadata" / "1.targets.json").read_bytes())
    roles = targets["signed"]["delegations"]["roles"]
    rules = {role["name"]: (role["paths"], role["threshold"]) for role in roles}
    assert rules == {
        "bundles": (["bundles/*/*"], 2),
        "releases": (["releases/*", "releases/wheels/*"], 2),
        "heads": (["heads/*"], 1),
    }
    assert all(role["terminating"] for role in roles)


def test_documents_last_as_long_as_they_are_said_to(repository: Repository) -> None:
    state = repository.state()
    for role in RoleName:
        lasts = state.document(role).expires - now()
        assert LASTS[role] - timedelta(minutes=10) < lasts <= LASTS[role]


def test_one_signature_of_two_publishes_nothing(repository: Repository, keys: Keys) -> None:
    before = files(repository)
    one = drafted(repository).signed_by([keys["asha"]])
    with pytest.raises(PublishingError, match="1 of the 2 signatures"):
        put_out(repository, one, keys)
    assert one.could_sign == ("ben", "cleo")
    twice = one.signed_by([keys["asha"], keys["dora"]])
    with pytest.raises(PublishingError, match="1 of the 2 signatures"):
        put_out(repository, twice, keys)
    assert metadata(files(repository)) == metadata(before)


def test_a_signature_over_another_version_does_not_count(
    repository: Repository, keys: Keys
) -> None:
    first, second = drafted(repository, 1), drafted(repository, 2)
    mixed = json.loads(first.signed_by([keys["asha"]]).to_bytes())
    other = json.loads(second.signed_by([keys["ben"]]).to_bytes())
    mixed["parts"][0]["metadata"]["signatures"] += other["parts"][0]["metadata"]["signatures"]
    forged = parse_staged(json.dumps(mixed).encode())
    assert not forged.complete
    with pytest.raises(PublishingError, match="1 of the 2 signatures"):
        put_out(repository, forged, keys)


def test_a_draft_that_names_its_own_signers_is_still_measured_by_the_root(
    repository: Repository, keys: Keys
) -> None:
    draft = json.loads(drafted(repository).to_bytes())
    dora = json.loads(keys["dora"].public.to_bytes())
    draft["parts"][0]["signers"] = [{"keys": [dora], "threshold": 1}]
    forged = parse_staged(json.dumps(draft).encode()).signed_by([keys["dora"]])
    assert forged.complete  # as it says
    with pytest.raises(PublishingError, match="0 of the 2 signatures"):
        put_out(repository, forged, keys)


def test_new_keyholders_can_not_let_themselves_in(repository: Repository, keys: Keys) -> None:
    draft = rotated(repository, keys, asha="dora", ben="eve")
    own = draft.signed_by([keys["dora"], keys["eve"]])
    assert not own.complete and own.could_sign == ("asha", "ben", "cleo")
    with pytest.raises(PublishingError, match="'root' has 0 of the 2 signatures"):
        put_out(repository, own, keys)
    with pytest.raises(PublishingError, match="'root' has 1 of the 2 signatures"):
        put_out(repository, draft.signed_by([keys["asha"], keys["ben"], keys["dora"]]), keys)
    put_out(repository, own.signed_by([keys["asha"], keys["ben"]]), keys)


def test_a_draft_travels_as_a_file_and_shows_what_is_signed(
    repository: Repository, keys: Keys
) -> None:
    draft = drafted(repository)
    there = parse_staged(draft.to_bytes()).signed_by([keys["ben"]])
    back = parse_staged(there.to_bytes()).signed_by([keys["cleo"]])
    assert back.complete and back.documents[0].body == draft.documents[0].body
    shown = "\n".join(back.in_words())
    assert draft.documents[0].listed[0].sha256 in shown and STUDY in shown
    put_out(repository, back, keys)
    assert repository.state().bundles.listed[0].path == bundle_path("affect-1", 1)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"version":1}', b"\xff\xfe"])
def test_a_file_that_is_no_draft_is_refused(raw: bytes) -> None:
    with pytest.raises(PublishingError, match="not a staged draft"):
        parse_staged(raw)


def test_a_draft_from_before_somebody_elses_publication_is_refused(
    repository: Repository, keys: Keys
) -> None:
    late = drafted(repository, 1).signed_by([keys["asha"], keys["ben"]])
    published(repository, keys, 2)
    with pytest.raises(PublishingError, match="does not follow version"):
        put_out(repository, late, keys)


def test_a_draft_of_another_study_is_refused(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    people = [keys[name].public for name in PEOPLE]
    other = drafts.new_repository("south", people, 2, keys["online"].public, None, now())
    elsewhere = Repository(tmp_path / "elsewhere")
    put_out(elsewhere, other.signed_by([keys["asha"], keys["ben"]]), keys)
    draft = drafted(elsewhere).signed_by([keys["asha"], keys["ben"]])
    with pytest.raises(PublishingError, match="of the study 'south'"):
        put_out(repository, draft, keys)


def test_nothing_is_published_by_a_clock_that_is_behind(repository: Repository, keys: Keys) -> None:
    signer = OnlineSigner(repository, [keys["online"]])
    with pytest.raises(PublishingError, match="clock is behind"):
        signer.record("refresh", {}, now() - timedelta(days=1))


def test_without_the_online_key_nothing_changes(repository: Repository, keys: Keys) -> None:
    before = files(repository)
    draft = drafted(repository).signed_by([keys["asha"], keys["ben"]])
    with pytest.raises(PublishingError, match="online key of: online"):
        publish(repository, draft.documents, [keys["asha"]], act="bundle", details={}, now=now())
    assert metadata(files(repository)) == metadata(before)
    assert len(verified_log(repository)) == 1


def test_a_target_that_is_not_here_is_not_published(repository: Repository, keys: Keys) -> None:
    draft = drafted(repository).signed_by([keys["asha"], keys["ben"]])
    shutil.rmtree(repository.folder / "targets")
    with pytest.raises(PublishingError, match="no file for"):
        put_out(repository, draft, keys)


@pytest.mark.parametrize("threshold", [1, 4])
def test_one_person_alone_or_more_than_there_are_found_no_repository(
    threshold: int, keys: Keys
) -> None:
    people = [keys[name].public for name in PEOPLE]
    with pytest.raises(PublishingError):
        drafts.new_repository(STUDY, people, threshold, keys["online"].public, None, now())


def test_the_online_key_is_nobodys_own(keys: Keys) -> None:
    people = [keys[name].public for name in PEOPLE]
    with pytest.raises(PublishingError, match="occurs twice"):
        drafts.new_repository(STUDY, people, 2, keys["asha"].public, None, now())


# Renewal.


def test_what_is_half_over_is_renewed_and_nothing_else(repository: Repository, keys: Keys) -> None:
    signer = OnlineSigner(repository, [keys["online"]])
    assert not signer.refresh_if_due(now() + timedelta(days=3))
    assert signer.refresh_if_due(now() + timedelta(days=4))
    state = repository.state()
    assert (state.timestamp.version, state.snapshot.version, state.heads.version) == (2, 1, 1)
    assert signer.refresh_if_due(now() + timedelta(days=31))
    state = repository.state()
    assert (state.timestamp.version, state.snapshot.version, state.heads.version) == (3, 2, 2)
    assert state.snapshot.versions[RoleName.HEADS] == 2
    assert all(state.document(role).version == 1 for role in OFFLINE)
    assert [act.act for act in verified_log(repository)] == ["root-init", "refresh", "refresh"]


def test_people_are_told_two_months_before_their_signatures_end(
    repository: Repository, keys: Keys
) -> None:
    signer = OnlineSigner(repository, [keys["online"]])
    assert signer.expiring(now() + timedelta(days=330)) == ()
    assert signer.expiring(now() + timedelta(days=340)) == OFFLINE


def test_the_yearly_renewal_signs_everything_of_people_anew(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    published(repository, keys)
    renewed = rotated(repository, keys).signed_by([keys["ben"], keys["cleo"]])
    assert renewed.act == "root-renew"
    put_out(repository, renewed, keys)
    state = repository.state()
    assert [state.document(role).version for role in OFFLINE] == [2, 2, 3, 2]
    reader = Reader(tmp_path / "device", first_root(repository))
    with served(repository.folder) as url:
        assert reader.fetched(url, bundle_path("affect-1", 1)) == b"bundle 1"


# A crash between any two files.


_PUBLISHING = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from sync.publishing.keys import open_key
from sync.publishing.publication import publish
from sync.publishing.repository import Repository
from sync.publishing.staged import read_staged

left = [int(sys.argv[3])]
def watch(event, arguments):
    if event == "os.rename":
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
staged = read_staged(Path(sys.argv[2]))
keys = [open_key(Path(name), lambda _: "") for name in sys.argv[4:]]
publish(Repository(Path(sys.argv[1])), staged.documents, keys, act=staged.act,
        details=staged.details, now=datetime.now(UTC))
"""


@pytest.mark.parametrize("what", ["bundle", "lost key", "signing key", "online key", "all at once"])
def test_killed_between_any_two_files_it_leaves_what_old_and_new_devices_accept(
    what: str, repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    published(repository, keys, 1)  # signed by asha and cleo
    if what == "bundle":
        draft = drafted(repository, 2)
    elif what == "lost key":
        draft = rotated(repository, keys, ben="dora")
    elif what == "signing key":  # asha's signature under what is published no longer counts
        draft = rotated(repository, keys, asha="dora")
    elif what == "online key":
        draft = rotated(repository, keys, online="online-2")
    else:
        draft = rotated(repository, keys, asha="dora", online="online-2")
    signing = ("asha", "cleo") if what == "lost key" else ("ben", "cleo")
    draft = draft.signed_by([keys[name] for name in signing])
    draft.keep(tmp_path / "draft.json")
    online = [str(tmp_path / "keys" / f"{name}.key.pem") for name in ("online", "online-2")]
    known = Reader(tmp_path / "known", first_root(repository))
    root = first_root(repository)
    with served(repository.folder) as url:
        known.refreshed(url)
        killed, before = 0, repository.folder.with_name("before")
        shutil.copytree(repository.folder, before)
        while True:
            shutil.rmtree(repository.folder)
            shutil.copytree(before, repository.folder)
            done = run_publishing(repository, tmp_path / "draft.json", killed, online)
            for name, reader in (
                ("new", Reader(tmp_path / f"new-{killed}", root)),
                ("old", copied(known, tmp_path / f"old-{killed}")),
            ):
                assert reader.fetched(url, bundle_path("affect-1", 1)) == b"bundle 1", (
                    name, killed,
                )  # fmt: skip
            if done:
                break
            # Done again it is finished, and the log says what was begun.
            assert run_publishing(repository, tmp_path / "draft.json", 1000, online)
            reader = copied(known, tmp_path / f"again-{killed}")
            reader.refreshed(url)
            assert repository.state().document(draft.documents[0].role).body == (
                draft.documents[0].body
            )
            assert verified_log(repository)
            killed += 1
    assert killed >= 3


def run_publishing(repository: Repository, draft: Path, kill_at: int, keys: list[str]) -> bool:
    """Whether it came to its end; it is killed before its file number `kill_at` is there."""
    ended = subprocess.run(
        [sys.executable, "-c", _PUBLISHING, repository.folder, draft, str(kill_at), *keys],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode in (0, -9), ended.stderr
    return ended.returncode == 0


def copied(reader: Reader, folder: Path) -> Reader:
    shutil.copytree(reader.folder, folder)
    again = Reader.__new__(Reader)
    again.folder, again._root = folder, None
    return again


def test_where_no_order_is_right_devices_refuse_for_a_moment_and_go_on_afterwards(
    repository: Repository, keys: Keys, tmp_path: Path
) -> None:
    """The old online key is gone: nothing bridges from it to the new one."""
    published(repository, keys, 1)
    draft = rotated(repository, keys, online="online-2").signed_by([keys["asha"], keys["ben"]])
    draft.keep(tmp_path / "draft.json")
    new_key = [str(tmp_path / "keys" / "online-2.key.pem")]
    known = Reader(tmp_path / "known", first_root(repository))
    before = files(repository)
    with served(repository.folder) as url:
        known.refreshed(url)
        killed = 0
        while not run_publishing(repository, tmp_path / "draft.json", killed, new_key):
            gap = "metadata/2.root.json" in files(repository)
            reader = copied(known, tmp_path / f"old-{killed}")
            if gap:  # refused, not fooled; what it has stays
                with pytest.raises(UnsignedMetadataError):
                    reader.refreshed(url)
            else:
                assert reader.fetched(url, bundle_path("affect-1", 1)) == b"bundle 1"
                put_back(repository, before)
            killed += 1
            assert killed < 20
        assert known.fetched(url, bundle_path("affect-1", 1)) == b"bundle 1"
        assert gap
    assert repository.state().root.version == 2


def put_back(repository: Repository, found: dict[str, bytes]) -> None:
    shutil.rmtree(repository.folder)
    for name, content in found.items():
        (repository.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (repository.folder / name).write_bytes(content)


def files(repository: Repository) -> dict[str, bytes]:
    return {
        str(path.relative_to(repository.folder)): path.read_bytes()
        for path in sorted(repository.folder.rglob("*"))
        if path.is_file()
    }


def metadata(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if name.startswith("metadata/")}
