"""The log of acts: a line that was removed, altered, moved or cut off is found, by its number."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.errors import PublishingError
from sync.publishing.audit import Log, LogHead
from sync.publishing.keys import PublicKey, SigningKey
from sync.publishing.online import OnlineSigner
from sync.publishing.publication import verified_log
from tests.signing import PEOPLE, founded, keys_of, now

AT = 1_764_000_000


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return keys_of(tmp_path / "keys", "asha")["asha"]


def known(*keys: SigningKey) -> dict[str, PublicKey]:
    return {key.key_id: key.public for key in keys}


def written(path: Path, key: SigningKey, count: int = 5) -> LogHead:
    log = Log(path)
    heads = [
        log.append(key, "bundle", {"serial": str(number)}, AT + number)
        for number in range(1, count + 1)
    ]
    return heads[-1]


def refused(path: Path, key: SigningKey, head: LogHead | None, number: int) -> None:
    with pytest.raises(PublishingError, match=f"line {number} "):
        Log(path).verified(known(key), head)


def test_a_log_tells_what_was_written(tmp_path: Path, key: SigningKey) -> None:
    head = written(tmp_path / "log", key)
    acts = Log(tmp_path / "log").verified(known(key), head)
    assert [(act.number, act.at, act.who, act.details) for act in acts] == [
        (n, AT + n, key.key_id, {"serial": str(n)}) for n in range(1, 6)
    ]
    assert Log(tmp_path / "log").head() == head


def test_a_line_that_was_removed_is_found(tmp_path: Path, key: SigningKey) -> None:
    head = written(path := tmp_path / "log", key)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    refused(path, key, head, 3)


def test_lines_that_were_exchanged_are_found(tmp_path: Path, key: SigningKey) -> None:
    head = written(path := tmp_path / "log", key)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[3], lines[2], lines[4]]))
    refused(path, key, head, 3)


def test_an_altered_detail_is_found(tmp_path: Path, key: SigningKey) -> None:
    head = written(path := tmp_path / "log", key)
    path.write_bytes(path.read_bytes().replace(b'"serial":"2"', b'"serial":"9"'))
    refused(path, key, head, 2)


def test_a_line_that_is_written_otherwise_is_found(tmp_path: Path, key: SigningKey) -> None:
    head = written(path := tmp_path / "log", key, 1)
    path.write_bytes(json.dumps(json.loads(path.read_bytes())).encode() + b"\n")
    refused(path, key, head, 1)


@pytest.mark.parametrize("kept", range(5))
def test_lines_cut_off_at_the_end_are_found_by_the_head(
    kept: int, tmp_path: Path, key: SigningKey
) -> None:
    head = written(path := tmp_path / "log", key)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    assert len(Log(path).verified(known(key), None)) == kept  # the file alone can't say
    refused(path, key, head, kept + 1)


def test_another_end_of_the_same_length_is_found(tmp_path: Path, key: SigningKey) -> None:
    head = written(path := tmp_path / "log", key)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    Log(path).append(key, "bundle", {"serial": "another"}, AT)
    refused(path, key, head, 5)


def test_a_line_that_was_signed_for_another_course_of_events_does_not_fit_in(
    tmp_path: Path, key: SigningKey
) -> None:
    head = written(path := tmp_path / "log", key)
    lines = path.read_bytes().splitlines(keepends=True)
    (tmp_path / "other").write_bytes(b"".join(lines[:2]))
    Log(tmp_path / "other").append(key, "bundle", {"serial": "another"}, AT)
    other = (tmp_path / "other").read_bytes().splitlines(keepends=True)[2]
    path.write_bytes(b"".join([*lines[:2], other, *lines[3:]]))
    refused(path, key, head, 4)


def test_a_stranger_adds_no_line(tmp_path: Path, key: SigningKey) -> None:
    stranger = keys_of(tmp_path / "others", "mallory")["mallory"]
    written(path := tmp_path / "log", key)
    Log(path).append(stranger, "bundle", {}, AT)
    refused(path, key, None, 6)


def test_a_signature_belongs_to_its_line(tmp_path: Path, key: SigningKey) -> None:
    """Somebody who can write but not sign gives the line another number and a right chain."""
    other = keys_of(tmp_path / "others", "ben")["ben"]
    written(path := tmp_path / "log", key, 1)
    forged = path.read_bytes().replace(key.key_id.encode(), other.key_id.encode())
    path.write_bytes(forged)
    with pytest.raises(PublishingError, match="signature is false"):
        Log(path).verified(known(key, other), None)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_any_byte_that_changes_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    key = keys_of(folder / "keys", "asha")["asha"]
    head = written(path := folder / "log", key, 2)
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw))
    with pytest.raises(PublishingError):
        Log(path).verified(known(key), head)


def test_half_a_line_that_a_power_failure_left_gives_way_to_the_next_act(
    tmp_path: Path, key: SigningKey
) -> None:
    written(path := tmp_path / "log", key, 3)
    whole = path.read_bytes()
    for left in (b'{"entry":{"act":"bun', b"\r\n"[:1]):
        path.write_bytes(whole + left)
        refused(path, key, None, 4)
        head = Log(path).append(key, "bundle", {"serial": "4"}, AT + 4)
        assert len(Log(path).verified(known(key), head)) == 4
        assert path.read_bytes().startswith(whole)


def test_after_lines_were_cut_off_nothing_is_published_that_would_hide_it(tmp_path: Path) -> None:
    keys = keys_of(tmp_path / "keys", *PEOPLE, "online")
    repository = founded(tmp_path / "repository", keys)
    signer = OnlineSigner(repository, [keys["online"]])
    signer.record("rollout-start", {"number": "1"}, now())
    assert [act.act for act in verified_log(repository)] == ["root-init", "rollout-start"]
    path = repository.log.path
    whole = path.read_bytes()
    timestamp = (repository.folder / "metadata" / "timestamp.json").read_bytes()
    path.write_bytes(whole.splitlines(keepends=True)[0])
    with pytest.raises(PublishingError, match="line 2 is missing"):
        verified_log(repository)
    with pytest.raises(PublishingError, match="gone or were altered"):
        signer.record("rollout-abort", {"number": "1"}, now())
    assert (repository.folder / "metadata" / "timestamp.json").read_bytes() == timestamp
    path.write_bytes(whole)
    signer.record("rollout-abort", {"number": "1"}, now())
    assert len(verified_log(repository)) == 3
