"""A file over the line, whatever happens to its pieces: whole, once, and never more than asked."""

import hashlib
import random
import secrets
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.errors import BrokerError
from sync.parcels import parse_frame, parse_parcel
from sync.release import Released
from sync.topics import UpTopic
from sync.updates.asks import MOST_PIECE_BYTES, Absent, Ask, Piece, parse_ask
from sync.updates.by_line import RANGE_BYTES, LineSource, Patience
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import NotThere

BUNDLE = "targets/bundles/affect-1/" + "ab" * 32 + ".7.bundle"
UP = UpTopic("north", "ab" * 16)
SOON = Patience(again_s=0.002, longest_s=0.004, least_s=20.0)
IMPATIENT = Patience(again_s=0.01, longest_s=0.32, least_s=1.0)
MEGABYTE = 1024 * 1024

Answers = Callable[[Ask], Sequence[bytes]]


def pieces(ask: Ask, content: bytes) -> list[bytes]:
    """What a coordinator answers."""
    total, offset, said = len(content), ask.start, []
    while True:
        length = ask.piece_bytes(offset, total)
        data = content[offset : offset + length]
        said.append(Piece(ask.number, total, offset, data).to_bytes())
        offset += length
        if offset >= ask.end(total):
            return said


class Study:
    """A coordinator in memory: it answers each ask at once, as it is told to."""

    def __init__(self, answers: Answers, patience: Patience = SOON, **more: object) -> None:
        self.answers = answers
        self.asks: list[Ask] = []
        self.source = LineSource(
            UP,
            self.hears,
            random_bytes=secrets.token_bytes,
            patience=patience,
            **more,  # type: ignore[arg-type]
        )

    def hears(self, released: tuple[Released, ...]) -> None:
        (one,) = released
        assert one.topic == str(UP)
        ask = parse_ask(parse_parcel(parse_frame(one.payload).data).content)
        self.asks.append(ask)
        for payload in self.answers(ask):
            self.source.receive("", payload)

    def gives(self, most_bytes: int = 64 * MEGABYTE, start: int = 0) -> bytes:
        return b"".join(self.source.read(BUNDLE, most_bytes, start))


def test_a_file_comes_whole_and_only_short_ones_in_one_ask() -> None:
    for size in (0, 1, MOST_PIECE_BYTES, RANGE_BYTES, RANGE_BYTES + 1, 3 * MEGABYTE + 17):
        content = secrets.token_bytes(size)
        study = Study(lambda ask, c=content: pieces(ask, c))  # type: ignore[misc]
        assert study.gives() == content
        assert len(study.asks) == max(1, -(-size // RANGE_BYTES))
        ranges = [(ask.start, ask.end(size)) for ask in study.asks]
        assert ranges == [(at, min(at + RANGE_BYTES, size)) for at, _ in ranges]
        assert len({ask.number for ask in study.asks}) == len(study.asks)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40 * MOST_PIECE_BYTES), st.data())
def test_a_file_may_be_begun_anywhere(size: int, data: st.DataObject) -> None:
    content = random.Random(size).randbytes(size)
    start = data.draw(st.integers(0, size + 10))
    study = Study(lambda ask: pieces(ask, content))
    assert study.gives(max(size, 1), start) == content[start:]


