"""The plan of a round about the head: one for everybody, and the one that was priced."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.bundle import shipped_bundle
from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.federated.layout import UNITS
from sync.federated.plan import Plan, parse_plan
from sync.federated.sessions import Sessions
from sync.secure_sum.terms import Terms

BUNDLE = shipped_bundle()
NOBODY = Sessions(np.zeros((0, 16)), np.zeros((0, 3), bool))


def _plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "version": 1,
        "purpose": "head",
        "bundle": BUNDLE.name,
        "head": BUNDLE.head,
    }
    return Plan(**(fields | changes))


def _better() -> Any:
    frame = BUNDLE.frame
    return frame.head(frame.point(BUNDLE.head) + 0.1)


def _terms(plan: Plan, **changes: Any) -> Terms:
    return Terms(
        **{
            "version": 1, "study": "home", "round": "0a" * 32, "purpose": plan.purpose,
            "subject": plan.digest, "length": plan.length, "minimum": 20, "policy": "weekly@1",
            "policy_digest": "0c" * 32, "rho": "1/100", "squared_clip": plan.squared_clip,
            "scale": 1, "deadlines": [1, 2, 3, 4, 5], "seed_commitment": "0b" * 32,
        } | changes
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "length"),
    [({}, 14), ({"along": False}, 53), ({"purpose": "canary", "candidate": _better()}, 2)],
)
def test_the_plan_that_the_terms_name_is_taken(changes: dict[str, Any], length: int) -> None:
    plan = _plan(**changes)
    assert plan.length == length
    assert parse_plan(plan.to_bytes(), _terms(plan)) == plan


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"subject": "0d" * 32}, "not the one that the terms name"),
        ({"length": 15}, "not the one that the terms price"),
        ({"squared_clip": 1}, "not the one that the terms price"),
    ],
)
def test_a_plan_that_was_not_priced_is_refused(changes: dict[str, Any], cause: str) -> None:
    plan = _plan()
    with pytest.raises(ProtocolError, match=cause):
        parse_plan(plan.to_bytes(), _terms(plan, **changes))


def test_a_changed_clip_is_another_plan() -> None:
    with pytest.raises(ProtocolError, match="terms name"):
        parse_plan(_plan(clip=2.0).to_bytes(), _terms(_plan()))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_plan_or_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_plan(payload, _terms(_plan()))


@pytest.mark.parametrize(
    "changes",
    [
        {"candidate": _better()},
        {"purpose": "canary"},
        {"clip": 0.0},
        {"clip": float("nan")},
        {"steps": 0},
        {"shares": (0.0, 0.5, 0.5)},
        {"extra": 1},
    ],
)
def test_a_plan_that_cannot_be_followed_cannot_exist(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        _plan(**changes)


def test_a_plan_for_another_bundle_is_refused() -> None:
    with pytest.raises(ProtocolError, match="another bundle"):
        _plan(bundle="affect-2").frame(BUNDLE)


def test_a_contribution_is_within_the_clip_and_zeros_without_a_session() -> None:
    rng = np.random.default_rng(1)
    told = Sessions(rng.normal(size=(4, 16)), rng.random((4, 3)) < 0.5)
    for plan in (
        _plan(),
        _plan(along=False, clip=0.01),
        _plan(purpose="canary", candidate=_better()),
    ):
        frame = plan.frame(BUNDLE)
        vector = plan.contribution(told, frame)
        assert len(vector) == plan.length
        assert 0 < (vector**2).sum() <= plan.squared_clip
        assert not plan.contribution(NOBODY, frame).any()
    assert (plan.contribution(told, frame) >= 0).all()  # two votes differ by at most sqrt(2) units
    assert plan.squared_clip == UNITS**2
    with pytest.raises(ContractError):
        _plan(along=False).contribution(told, _plan().frame(BUNDLE))
