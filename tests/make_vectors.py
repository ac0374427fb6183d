"""Writes tests/vectors/secure_sum*.json: `python -m tests.make_vectors`. Same bytes each time.

For whoever writes another implementation: a whole round with every message, the pieces it is made
of, and messages that must be refused, each named for its fault. Keys and randomness are derived
from words; they are for tests only.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from sync.errors import ProtocolError
from sync.secure_sum import wire
from sync.secure_sum.channel import derived, public_half, sealed
from sync.secure_sum.device import hear
from sync.secure_sum.masks import mask
from sync.secure_sum.neighbours import members_needed, neighbourhood, neighbours_of, ring
from sync.secure_sum.server import Opened
from sync.secure_sum.shamir import secret_of, shares_of
from sync.secure_sum.states import Ended, Member
from sync.secure_sum.terms import sign_terms
from sync.secure_sum.wire import Step
from tests.secure_fleet import (
    AUTHORITY,
    MEMBERS_SAY,
    NOW,
    SEED,
    STUDY,
    Fleet,
    identity_of,
    seeded_bytes,
    terms_of,
)

FOLDER = Path(__file__).parent / "vectors"
MEMBERS = 6  # the smallest cohort that can lose one: five of them open a secret
DEAD = 2  # its place in the roster; it says nothing from MASKED on
JUDGE = 0  # the place of the member that hears what must be refused


def words(text: str) -> bytes:
    """32 bytes that stand for some words."""
    return hashlib.sha256(text.encode()).digest()


def round_of_six() -> Fleet:
    """The round of the vectors, run to its end."""
    fleet = Fleet(MEMBERS, terms_of(minimum=3, length=4))
    fleet.run({Step.MASKED: {sorted(fleet.identities)[DEAD]}})
    return fleet


def state_after(step: Step) -> tuple[Fleet, Member]:
    """The fleet, and the judge's state when it has said what this step asks for."""
    fleet = Fleet(MEMBERS, terms_of(minimum=3, length=4))
    judge = sorted(fleet.identities)[JUDGE]
    states: list[Member] = []

    def look(ended: Step, letters: list[tuple[bytes, bytes]]) -> None:
        if ended is step:
            states.append(fleet.members[judge])

    fleet.run({Step.MASKED: {sorted(fleet.identities)[DEAD]}}, coordinator_says=look)
    return fleet, states[0]


def judged(member: Member, fleet: Fleet, payload: bytes) -> str:
    """`refused` (no message: nothing changes), `left` (the round ends for it) or `accepted`."""
    try:
        after, _ = hear(
            member, payload, fleet.identities[sorted(fleet.identities)[JUDGE]],
            acquaintances=fleet.acquaintances, now=NOW, random_bytes=seeded_bytes(1),
        )  # fmt: skip
    except ProtocolError:
        return "refused"
    return "left" if isinstance(after, Ended) and after.refusal is not None else "accepted"


def positive() -> dict[str, Any]:
    """A whole round, and its pieces."""
    fleet = round_of_six()
    names = sorted(fleet.identities)
    result = fleet.gathering.result
    assert isinstance(result, Opened)
    return {
        "about": "A round of six, complete graph, threshold 5; the third in the roster dies.",
        "study": STUDY,
        "now": NOW,
        "authority": AUTHORITY.hex(),
        "seed": SEED.hex(),
        "terms": sign_terms(fleet.terms, fleet.coordinator).to_bytes().decode(),
        "terms_digest": fleet.terms.digest.hex(),
        "roster_digest": fleet.gathering._cohort.digest.hex(),
        "members": [
            {
                "name": name.hex(),
                "signing_private": fleet.identities[name].private_key.hex(),
                "credential": fleet.identities[name].credential.to_bytes().hex(),
                "values": fleet.values[name].tolist(),
                **randomness(fleet, name),
                "says": {s.name: fleet.said[s][name].hex() for s in MEMBERS_SAY
                         if name in fleet.said[s]},
                "hears": {wire.split(fleet.told[s][name])[1].name: fleet.told[s][name].hex()
                          for s in MEMBERS_SAY[:4] if name in fleet.told[s]},
            }
            for name in names
        ],
        "sum": result.total.tolist(),
        "survivors": [name.hex() for name in result.members],
        "pieces": pieces(),
    }  # fmt: skip


def randomness(fleet: Fleet, name: bytes) -> dict[str, str]:
    """What this member drew: two private keys; its seed; the coefficients, 32 bits each."""
    joins, hears = fleet.random_bytes(name + b"joins"), fleet.random_bytes(name + b"hears")
    hood = neighbourhood(MEMBERS)
    return {
        "channel_private": joins(32).hex(),
        "mask_private": joins(32).hex(),
        "own_seed": hears(32).hex(),
        "coefficients": hears(4 * 32 * (hood.threshold - 1)).hex(),
    }


