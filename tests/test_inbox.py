"""An inbox: each parcel once, however its frames come; bounded, whatever a sender claims."""

import random
import struct
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.inbox import Bounds, Heard, Inbox
from sync.parcels import (
    MOST_CHUNK_BYTES,
    MOST_PARCEL_BYTES,
    Frame,
    Kind,
    Parcel,
    Resend,
    frame_count,
    frames_of,
    parse_frame,
)

ANNA, BEN = "a" * 32, "b" * 32
NOW = 1_000.0


def parcel_of(length: int, seed: int = 0) -> Parcel:
    """`length` bytes in all, no two pieces of them alike."""
    numbers = b"".join(struct.pack(">II", seed, number) for number in range(length // 8 + 1))
    return Parcel(Kind.ROUND, numbers[: length - 1])


BIG = parcel_of(5 * MOST_CHUNK_BYTES - 7)


def claim(number: int, index: int = 0, data: bytes = b"\7" * MOST_CHUNK_BYTES) -> bytes:
    """A hostile frame: one piece of the longest parcel that there can be."""
    digest, count = number.to_bytes(32, "big"), frame_count(MOST_PARCEL_BYTES)
    return Frame(digest, MOST_PARCEL_BYTES, index, count, data).to_bytes()


def received(inbox: Inbox, sender: str, frames: Iterable[bytes], now: float = NOW) -> list[Parcel]:
    """The parcels that these frames completed; each is finished at once."""
    whole = []
    for frame in frames:
        heard = inbox.receive(sender, frame, now)
        if heard.parcel is not None:
            inbox.finish(sender, heard.digest, now)
            whole.append(heard.parcel)
    return whole


@settings(deadline=None, max_examples=40)
@given(
    st.randoms(use_true_random=False), st.lists(st.integers(16, 4 * MOST_CHUNK_BYTES), max_size=4)
)
def test_each_parcel_is_handed_on_once_whatever_the_order_and_however_often(
    chance: random.Random, lengths: list[int]
) -> None:
    sent = [parcel_of(length, seed) for seed, length in enumerate(lengths)]
    post = [(who, f) for who in (ANNA, BEN) for parcel in sent for f in frames_of(parcel)] * 2
    chance.shuffle(post)
    inbox = Inbox()
    got: dict[str, list[bytes]] = {ANNA: [], BEN: []}
    for who, frame in post:
        got[who] += [parcel.digest for parcel in received(inbox, who, [frame])]
    for digests in got.values():
        assert sorted(digests) == sorted(parcel.digest for parcel in sent)
    assert inbox.held_bytes == 0 and not list(inbox.kept())


@given(st.binary(max_size=100))
def test_any_bytes_are_heard_or_protocol_error(payload: bytes) -> None:
    inbox = Inbox()
    with pytest.raises(ProtocolError):
        inbox.receive(ANNA, payload, NOW)
    assert inbox.held_bytes == 0


def test_an_altered_frame_is_refused_alone_and_its_parcel_still_arrives() -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    for frame in frames[:2]:
        inbox.receive(ANNA, frame, NOW)
    altered = bytearray(frames[2])
    altered[5000] ^= 1
    with pytest.raises(ProtocolError):
        inbox.receive(ANNA, bytes(altered), NOW)
    assert received(inbox, ANNA, frames[2:]) == [BIG]


def test_pieces_of_two_parcels_that_were_swapped_are_noticed() -> None:
    """Every frame passes alone, for the liar computed the checksums anew."""
    mine, other = frames_of(BIG), frames_of(parcel_of(len(BIG.to_bytes()), seed=1))
    swapped = parse_frame(other[1])
    lie = Frame(BIG.digest, swapped.total, 1, swapped.count, swapped.data).to_bytes()
    inbox = Inbox()
    with pytest.raises(ProtocolError, match="not what its frames said"):
        for frame in (mine[0], lie, *mine[2:]):
            assert inbox.receive(ANNA, frame, NOW).parcel is None
    assert inbox.held_bytes == 0
    assert received(inbox, ANNA, mine) == [BIG]


def test_two_pieces_of_one_parcel_that_changed_places_are_noticed() -> None:
    found = [parse_frame(frame) for frame in frames_of(BIG)]
    places = {0: 1, 1: 0}
    inbox = Inbox()
    with pytest.raises(ProtocolError, match="not what its frames said"):
        for f in found:
            moved = Frame(f.digest, f.total, places.get(f.index, f.index), f.count, f.data)
            inbox.receive(ANNA, moved.to_bytes(), NOW)


def test_frames_that_disagree_are_refused() -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    inbox.receive(ANNA, frames[0], NOW)
    first = parse_frame(frames[0])
    longer = Frame(first.digest, MOST_PARCEL_BYTES, 1, 128, first.data).to_bytes()
    other = Frame(first.digest, first.total, 0, first.count, b"\0" * len(first.data)).to_bytes()
    for lie in (longer, other):
        with pytest.raises(ProtocolError, match="disagree"):
            inbox.receive(ANNA, lie, NOW)
    assert received(inbox, ANNA, frames) == [BIG]


def test_a_parcel_of_an_unknown_kind_is_refused_when_it_is_whole() -> None:
    import hashlib

    whole = b"\xffnobody knows this"
    frame = Frame(hashlib.sha256(whole).digest(), len(whole), 0, 1, whole).to_bytes()
    with pytest.raises(ProtocolError, match="kind"):
        Inbox().receive(ANNA, frame, NOW)


def test_one_senders_frames_complete_nobody_elses_parcel() -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    assert not received(inbox, ANNA, frames[::2]) and not received(inbox, BEN, frames[1::2])


def test_a_late_frame_of_a_finished_parcel_begins_nothing() -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    received(inbox, ANNA, frames)
    assert inbox.receive(ANNA, frames[0], NOW) == Heard(BIG.digest)
    assert inbox.held_bytes == 0


def test_a_question_that_is_asked_again_is_heard_again() -> None:
    """It would be the same parcel, and known, but for its moment."""
    inbox, frames, other = Inbox(), frames_of(BIG), Inbox()
    inbox.receive(ANNA, frames[0], NOW)
    for now in (NOW, NOW + 1):
        asked = inbox.missing(ANNA, BIG.digest, now)
        assert asked is not None
        assert received(other, BEN, frames_of(asked.to_parcel())) == [asked.to_parcel()]


def test_a_receiver_whose_disk_was_full_gets_frame_and_parcel_again() -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    assert inbox.receive(ANNA, frames[0], NOW).keep
    assert inbox.receive(ANNA, frames[0], NOW).keep  # it had not been acknowledged
    for frame in frames[1:]:
        heard = inbox.receive(ANNA, frame, NOW)
    assert heard.parcel == inbox.receive(ANNA, frames[-1], NOW).parcel == BIG
    inbox.finish(ANNA, heard.digest, NOW)
    assert inbox.receive(ANNA, frames[-1], NOW) == Heard(BIG.digest)
    assert inbox.held_bytes == 0


# What is missing, and a restart.


def test_a_receiver_asks_for_what_is_missing_and_gets_just_that() -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    assert inbox.missing(ANNA, BIG.digest, NOW + 0.5) is None
    for index in (0, 3):
        inbox.receive(ANNA, frames[index], NOW)
    asked = inbox.missing(ANNA, BIG.digest, NOW + 0.5)
    assert asked == Resend(BIG.digest, int(NOW), 5, (1, 2, 4))
    assert received(inbox, ANNA, asked.of(frames)) == [BIG]


def test_only_who_was_quiet_for_a_while_is_asked() -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    inbox.receive(ANNA, frames[0], NOW)
    inbox.receive(BEN, frames[0], NOW + 50)
    assert [who for who, _ in inbox.quiet(NOW + 60, 60)] == [ANNA]
    inbox.receive(ANNA, frames[1], NOW + 55)
    assert list(inbox.quiet(NOW + 60, 60)) == []


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 4))
def test_a_restart_at_any_frame_goes_on_where_it_was(before: int) -> None:
    inbox, frames = Inbox(), frames_of(BIG)
    for frame in frames[:before]:
        inbox.receive(ANNA, frame, NOW)
    rows = list(inbox.kept())
    assert len(rows) == before and all(row.received_at == NOW for row in rows)
    woken = Inbox()
    for row in rows:
        assert woken.receive(row.sender, row.frame, row.received_at).keep
    assert list(woken.kept()) == rows and woken.held_bytes == inbox.held_bytes
    assert received(woken, ANNA, frames, NOW + 1) == [BIG]


