"""The door: what goes through is charged, noised once and sealed, and nothing else goes through."""

import copy
import gc
import pickle
import random
import secrets
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edge_models.errors import ContractError
from sync.budget import Ledger, Spend
from sync.errors import BudgetExhausted, DoorError, PeriodSpent, ProtocolError
from sync.messages import CELLS, HISTOGRAMS, MOST_COUNT, Report, first_cells, parse_report
from sync.noise import discrete_gaussian
from sync.parcels import MOST_CHUNK_BYTES, Kind, Parcel, frames_of
from sync.policy import parse_policy
from sync.release import Counts, Released, Seal, release_protocol, release_report
from sync.secure_sum.wire import Step
from sync.topics import UpTopic, report_topic

POLICY = parse_policy(
    resources.files("edge_models").joinpath("bundles", "affect-1", "policy.json").read_bytes()
)
PERSON = "0123456789abcdef" * 2
CHOICES = st.fixed_dictionaries(
    {histogram.name: st.integers(0, len(histogram.bins) - 1) for histogram in HISTOGRAMS}
)
FIRST = {histogram.name: 0 for histogram in HISTOGRAMS}


def release(
    counts: Counts | None = None,
    period: str = "2026-W48",
    ledger: Ledger | None = None,
    randbelow: Callable[[int], int] = secrets.randbelow,
    **changes: str,
) -> tuple[Released, Spend, Ledger]:
    names = {"study": "home", "pseudonym": PERSON, "bundle": "affect-1"} | changes
    return release_report(
        counts or Counts.of(FIRST),
        period=period,
        policy=POLICY,
        ledger=ledger if ledger is not None else Ledger(),
        randbelow=randbelow,
        **names,
    )


def no_chance(n: int) -> NoReturn:
    raise AssertionError("noise was drawn")


@given(CHOICES)
def test_counts_hold_one_answer_to_each_question(choices: dict[str, int]) -> None:
    cells = Counts.of(choices).cells
    assert len(cells) == CELLS and sum(cells) == len(HISTOGRAMS)
    for first, histogram in zip(first_cells(), HISTOGRAMS, strict=True):
        assert cells[first + choices[histogram.name]] == 1


@given(st.lists(st.integers(-2, 2), min_size=CELLS - 1, max_size=CELLS + 1), CHOICES)
def test_counts_that_are_not_one_hot_cannot_exist(
    noise: list[int], choices: dict[str, int]
) -> None:
    good = Counts.of(choices).cells
    for cells in (tuple(noise), tuple(a + b for a, b in zip(good, noise, strict=False))):
        one_hot = len(cells) == CELLS and all(
            sorted(cells[first : first + len(h.bins)]) == [0] * (len(h.bins) - 1) + [1]
            for first, h in zip(first_cells(), HISTOGRAMS, strict=True)
        )
        if one_hot:
            assert Counts(cells).cells == cells
        else:
            with pytest.raises(ContractError):
                Counts(cells)


def test_counts_are_whole_numbers_not_truths_or_floats() -> None:
    cells = Counts.of(FIRST).cells
    for wrong in (tuple(map(bool, cells)), tuple(map(float, cells))):
        with pytest.raises(ContractError):
            Counts(wrong)


@pytest.mark.parametrize(
    "changes",
    [{"coverage": -1}, {"coverage": 4}, {"gap_reason": 9}, {"phq8_band": 0}, {"coverage": None}],
)
def test_choices_that_answer_something_else_are_refused(changes: dict[str, int | None]) -> None:
    choices = {name: bin_ for name, bin_ in (FIRST | changes).items() if bin_ is not None}
    with pytest.raises(ContractError):
        Counts.of(choices)


def test_true_counts_are_not_shown_by_repr() -> None:
    assert "0" not in repr(Counts.of(FIRST)) and "1" not in repr(Counts.of(FIRST))


@given(CHOICES, st.integers(0, 2**32))
def test_a_report_is_the_counts_plus_one_draw_of_noise_a_cell(
    choices: dict[str, int], seed: int
) -> None:
    counts = Counts.of(choices)
    released, spend, ledger = release(counts, randbelow=random.Random(seed).randrange)
    again = random.Random(seed)
    noise = [discrete_gaussian(POLICY.sigma2, again.randrange) for _ in range(CELLS)]
    report = parse_report(released.payload)
    assert report.counts == tuple(a + b for a, b in zip(counts.cells, noise, strict=True))
    assert (report.study, report.pseudonym, report.bundle) == ("home", PERSON, "affect-1")
    assert (report.period, report.policy) == ("2026-W48", "weekly-1@1")
    assert released.topic == report_topic("home", PERSON)
    assert spend == Spend("2026-W48", Fraction(1, 8), "weekly-1@1")
    assert ledger == Ledger((spend,))


