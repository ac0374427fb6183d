"""Asks for files, and their pieces: any bytes give a value or `ProtocolError`, and no more."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.errors import DoorError, ProtocolError
from sync.parcels import Kind, Parcel, parse_frame, parse_parcel
from sync.release import release_protocol
from sync.topics import UpTopic
from sync.updates.asks import (
    MOST_ASKED_BYTES,
    MOST_FILE_BYTES,
    MOST_PIECE_BYTES,
    Absent,
    Ask,
    Look,
    Piece,
    is_of_repository,
    number_of,
    parse_answer,
    parse_ask,
    parse_look,
)
from sync.updates.offers import bundle_path, delta_path, head_path, release_path, wheel_path

UP = UpTopic("north", "ab" * 16)
PATH = "targets/bundles/affect-1/" + "ab" * 32 + ".7.bundle"
NUMBERS = st.integers(0, 2**64 - 1)
PLACES = st.integers(0, MOST_FILE_BYTES)
ASKS = st.builds(
    Ask, NUMBERS, st.sampled_from([PATH, "rollout.json"]), PLACES, st.integers(1, MOST_ASKED_BYTES)
)
PIECES = st.builds(Piece, NUMBERS, PLACES, PLACES, st.binary(max_size=MOST_PIECE_BYTES))


def consistent(path: str) -> str:
    """Where a target lies in a repository with consistent snapshots."""
    folder, _, name = f"targets/{path}".rpartition("/")
    return f"{folder}/{'0f' * 32}.{name}"


@given(ASKS)
def test_an_ask_is_read_back(ask: Ask) -> None:
    parcel = ask.to_parcel()
    assert parcel.kind is Kind.ASK_FILE
    assert parse_ask(parcel.content) == ask


@given(ASKS)
def test_an_ask_leaves_through_the_one_door_as_one_frame(ask: Ask) -> None:
    (released,) = release_protocol(ask.to_parcel(), UP)
    assert parse_parcel(parse_frame(released.payload).data) == ask.to_parcel()


def test_no_device_releases_a_hint() -> None:
    with pytest.raises(DoorError):
        release_protocol(Look(1, 1, 1).to_parcel(), UP)


@given(st.binary(max_size=600))
def test_any_bytes_are_an_ask_or_protocol_error(content: bytes) -> None:
    try:
        ask = parse_ask(content)
    except ProtocolError:
        return
    assert ask.to_parcel().content == content


@given(ASKS, st.data())
def test_an_ask_that_is_cut_or_longer_is_another_or_none(ask: Ask, data: st.DataObject) -> None:
    content = ask.to_parcel().content
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    for other in (cut, content + data.draw(st.binary(min_size=1, max_size=9))):
        try:
            assert parse_ask(other) != ask
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    "path",
    [
        "metadata/timestamp.json",
        "metadata/12.root.json",
        *map(
            consistent,
            [
                bundle_path("affect-1", 7),
                delta_path("affect-1", 7, "0f" * 32),
                release_path(7),
                wheel_path("onnxruntime-1.26.0-cp311-cp311-manylinux_2_28_aarch64.whl"),
                wheel_path("PyYAML-6.0.2+local-py3-none-any.whl"),
                head_path("affect-1"),
            ],
        ),
        "rollout.json",
        "root.auth",
        "audit.jsonl",
    ],
)
def test_what_a_repository_has_can_be_asked_for(path: str) -> None:
    assert is_of_repository(path)
    assert parse_ask(Ask(1, path, 0, 1).to_parcel().content).path == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../rollout.json",
        "metadata/../rollout.json",
        "metadata/../../study/rollout.json",
        "metadata/",
        "metadata//timestamp.json",
        "/metadata/timestamp.json",
        "metadata/.timestamp.json",
        "metadata/timestamp.json.draft",
        "metadata/deep/er.json",
        "targets/bundles/affect-1/.hidden.bundle",
        "targets/bundles/a/b/c/d.bundle",
        "targets/keys/root.json",
        "targets/bundles/affect-1/key.pem",
        "targets/bundles/affect-1\\7.bundle",
        "targets/bundles/aff\0ect-1/7.bundle",
        "targets/bundles/åffect-1/7.bundle",
        "rollout.json\n",
        "rollout.jsonl",
        "keys/root.json",
        "members.db",
        "targets/bundles/" + "a" * 201 + ".bundle",
    ],
)
def test_nothing_else_can_be_asked_for(path: str) -> None:
    assert not is_of_repository(path)
    with pytest.raises(ContractError):
        Ask(1, path, 0, 1)
    with pytest.raises(ProtocolError):
        parse_ask(bytes(19) + b"\1" + path.encode())


@given(st.text())
def test_no_word_leads_out_of_a_repository(word: str) -> None:
    for path in (word, f"metadata/{word}", f"targets/bundles/{word}", f"metadata/{word}.json"):
        if is_of_repository(path):
            assert re.fullmatch(r"[A-Za-z0-9._+/-]+", path)
            assert not any(step.startswith(".") or not step for step in path.split("/"))


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 0), (0, MOST_ASKED_BYTES + 1)])
def test_an_ask_for_nothing_or_too_much_is_our_bug(start: int, length: int) -> None:
    with pytest.raises(ContractError):
        Ask(1, PATH, start, length)


@given(PIECES)
def test_a_piece_is_read_back_and_not_shown(piece: Piece) -> None:
    payload = piece.to_bytes()
    assert parse_answer(payload) == piece
    assert number_of(payload) == piece.number
    assert "data" not in repr(piece)


@given(NUMBERS)
def test_that_there_is_no_such_file_is_read_back(number: int) -> None:
    assert parse_answer(Absent(number).to_bytes()) == Absent(number)
    assert number_of(Absent(number).to_bytes()) == number


@given(st.binary(max_size=200) | st.binary(min_size=32 * 1024, max_size=33 * 1024))
def test_any_bytes_are_an_answer_or_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_answer(payload)
    number_of(payload)


@given(st.builds(Piece, NUMBERS, PLACES, PLACES, st.binary(max_size=40)), st.data())
def test_a_piece_with_a_bit_flipped_or_cut_is_refused(piece: Piece, data: st.DataObject) -> None:
    payload = bytearray(piece.to_bytes())
    cut = bytes(payload[: data.draw(st.integers(0, len(payload) - 1))])
    place = data.draw(st.integers(0, 8 * len(payload) - 1))
    payload[place // 8] ^= 1 << place % 8
    for altered in (bytes(payload), cut, piece.to_bytes() + b"\0"):
        with pytest.raises(ProtocolError):
            parse_answer(altered)


def test_a_piece_that_is_longer_than_any_is_refused() -> None:
    payload = Piece(1, MOST_FILE_BYTES, 0, bytes(MOST_PIECE_BYTES + 1)).to_bytes()
    assert number_of(payload) is None
    with pytest.raises(ProtocolError):
        parse_answer(payload)


@given(ASKS, st.integers(0, 3 * MOST_ASKED_BYTES))
def test_the_pieces_of_an_ask_cover_just_what_there_is_of_it(ask: Ask, more: int) -> None:
    total = min(ask.start + more, MOST_FILE_BYTES)
    end, offset, count = ask.end(total), ask.start, 0
    while True:
        length = ask.piece_bytes(offset, total)
        piece = Piece(ask.number, total, offset, bytes(length))
        assert piece.answers(ask)
        assert not Piece(ask.number, total, offset, bytes(length + 1)).answers(ask)
        assert not (length and Piece(ask.number, total, offset, bytes(length - 1)).answers(ask))
        assert not Piece(ask.number ^ 1, total, offset, bytes(length)).answers(ask)
        assert not Piece(ask.number, total, offset + 1, bytes(length)).answers(ask)
        offset, count = offset + length, count + 1
        if offset == end:
            break
    assert end == ask.start + min(ask.length, total - ask.start)
    assert count == max(1, -(-(end - ask.start) // MOST_PIECE_BYTES))


@given(ASKS, st.integers(1, MOST_ASKED_BYTES))
def test_a_place_beyond_the_end_is_answered_by_one_empty_piece(ask: Ask, short: int) -> None:
    total = max(0, ask.start - short)
    assert Piece(ask.number, total, ask.start, b"").answers(ask)
    assert not Piece(ask.number, total, total, b"").answers(ask) or total == ask.start


@given(st.builds(Look, NUMBERS, NUMBERS, NUMBERS))
def test_a_hint_is_read_back(look: Look) -> None:
    assert look.to_parcel().kind is Kind.LOOK
    assert parse_look(look.to_parcel().content) == look


@given(st.binary(max_size=60))
def test_any_bytes_are_a_hint_or_protocol_error(content: bytes) -> None:
    try:
        assert Parcel(Kind.LOOK, content) == parse_look(content).to_parcel()
    except ProtocolError:
        assert len(content) != 24
