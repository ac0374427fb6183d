"""Invites: a text is the invite that was written, or a sentence that says what is wrong."""

import re

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.coordinator.qr_code import in_terminal
from sync.errors import ProtocolError
from sync.invites import Invite, parse_invite

EXAMPLE = Invite(
    study="spring",
    host="study.example.org",
    broker_port=8883,
    desk_port=8884,
    door=bytes(range(32)),
    authority=bytes(range(32, 64)),
    secret=bytes(range(64, 96)),
    expires=1_800_000_000,
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@st.composite
def invites(draw: st.DrawFn) -> Invite:
    ports, words = st.integers(1, 65535), st.binary(min_size=32, max_size=32)
    return Invite(
        study=draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)),
        host=draw(st.from_regex(r"[A-Za-z0-9:._-]{1,253}", fullmatch=True)),
        broker_port=draw(ports),
        desk_port=draw(ports),
        door=draw(words),
        authority=draw(words),
        secret=draw(words),
        expires=draw(st.integers(1, 2**32 - 1)),
    )


@given(invites())
def test_an_invite_round_trips_and_has_one_text(invite: Invite) -> None:
    text = invite.to_text()
    assert parse_invite(text) == invite
    assert re.fullmatch(r"SOTTOVOCE1-[A-Z2-7]+", text)  # what a QR code packs as alphanumeric


@given(st.text())
def test_any_text_is_an_invite_or_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_invite(text)


@given(st.text(alphabet=LETTERS, max_size=300))
def test_any_letters_after_the_prefix_are_refused(letters: str) -> None:
    with pytest.raises(ProtocolError):
        parse_invite("SOTTOVOCE1-" + letters)


@given(st.data())
def test_a_wrong_letter_is_a_typing_error(data: st.DataObject) -> None:
    text = EXAMPLE.to_text()
    place = data.draw(st.integers(len("SOTTOVOCE1-"), len(text) - 1))
    wrong = data.draw(st.sampled_from([letter for letter in LETTERS if letter != text[place]]))
    with pytest.raises(ProtocolError, match="typing error"):
        parse_invite(text[:place] + wrong + text[place + 1 :])


@given(st.integers(len("SOTTOVOCE1-"), len(EXAMPLE.to_text()) - 1))
def test_a_text_that_is_cut_short_is_a_typing_error(length: int) -> None:
    with pytest.raises(ProtocolError, match="not whole"):
        parse_invite(EXAMPLE.to_text()[:length])


def test_spaces_breaks_case_and_digits_that_look_alike_do_not_matter() -> None:
    text = EXAMPLE.to_text().lower()
    groups = " ".join(text[place : place + 8] for place in range(0, len(text), 8))
    assert parse_invite(f"\n  {groups}\r\n") == EXAMPLE
    prefix, _, coded = EXAMPLE.to_text().partition("-")
    assert parse_invite(prefix + "-" + coded.replace("O", "0").replace("B", "8")) == EXAMPLE


def test_a_later_version_asks_for_an_update() -> None:
    with pytest.raises(ProtocolError, match=r"version 2.*Update"):
        parse_invite(EXAMPLE.to_text().replace("SOTTOVOCE1", "SOTTOVOCE2"))


def test_the_secret_is_in_no_representation_and_not_in_the_name() -> None:
    assert str(EXAMPLE.secret) not in repr(EXAMPLE)
    assert EXAMPLE.name not in EXAMPLE.secret
    assert len(EXAMPLE.name) == 16


@pytest.mark.parametrize(
    "wrong",
    [
        {"study": "No Name"}, {"host": "a b"}, {"host": ""}, {"broker_port": 0},
        {"desk_port": 65536}, {"door": b""}, {"authority": bytes(31)}, {"secret": bytes(33)},
        {"expires": 0}, {"expires": 2**32},
    ],
)  # fmt: skip
def test_a_wrong_invite_cannot_exist(wrong: dict[str, object]) -> None:
    fields = {name: getattr(EXAMPLE, name) for name in EXAMPLE.__slots__}
    with pytest.raises(ContractError):
        Invite(**(fields | wrong))


def test_the_code_holds_the_text_and_fits_a_terminal() -> None:
    text = EXAMPLE.to_text()
    assert segno.make_qr(text, error="l", boost_error=False).mode == "alphanumeric"
    assert max(map(len, in_terminal(text).splitlines())) <= 80
    longest = EXAMPLE.to_text().replace("SOTTOVOCE1-", "SOTTOVOCE1-" + "A" * 60)
    assert max(map(len, in_terminal(longest).splitlines())) <= 80
