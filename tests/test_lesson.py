"""Lessons and heads: signed, bounded, one round's own; and what a pupil makes of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_models.bundle import shipped_bundle
from edge_models.errors import ContractError
from sync.coordinator.drafts import draft_of
from sync.envelope import encoded
from sync.errors import ProtocolError, RoundRefused
from sync.federated import canary
from sync.federated.layout import Layout
from sync.federated.lesson import (
    HeadForAll,
    Lesson,
    Signed,
    numbers_of,
    parse_said,
    sign_head,
    sign_lesson,
)
from sync.federated.pupil import Pupil
from sync.federated.sessions import Sessions
from sync.identity import COORDINATOR, Identity, Role, issue_credential, public_key
from sync.policy import Purpose
from sync.secure_sum.terms import Terms
from sync.shared_noise import within_clip
from tests.schooling import DIGEST, NOW, POLICY, frame, lesson, sessions_of

AUTHORITY, KEY, OTHER = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))
LAYOUT = Layout(frame().size)
NOBODYS = Sessions(np.zeros((0, frame().embedding_size)), np.zeros((0, 3), bool))
SHIPPED = shipped_bundle()
HEAD = HeadForAll(version=1, study="north", bundle=SHIPPED.space, number=3, head=SHIPPED.head)


def identity(role: Role = Role.COORDINATOR, study: str = "north") -> Identity:
    name = COORDINATOR if role is Role.COORDINATOR else bytes(range(16))
    credential = issue_credential(
        AUTHORITY, study=study, role=role, name=name, signing_key=public_key(KEY), expires=NOW + 10
    )
    return Identity(KEY, credential)


def parsed(payload: bytes, **changes: Any) -> Lesson | HeadForAll:
    said: dict[str, Any] = {"study": "north", "authority": public_key(AUTHORITY), "now": NOW}
    return parse_said(payload, **(said | changes))


def terms(about: Lesson, **changes: Any) -> Terms:
    purpose = Purpose(about.purpose)
    length = LAYOUT.length if purpose is Purpose.HEAD else canary.LENGTH
    draft = draft_of(
        purpose, about.digest, study="north", policy=POLICY, policy_digest=DIGEST, now=NOW,
        step_s=60, length=length,
    )  # fmt: skip
    return draft("0a" * 32, "0b" * 32).model_copy(update=changes)


def pupil(known: Lesson, sessions: Sessions = NOBODYS) -> Pupil:
    return Pupil(POLICY, SHIPPED.space, frame(), {known.digest: known}.get, lambda: sessions)


def vote() -> Lesson:
    current = np.asarray(lesson().current)
    return lesson(purpose="canary", candidate=numbers_of(current + 0.1))


def test_what_is_signed_comes_back_as_it_was() -> None:
    assert parsed(sign_lesson(lesson(), identity())) == lesson()
    assert parsed(sign_lesson(vote(), identity())) == vote()
    assert parsed(sign_head(HEAD, identity())) == HEAD


def test_a_signature_of_anybody_else_is_refused() -> None:
    payload = sign_lesson(lesson(), identity())
    for changes in ({"study": "south"}, {"authority": public_key(OTHER)}, {"now": NOW + 10}):
        with pytest.raises(ProtocolError):
            parsed(payload, **changes)
    with pytest.raises(ProtocolError, match="another role"):
        parsed(sign_lesson(lesson(), identity(Role.DEVICE)))


def test_an_altered_lesson_is_refused_and_one_signature_fits_no_other_message() -> None:
    signed = Signed.model_validate_json(sign_lesson(lesson(), identity()))
    altered = signed.model_copy(update={"lesson": lesson(clip=2.0)})
    swapped = signed.model_copy(update={"lesson": None, "head": HEAD})
    both = signed.model_copy(update={"head": HEAD})
    for wrong in (altered, swapped, both):
        with pytest.raises(ProtocolError):
            parsed(encoded(wrong))
    abroad = sign_lesson(lesson(study="south"), identity())
    with pytest.raises(ProtocolError, match="another study"):
        parsed(abroad)


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": 0.0}, {"clip": float("nan")}, {"clip": 1e7}, {"steps": 33}, {"rate": 11.0},
        {"rate": float("inf")}, {"shares": (0.0, 0.1, 0.1)}, {"current": (1e6,) * 12},
        {"current": (float("nan"),) * 12}, {"current": (0.0,) * 257}, {"current": ()},
        {"candidate": (0.0,) * 12}, {"purpose": "canary"}, {"purpose": "report"},
        {"purpose": "canary", "candidate": (0.0,) * 11}, {"course": 0}, {"version": 2},
        {"squared_clip": 10**9},
    ],
)  # fmt: skip
def test_numbers_out_of_bounds_make_no_lesson(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        lesson(**changes)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parsed(payload)


def test_a_message_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(ProtocolError, match="longer"):
        parsed(sign_head(HEAD, identity()) + b" " * 20_000)


def test_a_point_that_is_no_head_is_not_announced() -> None:
    for wrong in (np.nan, 1e6):
        with pytest.raises(ContractError):
            numbers_of(np.full(12, wrong))


def test_a_pupil_takes_part_only_where_the_lesson_of_the_terms_is_at_hand() -> None:
    known = lesson()
    assert pupil(known).is_willing(terms(known))
    assert not pupil(known).is_willing(terms(lesson(place=2)))
    with pytest.raises(RoundRefused, match="not at hand"):
        pupil(known).numbers(terms(lesson(place=2)))


@pytest.mark.parametrize(
    ("about", "changes", "why"),
    [
        (lesson(), {"length": LAYOUT.length + 1}, "sums 15 numbers"),
        (lesson(), {"purpose": "canary"}, "another round"),
        (vote(), {"length": 3}, "sums 3 numbers"),
        (lesson(bundle="affect-2"), {}, "affect-2"),
        (lesson(current=(0.0,) * 15), {}, "another size"),
    ],
)
def test_a_round_that_fits_neither_bundle_nor_layout_is_refused(
    about: Lesson, changes: dict[str, object], why: str
) -> None:
    for asked in (pupil(about).is_willing, pupil(about).numbers):
        with pytest.raises(RoundRefused, match=why):
            asked(terms(about, **changes))


def test_a_policy_with_another_clip_than_the_vectors_is_refused() -> None:
    price = POLICY.price(Purpose.HEAD).model_copy(update={"squared_clip": 10**6})
    wider = replace(pupil(lesson()), policy=POLICY.model_copy(update={"head": price}))
    with pytest.raises(RoundRefused, match="clip"):
        wider.is_willing(terms(lesson()))


@pytest.mark.parametrize("about", [lesson(), vote()])
def test_who_has_no_labels_sends_zeros_of_the_same_length(about: Lesson) -> None:
    vector = pupil(about).numbers(terms(about))
    assert vector == [0] * terms(about).length
    told = pupil(about, sessions_of(1)).numbers(terms(about))
    assert len(told) == len(vector) and any(told)


@given(
    st.lists(st.floats(-1e5, 1e5), min_size=12, max_size=12),
    st.floats(1e-6, 1e6),
    st.integers(1, 32),
    st.floats(1e-3, 10.0),
    st.integers(0, 20),
)
def test_no_lesson_moves_the_bound_of_what_is_sent(
    current: list[float], clip: float, steps: int, rate: float, number: int
) -> None:
    about = lesson(current=tuple(current), clip=clip, steps=steps, rate=rate)
    vector = pupil(about, sessions_of(number)).numbers(terms(about))
    within_clip(vector, POLICY.price(Purpose.HEAD).squared_clip)
    on = lesson(purpose="canary", current=tuple(current), candidate=tuple(current[::-1]))
    said = pupil(on, sessions_of(number)).numbers(terms(on))
    within_clip(said, POLICY.price(Purpose.CANARY).squared_clip)
