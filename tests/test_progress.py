"""What a device says about an update: few words, no text, out of the one door."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sync.errors import ProtocolError
from sync.inbox import Inbox
from sync.parcels import Kind as ParcelKind
from sync.release import release_protocol
from sync.topics import UpTopic
from sync.updates.offers import Kind
from sync.updates.progress import MOST_PROGRESS_BYTES, Phase, Progress, parse_progress
from sync.updates.rejected import Reason
from tests.rolling import NOW, progress, pseudonym

WITH_REASON = (Phase.DECLINED, Phase.ROLLED_BACK, Phase.REJECTED)


def one_of(phase: Phase) -> Progress:
    reason = {Phase.DECLINED: Reason.DECLINED, Phase.ROLLED_BACK: Reason.UNHEALTHY}
    return progress(phase, reason.get(phase, Reason.GOLDEN) if phase in WITH_REASON else None)


@pytest.mark.parametrize("phase", list(Phase))
def test_what_is_said_comes_out_of_the_door_and_back_as_it_was(phase: Phase) -> None:
    said = one_of(phase)
    (released,) = release_protocol(said.to_parcel(), UpTopic("north", pseudonym(1)))
    heard = Inbox().receive(pseudonym(1), released.payload, float(NOW)).parcel
    assert heard is not None and heard.kind is ParcelKind.PROGRESS
    assert parse_progress(heard.content) == said


def test_every_word_in_it_is_one_of_a_few() -> None:
    """No field takes free text: a study could otherwise be told what a person said."""
    schema = Progress.model_json_schema()
    texts = [name for name, field in schema["properties"].items() if field.get("type") == "string"]
    assert sorted(texts) == ["name", "runs_sha256"]  # patterns, of at most 32 and 16 characters
    assert all("pattern" in schema["properties"][name] for name in texts)


def test_the_longest_one_is_short() -> None:
    longest = progress(
        Phase.WAITING, kind=Kind.RELEASE, name="a" * 32, serial=2**31, rollout=2**31, runs=2**31,
        moment=2**40,
    )  # fmt: skip
    content = longest.to_parcel().content
    assert len(content) < MOST_PROGRESS_BYTES / 1.5
    assert parse_progress(content) == longest


@pytest.mark.parametrize("phase", list(Phase))
def test_a_reason_is_given_where_it_did_not_stay_and_only_there(phase: Phase) -> None:
    with pytest.raises(ValidationError):
        progress(phase, None if phase in WITH_REASON else Reason.GOLDEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"serial": 0}, {"rollout": -1}, {"runs": 6}, {"runs_sha256": "xyz"}, {"moment": -1},
        {"name": "a b"}, {"serial": True},
    ],
)  # fmt: skip
def test_what_can_not_be_is_not_said(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        progress(Phase.COMMITTED, **changes)


def test_who_declines_is_a_person() -> None:
    with pytest.raises(ValidationError):
        progress(Phase.DECLINED, Reason.GOLDEN)


@given(st.binary(max_size=600))
def test_any_bytes_give_a_word_on_an_update_or_a_protocol_error(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_progress(content)


def test_an_unknown_reason_or_field_is_refused_without_being_repeated() -> None:
    said = json.loads(one_of(Phase.REJECTED).to_parcel().content)
    for changes in ({"reason": "she felt low"}, {"note": "she felt low"}):
        with pytest.raises(ProtocolError) as refusal:
            parse_progress(json.dumps(said | changes).encode())
        assert "she felt low" not in str(refusal.value)


def test_what_is_too_long_is_refused_unread() -> None:
    with pytest.raises(ProtocolError, match="longer"):
        parse_progress(one_of(Phase.FETCHED).to_parcel().content + b" " * MOST_PROGRESS_BYTES)
