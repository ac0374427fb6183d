"""What a secure sum costs: a device's CPU and bytes by step, the coordinator's CPU, beside Flower.

One device is run through all its steps; the others exist as far as it can tell: its neighbours'
adverts, ciphertexts and confirmations are real, the others only offer their keys. At the
coordinator everybody's shares are real, and the pair masks, which it never looks at, are left out.
"""

import hashlib
import json
import os
import secrets
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sync.identity import Acquaintances, Identity
from sync.secure_sum import wire
from sync.secure_sum.channel import Agreement, confirmation, derived, public_half, sealed
from sync.secure_sum.device import hear, join, masked, seed_commitment
from sync.secure_sum.neighbours import neighbourhood, neighbours_of, ring
from sync.secure_sum.server import Gathering, Opened
from sync.secure_sum.shamir import SHARE_BYTES, shares_of
from sync.secure_sum.states import Ready
from sync.secure_sum.wire import Step
from tests.bench.figure import Figure
from tests.secure_fleet import (
    AUTHORITY,
    NOW,
    SEED,
    STUDY,
    coordinator_identity,
    identity_of,
    terms_of,
)

_NUMBERS = 64
_SIZES = (20, 100, 300, 1000, 2000)
_COHORT = 1000
_ROUNDS = 7
_PEER = Path(__file__).with_name("_flower_secagg.py")
_PEER_PYTHON = "SOTTOVOCE_FLOWER"


@dataclass(frozen=True, slots=True)
class Cost:
    """One device in one round: CPU by step, and bytes each way."""

    ms: dict[str, float]
    up_bytes: int
    down_bytes: int

    @property
    def total_ms(self) -> float:
        """All steps together."""
        return sum(self.ms.values())


@dataclass(frozen=True, slots=True)
class Other:
    """A neighbour as far as the device can tell."""

    channel_private: bytes
    advert: bytes


def measure() -> list[Figure]:
    """Devices by cohort, the coordinator by dropout, and the peer on the same sizes."""
    warm = {size: _device(size, met=True) for size in _SIZES}
    cold = {size: _device(size, met=False) for size in _SIZES}
    figures = []
    for size in _SIZES:
        target, met = ("< 50 ms", warm[size].total_ms < 50) if size == _COHORT else ("", None)
        hood = neighbourhood(size)
        steps = ", ".join(f"{step} {ms:.1f}" for step, ms in warm[size].ms.items())
        figures += [
            Figure(
                f"device, {size:,} members", f"{warm[size].total_ms:.1f} ms", target, met,
                f"CPU of one round of {_NUMBERS} numbers, {hood.degree} neighbours met before, "
                f"threshold {hood.threshold}; {steps} ms; medians of {_ROUNDS}",
            ),
            Figure(
                f"device, {size:,} members, all strangers", f"{cold[size].total_ms:.1f} ms", "",
                None, "the same, every neighbour's credential checked for the first time",
            ),
            Figure(
                f"bytes of one device, {size:,} members",
                f"{warm[size].up_bytes / 1000:.1f} kB up, {warm[size].down_bytes / 1000:.1f} down",
                "", None, "payloads of all five steps, nobody died; without MQTT and TLS",
            ),
        ]  # fmt: skip
    figures.append(_growth(warm))
    figures += [_coordinator_figure(tenths) for tenths in (0, 1, 3)]
    figures += [_beside_flower(size, cold[size]) for size in (20, 100, _COHORT)]
    return figures


def _growth(warm: dict[int, Cost]) -> Figure:
    """Twice the cohort: a straight line would double the cost."""
    ratio = warm[2 * _COHORT].total_ms / warm[_COHORT].total_ms
    degrees = ", ".join(
        f"{size:,}: {neighbourhood(size).degree}"
        for size in (_COHORT * 2**doubled for doubled in range(7))
    )
    return Figure(
        f"device, {2 * _COHORT:,} members over {_COHORT:,}", f"{ratio:.2f} times",
        "< 1.5: the logarithm's growth", ratio < 1.5,
        f"neighbours by members: {degrees}; only the roster's digest, 32 bytes for each member, is "
        "read whole",
    )  # fmt: skip


def _device(members: int, *, met: bool) -> Cost:
    """Median CPU of each step over some rounds; a device of index 0 by name."""
    rounds = [_device_round(members, number, met=met) for number in range(_ROUNDS)]
    steps = rounds[0].ms
    return Cost(
        {step: statistics.median(one.ms[step] for one in rounds) for step in steps},
        rounds[0].up_bytes,
        rounds[0].down_bytes,
    )


