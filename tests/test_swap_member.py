"""A member's device takes an update: the study's head, rounds, page and policy follow."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.answers import Live, enrolment_of
from agent.config import Settings
from agent.home import Home, bundle_slots, open_home
from agent.rounds import Hearing
from agent.service import ParticipantPage
from agent.updates.live import LiveEar
from sync.agreement import sign_policy
from sync.coordinator.fleet import Fleet
from sync.coordinator.round_book import open_round_book
from sync.participation import parse_part
from sync.secure_sum.server import Opened
from sync.secure_sum.states import Ended
from sync.secure_sum.wire import Step
from sync.updates.rejected import Reason
from tests.founding import KEY, World, founded_study
from tests.schooling import STRONG, lesson
from tests.test_adopted import announced, given, head, parts, say, taught
from tests.test_participant_page import ask
from tests.test_participation import draft, fleet_of
from tests.updating import NOW, Change, label, other_population, policy, text, write_variant


def strong(folder: Path) -> None:
    """The policy that the study of these tests has signed."""
    (folder / "policy.json").write_bytes(STRONG)


def take(world: World, serial: int, *changes: Change) -> None:
    """Put an update in the device's slots, its policy signed by the study, and keep it."""
    slots = bundle_slots(Settings(state=str(world.folder / "mine")))
    draft_folder = write_variant(world.folder / f"draft-{serial}", strong, *changes)
    raw = (draft_folder / "policy.json").read_bytes()
    key = (world.authority.folder / "authority.key").read_bytes()
    signature = sign_policy(key, study="north", policy=raw)
    with slots.stage(label(serial, signature=signature)) as folder:
        shutil.copytree(draft_folder, folder, dirs_exist_ok=True)
    slots.activate()
    slots.commit()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with founded_study(tmp_path, policy=STRONG) as world:
        world.enrol("mine")
        key = tmp_path / "mine" / "key"
        key.write_bytes(KEY)
        key.chmod(0o600)
        take(world, 7)
        yield world


def home(world: World) -> Home:
    said = {"state": str(world.folder / "mine"), "learning": {"take_part": True}}
    return open_home(Settings.model_validate(said), {})


def test_the_studys_head_stays_with_the_embeddings_that_it_is_for(world: World) -> None:
    first = home(world)
    assert first.serial == 7
    say(Hearing(first, clock=world.clock, on_kept=lambda: None), given(world, head(1, 0.5)))
    adopted = head(1, 0.5).head
    assert first.renewed().head == adopted
    take(world, 8, text("CARD.md", "# The same, described better"))
    assert (first.renewed().serial, first.renewed().head) == (8, adopted)
    take(world, 9, other_population)
    renewed = first.renewed()
    assert (renewed.serial, renewed.head) == (9, renewed.bundle.head)
    first.slots.roll_back(Reason.UNHEALTHY)
    assert (first.renewed().serial, first.renewed().head) == (8, adopted)


def test_terms_of_the_policy_before_are_refused_after_the_swap(world: World) -> None:
    now = home(world)
    ear = Hearing(now, clock=world.clock, on_kept=lambda: None)
    for about in (lesson(), lesson(place=2)):
        say(ear, taught(world, about))
    say(ear, announced(world, lesson())[1])
    (joined,) = parts(world)
    assert not isinstance(parse_part(joined).member, Ended)
    take(world, 8, policy(version=2))
    ear.adopt(now.renewed())
    say(ear, announced(world, lesson(place=2), round="0c" * 32)[1])
    members = [parse_part(part).member for part in parts(world)]
    (ended,) = [member for member in members if isinstance(member, Ended)]
    assert len(members) == 2 and ended.refusal is not None
    assert "has agreed to 'costly-1@2'" in ended.refusal.cause


def test_the_page_shows_the_policy_and_bands_of_what_screens_now(world: World) -> None:
    now = home(world)
    page = ParticipantPage(
        now.open_store, now.study, now.seal, live=Live, clock=lambda: NOW, port=0,
        enrolment=enrolment_of(now.membership, now.study),
    )  # fmt: skip
    with page, now.open_store() as store:
        ear = LiveEar(now, store, clock=lambda: NOW)
        ear.tell(lambda home: page.adopt(home.study, enrolment_of(home.membership, home.study)))
        before = json.loads(ask(page, "/api/status")[2])
        take(world, 8, policy(version=2, minimum_cohort=44))
        ear.screen(None, alone=None)
        after = json.loads(ask(page, "/api/status")[2])
    assert (before["privacy"]["policy"], after["privacy"]["policy"]) == ("costly-1@1", "costly-1@2")
    assert after["enrolment"]["least_people"] == 44


def test_a_round_joined_under_the_policy_before_is_left_unpaid(tmp_path: Path) -> None:
    with open_round_book(tmp_path / "rounds.db") as book:
        fleet: Fleet = fleet_of(24, book)
        changed = set(list(fleet.devices)[:2])

        def update(name: bytes, step: Step) -> bool:
            device = fleet.devices[name]
            if name in changed and step is Step.ADVERT:
                mine = device.participation.enrolled
                looser = mine.policy.model_copy(update={"rho_per_report": mine.policy.rho_budget})
                enrolled = replace(mine, policy=looser, policy_digest="0" * 64)
                device.participation = replace(device.participation, enrolled=enrolled)
            return False

        result = fleet.run(draft(), update)  # type: ignore[arg-type]
        assert isinstance(result, Opened) and len(result.members) == 22
        for name, device in fleet.devices.items():
            assert len(device.notebook.paid.spends) == (0 if name in changed else 1)
            if name in changed:
                (kept,) = device.notebook.kept.values()
                member = parse_part(kept).member
                assert isinstance(member, Ended) and member.refusal is not None
                assert "has agreed to" in member.refusal.cause