def test_what_was_finished_before_a_restart_is_not_handed_on_again() -> None:
    woken = Inbox()
    woken.finish(ANNA, BIG.digest, NOW)
    assert not received(woken, ANNA, frames_of(BIG)) and woken.held_bytes == 0


# Bounds.


def test_an_unfinished_parcel_without_news_goes_after_a_while() -> None:
    inbox, frames = Inbox(Bounds(patience_s=100)), frames_of(BIG)
    inbox.receive(ANNA, frames[0], NOW)
    inbox.receive(BEN, frames[0], NOW + 50)
    assert inbox.expire(NOW + 99) == ()
    assert inbox.expire(NOW + 100) == ((ANNA, BIG.digest),)
    assert (
        inbox.missing(ANNA, BIG.digest, NOW + 0.5) is None and inbox.held_bytes == MOST_CHUNK_BYTES
    )
    assert inbox.expire(NOW + 150) == ((BEN, BIG.digest),)
    assert inbox.held_bytes == 0


def test_what_was_finished_long_ago_is_forgotten() -> None:
    inbox = Inbox(Bounds(patience_s=100))
    small = Parcel(Kind.STATUS, b"well")
    (frame,) = frames_of(small)
    assert received(inbox, ANNA, [frame]) == [small]
    inbox.expire(NOW + 99)
    assert received(inbox, ANNA, [frame]) == []
    inbox.expire(NOW + 100)
    assert received(inbox, ANNA, [frame]) == [small]


