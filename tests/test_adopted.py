"""A device hears of lessons and heads: what it keeps, what it refuses, and consent before all."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adopted import MOST_LESSONS, adopted_head, heed, lesson_of
from agent.config import LearningSettings, Settings
from agent.home import Home, open_home
from agent.rounds import Hearing
from agent.shelf import Kind as Kept
from agent.store import Store
from edge_models.bundle import Bundle, shipped_bundle
from edge_models.classifier import Classifier
from edge_models.errors import ContractError
from edge_models.head import Head
from sync.coordinator.drafts import draft_of
from sync.errors import ProtocolError
from sync.federated.layout import Layout
from sync.federated.lesson import HeadForAll, Lesson, sign_head, sign_lesson
from sync.parcels import Kind, Parcel, frames_of
from sync.participation import Enrolled, parse_part
from sync.policy import Purpose
from sync.secure_sum.states import Ended
from sync.secure_sum.terms import Terms, sign_terms
from tests.founding import KEY, World, founded_study
from tests.schooling import DIGEST, POLICY, STRONG, costly_bundle, fill, frame, lesson

SHIPPED = shipped_bundle()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with founded_study(tmp_path, policy=STRONG) as world:
        costly_bundle(tmp_path / "bundle")
        world.enrol("mine")
        key = tmp_path / "mine" / "key"
        key.write_bytes(KEY)
        key.chmod(0o600)
        with world.store("mine") as store:
            fill(store, 1, world.clock() - timedelta(days=8))
        yield world


def home(world: World, *, learns: bool = True) -> Home:
    return open_home(
        Settings(
            state=str(world.folder / "mine"),
            bundle=str(world.folder / "bundle"),
            learning=LearningSettings(take_part=learns),
        ),
        {},
    )


def hearing(world: World, *, learns: bool = True) -> Hearing:
    return Hearing(home(world, learns=learns), clock=world.clock, on_kept=lambda: None)


def say(to: Hearing, parcel: Parcel) -> None:
    for frame_ in frames_of(parcel):
        to.receive("any", frame_)


def head(number: int, slope: float = 1.0, bundle: str = SHIPPED.space) -> HeadForAll:
    own = SHIPPED.head.model_copy(update={"slopes": (slope, 1.0, 1.0)})
    return HeadForAll(version=1, study="north", bundle=bundle, number=number, head=own)


def given(world: World, said: HeadForAll) -> Parcel:
    return Parcel(Kind.HEAD, sign_head(said, world.authority.coordinator))


def taught(world: World, said: Lesson) -> Parcel:
    return Parcel(Kind.HEAD, sign_lesson(said, world.authority.coordinator))


def announced(world: World, about: Lesson, **changes: object) -> tuple[Terms, Parcel]:
    draft = draft_of(
        Purpose.HEAD, about.digest, study="north", policy=POLICY, policy_digest=DIGEST,
        now=int(world.clock().timestamp()), step_s=60, length=Layout(frame().size).length,
    )  # fmt: skip
    terms = draft("0a" * 32, "0b" * 32).model_copy(update=changes)
    signed = sign_terms(terms, world.authority.coordinator)
    return terms, Parcel(Kind.SIGNED_TERMS, signed.to_bytes())


def parts(world: World) -> list[bytes]:
    with world.store("mine") as store:
        return [kept for _, kept in store.shelf.all(Kept.PART)]


def waiting(world: World) -> int:
    with world.store("mine") as store:
        return len(store.outbox())


def test_a_head_for_everybody_scores_from_the_next_start_on(world: World) -> None:
    ear = hearing(world, learns=False)  # whoever learns with others or not: it is for everybody
    assert home(world).head == SHIPPED.head
    say(ear, given(world, head(1, 0.5)))
    assert ear.trouble is None
    assert home(world).head == head(1, 0.5).head
    assert home(world).bundle.head == SHIPPED.head  # frames are made along the bundle's own


def test_an_older_head_is_refused_and_the_same_again_is_nothing_new(world: World) -> None:
    ear = hearing(world)
    say(ear, given(world, head(5, 0.5)))
    say(ear, given(world, head(5, 0.5)))
    assert ear.trouble is None
    for wrong in (head(4, 0.7), head(5, 0.7), head(6, bundle="affect-2")):
        say(ear, given(world, wrong))
        assert isinstance(ear.trouble, ProtocolError)
        assert home(world).head == head(5, 0.5).head
    ear = hearing(world)
    say(ear, given(world, head(6, 0.9)))
    assert ear.trouble is None and home(world).head == head(6, 0.9).head


def test_a_head_of_another_size_is_refused_and_another_bundle_keeps_its_own(world: World) -> None:
    small = Head(
        tasks=("sadness", "fear", "distress"), weights=((1.0,), (1.0,), (1.0,)),
        biases=(0.0, 0.0, 0.0), slopes=(1.0, 1.0, 1.0), shifts=(0.0, 0.0, 0.0),
    )  # fmt: skip
    ear = hearing(world)
    say(ear, given(world, head(1).model_copy(update={"head": small})))
    assert isinstance(ear.trouble, ProtocolError)
    with pytest.raises(ContractError):
        Classifier(SHIPPED, small)
    say(ear, given(world, head(1, 0.5)))
    renamed = SHIPPED.manifest.model_copy(update={"name": "affect-2"})
    with world.store("mine") as store:
        assert adopted_head(store, study="north", bundle=SHIPPED) == head(1, 0.5)
        assert adopted_head(store, study="south", bundle=SHIPPED) is None
        assert adopted_head(store, study="north", bundle=replace(SHIPPED, manifest=renamed)) is None


def test_who_has_consented_answers_terms_of_the_lesson_at_hand(world: World) -> None:
    ear = hearing(world)
    about = lesson()
    _, terms = announced(world, about)
    say(ear, terms)  # before its lesson: nothing is said, and nothing is held against it
    assert not parts(world) and not waiting(world)
    say(ear, taught(world, about))
    moved = world.clock()
    say(hearing(world), terms)
    assert world.clock() == moved and len(parts(world)) == 1 and waiting(world) == 1


def test_without_consent_nothing_is_kept_or_said(world: World) -> None:
    ear = hearing(world, learns=False)
    about = lesson()
    say(ear, taught(world, about))
    say(ear, announced(world, about)[1])
    assert not parts(world) and not waiting(world) and ear.trouble is None
    with world.store("mine") as store:
        assert lesson_of(store, about.digest) is None and not store.book.ledger().spends


def test_terms_of_another_lesson_are_not_answered(world: World) -> None:
    ear = hearing(world)
    say(ear, taught(world, lesson()))
    say(ear, announced(world, lesson(place=2))[1])
    assert not parts(world) and not waiting(world)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"length": 50}, "sums 50 numbers"),
        ({"squared_clip": 10**7}, "squared clip is"),
        ({"minimum": 3}, "over 3 people"),
        ({"purpose": "canary"}, "costs rho"),
    ],
)
def test_terms_that_ask_for_more_are_refused_and_the_reason_is_kept(
    world: World, changes: dict[str, object], why: str
) -> None:
    ear = hearing(world)
    about = lesson()
    say(ear, taught(world, about))
    say(ear, announced(world, about, **changes)[1])
    (kept,) = parts(world)
    member = parse_part(kept).member
    assert isinstance(member, Ended) and member.refusal is not None
    assert why in member.refusal.cause and not waiting(world)
    with world.store("mine") as store:
        assert not store.book.ledger().spends


def test_an_altered_lesson_is_refused_and_told(world: World) -> None:
    ear = hearing(world)
    content = sign_lesson(lesson(), world.authority.coordinator)
    say(ear, Parcel(Kind.HEAD, content.replace(b'"steps":1', b'"steps":9')))
    assert isinstance(ear.trouble, ProtocolError)
    with world.store("mine") as store:
        assert not store.shelf.all(Kept.LESSON)


def test_a_few_lessons_are_kept_the_newest(world: World) -> None:
    membership = home(world).membership
    assert membership is not None
    enrolled = Enrolled("north", membership.identity, membership.authority, POLICY, DIGEST)
    bundle: Bundle = home(world).bundle
    now = int(world.clock().timestamp())

    def hear(store: Store, place: int) -> None:
        content = sign_lesson(lesson(place=place), world.authority.coordinator)
        heed(store, content, enrolled=enrolled, bundle=bundle, learns=True, now=now + place)

    with world.store("mine") as store:
        for place in range(1, MOST_LESSONS + 4):
            hear(store, place)
        assert len(store.shelf.all(Kept.LESSON)) == MOST_LESSONS
        assert lesson_of(store, lesson(place=MOST_LESSONS + 3).digest) is not None
        assert lesson_of(store, lesson(place=3).digest) is None