def test_the_noise_of_a_report_has_the_policys_variance_in_every_cell() -> None:
    """False alarm, were the seed drawn afresh: once in a thousand runs."""
    chance = random.Random("every cell")
    counts = Counts.of(FIRST)
    rows = [parse_report(release(counts, randbelow=chance.randrange)[0].payload).counts
            for _ in range(400)]  # fmt: skip
    for cell, truth in enumerate(counts.cells):
        squares = sum((row[cell] - truth) ** 2 for row in rows) / float(POLICY.sigma2)
        tails = stats.chi2.cdf(squares, 400), stats.chi2.sf(squares, 400)
        assert min(tails) > 1e-3 / CELLS / 2


def test_nothing_is_drawn_when_the_budget_or_the_period_is_spent() -> None:
    ledger = Ledger()
    for number in range(1, POLICY.reports_in_budget + 1):
        _, _, ledger = release(period=f"2026-W{number:02d}", ledger=ledger)
    with pytest.raises(BudgetExhausted):
        release(ledger=ledger, randbelow=no_chance)
    with pytest.raises(PeriodSpent):
        release(period="2026-W03", ledger=ledger, randbelow=no_chance)


@pytest.mark.parametrize(
    "changes",
    [{"study": "No/Study"}, {"pseudonym": "anna"}, {"bundle": "../x"}, {"bundle": ""}],
)
def test_a_report_with_a_wrong_name_is_not_made(changes: dict[str, str]) -> None:
    with pytest.raises(ContractError):
        release(**changes)
    with pytest.raises(ProtocolError):
        release(period="last week", randbelow=no_chance)


def test_a_report_that_cannot_be_made_does_not_show_its_counts() -> None:
    with pytest.raises(ContractError) as refused:
        release(bundle="wrong bundle")
    assert "[" not in refused.value.cause.replace("[a-z0-9]", "").replace("[a-z0-9.-]", "")
    assert refused.value.__cause__ is None


def test_a_released_message_stays_as_it_is() -> None:
    released = release()[0]
    payload = released.payload
    for name in ("topic", "payload", "_payload", "_topic", "_mark", "other"):
        with pytest.raises(DoorError):
            setattr(released, name, b"other")
        with pytest.raises(DoorError):
            delattr(released, name)
    assert released.payload == payload
    assert PERSON in repr(released) and "counts" not in repr(released)


def test_nobody_else_constructs_a_released_message() -> None:
    genuine = release()[0]
    for door in (None, True, b"", secrets.token_bytes(32), genuine, Released):
        with pytest.raises(DoorError):
            Released(door, "topic", b"payload")
    with pytest.raises(TypeError):
        Released()  # type: ignore[call-arg]


def test_a_released_message_has_no_subclass() -> None:
    with pytest.raises(DoorError):
        type("Forged", (Released,), {"payload": b"anything"})
    gc.collect()  # Python had made the class before it asked; nobody holds it
    assert Released.__subclasses__() == []


def test_a_released_message_is_not_copied_or_pickled() -> None:
    released = release()[0]
    attempts: list[Callable[[], Any]] = [
        lambda: copy.copy(released),
        lambda: copy.deepcopy(released),
        lambda: copy.deepcopy([released]),
        *(lambda p=p: pickle.dumps(released, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)),  # type: ignore[misc]
    ]
    for attempt in attempts:
        with pytest.raises(DoorError):
            attempt()


def test_a_hollow_or_altered_message_is_noticed() -> None:
    hollow = object.__new__(Released)
    with pytest.raises(DoorError):
        _ = hollow.payload
    filled = object.__new__(Released)
    for name, value in (("_topic", "topic"), ("_payload", b"raw"), ("_mark", bytes(32))):
        object.__setattr__(filled, name, value)
    altered = release()[0]
    object.__setattr__(altered, "_payload", b"raw")
    for forged in (filled, altered):
        with pytest.raises(DoorError):
            _ = forged.topic
        with pytest.raises(DoorError):
            Seal(bytes(32)).close(forged)


@given(st.binary(min_size=32, max_size=64))
def test_a_sealed_message_reopens_to_the_same_bytes(key: bytes) -> None:
    released = release(randbelow=random.Random(0).randrange)[0]
    sealed = Seal(key).close(released)
    reopened = Seal(key).reopen(sealed)
    assert reopened == released and hash(reopened) == hash(released)
    assert (reopened.topic, reopened.payload) == (released.topic, released.payload)
    assert Seal(key).close(reopened) == sealed


