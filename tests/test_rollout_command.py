"""`sottovoce rollout`: asks the coordinator, says what to expect, and shows how it stands."""

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_models.command import main
from edge_models.errors import Explained
from sync.coordinator.post import Post
from sync.coordinator.rollout_book import (
    ROLLOUT_BOOK_FILE,
    Deed,
    RolloutBook,
    Wish,
    open_rollout_book,
)
from sync.coordinator.rollout_command import _duration, _rings, _share
from sync.coordinator.rollout_desk import RolloutDesk, Start
from sync.coordinator.rollouts import RolloutError, Rules
from sync.coordinator.round_book import open_round_book
from sync.coordinator.serve import post_study, publisher_of
from sync.coordinator.store import open_store
from sync.coordinator.updating import ONLINE_KEY_FILE, Updating, online_signer
from sync.endpoint import Endpoint
from sync.envelope import decoded
from sync.errors import PublishingError
from sync.messages import CELLS
from sync.policy import parse_policy, policy_digest
from sync.publishing.keys import new_key
from sync.publishing.online import OnlineSigner
from sync.publishing.publication import verified_log
from sync.release import release_protocol
from sync.topics import UpTopic
from sync.updates.offers import Kind
from sync.updates.rollout import ROLLOUT_FILE, State, parse_rollouts
from tests.press import Press
from tests.releasing_to_a_study import Published, published_study
from tests.rolling import progress


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    monkeypatch.setenv("COLUMNS", "300")
    with published_study(tmp_path) as study:
        study.publish(1)
        study.publish(2)
        yield study


def rollout(study: Published, *words: str) -> int:
    return main(["rollout", *words, "--state", str(study.state)])


def wishes(study: Published) -> tuple[Wish, ...]:
    with open_rollout_book(study.state / ROLLOUT_BOOK_FILE) as book:
        found = book.wanted()
        for number in found:
            book.settle(number)
        return tuple(found.values())


def works(study: Published, seconds: int = 0) -> None:
    """The coordinator, for a moment: its desk with the real log of acts."""
    with open_rollout_book(study.state / ROLLOUT_BOOK_FILE) as book:
        desk_of(study, book).advance(study.repository.state().signed_at + seconds)


def desk_of(study: Published, book: RolloutBook) -> RolloutDesk:
    publisher = publisher_of(study.world.founded, study.repository.folder)
    signer = OnlineSigner(study.repository, [study.keys["online"]])
    return RolloutDesk(publisher, book, signer, random_bytes=bytes)


