"""What a device believes about updates: every attack that TUF and Uptane name, as a story.

Each test is a row of the table in `sync/updates.md`. The repository is one in memory that can sign
anything with any key; the device is the real `Trust` in a real folder.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import MetaFile

from sync.updates import durable, offers
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import Source
from sync.updates.trust import Trust
from tests.update_repository import NOW, STUDY, Endless, Mirror, Repository, believed, refused

CONTENT = bytes(range(256)) * 30
DAY = timedelta(days=1)


def a_device(
    folder: Path,
    source: Source,
    *,
    now: datetime | Callable[[], datetime] = NOW,
    study: str | None = STUDY,
) -> Trust:
    """A device that has just started, with what an earlier one kept in the folder."""
    clock = now if callable(now) else lambda: now
    return Trust(folder, source, source, now=clock, study=study)


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def mirror(repository: Repository) -> Mirror:
    return Mirror(repository.files)


@pytest.fixture
def device(repository: Repository, mirror: Mirror, tmp_path: Path) -> Trust:
    trust = a_device(tmp_path / "trust", mirror)
    trust.init(repository.first_root)
    trust.refresh()
    return trust


# What should work.


def test_a_bundle_that_the_study_signed_arrives_whole(
    repository: Repository, device: Trust, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT, deltas=[])
    repository.release("bundles")
    device.refresh()
    target = device.offer(path)
    assert target is not None and target.offer is not None
    assert (target.role, target.offer.kind, target.offer.serial) == ("bundles", "bundle", 7)
    assert device.download(target, tmp_path / "parts").read_bytes() == CONTENT


def test_an_offer_is_asked_for_without_another_refresh_and_a_second_download_asks_nobody(
    repository: Repository, device: Trust, mirror: Mirror, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    device.refresh()
    target = device.offer(path)
    assert target is not None
    device.download(target, tmp_path / "parts")
    asked = len(mirror.asked)
    assert device.download(target, tmp_path / "parts").read_bytes() == CONTENT
    assert len(mirror.asked) == asked


def test_an_update_that_was_taken_back_is_not_downloaded(
    repository: Repository, device: Trust, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    device.refresh()
    target = device.offer(path)
    assert target is not None
    del repository.documents["bundles"].targets[path]
    repository.release("bundles")
    device.refresh()
    with refused(Reason.UNKNOWN):
        device.download(target, tmp_path / "parts")


def test_a_device_without_a_first_root_believes_nobody(mirror: Mirror, tmp_path: Path) -> None:
    with refused(Reason.UNKNOWN):
        a_device(tmp_path / "trust", mirror).refresh()
    assert not mirror.asked


# Arbitrary installation.


def test_what_nobody_signed_is_not_offered(repository: Repository, device: Trust) -> None:
    repository.add_bundle(7, CONTENT)  # lies on the mirror, and no list names it
    assert device.offer("bundles/affect-1/7.bundle") is None


def test_a_swapped_bundle_gets_no_name(
    repository: Repository, device: Trust, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    device.refresh()
    target = device.offer(path)
    assert target is not None
    repository.files[target.lies_at] = b"another bundle of the same length".ljust(len(CONTENT))
    with refused(Reason.ALTERED):
        device.download(target, tmp_path / "parts")
    assert not list((tmp_path / "parts").iterdir())


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_a_list_signed_by_strangers_is_refused(
    repository: Repository, device: Trust, role: str, tmp_path: Path
) -> None:
    strangers = Repository()
    before = believed(tmp_path / "trust")
    repository.keys[role] = strangers.keys[role]
    repository.publish(role)
    if role == "root":
        with refused(Reason.UNSIGNED):
            device.refresh()
    else:
        repository.release(*({role} - {"snapshot", "timestamp"}))
        with refused(Reason.UNSIGNED):
            device.refresh()
    after = believed(tmp_path / "trust")
    assert after[f"{role}.json"] == before[f"{role}.json"]


# Key compromise below the threshold.


@pytest.mark.parametrize("role", ["root", "targets", "bundles", "releases"])
def test_one_stolen_offline_key_signs_nothing(
    repository: Repository, device: Trust, role: str
) -> None:
    repository.keys[role] = repository.keys[role][:1]
    path = repository.add_bundle(7, CONTENT)
    release = offers.release_path(7)
    repository.add(release, b"{}")
    if role == "root":
        repository.publish("root")
    else:
        repository.release(role)
    with refused(Reason.UNSIGNED):
        device.refresh()
        device.offer(release if role == "releases" else path)


def test_one_stolen_key_counts_once_however_often_it_signs(
    repository: Repository, device: Trust
) -> None:
    repository.add_bundle(7, CONTENT)
    repository.keys["bundles"] = repository.keys["bundles"][:1]
    repository.publish("bundles")
    signed = json.loads(repository.files["metadata/2.bundles.json"])
    signed["signatures"] *= 3
    repository.serve("bundles", json.dumps(signed).encode())
    repository.publish("snapshot", "timestamp")
    device.refresh()
    with refused(Reason.MALFORMED, Reason.UNSIGNED):
        device.offer("bundles/affect-1/7.bundle")


def test_stolen_online_keys_install_nothing(repository: Repository, device: Trust) -> None:
    repository.add_bundle(7, CONTENT)
    online = repository.keys["timestamp"] + repository.keys["snapshot"] + repository.keys["heads"]
    repository.keys["bundles"] = online
    repository.release("bundles")
    device.refresh()
    with refused(Reason.UNSIGNED):
        device.offer("bundles/affect-1/7.bundle")


def test_a_list_that_was_refused_once_is_refused_again(
    repository: Repository, device: Trust
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.study = "other"
    repository.publish("bundles")
    repository.study = STUDY
    repository.publish("snapshot", "timestamp")
    device.refresh()
    for _ in range(2):
        with refused(Reason.OTHER_STUDY):
            device.offer(path)


# Rollback.


def test_an_older_timestamp_is_refused_even_after_a_restart(
    repository: Repository, device: Trust, mirror: Mirror, tmp_path: Path
) -> None:
    old = dict(repository.files)
    repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    device.refresh()
    mirror.files = old
    before = believed(tmp_path / "trust")
    with refused(Reason.OLDER):
        device.refresh()
    with refused(Reason.OLDER):
        a_device(tmp_path / "trust", mirror).refresh()
    assert believed(tmp_path / "trust") == before


def test_stolen_online_keys_can_not_bring_back_an_old_list(
    repository: Repository, device: Trust
) -> None:
    old = repository.files["metadata/1.targets.json"]
    repository.release("targets")
    device.refresh()
    repository.documents["snapshot"].meta["targets.json"] = MetaFile.from_data(1, old, ["sha256"])
    repository.publish("snapshot", "timestamp")
    with refused(Reason.OLDER):
        device.refresh()


def test_stolen_online_keys_can_not_bring_back_an_old_snapshot(
    repository: Repository, device: Trust
) -> None:
    repository.release("targets")
    device.refresh()
    repository.documents["timestamp"].snapshot_meta = MetaFile(1)
    repository.publish("timestamp")
    with refused(Reason.OLDER):
        device.refresh()


def test_a_list_that_vanishes_from_the_snapshot_is_missed(
    repository: Repository, device: Trust
) -> None:
    del repository.documents["snapshot"].meta["bundles.json"]
    repository.publish("snapshot", "timestamp")
    with refused(Reason.MIXED):
        device.refresh()


# Fast-forward.


def test_a_fast_forward_by_stolen_online_keys_ends_with_their_rotation(
    repository: Repository, device: Trust
) -> None:
    for role in ("snapshot", "timestamp"):
        repository.documents[role].version = 10**6
    repository.publish("snapshot", "timestamp")
    device.refresh()
    for role in ("snapshot", "timestamp"):
        repository.give_keys(role, 1)
        repository.documents[role].version = 5
    path = repository.add_bundle(7, CONTENT)
    repository.publish("root")
    repository.release("bundles")
    device.refresh()
    assert device.offer(path) is not None


# Freeze, and time.


def test_a_frozen_mirror_is_noticed_when_its_timestamp_ends(
    repository: Repository, device: Trust, mirror: Mirror, tmp_path: Path
) -> None:
    frozen = dict(repository.files)
    repository.clock = NOW + DAY
    repository.release("bundles")
    mirror.files = frozen
    a_device(tmp_path / "trust", mirror, now=NOW + 1.9 * DAY).refresh()
    with refused(Reason.EXPIRED):
        a_device(tmp_path / "trust", mirror, now=NOW + 2.1 * DAY).refresh()


@pytest.mark.parametrize("role", ["root", "snapshot", "targets", "bundles"])
def test_each_list_ends(
    repository: Repository, device: Trust, mirror: Mirror, role: str, tmp_path: Path
) -> None:
    """Online keys that go on signing can't keep alive what its own keys have let end."""
    later = NOW + 400 * DAY
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    repository.clock = later
    rest = [name for name in ("root", "targets", "bundles") if name != role]
    repository.publish(*rest)
    if role == "snapshot":
        repository.clock = NOW
    repository.publish("snapshot")
    repository.clock = later
    repository.publish("timestamp")
    trust = a_device(tmp_path / "trust", mirror, now=later + timedelta(hours=1))
    with refused(Reason.EXPIRED):
        trust.refresh()
        trust.offer(path)