def pieces() -> dict[str, Any]:
    """Each building block for itself."""
    secret, roster = words("a secret"), words("a roster")
    draw = words("coefficients") * 4
    points = [1, 2, 300, 65_536]
    shares = [share.hex() for (share,) in shares_of([secret], points, 3, lambda n: draw[:n])]
    key = derived(secret, roster, "share", 1, 2)
    order = ring(words("seed"), roster, 12)
    large = ring(words("seed"), roster, 201)
    return {
        "neighbourhoods": [
            {"members": n, "degree": hood.degree, "threshold": hood.threshold,
             "needed_of_minimum_3": members_needed(n, 3)}
            for n in (3, 4, 5, 6, 20, 100, 200, 201, 300, 1000, 2000, 65_536)
            for hood in (neighbourhood(n),)
        ],
        "ring": {"seed": words("seed").hex(), "roster": roster.hex(), "of_12": order,
                 "neighbours_of_0_of_201": neighbours_of(0, large, neighbourhood(201).degree)},
        "shamir": {"secret": secret.hex(), "threshold": 3, "points": points, "draw": draw.hex(),
                   "shares": shares},
        "keys": [
            {"secret": secret.hex(), "roster": roster.hex(), "purpose": purpose, "sender": one,
             "receiver": other, "key": derived(secret, roster, purpose, one, other).hex()}
            for purpose in ("share", "confirm", "mask")
            for one, other in ((1, 2), (65_535, 0))
        ],
        "masks": [
            {"secret": words(text).hex(), "mask": mask(words(text), 20).tolist()}
            for text in ("one", "another")
        ],
        "sealed": {"key": key.hex(), "message": bytes(range(96)).hex(), "bound_to": roster.hex(),
                   "ciphertext": sealed(key, bytes(range(96)), roster).hex()},
    }  # fmt: skip


def flipped(payload: bytes, at: int) -> bytes:
    """With one bit of one byte changed."""
    changed = bytearray(payload)
    changed[at] ^= 1
    return bytes(changed)


def roster_faults() -> dict[str, bytes]:
    """Told to a member that has offered its keys."""
    fleet, _ = state_after(Step.ADVERT)
    right = fleet.told[Step.ADVERT][sorted(fleet.identities)[JUDGE]]
    adverts = [fleet.said[Step.ADVERT][name][33:] for name in sorted(fleet.identities)]

    def told(
        listed: list[bytes], *, seed: bytes = SEED, by: int | None = None,
        shown: list[bytes] | None = None,
    ) -> bytes:  # fmt: skip
        signer = fleet.coordinator if by is None else identity_of(by)
        roster = wire.Roster(seed, tuple(hashlib.sha256(advert).digest() for advert in listed))
        near = shown if shown is not None else [a for a in listed if a != adverts[JUDGE]]
        body = wire.roster_body(signer, fleet.terms.digest, roster, near)
        return wire.framed(bytes.fromhex(fleet.terms.round), Step.ROSTER, body)

    def member(number: int, *, changed: bool = False, low: int | None = None) -> bytes:
        keys = [public_half(words(f"{number} channel")), public_half(words(f"{number} mask"))]
        if low is not None:
            keys[low] = bytes(32)
        terms = fleet.terms.model_copy(update={"squared_clip": 13} if changed else {})
        return wire.make_advert(identity_of(number), terms.digest, *keys).body

    foreign = identity_of(50, authority=words("another authority"))
    forged = wire.make_advert(
        foreign, fleet.terms.digest, public_half(words("c")), public_half(words("m"))
    ).body
    twice = sorted(fleet.identities)[1]
    number = next(n for n in range(MEMBERS) if identity_of(n).credential.name == twice)
    return {
        "roster-signed-by-another-key": told(adverts, by=50),
        "roster-of-another-round": flipped(right, 0),
        "roster-cut-short": right[:150],
        "roster-counts-more-members-than-it-holds": right[:129] + b"\xff" * 4 + right[133:],
        "roster-without-a-neighbours-keys": right[: -wire.ADVERT_BYTES],
        "roster-with-bytes-behind-it": right + b"\0",
        "seed-not-committed": told(adverts, seed=words("another seed")),
        "cohort-below-minimum": told(adverts[:2]),
        "own-keys-missing": told([*adverts[1:], member(50)]),
        "member-listed-twice": told([*adverts, adverts[3]]),
        "person-listed-twice": told([*adverts, member(number)]),
        "neighbours-keys-not-of-the-roster": told(
            adverts, shown=[member(50), *(a for a in adverts[2:])]
        ),
        "neighbours-exchanged": told(adverts, shown=[adverts[2], adverts[1], *adverts[3:]]),
        "credential-of-another-authority": told([*adverts, forged]),
        "neighbour-agreed-to-other-terms": told([*adverts, member(50, changed=True)]),
        "channel-key-of-small-order": told([*adverts, member(50, low=0)]),
        "mask-key-of-small-order": told([*adverts, member(50, low=1)]),
    }


