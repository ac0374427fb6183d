"""Drafts of terms: what a study asks of a round, from its policy and nothing else; and its noise.

Rules upheld here: price, clip and least cohort are the policy's; the scale is derived so that no
sum can wrap and no share of the noise is too coarse; deadlines rise by the minutes that the
coordinator allows for each step.
"""

from collections.abc import Callable
from typing import Final

from sync.errors import PolicyError
from sync.messages import CELLS, VERSION
from sync.policy import Policy, Purpose
from sync.secure_sum.terms import STEPS, Terms
from sync.shared_noise import NEIGHBOURS, SharedNoise, noise_for, scale_for, squared_sensitivity

Draft = Callable[[str, str], Terms]
"""Makes terms of a round's id and its seed's commitment, both in hexadecimal."""

MOST_COHORT: Final = 10_000
"""Sums are sized so that so many people fit."""
LEAST_STEP_S: Final = 1
MOST_STEP_S: Final = 6 * 24 * 3600


def draft_of(
    purpose: Purpose,
    subject: str,
    *,
    study: str,
    policy: Policy,
    policy_digest: str,
    now: int,
    step_s: int,
    length: int = CELLS,
    most: int = MOST_COHORT,
) -> Draft:
    """The draft of a round: a weekly report of `subject` (its period), or another purpose.

    `now` in seconds since 1970; each step may take `step_s`.

    Raises:
        PolicyError: the policy has no price for the purpose, or no sum of it fits; or a step is
            shorter than a second or longer than six days.
    """
    if not LEAST_STEP_S <= step_s <= MOST_STEP_S:
        raise PolicyError(
            f"A step of {step_s} s is none that a round can have.",
            "Allow each step between a second and six days.",
        )
    price = policy.price(purpose)
    scale = scale_for(
        squared_sensitivity=squared_sensitivity(price.squared_clip, NEIGHBOURS[purpose.value]),
        squared_clip=price.squared_clip,
        rho=price.rho,
        length=length,
        minimum=policy.minimum_cohort,
        most=max(most, policy.minimum_cohort),
    )

    def draft(round_id: str, seed_commitment: str) -> Terms:
        return Terms(
            version=VERSION,
            study=study,
            round=round_id,
            purpose=purpose.value,
            subject=subject,
            length=length,
            minimum=policy.minimum_cohort,
            policy=policy.reference,
            policy_digest=policy_digest,
            rho=price.rho,
            squared_clip=price.squared_clip,
            scale=scale,
            deadlines=tuple(now + step_s * step for step in range(1, len(STEPS) + 1)),
            seed_commitment=seed_commitment,
        )

    return draft


def noise_in(terms: Terms, joined: int) -> SharedNoise:
    """The noise of a round that was opened under these terms, of so many who had joined.

    Raises:
        PolicyError: no noise keeps this price in such a cohort; then no device took part.
    """
    return noise_for(
        squared_sensitivity=squared_sensitivity(terms.squared_clip, NEIGHBOURS[terms.purpose]),
        rho=terms.rho,
        scale=terms.scale,
        length=terms.length,
        minimum=terms.minimum,
        cohort=joined,
    )
