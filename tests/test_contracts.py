"""What a new bundle must keep: what passes, what is asked in plain words, and what is refused."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from agent.home import Home
from agent.updates.contracts import Fit, fit_of
from edge_models.bundle import load_bundle, shipped_bundle
from sync.agreement import sign_policy
from sync.budget import Spend
from sync.updates.rejected import Reason, UpdateRejected
from tests.founding import KEY, World, founded_study
from tests.stored import LAST_MONDAY, NOW
from tests.updating import (
    Change,
    home_in,
    label,
    other_body,
    other_moments,
    other_population,
    policy,
    text,
    write_variant,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path / "state")


def authority_key(world: World) -> bytes:
    """The study's own, which a release engineer signs policies with."""
    return (world.authority.folder / "authority.key").read_bytes()


def member_home(world: World) -> Home:
    key = world.folder / "mine" / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    return home_in(world.folder / "mine")


def fit(
    home: Home, tmp_path: Path, *changes: Change, signature: bytes = b"", **manifest: object
) -> Fit:
    folder = write_variant(tmp_path / "new", *changes, **manifest)  # type: ignore[arg-type]
    return fit_of(home, load_bundle(folder), label(7, signature=signature))


def test_another_version_of_the_same_fits_and_asks_nothing(home: Home, tmp_path: Path) -> None:
    assert fit(home, tmp_path, text("CARD.md", "# Better")) == Fit((), (), True, True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rho_per_report": "3/16"}, "lets a report tell more: ε 2.75 → 3.41"),
        ({"rho_budget": "2"}, "lets the whole study tell more: ε 11.58 → 12.51"),
        ({"head": {"rho": "1/50", "squared_clip": 1164738}}, "lets a round of learning tell more"),
        ({"canary": {"rho": "1/19", "squared_clip": 1048576}}, "lets a vote on a model tell more"),
        ({"delta": 1e-5}, "δ 1e-06 → 1e-05"),
        ({"name": "weekly-2"}, "'weekly-2@1' instead of 'weekly-1@1'"),
    ],
)
def test_a_policy_that_lets_more_be_told_is_asked_about_in_plain_words(
    home: Home, tmp_path: Path, fields: dict[str, object], said: str
) -> None:
    found = fit(home, tmp_path, policy(**fields))
    (question,) = found.questions
    assert said in question and found.needs_yes


def test_smaller_sums_and_new_kinds_of_rounds_are_asked_about(tmp_path: Path) -> None:
    now = write_variant(tmp_path / "now", policy(minimum_cohort=50, head=None, canary=None))
    home = home_in(tmp_path / "state", bundle=str(now))
    found = fit(home, tmp_path)
    assert [question.partition(":")[0] for question in found.questions] == [
        "The new privacy policy allows a round of learning, which the one of now does not",
        "The new privacy policy allows a vote on a model, which the one of now does not",
        "The new privacy policy lets sums be opened over fewer people",
    ]


def test_a_stricter_policy_goes_without_asking(home: Home, tmp_path: Path) -> None:
    stricter = policy(
        version=2, rho_per_report="1/16", rho_budget="1", delta=1e-7, minimum_cohort=40,
        head=None, canary={"rho": "1/40", "squared_clip": 1048576},
    )  # fmt: skip
    assert fit(home, tmp_path, stricter).questions == ()


def test_what_was_spent_under_one_policy_counts_under_the_next(home: Home, tmp_path: Path) -> None:
    with home.open_store() as store:
        paid = store.ledger().charged(
            Spend("2026-W47", Fraction(1, 8), "weekly-1@1"), home.study.policy
        )
        store.commit_release(b"sealed", paid, NOW)
    found = fit(home, tmp_path, policy(version=2, rho_budget="1/8", head=None, canary=None))
    assert found.questions == ()
    assert found.notes == (
        "What has been reported already uses up the new privacy budget: nothing more leaves.",
    )
    assert LAST_MONDAY.isocalendar()[:2] == (2026, 47)


def test_another_front_end_begins_a_new_baseline_and_says_so(home: Home, tmp_path: Path) -> None:
    found = fit(home, tmp_path, other_population)
    assert (found.keeps_baseline, found.keeps_head) == (False, False)
    assert not found.needs_yes
    assert "what is usual for you is learned anew" in found.notes[0]


def test_another_body_keeps_the_baseline_and_not_the_studys_head(
    home: Home, tmp_path: Path
) -> None:
    for change in (other_body, other_moments):
        found = fit(home, tmp_path, change)
        assert (found.keeps_baseline, found.keeps_head) == (True, False)
        assert not found.needs_yes
        model, moments = found.notes
        assert "a model that your study trained" in model
        assert "Where your voice usually lies" in moments and "learned anew" in moments


def test_a_new_consent_text_waits_for_a_yes_and_a_silent_change_is_refused(
    home: Home, tmp_path: Path
) -> None:
    found = fit(home, tmp_path, text("consent.md", "# Other"), consent_version=2)
    assert found.questions == (
        "The text that you agreed to has changed (version 1 → 2). Please read it.",
    )
    with pytest.raises(UpdateRejected, match="under the same number") as refused:
        fit(home, tmp_path, text("consent.md", "# Other"))
    assert refused.value.reason is Reason.CONTRACT


@pytest.mark.parametrize(
    ("changes", "fields", "said"),
    [
        ((), {"name": "affect-2"}, "was signed as"),
        ((policy(period_days=1),), {}, "can't be kept"),
        ((text("policy.json", "{}"),), {}, "can't be kept"),
    ],
)
def test_what_can_not_be_used_here_is_refused_whatever_the_person_says(
    home: Home, tmp_path: Path, changes: tuple[Change, ...], fields: dict[str, object], said: str
) -> None:
    with pytest.raises(UpdateRejected, match=said) as refused:
        fit(home, tmp_path, *changes, **fields)
    assert refused.value.reason is Reason.CONTRACT


def test_a_member_takes_a_policy_only_with_its_studys_signature(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world:
        world.enrol("mine")
        home = member_home(world)
        assert fit(home, tmp_path, text("CARD.md", "# x")).questions == ()  # the policy of before
        change = policy(version=2, minimum_cohort=30)
        changed = write_variant(tmp_path / "changed", change)
        raw = (changed / "policy.json").read_bytes()
        for false in (b"", bytes(64), sign_policy(bytes(32), study="north", policy=raw),
                      sign_policy(authority_key(world), study="south", policy=raw)):  # fmt: skip
            with pytest.raises(UpdateRejected, match="not signed by this device's study"):
                fit(home, tmp_path, change, signature=false)
        good = sign_policy(authority_key(world), study="north", policy=raw)
        assert fit(home, tmp_path, change, signature=good).questions == ()
        slots = home.slots
        with slots.stage(label(7, signature=good)) as folder:
            write_variant(folder, change)
        slots.activate()
        renewed = home.renewed()
        assert renewed.study.policy.reference == "weekly-1@2"
        assert renewed.serial == 7 and renewed.passed_by is None
        assert json.loads(renewed.bundle.policy)["minimum_cohort"] == 30


def test_a_slot_whose_policy_is_not_the_studys_is_passed_by(tmp_path: Path) -> None:
    with founded_study(tmp_path) as world:
        world.enrol("mine")
        home = member_home(world)
        with home.slots.stage(label(7)) as folder:
            write_variant(folder, policy(rho_per_report="1"))
        home.slots.activate()
        renewed = home.renewed()
        assert renewed.serial == 0 and renewed.passed_by is not None
        assert renewed.study.policy == home.study.policy
        assert renewed.bundle.space == shipped_bundle().space
