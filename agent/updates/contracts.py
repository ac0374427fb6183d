"""What a new bundle must keep of the one that runs, and what the person is asked before it does.

Rules it upholds: a privacy policy under which a report, a round or the whole study can tell more,
and a consent text that says something else, wait for the person's yes; what only gets stricter does
not. A policy of a study that signs its policies is never taken unsigned. What has been spent stays
spent: the ledger adds up over all policies, whichever bundle they came with.

A person's baseline is carried over to a bundle that hears alike (`Bundle.hearing`), and a head that
the study gave to one whose embeddings lie where it looks (`Bundle.space`). Otherwise a new baseline
begins, or the bundle's own head is used, and that is said. The old ones are kept for the way back.
Own moments are of one space: with another body they begin anew beside the baseline that was carried
over, and so they do on the way back once that body has screened a window. They start as nothing and
are known again after some minutes of speech.

In the life of a bundle: trial → **contracts** → the person's yes → `current`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from agent.home import Home, policy_of
from agent.updates.slots import Label
from edge_models.bundle import Bundle
from sync.errors import PolicyError, ProtocolError
from sync.policy import Policy, Price, epsilon
from sync.updates.rejected import Reason, UpdateRejected


@dataclass(frozen=True, slots=True)
class Fit:
    """How a new bundle fits this device.

    `questions`: what the person must say yes to, one plain sentence each; `notes`: what changes
    without asking. `keeps_baseline` and `keeps_head`: see above.
    """

    questions: tuple[str, ...]
    notes: tuple[str, ...]
    keeps_baseline: bool
    keeps_head: bool

    @property
    def needs_yes(self) -> bool:
        """Whether it waits for the person."""
        return bool(self.questions)


def fit_of(home: Home, new: Bundle, label: Label) -> Fit:
    """Compare a verified bundle with what runs in this home.

    Raises:
        UpdateRejected: CONTRACT, it can't be used here, whatever the person says.
        StoreError: the device's ledger can't be read.
    """
    now = home.bundle
    if new.name != label.name:
        raise _refused(f"it calls itself '{new.name}' and was signed as '{label.name}'")
    if new.consent != now.consent and (
        new.manifest.consent_version == now.manifest.consent_version
    ):
        raise _refused("its consent text is another one under the same number")
    policy = _signed_policy(home, new, label)
    questions = tuple(_asked(home.study.policy, policy)) + tuple(_asked_of_text(now, new))
    return Fit(
        questions,
        tuple(_noted(home, new, policy)),
        keeps_baseline=new.hearing == now.hearing,
        keeps_head=new.space == now.space,
    )


def _signed_policy(home: Home, new: Bundle, label: Label) -> Policy:
    try:
        return policy_of(new.policy, home.membership, bytes.fromhex(label.policy_signature))
    except PolicyError as fault:
        raise _refused(f"its privacy policy can't be kept ({fault.cause.rstrip('.')})") from fault
    except ProtocolError as fault:
        raise _refused("its privacy policy is not signed by this device's study") from fault


def _asked(now: Policy, new: Policy) -> Iterator[str]:
    """What a report, a round or the study can tell more; epsilon of both at the delta of now."""
    if new.name != now.name:
        yield (
            f"Your study wants to use another privacy policy, '{new.reference}' instead of "
            f"'{now.reference}'."
        )
    if new.rho_per_report > now.rho_per_report:
        more = _more(now, now.rho_per_report, new.rho_per_report)
        yield f"The new privacy policy lets a report tell more: {more}."
    if new.rho_budget > now.rho_budget:
        more = _more(now, now.rho_budget, new.rho_budget)
        yield f"The new privacy policy lets the whole study tell more: {more}."
    rounds = (
        ("a round of learning", now.head, new.head),
        ("a vote on a model", now.canary, new.canary),
    )
    for what, before, after in rounds:
        yield from _asked_of_round(now, what, before, after)
    if new.minimum_cohort < now.minimum_cohort:
        yield (
            f"The new privacy policy lets sums be opened over fewer people: {new.minimum_cohort} "
            f"instead of {now.minimum_cohort}."
        )
    if new.delta > now.delta:
        yield (
            "The new privacy policy allows a larger chance that its bound does not hold: δ "
            f"{now.delta:g} → {new.delta:g}."
        )


def _asked_of_round(
    now: Policy, what: str, before: Price | None, after: Price | None
) -> Iterator[str]:
    if after is None or (before is not None and after.rho <= before.rho):
        return
    if before is None:
        tells = f"ε {epsilon(after.rho, now.delta):.2f} each"
        yield f"The new privacy policy allows {what}, which the one of now does not: {tells}."
    else:
        more = _more(now, before.rho, after.rho)
        yield f"The new privacy policy lets {what} tell more: {more}."


def _asked_of_text(now: Bundle, new: Bundle) -> Iterator[str]:
    before, after = now.manifest.consent_version, new.manifest.consent_version
    if before != after:
        yield (
            f"The text that you agreed to has changed (version {before} → {after}). Please read it."
        )


def _noted(home: Home, new: Bundle, policy: Policy) -> Iterator[str]:
    if new.hearing != home.bundle.hearing:
        yield (
            "The update hears differently, so what is usual for you is learned anew from now on; "
            "the first scores afterwards compare you with other people."
        )
    if new.space != home.bundle.space:
        yield (
            "The update describes voices differently, so a model that your study trained for the "
            "old one is not used with it."
        )
        if new.moments is not None and new.hearing == home.bundle.hearing:
            yield (
                "Where your voice usually lies in its descriptions is learned anew, within some "
                "minutes of speech."
            )
    with home.open_store() as store:
        spent = store.ledger().spent_rho
    if spent + policy.rho_per_report > policy.rho_budget:
        yield "What has been reported already uses up the new privacy budget: nothing more leaves."


def _more(now: Policy, before: Fraction, after: Fraction) -> str:
    return f"ε {epsilon(before, now.delta):.2f} → {epsilon(after, now.delta):.2f}"


def _refused(why: str) -> UpdateRejected:
    return UpdateRejected(Reason.CONTRACT, f"The update does not fit this device: {why}.")