def test_no_more_than_so_many_finished_parcels_are_remembered() -> None:
    inbox = Inbox(Bounds(finished=2))
    frames = [frames_of(Parcel(Kind.STATUS, bytes([n])))[0] for n in range(3)]
    assert len(received(inbox, ANNA, frames)) == 3
    assert len(received(inbox, ANNA, frames[1:])) == 0
    assert len(received(inbox, ANNA, frames[:1])) == 1


def test_a_sender_who_begins_too_much_loses_their_own_and_harms_nobody_else() -> None:
    inbox = Inbox(Bounds(parcels=3))
    inbox.receive(BEN, frames_of(BIG)[0], NOW)
    for number in range(3):
        assert inbox.receive(ANNA, claim(number), NOW + number).dropped == ()
    inbox.receive(ANNA, claim(0, 1), NOW + 3)
    heard = inbox.receive(ANNA, claim(9), NOW + 4)
    assert heard.keep and heard.dropped == ((ANNA, (1).to_bytes(32, "big")),)
    assert inbox.missing(ANNA, (0).to_bytes(32, "big"), NOW) is not None
    assert received(inbox, BEN, frames_of(BIG)) == [BIG]


def test_a_sender_of_too_many_bytes_loses_their_own() -> None:
    inbox = Inbox(Bounds(parcels=3, sender_bytes=MOST_PARCEL_BYTES))
    for index in range(frame_count(MOST_PARCEL_BYTES) - 1):
        inbox.receive(ANNA, claim(0, index), NOW)
    assert inbox.receive(ANNA, claim(1), NOW + 1).dropped == ()
    assert inbox.held_bytes == MOST_PARCEL_BYTES
    assert inbox.receive(ANNA, claim(2), NOW + 2).dropped == ((ANNA, bytes(32)),)
    assert inbox.held_bytes == 2 * MOST_CHUNK_BYTES