def test_the_newest_is_asked_for_with_rings_that_fit_the_study(
    study: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    study.enrol(500)
    assert not rollout(study, "start", "bundle", "affect-1", "latest", "--soak", "2h")
    said = capsys.readouterr().out
    assert "roll out bundle affect-1 2 (1.2.0)" in said
    assert "Rings: 37 %, 100 % of 500 devices" in said
    assert "past a first ring of 185 with a probability of 1.9 %" in said
    (wish,) = wishes(study)
    assert (wish.deed, wish.kind, wish.name) == (Deed.START, Kind.BUNDLE, "affect-1")
    start = decoded(wish.content, Start)
    assert (start.serial, start.rings, start.rules) == (2, (370, 1000), Rules(soak_s=7200))


def test_a_version_and_rings_can_be_named(study: Published) -> None:
    assert not rollout(
        study, "start", "bundle", "affect-1", "1", "--rings", "1,10,50,100", "--tolerate", "5%",
        "--enough", "0.5", "--silent", "3d",
    )  # fmt: skip
    (wish,) = wishes(study)
    start = decoded(wish.content, Start)
    assert (start.serial, start.rings) == (1, (10, 100, 500, 1000))
    assert (start.rules.tolerated, start.rules.enough) == (0.05, 0.5)
    assert start.rules.silent_s == 3 * 24 * 3600


def test_a_repository_elsewhere_can_be_named(
    study: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = study.repository.folder.rename(tmp_path / "elsewhere")
    assert rollout(study, "start", "bundle", "affect-1", "latest")
    assert "Name the coordinator's with --repository" in capsys.readouterr().err
    assert not rollout(
        study, "start", "bundle", "affect-1", "latest", "--repository", str(elsewhere)
    )
    assert len(wishes(study)) == 1


def test_the_repository_of_another_study_is_refused(
    study: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Press.founded(tmp_path / "south", "south", datetime.now(UTC))
    elsewhere = ("--repository", str(tmp_path / "south"))
    assert rollout(study, "start", "bundle", "affect-1", "latest", *elsewhere)
    assert "is of the study 'south', not of 'north'" in capsys.readouterr().err
    with pytest.raises(RolloutError, match="of the study 'south'"):
        publisher_of(study.world.founded, tmp_path / "south")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("start", "bundle", "affect-1", "9"), "offers no bundle 'affect-1' 9"),
        (("start", "release", "affect-1", "1"), "offers no release"),
        (("start", "bundle", "affect-1", "1", "--tolerate", "50%"), "tolerates 0.1 % to 20 %"),
        (("pause", "bundle", "affect-1"), "Nothing of the bundle 'affect-1' is rolled out"),
    ],
)
def test_what_can_not_be_had_is_not_asked_for(
    study: Published, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rollout(study, *words)
    assert why in capsys.readouterr().err
    assert not wishes(study)


def test_without_its_online_key_the_coordinator_is_asked_for_nothing(
    study: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    (study.state / "online.key.pem").unlink()
    assert rollout(study, "start", "bundle", "affect-1", "1")
    assert "has no online key" in capsys.readouterr().err


def test_a_folder_without_a_study_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rollout", "status", "--state", str(tmp_path / "none")])
    assert "No study was founded" in capsys.readouterr().err


def test_from_the_command_to_the_signed_file_and_the_log(
    study: Published, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study.enrol(60)
    assert not rollout(study, "status")
    assert "Nothing has been rolled out" in capsys.readouterr().out
    rollout(study, "start", "bundle", "affect-1", "latest")
    works(study)
    rollout(study, "pause", "bundle", "affect-1")
    assert not rollout(study, "status")
    assert "1 asked for, and no coordinator has done it" in capsys.readouterr().out
    works(study, 1)
    rollout(study, "abort", "bundle", "affect-1")
    works(study, 2)
    monkeypatch.setenv("COLUMNS", "80")
    assert not rollout(study, "status")
    *_, first, second, why = capsys.readouterr().out.splitlines()
    assert first.startswith("bundle affect-1 2: aborted, ring 1 of 2 (50 %), began ")
    assert re.fullmatch(
        r"  of (\d+) in open rings: 0 committed, 0 failed, 0 under way, \1 not heard of it", second
    )
    assert "Somebody withdrew it" in why
    authority = study.world.authority
    (directive,) = parse_rollouts(
        (study.repository.folder / ROLLOUT_FILE).read_bytes(),
        study="north",
        authority=authority.public_key,
        now=int(study.world.clock().timestamp()),
    )
    assert (directive.state, directive.number, directive.withdrawn) == (State.ABORTED, 3, (2,))
    acts = [act for act in verified_log(study.repository) if act.act == "rollout"]
    assert [act.details["state"] for act in acts] == ["started", "paused", "aborted"]
    assert acts[-1].details["directive"] == directive.digest
    assert all(len(json.dumps(act.details)) < 1000 for act in acts)


@pytest.mark.parametrize("word", ["", "0", "10,5", "5,5", "101", "1,x", "0.05,1", "1e2", "-1"])
def test_rings_that_do_not_rise_are_none(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        _rings(word)
    assert _rings("0.1, 2.5%,100") == (1, 25, 1000)


@pytest.mark.parametrize("word", ["", "101%", "2", "x", "-1%"])
def test_shares_are_read_as_people_write_them(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        _share(word)
    assert (_share("2%"), _share("0.02"), _share("2 %")) == (0.02, 0.02, 0.02)


@pytest.mark.parametrize("word", ["", "24", "h", "1w", "-1h", "1.5h"])
def test_times_have_a_unit(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        _duration(word)
    assert (_duration("90m"), _duration("2d")) == (5400, 172_800)


def test_a_simulation_too_large_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "simulate", "--devices", "0"])
    assert "takes 1 to 5000 devices" in capsys.readouterr().err


# The coordinator at work: what it makes of a PROGRESS parcel, and of its online key.


@contextmanager
def post_of(study: Published, desk: RolloutDesk | None) -> Iterator[tuple[Post, list[Explained]]]:
    """The real post, not connected."""
    faults: list[Explained] = []
    founded = study.world.founded
    policy = founded.authority.policy
    with (
        open_round_book(study.state / "rounds.db") as book,
        open_store(
            study.state / "reports.db", study="north", policy=parse_policy(policy).reference,
            cells=CELLS, clock=study.world.clock,
        ) as store,
    ):  # fmt: skip
        who = post_study(founded, parse_policy(policy), policy_digest(policy))
        endpoint = Endpoint("127.0.0.1", 1, founded.authority.tls)
        yield (
            Post(
                who,
                endpoint,
                book,
                store,
                random_bytes=bytes,
                updates=Updating(study.repository.folder, desk=desk),
                on_fault=faults.append,
            ),
            faults,
        )


def test_the_post_keeps_what_a_member_says_of_an_update(study: Published) -> None:
    (name,) = study.enrol(1)
    (frame,) = release_protocol(progress().to_parcel(), UpTopic("north", name))
    with (
        open_rollout_book(study.state / ROLLOUT_BOOK_FILE) as book,
        post_of(study, desk_of(study, book)) as (post, faults),
    ):
        post._hear(frame.topic, frame.payload)
        post._hear(str(UpTopic("north", "f" * 32)), frame.payload)
        assert list(book.said(Kind.BUNDLE, "affect-1", 7)) == [name]
        assert len(faults) == 1 and "no member" in str(faults[0])


def test_a_coordinator_without_an_online_key_hears_no_progress(study: Published) -> None:
    (name,) = study.enrol(1)
    (frame,) = release_protocol(progress().to_parcel(), UpTopic("north", name))
    folder, key = study.repository.folder, study.state / ONLINE_KEY_FILE
    assert online_signer(folder, key) is not None
    key.unlink()
    assert online_signer(folder, key) is None
    new_key(study.state, "online", "five random words in a row")
    with pytest.raises(PublishingError, match="has a passphrase"):
        online_signer(folder, key)
    with post_of(study, None) as (post, faults):
        post._hear(frame.topic, frame.payload)
        assert "nothing is rolled out here" in str(faults[0])
