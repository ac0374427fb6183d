"""Parcels and frames: cut, found whole or refused; altered, swapped or truncated ones noticed."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.broker import MOSQUITTO_CONF
from sync.errors import ProtocolError
from sync.parcels import (
    MOST_CHUNK_BYTES,
    MOST_FRAME_BYTES,
    MOST_PARCEL_BYTES,
    Frame,
    Kind,
    Parcel,
    Resend,
    frames_of,
    parse_frame,
    parse_parcel,
    parse_resend,
)
from sync.topics import UpTopic

SMALL = Parcel(Kind.ROUND, b"a step of a round")


def parcel_of(length: int, kind: Kind = Kind.ROUND) -> Parcel:
    """`length` bytes in all, no two pieces of them alike."""
    numbers = b"".join(struct.pack(">Q", number) for number in range(length // 8 + 1))
    return Parcel(kind, numbers[: length - 1])


@given(st.sampled_from(Kind), st.binary(max_size=300))
def test_a_parcel_is_read_back(kind: Kind, content: bytes) -> None:
    assert parse_parcel(Parcel(kind, content).to_bytes()) == Parcel(kind, content)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_parcel_or_protocol_error(payload: bytes) -> None:
    try:
        assert parse_parcel(payload).to_bytes() == payload
    except ProtocolError as refused:
        assert refused.remedy


@pytest.mark.parametrize(
    ("length", "frames"),
    [(1, 1), (MOST_CHUNK_BYTES, 1), (MOST_CHUNK_BYTES + 1, 2), (MOST_PARCEL_BYTES, 128)],
)
def test_a_parcel_is_cut_into_as_few_frames_as_fit(length: int, frames: int) -> None:
    parcel = parcel_of(length)
    cut = frames_of(parcel)
    assert len(cut) == frames and max(map(len, cut)) <= MOST_FRAME_BYTES
    found = [parse_frame(frame) for frame in cut]
    assert b"".join(frame.data for frame in found) == parcel.to_bytes()
    assert [frame.index for frame in found] == list(range(frames))
    assert {(f.digest, f.total, f.count) for f in found} == {(parcel.digest, length, frames)}
    assert [frame.to_bytes() for frame in found] == list(cut)


def test_a_frame_fits_into_the_packet_that_the_broker_takes() -> None:
    limit = int(MOSQUITTO_CONF.split("max_packet_size ")[1].split()[0])
    topic = str(UpTopic("s" * 32, "ab" * 16))
    assert MOST_FRAME_BYTES + len(topic) + 64 < limit


def test_a_parcel_is_never_longer_than_said() -> None:
    with pytest.raises(ContractError):
        Parcel(Kind.HEAD, bytes(MOST_PARCEL_BYTES))
    with pytest.raises(ProtocolError):
        parse_parcel(bytes([Kind.HEAD]) + bytes(MOST_PARCEL_BYTES))


def test_content_is_not_shown_by_repr() -> None:
    assert "step" not in repr(SMALL) and "step" not in repr(parse_frame(frames_of(SMALL)[0]))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError) as refused:
        parse_frame(payload)
    assert refused.value.remedy


@settings(deadline=None)
@given(st.data())
def test_a_frame_altered_anywhere_is_noticed(data: st.DataObject) -> None:
    frame = frames_of(parcel_of(MOST_CHUNK_BYTES + 99))[data.draw(st.integers(0, 1))]
    altered = bytearray(frame)
    altered[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        parse_frame(bytes(altered))


def test_a_small_frame_altered_or_cut_short_at_any_place_is_noticed() -> None:
    (frame,) = frames_of(SMALL)
    for place in range(len(frame)):
        altered = bytearray(frame)
        altered[place] ^= 1 << place % 8
        for wrong in (bytes(altered), frame[:place], frame[:place] + frame[place + 1 :]):
            with pytest.raises(ProtocolError):
                parse_frame(wrong)
    with pytest.raises(ProtocolError):
        parse_frame(frame + b"\0")


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1),
    st.binary(max_size=40),
)  # fmt: skip
def test_a_frame_that_claims_what_cannot_be_is_refused(
    total: int, index: int, count: int, data: bytes
) -> None:
    """A right checksum does not help: a hostile sender can compute one."""
    payload = Frame(bytes(32), total, index, count, data).to_bytes()
    if 0 < total == len(data) and (index, count) == (0, 1):
        assert parse_frame(payload).data == data
    else:
        with pytest.raises(ProtocolError):
            parse_frame(payload)


INDICES = st.integers(1, 128).flatmap(
    lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1), min_size=1))
)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1), INDICES)
def test_a_question_for_frames_is_read_back(
    digest: bytes, asked_at: int, asked: tuple[int, set[int]]
) -> None:
    count, indices = asked
    resend = Resend(digest, asked_at, count, tuple(sorted(indices)))
    parcel = resend.to_parcel()
    assert parcel.kind is Kind.RESEND and parse_resend(parcel.content) == resend
    assert resend.of(range(count)) == resend.indices
    with pytest.raises(ProtocolError):
        resend.of(range(count + 1))


@given(st.binary(max_size=64))
def test_any_bytes_are_a_question_or_protocol_error(content: bytes) -> None:
    try:
        assert parse_resend(content).to_parcel().content == content
    except ProtocolError as refused:
        assert refused.remedy


@pytest.mark.parametrize(
    ("count", "asked"),
    [(0, b""), (8, b""), (8, b"\0"), (7, b"\x80"), (9, b"\1"), (129, b"\1" * 17), (1, b"\1\0")],
    ids=["no frames", "no bitmap", "nothing asked", "a frame beyond", "short", "too many", "long"],
)
def test_a_question_that_cannot_be_is_refused(count: int, asked: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_resend(struct.pack(">32sQH", b"", 0, count) + asked)


@pytest.mark.parametrize(
    ("digest", "count", "indices"),
    [(b"", 1, (0,)), (bytes(32), 2, ()), (bytes(32), 2, (1, 0)), (bytes(32), 2, (0, 0)),
     (bytes(32), 2, (2,)), (bytes(32), 2, (-1,)), (bytes(32), 129, (0,))],
)  # fmt: skip
def test_a_wrong_question_cannot_exist(digest: bytes, count: int, indices: tuple[int, ...]) -> None:
    with pytest.raises(ContractError):
        Resend(digest, 0, count, indices)