def test_a_sender_who_died_over_many_parcels_is_not_locked_out() -> None:
    inbox = Inbox()
    for seed in range(20):
        inbox.receive(ANNA, frames_of(parcel_of(len(BIG.to_bytes()), seed))[0], NOW + seed)
    assert received(inbox, ANNA, frames_of(BIG), NOW + 20) == [BIG]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 127)), max_size=300
    )
)
def test_no_hostile_order_of_frames_breaks_a_bound(posts: list[tuple[str, int, int]]) -> None:
    bounds = Bounds(parcels=2, sender_bytes=MOST_PARCEL_BYTES, all_bytes=MOST_PARCEL_BYTES)
    inbox, piece = Inbox(bounds), b"\7" * MOST_CHUNK_BYTES
    held: dict[tuple[str, bytes], set[bytes]] = {}
    for now, (sender, number, index) in enumerate(posts):
        heard = inbox.receive(sender, claim(number, index, piece), now)
        assert heard.keep
        held.setdefault((sender, heard.digest), set()).add(claim(number, index, piece))
        for gone in heard.dropped:
            del held[gone]
        assert inbox.held_bytes <= bounds.all_bytes
        assert all(sum(who == s for s, _ in held) <= bounds.parcels for who in "abc")
    kept = {(row.sender, row.frame) for row in inbox.kept()}
    assert kept == {(sender, frame) for (sender, _), frames in held.items() for frame in frames}
    assert inbox.held_bytes == MOST_CHUNK_BYTES * len(kept)


def test_all_senders_together_stay_within_the_bound_and_the_stalest_parcel_goes() -> None:
    room = MOST_PARCEL_BYTES // MOST_CHUNK_BYTES
    inbox = Inbox(Bounds(sender_bytes=MOST_PARCEL_BYTES, all_bytes=MOST_PARCEL_BYTES))
    for number in range(room):
        inbox.receive(f"{number:032x}", claim(number), NOW + number)
    heard = inbox.receive(ANNA, frames_of(BIG)[0], NOW + room)
    assert heard.keep and heard.dropped == ((f"{0:032x}", bytes(32)),)
    assert inbox.held_bytes == MOST_PARCEL_BYTES


def test_memory_is_taken_for_what_arrived_and_not_for_what_was_claimed() -> None:
    inbox = Inbox()
    posts = [(f"{who:032x}", claim(number)) for who in range(200) for number in range(4)]
    inbox.receive(*posts[0], NOW)
    tracemalloc.start()
    try:
        for sender, frame in posts[:800]:
            inbox.receive(sender, frame, NOW)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert inbox.held_bytes == 800 * MOST_CHUNK_BYTES  # of 3.2 GB that were claimed
    assert held <= peak < 1.1 * inbox.held_bytes


@pytest.mark.parametrize(
    "wrong",
    [{"parcels": 0}, {"sender_bytes": 1}, {"all_bytes": MOST_PARCEL_BYTES}, {"patience_s": 0}],
)
def test_bounds_without_room_for_a_parcel_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(ContractError):
        Bounds(**wrong)


def test_room_is_made_even_if_everybody_claims_the_same_parcel() -> None:
    bounds = Bounds(sender_bytes=MOST_PARCEL_BYTES, all_bytes=MOST_PARCEL_BYTES)
    inbox = Inbox(bounds)
    for sender in ("a" * 32, "b" * 32, "c" * 32):
        for index in range(60):
            inbox.receive(sender, claim(1, index), NOW)
            assert inbox.held_bytes <= bounds.all_bytes
