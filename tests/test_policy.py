"""A policy: exact, derived, inside the domain of its formulas, and true to what it claims."""

import json
import math
from fractions import Fraction
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.bundle import shipped_bundle
from sync.coordinator.accounting import composed
from sync.envelope import encoded
from sync.errors import PolicyError
from sync.federated import canary
from sync.federated.layout import Layout
from sync.messages import HISTOGRAMS
from sync.policy import Policy, Purpose, epsilon, parse_policy, squared_sensitivity

SHIPPED = resources.files("edge_models").joinpath("bundles", "affect-1", "policy.json")


def shipped() -> Policy:
    return parse_policy(SHIPPED.read_bytes())


def spelled(**changes: object) -> bytes:
    fields = json.loads(SHIPPED.read_bytes()) | changes
    return json.dumps({name: value for name, value in fields.items() if value != "gone"}).encode()


def test_the_shipped_policy_pays_for_twelve_weekly_reports_and_a_course_of_rounds() -> None:
    policy = shipped()
    assert policy.reference == "weekly-1@1"
    assert (policy.rho_per_report, policy.rho_budget) == (Fraction(1, 8), Fraction(7, 4))
    assert policy.period_days == 7
    course = 20 * policy.price(Purpose.HEAD).rho + policy.price(Purpose.CANARY).rho
    assert policy.rho_budget == 12 * policy.rho_per_report + course
    assert epsilon(course, policy.delta) <= 4.0
    assert epsilon(course, policy.delta) == pytest.approx(composed([course], policy.delta).epsilon)


def test_the_shipped_clips_are_those_of_the_vectors_that_devices_send() -> None:
    bundle = shipped_bundle()
    layout = Layout(bundle.frame.along(bundle.head).size)
    assert shipped().price(Purpose.HEAD).squared_clip == layout.squared_clip
    assert shipped().price(Purpose.CANARY).squared_clip == canary.SQUARED_CLIP


def test_sensitivity_and_noise_follow_from_the_histograms_and_rho() -> None:
    assert squared_sensitivity() == 2 * len(HISTOGRAMS) == 12
    assert shipped().sigma2 == Fraction(48)


def test_epsilon_has_the_values_worked_out_by_hand() -> None:
    policy = shipped()
    assert policy.epsilon_per_report == pytest.approx(2.753261, abs=1e-6)
    assert policy.epsilon_budget == pytest.approx(11.584052, abs=1e-6)
    assert epsilon(Fraction(0), 1e-6) == 0.0


@given(st.fractions(min_value=0, max_value=100), st.floats(1e-12, 1e-3))
def test_epsilon_grows_with_rho_and_shrinks_with_delta(rho: Fraction, delta: float) -> None:
    assert epsilon(rho + 1, delta) > epsilon(rho, delta)
    assert epsilon(rho + 1, delta / 2) > epsilon(rho + 1, delta)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6, math.nan])
def test_epsilon_is_refused_outside_its_domain(delta: float) -> None:
    with pytest.raises(PolicyError):
        epsilon(Fraction(1), delta)


@given(
    st.fractions(min_value=Fraction(1, 10**4), max_value=10, max_denominator=10**4),
    st.integers(1, 50),
)
def test_a_policy_round_trips_exactly(rho: Fraction, reports: int) -> None:
    policy = Policy(
        name="any", version=3, rho_per_report=rho, rho_budget=rho * reports, delta=1e-6,
        period_days=7,
    )  # fmt: skip
    assert parse_policy(encoded(policy)) == policy
    assert policy.reports_in_budget == reports
    assert squared_sensitivity() / (2 * policy.sigma2) == rho


@pytest.mark.parametrize("spelling", ["1/8", "0.125", "125/1000"])
def test_rho_may_be_spelled_as_a_fraction_or_a_decimal(spelling: str) -> None:
    assert parse_policy(spelled(rho_per_report=spelling)).rho_per_report == Fraction(1, 8)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rho_per_report", 0.125),  # a binary float is not what was written
        ("rho_per_report", "0"),
        ("rho_per_report", "-1/8"),
        ("rho_per_report", "1/0"),
        ("rho_per_report", "1e-1"),
        ("rho_per_report", "٣"),
        ("rho_per_report", "1" * 500),
        ("rho_budget", "1/9"),  # less than one report
        ("rho_budget", True),
        ("rho_budget", "gone"),
        ("delta", 0.0),
        ("delta", 0.001),
        ("delta", -1e-6),
        ("delta", "1e-6"),
        ("period_days", 0),
        ("period_days", 14),
        ("period_days", 7.0),
        ("version", 0),
        ("version", "1"),
        ("name", "Weekly Local"),
        ("name", "a@b"),
        ("sigma2", "48"),  # a second knob
        ("sensitivity", 1),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(field: str, value: object) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_policy(spelled(**{field: value}))
    assert refused.value.remedy


@given(st.binary(max_size=200))
def test_any_bytes_give_a_policy_or_policy_error(payload: bytes) -> None:
    with pytest.raises(PolicyError):
        parse_policy(payload)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        shipped().rho_budget = Fraction(100)  # type: ignore[misc]