class Mischief:
    """Loses, doubles, swaps, delays, alters and forges pieces; what is left still arrives."""

    def __init__(self, content: bytes, chance: random.Random) -> None:
        self.content = content
        self.chance = chance
        self.late: list[bytes] = []

    def __call__(self, ask: Ask) -> list[bytes]:
        said = list(self.late)
        self.late.clear()
        for payload in pieces(ask, self.content):
            match self.chance.randrange(10):
                case 0:
                    continue
                case 1:
                    self.late.append(payload)
                case 2:
                    said += [payload, payload]
                case 3:
                    said.insert(self.chance.randrange(len(said) + 1), payload)
                case 4:
                    place = self.chance.randrange(len(payload))
                    flipped = bytes([payload[place] ^ 1])
                    said.append(payload[:place] + flipped + payload[place + 1 :])
                case 5:
                    said.append(payload[: self.chance.randrange(len(payload))])
                case 6:
                    said += [self.forged(ask), payload]
                case _:
                    said.append(payload)
        return said

    def forged(self, ask: Ask) -> bytes:
        """Well-formed, and not what was asked for: another's, elsewhere, too short or long."""
        total, some = len(self.content), self.chance.randbytes(MOST_PIECE_BYTES)
        return self.chance.choice(
            [
                Piece(ask.number ^ 1, total, ask.start, some),
                Piece(ask.number, total, ask.start + 1, some[1:]),
                Piece(ask.number, total, ask.start + 2 * MEGABYTE, some),
                Piece(ask.number, total, ask.start, some[: min(9, total)] + b"x" * (total == 9)),
                Piece(ask.number, total, ask.end(total), b""),
                Absent(ask.number ^ 1),
            ]
        ).to_bytes()


@settings(deadline=None, max_examples=80)
@given(st.integers(10, 50 * MOST_PIECE_BYTES), st.integers(0, 2**32))
def test_whatever_happens_to_pieces_the_file_comes_whole(size: int, seed: int) -> None:
    chance = random.Random(seed)
    content = chance.randbytes(size)
    study = Study(Mischief(content, chance))
    start = chance.choice([0, chance.randrange(size)])
    assert study.gives(size, start) == content[start:]


def test_no_more_than_a_window_is_on_its_way_and_the_next_range_is_asked_ahead() -> None:
    content = secrets.token_bytes(5 * MEGABYTE)
    study = Study(lambda ask: pieces(ask, content))
    taken = 0
    for data in study.source.read(BUNDLE, 8 * MEGABYTE):
        taken += len(data)
        asked = study.asks[-1].end(len(content))
        assert asked - taken <= 2 * RANGE_BYTES == MEGABYTE
        if RANGE_BYTES // 2 < taken < len(content) - RANGE_BYTES:
            assert asked - taken >= RANGE_BYTES - MOST_PIECE_BYTES
    assert taken == len(content)


def test_what_is_held_stays_below_a_window_whatever_is_sent() -> None:
    """The first piece of all never comes, everything else does, from each ask, again and again."""
    content = secrets.token_bytes(4 * MEGABYTE)
    held = list[int]()

    def all_but_the_first(ask: Ask) -> list[bytes]:
        (file,) = study.source._files
        held.append(sum(map(len, file.pieces.values())))
        return [
            payload for payload in pieces(ask, content) if ask.start or payload[20:28] != bytes(8)
        ]

    study = Study(all_but_the_first, IMPATIENT, clock=ticking())
    with pytest.raises(UpdateRejected):
        study.gives()
    assert len(study.asks) > 3
    assert max(held) <= MEGABYTE