def _device_round(members: int, number: int, *, met: bool) -> Cost:
    terms = terms_of(length=_NUMBERS, minimum=min(20, members), round_id=number)
    coordinator, identity = coordinator_identity(), identity_of(0)
    round_id, digest = bytes.fromhex(terms.round), terms.digest
    spent: dict[str, float] = {}
    start = time.process_time()
    member, advert = join(terms, identity, coordinator.credential, random_bytes=secrets.token_bytes)
    spent["advertise"] = time.process_time() - start

    own = hashlib.sha256(advert[33:]).digest()
    adverts = {0: advert[33:]}
    hood = neighbourhood(members)
    # Whom the ring seats near depends on every leaf, so everybody needs an advert.
    others = {at: _other(at, digest) for at in range(1, members)}
    adverts |= {at: other.advert for at, other in others.items()}
    leaves = tuple(hashlib.sha256(adverts[at]).digest() for at in range(members))
    assert leaves[0] == own
    roster = wire.Roster(SEED, leaves)
    name = roster.digest(digest)
    near = neighbours_of(0, ring(SEED, name, members), hood.degree)
    acquaintances = Acquaintances(STUDY, AUTHORITY)
    if met:
        for at in near:
            advertised = wire.parse_advert(adverts[at])
            acquaintances.check(advertised.credential, advertised.credential.role, NOW)
    told_roster = wire.framed(
        round_id, Step.ROSTER,
        wire.roster_body(coordinator, digest, roster, [adverts[at] for at in near]),
    )  # fmt: skip

    channel_key = wire.parse_advert(advert[33:]).channel_key
    pairs = {at: Agreement(others[at].channel_private).with_(channel_key) for at in near}
    shares = bytes(2 * SHARE_BYTES)
    everybody = wire.bits_of([True] * len(near))
    inbox = wire.framed(
        round_id, Step.INBOX,
        everybody
        + b"".join(sealed(derived(pairs[at], name, "share", at, 0), shares, name) for at in near),
    )  # fmt: skip
    alive = wire.bits_of([True] * members)
    survivors = wire.framed(round_id, Step.SURVIVORS, wire.survivors_body(coordinator, name, alive))
    list_digest = wire.survivors_digest(name, alive)
    confirms = wire.framed(
        round_id, Step.CONFIRMS,
        everybody
        + b"".join(
            confirmation(derived(pairs[at], name, "confirm", at, 0), list_digest) for at in near
        ),
    )  # fmt: skip

    up_bytes = len(advert)
    values = np.zeros(_NUMBERS, dtype=np.uint32)
    for step, letter in (
        ("share", told_roster), ("mask", inbox), ("confirm", survivors), ("open", confirms),
    ):  # fmt: skip
        start = time.process_time()
        member, said = hear(
            member, letter, identity,
            acquaintances=acquaintances, now=NOW, random_bytes=secrets.token_bytes,
        )  # type: ignore[assignment]  # fmt: skip
        if isinstance(member, Ready):
            member, said = masked(member, values, identity)
        spent[step] = time.process_time() - start
        assert said is not None
        up_bytes += len(said)
    down_bytes = sum(map(len, (told_roster, inbox, survivors, confirms)))
    return Cost({step: 1000 * taken for step, taken in spent.items()}, up_bytes, down_bytes)


_IDENTITIES: dict[int, Identity] = {}


def _identity(number: int) -> Identity:
    if number not in _IDENTITIES:
        _IDENTITIES[number] = identity_of(number)
    return _IDENTITIES[number]


def _other(number: int, digest: bytes) -> Other:
    private = secrets.token_bytes(32)
    mask_key = public_half(secrets.token_bytes(32))
    advert = wire.make_advert(_identity(number), digest, public_half(private), mask_key).body
    return Other(private, advert)


def _coordinator_figure(tenths: int) -> Figure:
    """The slower of the two: they die before their vector, or before their opening."""
    spent = {step: _coordinator_s(tenths, step) for step in (Step.MASKED, Step.OPENING)}
    slower = max(spent, key=lambda step: spent[step])
    return Figure(
        f"coordinator, {_COHORT:,} members, {10 * tenths} % gone", f"{spent[slower]:.2f} s",
        "< 10 s" if tenths == 1 else "", spent[slower] < 10 if tenths == 1 else None,
        f"CPU of the whole round of {_NUMBERS} numbers, signatures included; gone before "
        f"{slower.name} (before their vector {spent[Step.MASKED]:.2f} s, before their opening "
        f"{spent[Step.OPENING]:.2f} s)",
    )  # fmt: skip