def test_a_clock_in_1970_is_held_up_by_what_was_signed(
    repository: Repository, device: Trust, mirror: Mirror, tmp_path: Path
) -> None:
    started = datetime(1970, 1, 1, tzinfo=UTC)
    frozen = dict(repository.files)
    repository.clock = NOW + 30 * DAY
    repository.release("bundles")
    a_device(tmp_path / "trust", mirror, now=started).refresh()
    # The new lists moved the floor; a mirror of a month ago is stale to this clock, too.
    repository.files["metadata/timestamp.json"] = frozen["metadata/timestamp.json"]
    for name in ("timestamp.json", "snapshot.json"):
        (tmp_path / "trust" / name).unlink()  # as if the card had lost them
    with refused(Reason.EXPIRED):
        a_device(tmp_path / "trust", mirror, now=started).refresh()


def test_a_new_device_with_a_clock_in_1970_starts_from_the_day_of_its_first_root(
    repository: Repository, mirror: Mirror, tmp_path: Path
) -> None:
    started = datetime(1970, 1, 1, tzinfo=UTC)
    trust = a_device(tmp_path / "new", mirror, now=started)
    trust.init(repository.first_root)
    trust.refresh()
    repository.clock = NOW + 100 * DAY  # root stays as it is; a snapshot of then
    stale = repository.files["metadata/1.snapshot.json"]
    repository.publish("snapshot")
    repository.files["metadata/2.snapshot.json"] = stale
    repository.documents["timestamp"].snapshot_meta = MetaFile(1)
    repository.publish("timestamp")
    other = a_device(tmp_path / "other", mirror, now=started)
    other.init(repository.first_root)
    with refused(Reason.EXPIRED):  # fresh to the first root's day, stale to the timestamp's
        other.refresh()


