"""The coordinator's file desk: what it gives out, to whom first, and what it gives to nobody."""

import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.errors import ContractError, Explained
from sync.coordinator import file_desk
from sync.coordinator.announce import Announcement
from sync.coordinator.file_desk import PIECES_KEPT_S, Fair, FileDesk, RepositoryError
from sync.errors import BrokerError, ProtocolError
from sync.topics import FileTopic
from sync.updates.asks import MOST_PIECE_BYTES, Absent, Ask, Piece, parse_answer

BUNDLE = "targets/bundles/affect-1/" + "ab" * 32 + ".7.bundle"
ONE, TWO = "01" * 16, "02" * 16
RANGE = 512 * 1024


class Podium:
    """Keeps what it is given; refuses when it is told to."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Piece | Absent]] = []
        self.turns: list[str] = []
        self.refuses = False
        self.came = threading.Event()

    def send(self, *messages: Announcement, expiry_s: int | None = None) -> None:
        assert expiry_s == PIECES_KEPT_S
        if self.refuses:
            raise BrokerError("The broker is away.", "Wait.")
        for message in messages:
            assert isinstance(message.topic, FileTopic) and message.topic.study == "north"
            self.said.append((message.topic.pseudonym, parse_answer(message.payload)))
        self.turns.append(self.said[-1][0])
        self.came.set()

    def data(self, pseudonym: str) -> bytes:
        """What one device was given, in order."""
        return b"".join(a.data for who, a in self.said if who == pseudonym and isinstance(a, Piece))


class Desk:
    """A desk with its folder, podium and clock; no thread but the test's."""

    def __init__(self, folder: Path, fair: Fair | None = None) -> None:
        self.folder = folder
        self.podium = Podium()
        self.now = 0.0
        self.faults: list[Explained] = []
        self.desk = FileDesk(
            "north",
            folder,
            self.podium.send,
            fair=fair or Fair(),
            clock=lambda: self.now,
            on_fault=self.faults.append,
        )

    def has(self, path: str, content: bytes) -> bytes:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return content

    def asks(self, who: str, path: str, start: int = 0, length: int = RANGE) -> Ask:
        ask = Ask(int.from_bytes(secrets.token_bytes(8), "big"), path, start, length)
        self.desk.hear(who, ask.to_parcel().content)
        return ask

    def gives(self) -> int:
        """Turns until nobody waits."""
        turns = 0
        while self.desk.give():
            turns += 1
        return turns


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "updates")


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 5 * MOST_PIECE_BYTES),
    st.integers(0, 6 * MOST_PIECE_BYTES),
    st.integers(1, RANGE),
    st.integers(1, 5),
)
def test_an_ask_is_answered_by_its_pieces_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, size: int, start: int, length: int, turn: int
) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"), Fair(turn_pieces=turn))
    content = desk.has(BUNDLE, secrets.token_bytes(size))
    ask = desk.asks(ONE, BUNDLE, start, length)
    desk.gives()
    pieces = [answer for _, answer in desk.podium.said]
    assert all(isinstance(piece, Piece) and piece.answers(ask) for piece in pieces)
    assert all(isinstance(piece, Piece) and piece.total == size for piece in pieces)
    assert desk.podium.data(ONE) == content[start : start + length]
    wanted = max(0, min(length, size - start))
    assert len(pieces) == max(1, -(-wanted // MOST_PIECE_BYTES))


def test_an_empty_file_is_a_file(desk: Desk) -> None:
    desk.has("rollout.json", b"")
    ask = desk.asks(ONE, "rollout.json")
    assert desk.gives() == 1
    assert desk.podium.said == [(ONE, Piece(ask.number, 0, 0, b""))]


def test_what_is_not_there_is_said_to_be_absent(desk: Desk) -> None:
    for _ in range(2):  # without a folder, then with one
        ask = desk.asks(ONE, BUNDLE)
        desk.gives()
        assert desk.podium.said.pop() == (ONE, Absent(ask.number))
        desk.has("rollout.json", b"{}")


def test_a_link_a_folder_and_a_pipe_are_absent(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "1.root.json").write_bytes(b"key")
    desk.has("rollout.json", b"{}")
    (desk.folder / "metadata").symlink_to(tmp_path / "secret")
    (desk.folder / "root.auth").symlink_to(tmp_path / "secret" / "1.root.json")
    (desk.folder / "audit.jsonl").mkdir()
    (desk.folder / "targets" / "heads").mkdir(parents=True)
    os.mkfifo(desk.folder / "targets" / "heads" / "a.json")
    for path in ("metadata/1.root.json", "root.auth", "audit.jsonl", "targets/heads/a.json"):
        ask = desk.asks(ONE, path)
        desk.gives()
        assert desk.podium.said.pop() == (ONE, Absent(ask.number)), path


@given(st.binary(max_size=80))
def test_what_is_no_ask_is_refused_when_it_is_heard(content: bytes) -> None:
    desk = Desk(Path("/nonexistent"))
    with pytest.raises(ProtocolError):
        desk.desk.hear(ONE, b"\xff" * 9 + content)
    assert desk.gives() == 0


def test_devices_take_turns_whatever_one_of_them_asks_for(desk: Desk) -> None:
    content = desk.has(BUNDLE, secrets.token_bytes(4 * RANGE))
    for start in range(0, 4 * RANGE, RANGE):
        desk.asks(ONE, BUNDLE, start)
    desk.asks(TWO, BUNDLE, RANGE, 1000)
    desk.gives()
    assert desk.podium.turns[:2] == [ONE, TWO]
    assert desk.podium.data(TWO) == content[RANGE : RANGE + 1000]
    assert desk.podium.data(ONE) == content


def test_a_turn_is_a_few_pieces(desk: Desk) -> None:
    desk.has(BUNDLE, bytes(2 * RANGE))
    desk.asks(ONE, BUNDLE, 0, 2 * RANGE)
    assert desk.desk.give()
    assert len(desk.podium.said) == Fair().turn_pieces
    desk.asks(TWO, BUNDLE, 0, 1)
    desk.gives()
    assert [who for who, _ in desk.podium.said[16:]] == [*[ONE] * 16, TWO]  # who came first


def test_who_asks_a_thousand_times_is_answered_a_few(desk: Desk) -> None:
    desk.has(BUNDLE, bytes(2000))
    asked = [desk.asks(ONE, BUNDLE, start, 1) for start in range(1000)]
    desk.asks(TWO, BUNDLE)
    desk.gives()
    assert desk.podium.turns[:2] == [ONE, TWO]
    numbers = [answer.number for who, answer in desk.podium.said if who == ONE]
    assert numbers == [ask.number for ask in asked[-Fair().asks :]]


def test_the_same_question_waits_once(desk: Desk) -> None:
    content = desk.has(BUNDLE, bytes(range(256)))
    asked = [desk.asks(ONE, BUNDLE) for _ in range(5)]
    desk.gives()
    assert [answer.number for _, answer in desk.podium.said] == [asked[-1].number]
    assert desk.podium.data(ONE) == content


def test_asking_again_in_the_middle_of_an_answer_starts_it_anew(desk: Desk) -> None:
    content = desk.has(BUNDLE, secrets.token_bytes(2 * RANGE))
    first = desk.asks(ONE, BUNDLE, 0, 2 * RANGE)
    send, asked = desk.podium.send, list[Ask]()

    def asks_meanwhile(*messages: Announcement, expiry_s: int | None = None) -> None:
        if not asked:
            asked.append(desk.asks(ONE, BUNDLE, 0, 2 * RANGE))
        send(*messages, expiry_s=expiry_s)

    desk.desk._say = asks_meanwhile
    desk.gives()
    numbers = [answer.number for _, answer in desk.podium.said]
    assert numbers == [first.number] * 16 + [asked[0].number] * 32
    assert desk.podium.data(ONE) == content[:RANGE] + content


def test_what_a_device_gets_in_the_long_run_is_bounded(tmp_path: Path) -> None:
    a_second = 1000.0
    desk = Desk(tmp_path, Fair(at_once_bytes=RANGE, a_second_bytes=a_second))
    desk.has(BUNDLE, bytes(RANGE))
    desk.asks(ONE, BUNDLE)
    assert desk.gives() == 1
    desk.asks(ONE, BUNDLE)
    desk.asks(TWO, BUNDLE)
    assert desk.gives() == 1 and desk.podium.turns[-1] == TWO
    desk.now += 10  # the few bytes of heads and checksums that went beyond its share
    assert desk.gives() == 1 and desk.podium.turns[-1] == ONE
    given = sum(who == ONE for who, _ in desk.podium.said)
    for _ in range(500):
        desk.now += 10
        desk.asks(ONE, BUNDLE)
        desk.gives()
    more = sum(who == ONE for who, _ in desk.podium.said) - given
    assert 0 < more * MOST_PIECE_BYTES <= 5000 * a_second + RANGE


def test_a_question_without_an_answer_costs_something_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Fair(at_once_bytes=10 * 4096, a_second_bytes=1e-6))
    for _ in range(100):
        desk.asks(ONE, BUNDLE)
        desk.gives()
    assert len(desk.podium.said) == 10


def test_what_was_asked_long_ago_is_not_answered(desk: Desk) -> None:
    desk.has(BUNDLE, bytes(1))
    desk.asks(ONE, BUNDLE)
    desk.now += Fair().patience_s + 1
    assert desk.gives() == 0


def test_who_has_not_asked_for_long_is_forgotten(desk: Desk) -> None:
    for number in range(100):
        desk.asks(f"{number:032x}", BUNDLE)
    desk.gives()
    desk.now += 3600
    desk.gives()
    assert not desk.desk._waiting


def test_what_the_broker_does_not_take_is_asked_for_again(desk: Desk) -> None:
    content = desk.has(BUNDLE, secrets.token_bytes(2 * RANGE))
    desk.asks(ONE, BUNDLE, 0, 2 * RANGE)
    desk.podium.refuses = True
    with pytest.raises(RepositoryError, match="The broker is away"):
        desk.desk.give()
    desk.podium.refuses = False
    assert desk.gives() == 0
    desk.asks(ONE, BUNDLE, 0, 2 * RANGE)
    desk.gives()
    assert desk.podium.data(ONE) == content


def test_a_file_that_is_cut_short_under_our_hands_ends_its_answer(desk: Desk) -> None:
    content = desk.has(BUNDLE, secrets.token_bytes(2 * RANGE))
    for left in (RANGE // 2, RANGE):
        desk.has(BUNDLE, content)
        desk.asks(ONE, BUNDLE, 0, 2 * RANGE)
        assert desk.desk.give()
        desk.has(BUNDLE, content[:left])
        desk.gives()  # nothing more of what is left, or an empty piece that its device refuses
        said = [answer for _, answer in desk.podium.said if isinstance(answer, Piece)]
        assert b"".join(piece.data for piece in said) == content[:RANGE]
        desk.podium.said.clear()


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def fails() -> None:
        def pread(*_: object) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(file_desk.os, "pread", pread)

    return fails


def test_a_file_that_cannot_be_read_is_told_and_not_called_absent(
    desk: Desk, failing_disk: Callable[[], None]
) -> None:
    desk.has(BUNDLE, bytes(10))
    desk.asks(ONE, BUNDLE)
    failing_disk()
    with pytest.raises(RepositoryError, match="Input/output error"):
        desk.desk.give()
    assert not desk.podium.said and desk.gives() == 0


def test_no_descriptor_is_left_open(desk: Desk) -> None:
    desk.has(BUNDLE, bytes(10))
    (desk.folder / "metadata").symlink_to("/etc")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (BUNDLE, "metadata/passwd.json", "rollout.json", "targets/heads/a.json"):
        desk.asks(ONE, path)
        desk.gives()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_desk_works_on_a_thread_of_its_own_and_goes_on_after_a_fault(desk: Desk) -> None:
    content = desk.has(BUNDLE, secrets.token_bytes(1000))
    desk.podium.refuses = True
    with desk.desk as running:
        assert running.is_at_work
        desk.asks(ONE, BUNDLE)
        while not desk.faults:
            threading.Event().wait(0.01)
        desk.podium.refuses = False
        desk.asks(TWO, BUNDLE)
        assert desk.podium.came.wait(30)
    assert not running.is_at_work
    assert desk.podium.data(TWO) == content
    assert [type(fault) for fault in desk.faults] == [RepositoryError]


def test_a_desk_that_gives_nobody_anything_is_our_bug() -> None:
    with pytest.raises(ContractError):
        Fair(turn_pieces=0)
