"""What a device agrees to: its own policy, signed by its study, and terms that keep it.

Rules it upholds: a policy is known by the digest of its file's bytes, never by its name alone; a
study that has an authority signs its policy, and a device of that study takes no other; terms
that name another policy, price or clip than the device's own, or a smaller cohort, are refused
before anything is trained, charged or drawn.

In the life of a round: the first thing that a device does with terms.
"""

from typing import Final

from sync.errors import PolicyError
from sync.identity import sign, verify
from sync.policy import Policy, Purpose, parse_policy
from sync.secure_sum.terms import Terms

SIGNATURE_FILE: Final = "policy.sig"
"""Beside a bundle's `policy.json`: 64 bytes."""
_PURPOSE: Final = "policy"


def sign_policy(authority: bytes, *, study: str, policy: bytes) -> bytes:
    """The signature of a study's authority (private key, 32 bytes) over its policy's bytes.

    Raises:
        PolicyError: the bytes hold no policy that can be kept.
    """
    parse_policy(policy)
    return sign(authority, _PURPOSE, _said(study, policy))


def signed_policy(
    policy: bytes, signature: bytes | None, *, study: str, authority: bytes | None
) -> Policy:
    """The policy that these bytes hold, if the study's authority (public key) signed them.

    `authority` is None on a device that was not enrolled by one; then no signature is asked for.

    Raises:
        PolicyError: there is no signature, or the bytes hold no policy that can be kept.
        ProtocolError: the signature is false, or of another study.
    """
    if authority is not None:
        if signature is None:
            raise PolicyError(
                f"This device belongs to the study '{study}', whose privacy policy is signed, and "
                f"its bundle has no '{SIGNATURE_FILE}'.",
                "Nothing is released; ask the study for its own bundle.",
            )
        verify(authority, _PURPOSE, _said(study, policy), signature)
    return parse_policy(policy)


def terms_match(policy: Policy, digest: str, terms: Terms) -> None:
    """Return if a round asks for no more than this policy (whose file has `digest`) allows.

    Raises:
        PolicyError: it names a policy that this device does not have, another price or clip than
            the policy's, or a cohort below the policy's minimum; nothing was charged.
    """
    if (terms.policy, terms.policy_digest) != (policy.reference, digest):
        same = "of the same name with other content" if terms.policy == policy.reference else ""
        raise _refused(
            f"it names the privacy policy '{terms.policy}' {same}".rstrip()
            + f", and this device has agreed to '{policy.reference}'"
        )
    price = policy.price(Purpose(terms.purpose))
    if terms.rho != price.rho:
        raise _refused(f"it costs rho {terms.rho}, and the policy says {price.rho}")
    if terms.squared_clip != price.squared_clip:
        raise _refused(
            f"its squared clip is {terms.squared_clip}, and the policy says {price.squared_clip}"
        )
    if terms.minimum < policy.minimum_cohort:
        raise _refused(
            f"it would open a sum over {terms.minimum} people, and the policy asks for "
            f"{policy.minimum_cohort}"
        )


def _refused(why: str) -> PolicyError:
    return PolicyError(
        f"This device takes no part in a round: {why}.",
        "Nothing was charged or sent; the study must announce a round that keeps its policy.",
    )


def _said(study: str, policy: bytes) -> bytes:
    name = study.encode()
    return len(name).to_bytes(1, "big") + name + policy
