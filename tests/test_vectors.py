"""The vectors for other implementations are what this one says, and what it refuses."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from sync.identity import Acquaintances, Identity, parse_credential
from sync.secure_sum.channel import derived, opened
from sync.secure_sum.device import hear, join, masked
from sync.secure_sum.masks import keystream, mask
from sync.secure_sum.neighbours import members_needed, neighbourhood, neighbours_of, ring
from sync.secure_sum.server import Gathering, Opened
from sync.secure_sum.shamir import secret_of, shares_of
from sync.secure_sum.states import Ended, Ready
from sync.secure_sum.terms import parse_terms
from sync.secure_sum.wire import Step
from tests.make_vectors import FILES, FOLDER, is_refused, judged, state_after, text_of
from tests.secure_fleet import MEMBERS_SAY, coordinator_identity

VECTORS: dict[str, Any] = json.loads((FOLDER / "secure_sum.json").read_text(encoding="utf-8"))
NEGATIVE: dict[str, Any] = json.loads(
    (FOLDER / "secure_sum_negative.json").read_text(encoding="utf-8")
)
PIECES: dict[str, Any] = VECTORS["pieces"]


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_what_the_script_writes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(FILES[name]())


def test_every_member_says_the_same_from_the_file_alone() -> None:
    """Only what the file holds goes in: keys, drawn bytes, letters."""
    authority = bytes.fromhex(VECTORS["authority"])
    terms, coordinator = parse_terms(
        VECTORS["terms"].encode(), study=VECTORS["study"], authority=authority, now=VECTORS["now"]
    )
    assert terms.digest.hex() == VECTORS["terms_digest"]
    for told in VECTORS["members"]:
        identity = Identity(
            bytes.fromhex(told["signing_private"]),
            parse_credential(bytes.fromhex(told["credential"])),
        )
        drawn = [
            bytes.fromhex(told[what])
            for what in ("channel_private", "mask_private", "own_seed", "coefficients")
        ]
        member, said = join(
            terms, identity, coordinator, random_bytes=lambda _, d=drawn: d.pop(0), least_cohort=3
        )
        says = {"ADVERT": said.hex()}
        for letter in told["hears"].values():
            after, answer = hear(
                member, bytes.fromhex(letter), identity,
                acquaintances=Acquaintances(terms.study, authority), now=VECTORS["now"],
                random_bytes=lambda _, d=drawn: d.pop(0),
            )  # fmt: skip
            if isinstance(after, Ready):
                values = np.array(told["values"], dtype=np.uint32)
                after, answer = masked(after, values, identity)
            member = after  # type: ignore[assignment]
            assert answer is not None
            says[Step(answer[32]).name] = answer.hex()
        assert told["says"].items() <= says.items()
        assert told["name"] not in VECTORS["survivors"] or says == told["says"]


def test_the_coordinator_says_the_same_and_opens_the_sum() -> None:
    terms, _ = parse_terms(
        VECTORS["terms"].encode(), study=VECTORS["study"],
        authority=bytes.fromhex(VECTORS["authority"]), now=VECTORS["now"],
    )  # fmt: skip
    gathering = Gathering(
        terms, coordinator_identity(), authority=bytes.fromhex(VECTORS["authority"]),
        seed=bytes.fromhex(VECTORS["seed"]),
    )  # fmt: skip
    for step in MEMBERS_SAY:
        for told in VECTORS["members"]:
            if step.name in told["says"]:
                name, said = bytes.fromhex(told["name"]), bytes.fromhex(told["says"][step.name])
                assert gathering.receive(name, said, VECTORS["now"])
        letters = {name.hex(): letter for name, letter in gathering.close_step()}
        for told in VECTORS["members"]:
            if told["name"] in letters:
                letter = letters[told["name"]]
                assert told["hears"].get(Step(letter[32]).name, letter.hex()) == letter.hex()
    result = gathering.result
    assert isinstance(result, Opened)
    assert result.total.tolist() == VECTORS["sum"]
    assert [name.hex() for name in result.members] == VECTORS["survivors"]
    plain = [told["values"] for told in VECTORS["members"] if told["name"] in VECTORS["survivors"]]
    assert [sum(column) % 2**32 for column in zip(*plain, strict=True)] == VECTORS["sum"]


@pytest.mark.parametrize("told", NEGATIVE["messages"], ids=lambda told: told["fault"])
def test_a_message_with_a_fault_is_refused(told: dict[str, str]) -> None:
    fleet, member = state_after(Step[told["after_saying"]])
    verdict = judged(member, fleet, bytes.fromhex(told["payload"]))
    assert verdict == told["verdict"]
    assert verdict in ("refused", "left")


def test_faults_have_names_of_their_own() -> None:
    names = [told["fault"] for told in (*NEGATIVE["messages"], *NEGATIVE["shares"])]
    assert len(set(names)) == len(names) > 35


@pytest.mark.parametrize("told", NEGATIVE["shares"], ids=lambda told: told["fault"])
def test_shares_with_a_fault_are_refused(told: dict[str, Any]) -> None:
    assert is_refused([(point, bytes.fromhex(share)) for point, share in told["shares"]])


def test_each_message_that_is_refused_has_a_right_one_beside_it() -> None:
    """The judge accepts the unaltered letter in each of the four states: no fault is vacuous."""
    judge = VECTORS["members"][0]["hears"]
    for step, letter in zip(MEMBERS_SAY, judge.values(), strict=False):
        fleet, member = state_after(step)
        assert judged(member, fleet, bytes.fromhex(letter)) == "accepted"
        assert not isinstance(member, Ended)


def test_the_pieces_are_those_of_the_file() -> None:
    for told in PIECES["neighbourhoods"]:
        hood = neighbourhood(told["members"])
        assert (hood.degree, hood.threshold) == (told["degree"], told["threshold"])
        assert members_needed(told["members"], 3) == told["needed_of_minimum_3"]
    seed, roster = (bytes.fromhex(PIECES["ring"][part]) for part in ("seed", "roster"))
    assert list(ring(seed, roster, 12)) == PIECES["ring"]["of_12"]
    near = neighbours_of(0, ring(seed, roster, 201), neighbourhood(201).degree)
    assert list(near) == PIECES["ring"]["neighbours_of_0_of_201"]
    for told in PIECES["keys"]:
        key = derived(
            bytes.fromhex(told["secret"]), bytes.fromhex(told["roster"]), told["purpose"],
            told["sender"], told["receiver"],
        )  # fmt: skip
        assert key.hex() == told["key"]
    for told in PIECES["masks"]:
        assert mask(bytes.fromhex(told["secret"]), 20).tolist() == told["mask"]
    closed = PIECES["sealed"]
    key, message, bound_to, ciphertext = (
        bytes.fromhex(closed[part]) for part in ("key", "message", "bound_to", "ciphertext")
    )
    assert opened(key, ciphertext, bound_to) == message


def test_the_shares_of_the_file_stand_for_its_secret() -> None:
    told = PIECES["shamir"]
    secret, draw = bytes.fromhex(told["secret"]), bytes.fromhex(told["draw"])
    made = shares_of([secret], told["points"], told["threshold"], lambda size: draw[:size])
    assert [share.hex() for (share,) in made] == told["shares"]
    held = [(p, bytes.fromhex(s)) for p, s in zip(told["points"], told["shares"], strict=True)]
    assert secret_of(held[:3]) == secret_of(held[1:]) == secret


def test_the_ring_of_the_file_by_its_definition() -> None:
    """ChaCha20 under SHA-256 of the label, seed and roster; 64-bit keys, sorted."""
    seed, roster = (bytes.fromhex(PIECES["ring"][part]) for part in ("seed", "roster"))
    key = hashlib.sha256(b"sottovoce/1/ring\0" + seed + roster).digest()
    stream = keystream(key, 8 * 12)
    keys = [int.from_bytes(stream[8 * at : 8 * at + 8], "little") for at in range(12)]
    assert sorted(range(12), key=keys.__getitem__) == PIECES["ring"]["of_12"]