def _coordinator_s(tenths: int, dies_at: Step) -> float:
    terms = terms_of(length=_NUMBERS)
    round_id, digest = bytes.fromhex(terms.round), terms.digest
    gathering = Gathering(terms, coordinator_identity(), authority=AUTHORITY, seed=SEED)
    by_name = {_identity(at).credential.name: _identity(at) for at in range(_COHORT)}
    names = sorted(by_name)
    mask_private = [secrets.token_bytes(32) for _ in names]
    own = [secrets.token_bytes(32) for _ in names]
    spent = 0.0

    def told(step: Step, bodies: dict[int, bytes]) -> None:
        nonlocal spent
        messages = []
        for at, body in bodies.items():
            if step is Step.ADVERT:
                messages.append((names[at], wire.framed(round_id, step, body)))
            else:
                messages.append((names[at], wire.signed(by_name[names[at]], round_id, step, body)))
        start = time.process_time()
        for name, message in messages:
            gathering.receive(name, message, NOW)
        gathering.close_step()
        spent += time.process_time() - start

    adverts = [
        wire.make_advert(
            by_name[name], digest, public_half(secrets.token_bytes(32)), public_half(private)
        ).body
        for name, private in zip(names, mask_private, strict=True)
    ]
    told(Step.ADVERT, dict(enumerate(adverts)))
    roster = wire.Roster(SEED, tuple(hashlib.sha256(advert).digest() for advert in adverts))
    name_of_roster, hood = roster.digest(digest), neighbourhood(_COHORT)
    order = ring(SEED, name_of_roster, _COHORT)
    near = [neighbours_of(at, order, hood.degree) for at in range(_COHORT)]
    held: list[dict[int, list[bytes]]] = [{} for _ in names]
    for at in range(_COHORT):
        points = [other + 1 for other in near[at]]
        made = shares_of((own[at], mask_private[at]), points, hood.threshold, secrets.token_bytes)
        for other, pair in zip(near[at], made, strict=True):
            held[other][at] = pair
    ciphertexts = bytes(hood.degree * wire.CIPHERTEXT_BYTES)
    told(Step.SHARES, {at: seed_commitment(own[at]) + ciphertexts for at in range(_COHORT)})
    gone = set(range(_COHORT * tenths // 10))  # names are hashes: anybody
    alive = [at for at in range(_COHORT) if dies_at is not Step.MASKED or at not in gone]
    there = set(alive)
    told(Step.MASKED, {at: bytes(4 * _NUMBERS) for at in alive})
    bits = wire.bits_of([at in there for at in range(_COHORT)])
    list_digest = wire.survivors_digest(name_of_roster, bits)
    told(
        Step.CONFIRM,
        {at: list_digest + bytes(16 * sum(other in there for other in near[at])) for at in alive},
    )
    told(
        Step.OPENING,
        {
            at: own[at]
            + b"".join(held[at][other][0 if other in there else 1] for other in near[at])
            for at in alive
            if at not in gone
        },
    )
    assert isinstance(gathering.result, Opened), gathering.result
    return spent


def _beside_flower(members: int, ours: Cost) -> Figure:
    """A client's work by Flower's own primitives, with as many shares as we make."""
    name = f"device beside Flower's SecAgg+, {members:,} members"
    python = os.environ.get(_PEER_PYTHON)
    if not python:
        return Figure(
            name, "not measured here", "faster", None,
            f"set {_PEER_PYTHON} to an interpreter that has flwr 1.41",
        )  # fmt: skip
    hood = neighbourhood(members)
    answer = subprocess.run(
        [python, str(_PEER), str(hood.degree + 1), str(hood.threshold), str(_NUMBERS)],
        env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "PYTHONPATH": ""},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    theirs: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    total = sum(theirs.values())
    steps = ", ".join(f"{step} {ms:.0f}" for step, ms in theirs.items())
    unsplit = (total - theirs["split"]) / ours.total_ms
    return Figure(
        name, f"{total / ours.total_ms:.0f} times faster", "faster", total > ours.total_ms,
        f"{total:.0f} ms by flwr's primitives as its client calls them ({steps}), among strangers "
        f"{ours.total_ms:.1f} ms by ours, signatures and confirmations included, which theirs "
        f"lacks; {unsplit:.1f} times without their splitting; "
        f"{hood.degree} neighbours, threshold {hood.threshold}, {_NUMBERS} numbers",
    )  # fmt: skip