def test_a_sealed_message_reopens_after_a_restart(tmp_path: Path) -> None:
    key = secrets.token_bytes(32)
    released = release()[0]
    (tmp_path / "row").write_bytes(Seal(key).close(released))
    program = (
        "import sys; from pathlib import Path; from sync.release import Seal\n"
        "seal = Seal(bytes.fromhex(sys.argv[1]))\n"
        "released = seal.reopen(Path(sys.argv[2]).read_bytes())\n"
        "sys.stdout.buffer.write(released.payload)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, key.hex(), str(tmp_path / "row")],
        check=True, capture_output=True, timeout=60,
    ).stdout  # fmt: skip
    assert said == released.payload


def test_a_row_altered_anywhere_is_not_released() -> None:
    seal = Seal(secrets.token_bytes(32))
    sealed = seal.close(release()[0])
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1 << (place % 8)
        with pytest.raises(DoorError):
            seal.reopen(bytes(altered))
    for length in range(len(sealed)):
        with pytest.raises(DoorError):
            seal.reopen(sealed[:length])
    with pytest.raises(DoorError) as refused:
        seal.reopen(sealed + b"0")
    assert refused.value.remedy


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_by_the_seal(sealed: bytes) -> None:
    with pytest.raises(DoorError):
        Seal(b"k" * 32).reopen(sealed)


def test_a_row_sealed_by_another_device_is_not_released() -> None:
    sealed = Seal(b"a" * 32).close(release()[0])
    with pytest.raises(DoorError):
        Seal(b"b" * 32).reopen(sealed)


def test_the_seals_key_is_its_own_and_not_the_devices() -> None:
    import hmac

    key = b"k" * 32
    sealed = Seal(key).close(release()[0])
    assert sealed[:32] != hmac.digest(key, sealed[32:], "sha256")


def test_a_seal_needs_a_full_key_and_a_released_message() -> None:
    with pytest.raises(ContractError):
        Seal(b"short")
    report = parse_report(release()[0].payload)
    for other in (report, report.to_bytes(), "payload", None):
        with pytest.raises(DoorError):
            Seal(b"k" * 32).close(other)  # type: ignore[arg-type]


def test_a_report_made_by_hand_opens_no_door() -> None:
    report = Report(
        version=1, study="home", pseudonym=PERSON, period="2026-W48", policy="any@1",
        bundle="affect-1", counts=(MOST_COUNT,) * CELLS,
    )  # fmt: skip
    with pytest.raises(DoorError):
        Released(report, report_topic("home", PERSON), report.to_bytes())


# Parcels that hold nothing sensed.

UP = UpTopic("home", PERSON)


def of_round(step: int, body: bytes = b"body") -> Parcel:
    return Parcel(Kind.ROUND, bytes(32) + bytes([step]) + body)


@pytest.mark.parametrize(
    "parcel",
    [of_round(Step.ADVERT), of_round(Step.SHARES, bytes(2 * MOST_CHUNK_BYTES)),
     of_round(Step.CONFIRM), of_round(Step.OPENING),
     Parcel(Kind.STATUS, b"well"), Parcel(Kind.RESEND, b"again")],
    ids=["keys", "shares", "confirmation", "opening", "status", "question"],
)  # fmt: skip
def test_the_frames_of_a_parcel_that_holds_nothing_sensed_are_released(parcel: Parcel) -> None:
    frames = release_protocol(parcel, UP)
    assert tuple(frame.payload for frame in frames) == frames_of(parcel)
    assert {frame.topic for frame in frames} == {str(UP)}
    seal = Seal(b"k" * 32)
    assert tuple(seal.reopen(seal.close(frame)) for frame in frames) == frames


@pytest.mark.parametrize(
    "parcel",
    [of_round(Step.MASKED), of_round(0), of_round(Step.INBOX), Parcel(Kind.ROUND, bytes(32)),
     Parcel(Kind.HEAD, b""), Parcel(Kind.SIGNED_TERMS, b""), Parcel(Kind.NOTICE, b"")],
    ids=["masked vector", "step 0", "the coordinator's", "no step", "head", "terms", "notice"],
)  # fmt: skip
def test_a_parcel_that_may_hold_something_sensed_is_not_released_as_protocol(
    parcel: Parcel,
) -> None:
    with pytest.raises(DoorError):
        release_protocol(parcel, UP)