def test_a_clock_in_2100_is_called_wrong_and_leaves_nothing_behind(
    repository: Repository, device: Trust, mirror: Mirror, tmp_path: Path
) -> None:
    before = believed(tmp_path / "trust")
    with refused(Reason.CLOCK):
        a_device(tmp_path / "trust", mirror, now=datetime(2100, 1, 1, tzinfo=UTC)).refresh()
    assert believed(tmp_path / "trust") == before
    a_device(tmp_path / "trust", mirror).refresh()


def test_an_online_key_that_lies_about_time_is_undone_by_the_next_root(
    repository: Repository, device: Trust, mirror: Mirror, tmp_path: Path
) -> None:
    repository.clock = NOW + 10_000 * DAY
    repository.publish("timestamp")
    with refused(Reason.EXPIRED):
        device.refresh()
    repository.clock = NOW + DAY
    repository.give_keys("timestamp", 1)
    for role in ("root", "targets", "bundles", "releases", "heads", "snapshot", "timestamp"):
        repository.lasts[role] = 500
    repository.publish("root", "bundles", "releases", "heads", "targets", "snapshot", "timestamp")
    a_device(tmp_path / "trust", mirror, now=NOW + DAY).refresh()


def test_a_list_signed_after_its_own_end_is_refused(repository: Repository, device: Trust) -> None:
    timestamp = repository.documents["timestamp"]
    timestamp.version += 1
    timestamp.unrecognized_fields[offers.BINDING_FIELD]["signed_at"] += 3 * 86_400
    repository.serve("timestamp", repository.sign("timestamp"))
    with refused(Reason.MALFORMED):
        device.refresh()


