"""The one door out: only here does anything sensed turn into something publishable.

Rules it upholds: the budget is charged before noise is drawn, and noise is drawn once; the only
value that `transport` takes is `Released`, and nothing outside this module makes one: not a
constructor, subclass, copy, pickle or bare `object.__new__`; what waits on disk is sealed with the
device's key, so an altered row is never sent.

Python has no walls: code in the same process that sets out to forge a release can. This keeps out
mistakes, and `tests/test_arrows.py` keeps out code that tries.

In the life of a report: tally → `Counts` → **release** → sealed in the store's outbox, with the
spend, in one transaction → `transport`.
"""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, Self

from pydantic import ValidationError

from edge_models.errors import ContractError
from sync.budget import Ledger, Spend
from sync.envelope import faults
from sync.errors import DoorError, ProtocolError
from sync.identity import Identity
from sync.messages import CELLS, HISTOGRAMS, VERSION, Report, first_cells
from sync.noise import RandBelow, discrete_gaussian
from sync.parcels import Kind, Parcel, frames_of
from sync.policy import Policy, Purpose
from sync.secure_sum.device import masked
from sync.secure_sum.states import Masked, Ready
from sync.secure_sum.terms import Terms
from sync.secure_sum.wire import Step, split
from sync.shared_noise import NEIGHBOURS, noise_for, noised, squared_sensitivity, within_clip
from sync.topics import UpTopic, report_topic

_DOOR: Final = secrets.token_bytes(32)  # this process's own: marks what went through release
_MARK_BYTES: Final = 32
_SEAL_PURPOSE: Final = b"sottovoce/outbox/seal/1"
_LENGTH_BYTES: Final = 2
_UNSENSED: Final = (Kind.STATUS, Kind.RESEND, Kind.ASK_FILE, Kind.PROGRESS)
_UNSENSED_STEPS: Final = frozenset(
    {Step.ADVERT, Step.SHARES, Step.CONFIRM, Step.OPENING, Step.REFUSAL}
)


@dataclass(frozen=True, slots=True)
class Counts:
    """A person's true week: in each histogram exactly one cell is 1. It stays on the device.

    `cells` int (N,) in the order of `HISTOGRAMS`; never shown by `repr`.

    Raises:
        ContractError: not one-hot, which the sensitivity relies on.
    """

    cells: tuple[int, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.cells) != CELLS or any(type(cell) is not int for cell in self.cells):
            raise ContractError(f"A week is counted in {CELLS} whole numbers.")
        for first, histogram in zip(first_cells(), HISTOGRAMS, strict=True):
            if sorted(self.cells[first : first + len(histogram.bins)])[-2:] != [0, 1] or (
                min(self.cells[first : first + len(histogram.bins)]) < 0
            ):
                raise ContractError(f"A week has exactly one answer to {histogram.name}.")

    @classmethod
    def of(cls, choices: Mapping[str, int]) -> Self:
        """The counts of one chosen bin (its index) for each histogram (its name).

        Raises:
            ContractError: a histogram is missing or unknown, or has no such bin.
        """
        if set(choices) != {histogram.name for histogram in HISTOGRAMS}:
            raise ContractError("A week answers each histogram, and no other question.")
        cells = [0] * CELLS
        for first, histogram in zip(first_cells(), HISTOGRAMS, strict=True):
            chosen = choices[histogram.name]
            if not 0 <= chosen < len(histogram.bins):
                raise ContractError(f"The histogram {histogram.name} has no such bin.")
            cells[first + chosen] = 1
        return cls(tuple(cells))