def inbox_faults() -> dict[str, bytes]:
    """Told to a member that has shared its secrets."""
    fleet, _ = state_after(Step.SHARES)
    judge = sorted(fleet.identities)[JUDGE]
    right = fleet.told[Step.SHARES][judge]
    head, flags, parts = right[:33], right[33:34], right[34:]
    other = Fleet(MEMBERS, terms_of(minimum=3, length=4, round_id=2))
    other.run()
    foreign = other.told[Step.SHARES][judge][34:]
    roster = fleet.told[Step.ADVERT][judge]
    second = wire.Roster(SEED, tuple(words(f"leaf {at}") for at in range(MEMBERS)))
    return {
        "two-share-ciphertexts-altered": head + flags + flipped(flipped(parts, 5), 120),
        "share-ciphertext-of-another-roster": head + flags + foreign,
        "inbox-of-too-few": head + b"\xe0" + parts[: 3 * wire.CIPHERTEXT_BYTES],
        "inbox-flags-padded-with-ones": head + bytes((flags[0] | 1,)) + parts,
        "inbox-cut-short": right[:-1],
        "roster-told-again-with-other-keys-behind-it": flipped(roster, len(roster) - 1),
        "second-roster": wire.framed(
            head[:32],
            Step.ROSTER,
            wire.roster_body(fleet.coordinator, fleet.terms.digest, second, ()),
        ),
        "survivors-before-their-turn": fleet.told[Step.MASKED][judge],
    }


def survivors_faults() -> dict[str, bytes]:
    """Told to a member whose masked vector has left."""
    fleet, _ = state_after(Step.MASKED)
    right = fleet.told[Step.MASKED][sorted(fleet.identities)[JUDGE]]
    digest = fleet.gathering._cohort.digest

    def told(alive: list[int], *, by: int | None = None, roster: bytes = digest) -> bytes:
        flags = wire.bits_of([place in alive for place in range(MEMBERS)])
        signer = fleet.coordinator if by is None else identity_of(by)
        return wire.framed(right[:32], Step.SURVIVORS, wire.survivors_body(signer, roster, flags))

    return {
        "survivors-signed-by-another-key": told([0, 1, 3, 4, 5], by=50),
        "survivors-of-another-roster": told([0, 1, 3, 4, 5], roster=words("another")),
        "survivors-below-minimum": told([0, 1, 3, 4]),
        "survivors-without-oneself": told([1, 2, 3, 4, 5]),
        "survivors-altered": flipped(right, len(right) - 1),
        "survivors-padded-with-ones": right[:-1] + bytes((right[-1] | 1,)),
        "survivors-of-another-length": right + b"\0",
    }


def confirms_faults() -> dict[str, bytes]:
    """Told to a member that has confirmed the survivors."""
    fleet, _ = state_after(Step.CONFIRM)
    judge = sorted(fleet.identities)[JUDGE]
    right = fleet.told[Step.CONFIRM][judge]
    own = fleet.said[Step.CONFIRM][judge][33 + 32 : -64]
    second = wire.bits_of([True] * MEMBERS)
    body = wire.survivors_body(fleet.coordinator, fleet.gathering._cohort.digest, second)
    return {
        "confirmation-of-another-list": right[:34] + words("c")[:16] + right[34 + 16 :],
        "confirmation-reflected": right[:34] + own,
        "confirmations-of-too-few": right[:33] + b"\x38" + right[34 + 16 :][: 3 * 16],
        "confirmations-cut-short": right[:-1],
        "second-list-of-survivors": wire.framed(right[:32], Step.SURVIVORS, body),
    }


def negative() -> dict[str, Any]:
    """Every fault, the state that must refuse it, and how."""
    faults = []
    for step, made in (
        (Step.ADVERT, roster_faults),
        (Step.SHARES, inbox_faults),
        (Step.MASKED, survivors_faults),
        (Step.CONFIRM, confirms_faults),
    ):
        fleet, member = state_after(step)
        for fault, payload in made().items():
            faults.append(
                {
                    "fault": fault,
                    "after_saying": step.name,
                    "verdict": judged(member, fleet, payload),
                    "payload": payload.hex(),
                }
            )
    return {
        "about": "Told to the first member of the round in secure_sum.json, after it said the "
        "step named. `refused`: nothing changes. `left`: it ends the round and says why.",
        "messages": faults,
        "shares": [
            {"fault": fault, "shares": [[point, share.hex()] for point, share in shares]}
            for fault, shares in share_faults().items()
        ],
    }


def share_faults() -> dict[str, list[tuple[int, bytes]]]:
    """What no secret is put together from."""
    return {
        "share-value-65537": [(1, (65_537).to_bytes(3, "little") + bytes(45))],
        "secret-value-65536": [(1, (65_536).to_bytes(3, "little") + bytes(45))],
        "share-cut-short": [(1, bytes(47))],
        "two-shares-of-one-point": [(1, bytes(48)), (1, bytes(48))],
        "no-shares": [],
    }


def is_refused(shares: list[tuple[int, bytes]]) -> bool:
    """Whether no secret comes from these shares."""
    try:
        secret_of(shares)
    except ProtocolError:
        return True
    return False


def text_of(vectors: dict[str, Any]) -> str:
    """As it stands in the file."""
    return json.dumps(vectors, indent=1, default=np.ndarray.tolist) + "\n"


FILES = {"secure_sum.json": positive, "secure_sum_negative.json": negative}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, made in FILES.items():
        (FOLDER / name).write_text(text_of(made()), encoding="utf-8")