def ticking() -> Callable[[], float]:
    """A clock that goes on each time it is read: most waits have ended before they begin."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.04
        return now

    return clock


def test_a_lost_piece_alone_is_asked_for_again() -> None:
    content = secrets.token_bytes(10 * MOST_PIECE_BYTES)

    def loses_the_fourth(ask: Ask) -> list[bytes]:
        said = pieces(ask, content)
        return said[:3] + said[4:] if len(study.asks) == 1 else said

    study = Study(loses_the_fourth)
    assert study.gives() == content
    assert [(ask.start, ask.length) for ask in study.asks[1:]] == [
        (3 * MOST_PIECE_BYTES, MOST_PIECE_BYTES)
    ]


def test_an_answer_to_an_older_ask_of_the_same_file_is_good() -> None:
    content = secrets.token_bytes(MOST_PIECE_BYTES)

    def one_behind(ask: Ask) -> list[bytes]:
        return pieces(study.asks[-2], content) if len(study.asks) > 1 else []

    study = Study(one_behind)
    assert study.gives() == content and len(study.asks) == 2


def test_an_answer_to_an_ask_for_another_file_is_dropped() -> None:
    old, new = secrets.token_bytes(100), secrets.token_bytes(100)
    study = Study(lambda ask: pieces(ask, old))
    assert study.gives() == old
    stale = study.asks[0]
    study.answers = lambda ask: [*pieces(stale, old), *pieces(ask, new)]
    assert study.gives() == new


def test_a_coordinator_that_was_away_is_asked_again() -> None:
    content = secrets.token_bytes(3 * RANGE_BYTES)
    study = Study(lambda ask: pieces(ask, content) if len(study.asks) > 5 else [])
    assert study.gives() == content


def test_a_broker_that_was_away_is_tried_again() -> None:
    content = secrets.token_bytes(12 * RANGE_BYTES)
    faults = [BrokerError("The broker is away.", "Wait.")] * 4

    def answers(ask: Ask) -> list[bytes]:
        if len(study.asks) % 2 == 0 and faults:
            raise faults.pop()
        return pieces(ask, content)

    study = Study(answers)
    assert study.gives() == content and not faults


def test_a_file_that_is_not_there_is_said_to_be_so() -> None:
    study = Study(lambda ask: [Absent(ask.number).to_bytes()])
    with pytest.raises(NotThere) as told:
        study.gives()
    assert told.value.reason is Reason.UNREACHABLE


def test_a_file_that_is_too_long_gives_nothing() -> None:
    content = bytes(RANGE_BYTES)
    study = Study(lambda ask: pieces(ask, content))
    assert study.gives(len(content)) == content
    came = study.source.read(BUNDLE, len(content) - 1)
    with pytest.raises(UpdateRejected) as told:
        next(came)
    assert told.value.reason is Reason.TOO_LARGE
    assert max(ask.start + ask.length for ask in study.asks[1:]) < len(content)  # never asked for


def test_nothing_is_asked_for_beyond_what_may_come() -> None:
    study = Study(lambda ask: [])
    assert study.gives(100, 100) == b"" == study.gives(100, 200)
    assert not study.asks


@pytest.mark.parametrize("path", ["../etc/passwd", "keys/root.json", "", "metadata/.x.json"])
def test_a_name_that_no_repository_has_is_refused_here(path: str) -> None:
    study = Study(lambda ask: [])
    with pytest.raises(UpdateRejected) as told:
        next(study.source.read(path, 100))
    assert told.value.reason is Reason.BAD_PATH and not study.asks


def test_nobody_is_waited_for_for_ever() -> None:
    study = Study(lambda ask: [], IMPATIENT, clock=ticking())
    with pytest.raises(UpdateRejected) as told:
        study.gives()
    assert told.value.reason is Reason.UNREACHABLE
    assert 2 < len(study.asks) < 10  # after longer and longer pauses
    assert len({(ask.start, ask.length) for ask in study.asks}) == 1


def test_an_absent_broker_is_the_cause_that_is_told() -> None:
    def away(ask: Ask) -> list[bytes]:
        raise BrokerError("The broker is away.", "Wait.")

    study = Study(away, IMPATIENT, clock=ticking())
    with pytest.raises(UpdateRejected) as told:
        study.gives()
    assert told.value.reason is Reason.UNREACHABLE
    assert "away" in str(told.value.__cause__)


def test_what_came_before_the_rest_was_too_slow_is_handed_on_and_goes_on_from_there() -> None:
    content = secrets.token_bytes(2 * MEGABYTE)
    half = MEGABYTE + 3 * MOST_PIECE_BYTES

    def half_of_it(ask: Ask) -> list[bytes]:
        return [p for p in pieces(ask, content) if int.from_bytes(p[20:28], "big") < half]

    study = Study(half_of_it, IMPATIENT, clock=ticking())
    came = bytearray()
    with pytest.raises(UpdateRejected) as told:
        for data in study.source.read(BUNDLE, 4 * MEGABYTE):
            came += data
    assert told.value.reason is Reason.TOO_SLOW
    assert bytes(came) == content[:half]
    study.answers = lambda ask: pieces(ask, content)
    assert bytes(came) + study.gives(start=len(came)) == content
    assert all(ask.start >= half for ask in study.asks if ask.start % RANGE_BYTES)


def test_a_trickle_is_too_slow_however_long_it_goes_on() -> None:
    """A piece in each minute keeps every single wait short of its end."""
    content = secrets.token_bytes(20 * MEGABYTE)

    def one_piece(ask: Ask) -> list[bytes]:
        return pieces(ask, content)[:1] if len(study.asks) % 3 == 0 else []

    study = Study(one_piece, Patience(0.01, 0.04, 1.0, 8 * MOST_PIECE_BYTES), clock=ticking())
    with pytest.raises(UpdateRejected) as told:
        study.gives()
    assert told.value.reason is Reason.TOO_SLOW
    assert len(study.asks) < 60


def test_a_slow_line_that_brings_enough_is_waited_for() -> None:
    content = secrets.token_bytes(MEGABYTE)
    study = Study(lambda ask: pieces(ask, content)[:2], IMPATIENT, clock=ticking())
    assert study.gives() == content


def test_a_file_that_was_replaced_on_its_way_is_told_and_not_mixed() -> None:
    old, new = bytes(2 * MEGABYTE), b"n" * (2 * MEGABYTE + 1)
    study = Study(lambda ask: pieces(ask, new if ask.start else old))
    came = bytearray()
    with pytest.raises(UpdateRejected, match="replaced") as told:
        for data in study.source.read(BUNDLE, 4 * MEGABYTE):
            came += data
    assert told.value.reason is Reason.UNREACHABLE
    assert old.startswith(bytes(came))


def test_closing_ends_a_read_that_waits() -> None:
    waiting, ends = threading.Event(), list[UpdateRejected]()

    def silent(ask: Ask) -> list[bytes]:
        waiting.set()
        return []

    study = Study(silent, Patience())

    def reads() -> None:
        with pytest.raises(UpdateRejected) as told:
            study.gives()
        ends.append(told.value)

    reading = threading.Thread(target=reads)
    reading.start()
    assert waiting.wait(30)
    study.source.close()
    reading.join(30)
    assert [end.reason for end in ends] == [Reason.UNREACHABLE]


def test_a_read_that_was_given_up_leaves_nothing_behind() -> None:
    content = secrets.token_bytes(2 * MEGABYTE)
    study = Study(lambda ask: pieces(ask, content))
    came = study.source.read(BUNDLE, 4 * MEGABYTE)
    next(came)
    came.close()  # type: ignore[attr-defined]
    assert not study.source._files
    for payload in pieces(study.asks[-1], content):
        study.source.receive("", payload)
    assert not study.source._files


def test_two_files_at_once_are_not_confused() -> None:
    contents = {name: secrets.token_bytes(2 * MEGABYTE) for name in (BUNDLE, "audit.jsonl")}
    study = Study(lambda ask: pieces(ask, contents[ask.path]))
    came = {name: hashlib.sha256() for name in contents}
    reads = [(name, study.source.read(name, 4 * MEGABYTE)) for name in contents]
    for one, other in zip(*(read for _, read in reads), strict=True):
        came[reads[0][0]].update(one)
        came[reads[1][0]].update(other)
    for name, content in contents.items():
        assert came[name].digest() == hashlib.sha256(content).digest()


@given(st.binary(max_size=100))
def test_any_message_on_the_topic_changes_nothing_while_nothing_is_read(payload: bytes) -> None:
    study = Study(lambda ask: [])
    study.source.receive("", payload)
    assert not study.source._files


@pytest.mark.parametrize("words", [{"again_s": 0.0}, {"again_s": 40.0}, {"least_bytes": 0}])
def test_patience_without_end_is_our_bug(words: dict[str, float]) -> None:
    with pytest.raises(ContractError):
        Patience(**words)  # type: ignore[arg-type]