class Released:
    """A message that went through the door: its `topic` and `payload`, for good.

    Made by the functions `release_…` and by `Seal.reopen` only. Two are equal when both parts are.
    """

    __slots__ = ("_mark", "_payload", "_topic")
    _mark: bytes
    _payload: bytes
    _topic: str

    def __new__(cls, door: object, topic: str, payload: bytes) -> Self:
        """Only this module knows the door.

        Raises:
            DoorError: anyone else called.
        """
        if door is not _DOOR:
            raise _not_released("it was made without a release")
        released = super().__new__(cls)
        object.__setattr__(released, "_topic", topic)
        object.__setattr__(released, "_payload", payload)
        object.__setattr__(released, "_mark", _mark_of(_DOOR, topic, payload))
        return released

    @property
    def topic(self) -> str:
        """Where it is published.

        Raises:
            DoorError: this value did not come from `release`.
        """
        return self._checked()[0]

    @property
    def payload(self) -> bytes:
        """Exactly the bytes that are sent, however often.

        Raises:
            DoorError: this value did not come from `release`.
        """
        return self._checked()[1]

    def _checked(self) -> tuple[str, bytes]:
        try:
            topic, payload, mark = self._topic, self._payload, self._mark
        except AttributeError:
            raise _not_released("it is hollow") from None
        if not hmac.compare_digest(mark, _mark_of(_DOOR, topic, payload)):
            raise _not_released("it was altered")
        return topic, payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Released) and self._checked() == other._checked()

    def __hash__(self) -> int:
        return hash(self._checked())

    def __repr__(self) -> str:
        topic, payload = self._checked()
        return f"Released({len(payload)} bytes for {topic})"

    def __init_subclass__(cls) -> NoReturn:
        raise _not_released("it is of a subclass")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise _not_released("it would be altered")

    def __delattr__(self, name: str) -> NoReturn:
        raise _not_released("it would be altered")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise _not_released("it would be copied or pickled")

    def __copy__(self) -> NoReturn:
        raise _not_released("it would be copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise _not_released("it would be copied")


class Seal:
    """Seals released messages for the outbox on disk and reopens them after a restart.

    `key` is the device's own, at least 32 bytes; the seal derives its own key from it. HMAC-SHA256
    over both parts: it keeps out alteration, not reading (the store encrypts).

    Raises:
        ContractError: the key is shorter.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ContractError("A seal needs a key of at least 32 bytes.")
        self._key = hmac.digest(key, _SEAL_PURPOSE, "sha256")

    def close(self, released: Released) -> bytes:
        """Mark, topic and payload as one string of bytes.

        Raises:
            DoorError: the value did not come from `release`.
        """
        if type(released) is not Released:
            raise _not_released("it is something else")
        topic, payload = released.topic, released.payload
        return _mark_of(self._key, topic, payload) + _joined(topic, payload)

    def reopen(self, sealed: bytes) -> Released:
        """The message that `close` sealed with the same key.

        Raises:
            DoorError: the bytes were altered, or sealed with another key.
        """
        mark, rest = sealed[:_MARK_BYTES], sealed[_MARK_BYTES:]
        if not hmac.compare_digest(mark, hmac.digest(self._key, rest, "sha256")):
            raise DoorError(
                "A stored report was altered, or belongs to another device: it is not sent.",
                "Its cost stays on the ledger. If the store was restored or copied, ask the "
                "study for help.",
            )
        end = _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES], "big")
        return Released(_DOOR, rest[_LENGTH_BYTES:end].decode("utf-8"), rest[end:])


def release_report(
    counts: Counts,
    *,
    study: str,
    pseudonym: str,
    period: str,
    bundle: str,
    policy: Policy,
    ledger: Ledger,
    randbelow: RandBelow,
) -> tuple[Released, Spend, Ledger]:
    """Charge the budget, add noise once, and let one report through the door.

    Commit the sealed message and the spend in one transaction before anything is sent; if the
    commit fails, throw all three away. Call it once a period: the ledger refuses a second time.

    Unit of privacy: the person's whole contribution to one report. Neighbouring: this report's
    counts replaced by any others. Sensitivity: L2, the root of twice the number of histograms
    (one-hot; derived by the policy). Mechanism: an independent discrete Gaussian in every cell,
    rho-zCDP. Public: study, pseudonym, period, bundle, and that there is a report at all.

    Raises:
        BudgetExhausted: the report would exceed the budget; nothing was drawn.
        PeriodSpent: this period has been reported.
        ContractError: study, pseudonym or bundle have a form that they can't have.
        ProtocolError: the period is no ISO week.
    Source: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020,
    Corollary 16 (multivariate discrete Gaussian).
    """
    spend = Spend(period, policy.rho_per_report, policy.reference)
    charged = ledger.charged(spend, policy)
    topic = report_topic(study, pseudonym)
    sigma2 = policy.sigma2
    try:
        report = Report(
            version=VERSION,
            study=study,
            pseudonym=pseudonym,
            period=period,
            policy=policy.reference,
            bundle=bundle,
            counts=tuple(cell + discrete_gaussian(sigma2, randbelow) for cell in counts.cells),
        )
    except ValidationError as fault:
        raise ContractError(f"A report can't be made: {faults(fault)}.") from None
    return Released(_DOOR, topic, report.to_bytes()), spend, charged


def release_protocol(parcel: Parcel, topic: UpTopic) -> tuple[Released, ...]:
    """The frames of a parcel that holds nothing sensed, in order: it costs no budget.

    That is a device's status, a question for missing frames or for a file of the repository, how
    an update went, and each step of a round but the masked vector: keys and shares are random
    numbers, and whether a device takes part is public.
    Each frame can be sealed, and sent again as it is.

    Raises:
        DoorError: a parcel of this kind or step may hold something sensed.
    """
    if _may_be_sensed(parcel):
        raise _not_released(f"a parcel of kind {parcel.kind.name} may hold something sensed")
    return _released_frames(parcel, topic)


def _may_be_sensed(parcel: Parcel) -> bool:
    if parcel.kind is not Kind.ROUND:
        return parcel.kind not in _UNSENSED
    try:
        return split(parcel.content)[1] not in _UNSENSED_STEPS
    except ProtocolError:
        return True


def spend_of(terms: Terms, policy: Policy) -> Spend:
    """What taking part in a round costs, at the policy's own price; a week is paid for once.

    Raises:
        PolicyError: the policy has no price for this purpose.
    """
    purpose = Purpose(terms.purpose)
    subject = terms.subject if purpose is Purpose.REPORT else terms.round
    return Spend(subject, policy.price(purpose).rho, policy.reference, purpose)


def release_masked(
    vector: Sequence[int],
    ready: Ready,
    identity: Identity,
    *,
    policy: Policy,
    ledger: Ledger,
    topic: UpTopic,
    randbelow: RandBelow,
) -> tuple[Masked, tuple[Released, ...], Ledger]:
    """Charge the budget, add this member's share of the noise once, mask, and let it through.

    `vector` (N,) whole numbers within the policy's clip; the member's next state, the frames to
    send and the ledger with the spend come back: keep all three in one transaction before anything
    is sent, or throw them away.

    Unit of privacy: the person's whole vector. Neighbouring: as `shared_noise.NEIGHBOURS` says for
    the purpose. Sensitivity: squared L2, derived from the policy's clip. Mechanism: distributed
    discrete Gaussian, rho-zCDP at the policy's price against a coordinator who colludes with fewer
    than a third of the cohort; price and clip are the policy's, never the terms' word alone.

    Raises:
        BudgetExhausted: the vector would exceed the budget, or its subject was paid for; nothing
            was drawn.
        PolicyError: no noise keeps this price in such a cohort.
        ContractError: the vector is longer than its clip, or has another length.
    Source: as `shared_noise`.
    """
    terms = ready.seat.terms
    spend = spend_of(terms, policy)
    charged = ledger.charged(spend, policy)
    clip = policy.price(spend.purpose).squared_clip
    within_clip(vector, clip)
    noise = noise_for(
        squared_sensitivity=squared_sensitivity(clip, NEIGHBOURS[terms.purpose]),
        rho=spend.rho,
        scale=terms.scale,
        length=terms.length,
        minimum=max(terms.minimum, policy.minimum_cohort),
        cohort=ready.place.members,
    )
    member, payload = masked(ready, noised(vector, noise, randbelow), identity)
    return member, _released_frames(Parcel(Kind.ROUND, payload), topic), charged


def _released_frames(parcel: Parcel, topic: UpTopic) -> tuple[Released, ...]:
    """What every release of a parcel ends with; whoever calls has charged for what it holds."""
    return tuple(Released(_DOOR, str(topic), frame) for frame in frames_of(parcel))


def _joined(topic: str, payload: bytes) -> bytes:
    """Both parts in one way only: the topic's length comes first."""
    address = topic.encode("utf-8")
    return len(address).to_bytes(_LENGTH_BYTES, "big") + address + payload


def _mark_of(key: bytes, topic: str, payload: bytes) -> bytes:
    return hmac.digest(key, _joined(topic, payload), "sha256")


def _not_released(why: str) -> DoorError:
    return DoorError(
        f"Only what sync.release has released can be sent, and this can't: {why}.",
        "This is a fault in the program; nothing was sent. Please report it.",
    )