# Mix-and-match, and equal versions.


def test_lists_of_two_publications_do_not_mix(
    repository: Repository, device: Trust, mirror: Mirror
) -> None:
    first = repository.files["metadata/1.snapshot.json"]
    repository.release("targets")
    repository.files["metadata/2.snapshot.json"] = first
    with refused(Reason.ALTERED):
        device.refresh()
    repository.documents["timestamp"].snapshot_meta = MetaFile(2)  # names no hash
    repository.publish("timestamp")
    with refused(Reason.MIXED):
        device.refresh()


def test_a_bundle_list_of_another_publication_is_refused(
    repository: Repository, device: Trust
) -> None:
    first = repository.files["metadata/1.bundles.json"]
    path = repository.add_bundle(7, CONTENT)
    repository.publish("bundles")
    repository.files["metadata/2.bundles.json"] = first
    repository.documents["snapshot"].meta["bundles.json"] = MetaFile(2)
    repository.publish("snapshot", "timestamp")
    device.refresh()
    with refused(Reason.MIXED):
        device.offer(path)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "bundles"])
def test_a_version_never_comes_again_with_other_content(
    repository: Repository, device: Trust, role: str, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    device.refresh()
    device.offer(path)
    before = believed(tmp_path / "trust")
    document = repository.documents[role]
    document.unrecognized_fields["said"] = "otherwise"
    repository.serve(role, repository.sign(role))
    if role in ("targets", "bundles"):
        repository.publish("snapshot")
    if role != "timestamp":
        repository.publish("timestamp")
    with refused(Reason.EQUIVOCAL):
        device.refresh()
        device.offer(path)
    assert believed(tmp_path / "trust")[f"{role}.json"] == before[f"{role}.json"]


def test_the_same_list_under_other_signatures_is_the_same_list(
    repository: Repository, device: Trust
) -> None:
    timestamp = json.loads(repository.files["metadata/timestamp.json"])
    repository.files["metadata/timestamp.json"] = json.dumps(timestamp, indent=4).encode()
    device.refresh()


def test_without_a_study_the_old_content_is_kept_in_silence(tmp_path: Path) -> None:
    repository = Repository(study=None)
    trust = a_device(tmp_path / "trust", Mirror(repository.files), study=None)
    trust.init(repository.first_root)
    trust.refresh()
    before = believed(tmp_path / "trust")
    repository.documents["timestamp"].unrecognized_fields["said"] = "otherwise"
    repository.serve("timestamp", repository.sign("timestamp"))
    trust.refresh()
    assert believed(tmp_path / "trust") == before


# Endless, oversized, truncated, flipped.


@pytest.mark.parametrize("which", ["root", "timestamp", "snapshot", "targets", "bundles"])
def test_an_endless_list_is_given_up(
    repository: Repository, mirror: Mirror, device: Trust, which: str, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles", "targets")
    endless = Endless(mirror, f"metadata/{'' if which == 'timestamp' else '2.'}{which}.json")
    trust = a_device(tmp_path / "trust", endless)
    with refused(Reason.TOO_LARGE):
        trust.refresh()
        trust.offer(path)
    assert 0 < endless.given_bytes < 6_000_000


def test_an_endless_bundle_is_given_up_at_its_signed_length(
    repository: Repository, mirror: Mirror, device: Trust, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    endless = Endless(mirror, "targets/bundles")
    trust = a_device(tmp_path / "trust", endless)
    target = trust.offer(path)
    assert target is not None
    with refused(Reason.TOO_LARGE):
        trust.download(target, tmp_path / "parts")
    assert endless.given_bytes < len(CONTENT) + 8192
    assert not list((tmp_path / "parts").iterdir())


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def doubled(content: bytes) -> bytes:
    return content + content


def emptied(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("harm", [truncated, flipped, doubled, emptied])
@pytest.mark.parametrize("which", ["bundle", "root", "timestamp", "snapshot", "targets", "bundles"])
def test_no_harmed_file_changes_what_is_believed(
    repository: Repository,
    device: Trust,
    which: str,
    harm: Callable[[bytes], bytes],
    tmp_path: Path,
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.publish("root")
    repository.release("bundles", "targets")
    device.refresh()
    target = device.offer(path)
    assert target is not None
    kept = believed(tmp_path / "trust")
    repository.publish("root")
    repository.release("bundles", "targets")
    name = "timestamp.json" if which == "timestamp" else f"3.{which}.json"
    name = target.lies_at if which == "bundle" else f"metadata/{name}"
    repository.files[name] = harm(repository.files[name])
    with pytest.raises(UpdateRejected):
        device.refresh()
        device.download(device.offer(path) or target, tmp_path / "parts")
    if which != "bundle":
        assert believed(tmp_path / "trust")[f"{which}.json"] == kept[f"{which}.json"]
    assert not [part for part in (tmp_path / "parts").glob("*") if part.is_file()]


def test_deeply_nested_lists_are_malformed(repository: Repository, device: Trust) -> None:
    bomb = b'{"signatures":' + b"[" * 8000 + b"]" * 8000 + b"}"
    repository.files["metadata/timestamp.json"] = bomb
    with refused(Reason.MALFORMED):
        device.refresh()


# Wrong software: a role that oversteps.


def test_a_head_key_can_not_offer_a_bundle(repository: Repository, device: Trust) -> None:
    bundle: dict[str, Any] = {"kind": "bundle", "name": "affect-1", "serial": 9, "says": "0.9"}
    repository.add("heads/affect-1.json", b"{}", offer=bundle)
    repository.add("bundles/affect-1/9.bundle", CONTENT, role="heads", offer=bundle)
    repository.release("heads")
    device.refresh()
    with refused(Reason.NOT_ALLOWED):
        device.offer("heads/affect-1.json")
    assert device.offer("bundles/affect-1/9.bundle") is None


def test_a_head_is_as_small_as_heads_are(repository: Repository, device: Trust) -> None:
    head = {"kind": "head", "name": "affect-1", "serial": 2, "says": "2"}
    repository.add("heads/affect-1.json", bytes(offers.MOST_HEAD_BYTES), offer=head)
    repository.release("heads")
    device.refresh()
    assert device.offer("heads/affect-1.json") is not None
    repository.add("heads/affect-1.json", bytes(offers.MOST_HEAD_BYTES + 1), offer=head)
    repository.release("heads")
    device.refresh()
    with refused(Reason.TOO_LARGE):
        device.offer("heads/affect-1.json")


def test_the_targets_role_offers_nothing_itself(repository: Repository, device: Trust) -> None:
    repository.add("bundles/affect-1/9.bundle", CONTENT, role="targets")
    repository.release("targets")
    device.refresh()
    with refused(Reason.NOT_ALLOWED):
        device.offer("bundles/affect-1/9.bundle")


def test_a_delegation_that_was_drawn_too_wide_changes_no_folder(
    repository: Repository, device: Trust
) -> None:
    assert repository.targets.delegations is not None and repository.targets.delegations.roles
    paths = repository.targets.delegations.roles["bundles"].paths
    assert paths is not None
    paths.append("heads/*")
    repository.add("heads/affect-1.json", b"{}", role="bundles")
    repository.release("bundles", "targets")
    device.refresh()
    with refused(Reason.NOT_ALLOWED):
        device.offer("heads/affect-1.json")


@pytest.mark.parametrize(
    "offer",
    [
        "7",
        {"kind": "bundle"},
        {"kind": "firmware", "name": "affect-1", "serial": 7, "says": "7"},
        {"kind": "bundle", "name": "affect-1", "serial": "7", "says": "7"},
        {"kind": "bundle", "name": "../etc", "serial": 7, "says": "7"},
        {"kind": "bundle", "name": "affect-1", "serial": 0, "says": "7"},
    ],
)
def test_an_offer_that_says_wrongly_what_it_is_is_malformed(
    repository: Repository, device: Trust, offer: Any
) -> None:
    repository.add("bundles/affect-1/7.bundle", CONTENT, offer=offer)
    repository.release("bundles")
    device.refresh()
    with refused(Reason.MALFORMED):
        device.offer("bundles/affect-1/7.bundle")


# Another study.


@pytest.mark.parametrize("named", ["other", None])
@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "bundles"])
def test_no_list_of_another_study_is_believed(
    repository: Repository, device: Trust, role: str, named: str | None, tmp_path: Path
) -> None:
    path = repository.add_bundle(7, CONTENT)
    before = believed(tmp_path / "trust")
    repository.study = named
    if named is None:
        del repository.documents[role].unrecognized_fields[offers.BINDING_FIELD]
    repository.publish(role)
    repository.study = STUDY
    for following in ("snapshot", "timestamp"):
        if role in ("targets", "bundles") or (role, following) == ("snapshot", "timestamp"):
            repository.publish(following)
    with refused(Reason.OTHER_STUDY):
        device.refresh()
        device.offer(path)
    after = believed(tmp_path / "trust")
    assert after.get(f"{role}.json") == before.get(f"{role}.json")


def test_the_first_root_of_another_study_is_not_pinned(mirror: Mirror, tmp_path: Path) -> None:
    trust = a_device(tmp_path / "trust", mirror)
    for study in ("other", None):
        with refused(Reason.OTHER_STUDY):
            trust.init(Repository(study=study).first_root)
    assert not trust.initialised and not believed(tmp_path / "trust")


def test_a_device_that_was_told_no_study_takes_the_one_of_its_first_root(
    repository: Repository, mirror: Mirror, tmp_path: Path
) -> None:
    trust = a_device(tmp_path / "trust", mirror, study=None)
    trust.init(repository.first_root)
    trust.refresh()
    repository.study = "other"
    repository.publish("timestamp")
    with refused(Reason.OTHER_STUDY):
        trust.refresh()


# The root.


def test_a_lost_root_key_is_replaced_by_the_other_two(
    repository: Repository, device: Trust
) -> None:
    kept = repository.keys["root"][:2]
    repository.give_keys("root", 3)
    repository.keys["root"] += kept
    repository.publish("root")
    path = repository.add_bundle(7, CONTENT)
    repository.release("bundles")
    device.refresh()
    assert device.offer(path) is not None


def test_a_root_that_its_predecessor_did_not_sign_is_refused(
    repository: Repository, device: Trust, tmp_path: Path
) -> None:
    repository.give_keys("root", 3)
    repository.publish("root")
    with refused(Reason.UNSIGNED):
        device.refresh()
    assert (tmp_path / "trust" / "root.json").read_bytes() == repository.first_root


@pytest.mark.parametrize(("version", "reason"), [(3, Reason.MIXED), (1, Reason.OLDER)])
def test_a_root_under_another_roots_name_is_refused(
    repository: Repository, device: Trust, version: int, reason: Reason
) -> None:
    repository.root.version = version
    repository.files["metadata/2.root.json"] = repository.sign("root")
    with refused(reason):
        device.refresh()


def test_a_second_first_root_is_refused(repository: Repository, device: Trust) -> None:
    device.init(repository.first_root)
    with refused(Reason.EQUIVOCAL):
        device.init(Repository().first_root)
    device.refresh()


@pytest.mark.parametrize("root", [b"", b"{}", b"[]", b"\xff", b"1" * 600_000])
def test_what_is_no_root_is_not_pinned(mirror: Mirror, tmp_path: Path, root: bytes) -> None:
    trust = a_device(tmp_path / "trust", mirror)
    with refused(Reason.MALFORMED, Reason.TOO_LARGE):
        trust.init(root)
    assert not trust.initialised


def test_another_list_is_no_root(repository: Repository, mirror: Mirror, tmp_path: Path) -> None:
    with refused(Reason.MALFORMED):
        a_device(tmp_path / "new", mirror).init(repository.files["metadata/1.targets.json"])


def test_a_root_below_its_own_threshold_is_not_pinned(
    repository: Repository, mirror: Mirror, tmp_path: Path
) -> None:
    with refused(Reason.UNSIGNED):
        a_device(tmp_path / "new", mirror).init(
            repository.sign("root", keys=repository.keys["root"][:1])
        )


# The world.


def test_a_mirror_that_goes_away_at_any_file_leaves_a_device_that_can_go_on(
    repository: Repository, device: Trust, mirror: Mirror
) -> None:
    path = repository.add_bundle(7, CONTENT)
    repository.publish("root")
    repository.release("bundles", "targets")
    for last in range(1, 7):
        begun = len(mirror.asked)
        mirror.cut_after = lambda _path, _sent, most=begun + last: len(mirror.asked) > most  # type: ignore[misc]
        with pytest.raises(UpdateRejected):
            device.refresh()
            device.offer(path)
            raise UpdateRejected(Reason.UNREACHABLE, "Six files are all there are.")
    mirror.cut_after = lambda path, sent: False
    device.refresh()
    assert device.offer(path) is not None


def test_a_missing_list_is_out_of_reach(repository: Repository, device: Trust) -> None:
    repository.release("targets")
    del repository.files["metadata/2.targets.json"]
    with refused(Reason.UNREACHABLE):
        device.refresh()


@pytest.mark.parametrize("path", ["", "/etc/passwd", "bundles/../x", "a//b", "a\\b", "a\nb", "."])
def test_no_path_leads_out(device: Trust, path: str) -> None:
    with refused(Reason.BAD_PATH):
        device.offer(path)


class PowerCut(BaseException):
    """Nothing that is done in a program's last moment can be caught by it."""


@pytest.mark.parametrize("step", range(1, 25))
def test_a_power_cut_at_any_step_of_a_refresh_leaves_a_device_that_can_go_on(
    repository: Repository,
    device: Trust,
    mirror: Mirror,
    step: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cut comes before the n-th time that something would reach the disk."""
    old = repository.files["metadata/timestamp.json"]
    path = repository.add_bundle(7, CONTENT)
    repository.publish("root")
    repository.release("bundles", "targets")
    left = [step]
    real = durable.os.fsync

    def sometimes(handle: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise PowerCut
        real(handle)

    monkeypatch.setattr(durable.os, "fsync", sometimes)
    try:
        device.refresh()
        device.offer(path)
    except PowerCut:
        pass
    else:
        assert left[0] > 0  # there were fewer steps than that
    monkeypatch.undo()
    adopted = json.loads((tmp_path / "trust" / "timestamp.json").read_bytes())["signed"]["version"]
    restarted = a_device(tmp_path / "trust", mirror)
    restarted.refresh()
    assert restarted.offer(path) is not None
    assert adopted in (1, 2)
    repository.files["metadata/timestamp.json"] = old
    with refused(Reason.OLDER):
        a_device(tmp_path / "trust", mirror).refresh()
