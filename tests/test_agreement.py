"""What a device agrees to: the study's signed policy, and terms that keep it."""

import json
from fractions import Fraction
from importlib import resources
from typing import Any

import pytest

from sync.agreement import sign_policy, signed_policy, terms_match
from sync.envelope import encoded
from sync.errors import PolicyError, ProtocolError
from sync.identity import public_key
from sync.messages import HISTOGRAMS
from sync.policy import Price, Purpose, parse_policy, policy_digest
from sync.secure_sum.terms import Terms

SHIPPED = resources.files("edge_models").joinpath("bundles", "affect-1", "policy.json").read_bytes()
FEDERATED = json.dumps(
    json.loads(SHIPPED)
    | {
        "head": {"rho": "1/80", "squared_clip": 1 << 20},
        "canary": {"rho": "1/160", "squared_clip": 2},
        "minimum_cohort": 25,
    }
).encode()
POLICY, DIGEST = parse_policy(FEDERATED), policy_digest(FEDERATED)
AUTHORITY = bytes(range(32))


def terms(**changes: Any) -> Terms:
    return Terms(
        **{
            "version": 1, "study": "home", "round": "0a" * 32, "purpose": "report",
            "subject": "2026-W47", "length": 50, "minimum": 25, "policy": POLICY.reference,
            "policy_digest": DIGEST, "rho": "1/8", "squared_clip": len(HISTOGRAMS), "scale": 4,
            "deadlines": [1, 2, 3, 4, 5], "seed_commitment": "0b" * 32,
        } | changes
    )  # fmt: skip


HEAD = {"purpose": "head", "subject": "0c" * 32, "rho": "1/80", "squared_clip": 1 << 20}
CANARY = {"purpose": "canary", "subject": "0c" * 32, "rho": "1/160", "squared_clip": 2}


@pytest.mark.parametrize("changes", [{}, {"minimum": 26}, HEAD, CANARY])
def test_terms_that_keep_the_policy_are_agreed_to(changes: dict[str, Any]) -> None:
    terms_match(POLICY, DIGEST, terms(**changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"policy": "other@1"}, "names the privacy policy 'other@1', and"),
        ({"policy_digest": "0" * 64}, "same name with other content"),
        ({"rho": "1/4"}, "costs rho 1/4, and the policy says 1/8"),
        ({"rho": "1/16"}, "costs rho 1/16"),  # a cheaper one is not what was agreed to, either
        ({"squared_clip": 100}, "squared clip is 100"),
        ({"minimum": 24}, "over 24 people, and the policy asks for 25"),
        (HEAD | {"rho": "1/8"}, "costs rho 1/8, and the policy says 1/80"),
        (CANARY | {"squared_clip": 3}, "squared clip is 3"),
    ],
)
def test_terms_that_do_not_are_refused_in_plain_words(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        terms_match(POLICY, DIGEST, terms(**changes))
    assert why in refusal.value.cause and "Nothing was charged" in refusal.value.remedy


def test_a_policy_without_a_price_for_rounds_has_none() -> None:
    unpriced = POLICY.model_copy(update={"head": None})
    with pytest.raises(PolicyError, match="no price for a head"):
        terms_match(unpriced, DIGEST, terms(**HEAD))
    assert unpriced.price(Purpose.REPORT) == Price(rho=Fraction(1, 8), squared_clip=len(HISTOGRAMS))


def test_a_policy_is_known_by_its_bytes() -> None:
    assert policy_digest(SHIPPED) != policy_digest(SHIPPED + b"\n")
    assert parse_policy(SHIPPED) == parse_policy(SHIPPED + b"\n")
    assert parse_policy(encoded(POLICY)) == POLICY


def test_a_signed_policy_is_taken_and_no_other() -> None:
    signature = sign_policy(AUTHORITY, study="home", policy=FEDERATED)
    study = {"study": "home", "authority": public_key(AUTHORITY)}
    assert signed_policy(FEDERATED, signature, **study) == POLICY  # type: ignore[arg-type]
    for policy, sealed, of in (
        (FEDERATED + b" ", signature, study),
        (SHIPPED, signature, study),
        (FEDERATED, bytes(64), study),
        (FEDERATED, b"", study),
        (FEDERATED, signature, study | {"study": "other"}),
        (FEDERATED, signature, study | {"authority": public_key(bytes(32))}),
    ):
        with pytest.raises(ProtocolError, match="signature"):
            signed_policy(policy, sealed, **of)  # type: ignore[arg-type]


def test_a_device_of_a_study_with_an_authority_takes_no_unsigned_policy() -> None:
    with pytest.raises(PolicyError, match=r"policy\.sig"):
        signed_policy(SHIPPED, None, study="home", authority=public_key(AUTHORITY))
    assert signed_policy(SHIPPED, None, study="home", authority=None) == parse_policy(SHIPPED)


def test_only_a_policy_that_can_be_kept_is_signed() -> None:
    with pytest.raises(PolicyError):
        sign_policy(AUTHORITY, study="home", policy=b"{}")


@pytest.mark.parametrize(
    "change", [{"head": {"rho": "0", "squared_clip": 1}}, {"head": {"rho": "1", "squared_clip": 0}},
               {"minimum_cohort": 19}, {"canary": {"rho": 0.5, "squared_clip": 1}}],
)  # fmt: skip
def test_a_price_that_cannot_be_kept_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse_policy(json.dumps(json.loads(SHIPPED) | change).encode())
