"""The coordinator's desk for rollouts: wishes, the signed file, the log, and books put back."""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from edge_models.errors import Explained
from sync.coordinator.offered import find, offered
from sync.coordinator.rollout_book import Deed, RolloutBook, Wish, open_rollout_book
from sync.coordinator.rollout_desk import Publisher, RolloutDesk, start_of
from sync.coordinator.rollouts import RolloutError, Rules
from sync.errors import ProtocolError, PublishingError
from sync.identity import public_key
from sync.publishing.roles import Listed
from sync.updates.offers import Kind, Offer, bundle_path
from sync.updates.progress import Phase
from sync.updates.rejected import Reason
from sync.updates.rollout import (
    MOST_DIRECTIVES,
    ROLLOUT_FILE,
    Directive,
    State,
    parse_rollouts,
)
from tests.rolling import AUTHORITY, DAY_S, NOW, STUDY, coordinator, progress, pseudonym

EVERYBODY = tuple(pseudonym(number) for number in range(100))


@dataclass
class Journal:
    """A log that can fail, and that notes what was published when it was written."""

    file: Path
    acts: list[dict[str, str]] = field(default_factory=list)
    fails: bool = False

    def record(self, act: str, details: Mapping[str, str], now: datetime) -> None:
        if self.fails:
            raise PublishingError("The log can't be written.", "Free some space.")
        published = self.file.exists() and details["directive"] in {
            each.digest for each in read(self.file)
        }
        assert not published, "devices heard of it first"
        self.acts.append({"act": act, **details})


@dataclass
class Desk:
    """A desk, and all that is around it."""

    folder: Path
    book: RolloutBook
    desk: RolloutDesk
    log: Journal
    faults: list[Explained]

    def wants(self, deed: Deed, serial: int = 7, name: str = "affect-1", **rules: float) -> None:
        content = b""
        if deed is Deed.START:
            content = start_of(serial, (100, 1000), Rules(**rules))  # type: ignore[arg-type]
        self.book.wish(Wish(deed, Kind.BUNDLE, name, content))

    def published(self) -> tuple[Directive, ...]:
        return read(self.folder / "updates" / ROLLOUT_FILE)

    def all_say(self, phase: Phase, now: int, reason: Reason | None = None) -> None:
        (said,) = self.published()
        for name in EVERYBODY:
            if said.includes(name):
                content = progress(phase, reason, serial=said.serial, moment=now)
                self.desk.hear(name, content.to_parcel().content, now)


def read(file: Path) -> tuple[Directive, ...]:
    return parse_rollouts(file.read_bytes(), study=STUDY, authority=public_key(AUTHORITY), now=NOW)


def on_offer(kind: Kind, name: str, serial: str) -> tuple[Offer, Listed]:
    if int(serial) > 20:
        raise RolloutError("There is no such thing.")
    offer = Offer(kind=kind, name=name, serial=int(serial), says="1.0")
    return offer, Listed(bundle_path(name, offer.serial), f"{offer.serial:064x}", 1, offer)


@contextmanager
def desk_in(folder: Path) -> Iterator[Desk]:
    (folder / "updates").mkdir(exist_ok=True)
    faults: list[Explained] = []
    with open_rollout_book(folder / "rollouts.db") as book:
        log = Journal(folder / "updates" / ROLLOUT_FILE)
        desk = RolloutDesk(
            Publisher(
                STUDY, coordinator(), public_key(AUTHORITY), lambda: EVERYBODY,
                folder / "updates", on_offer,
            ),
            book, log, random_bytes=secrets.token_bytes, on_fault=faults.append,
        )  # fmt: skip
        yield Desk(folder, book, desk, log, faults)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_in(tmp_path) as desk:
        yield desk


def test_a_wish_becomes_a_signed_directive_and_a_line_in_the_log(desk: Desk) -> None:
    assert not desk.desk.advance(NOW) and not desk.log.acts
    desk.wants(Deed.START)
    assert desk.desk.advance(NOW + 1), "devices should look"
    (said,) = desk.published()
    assert (said.serial, said.number, said.state, said.open) == (7, 1, State.STARTED, 1)
    assert (said.rings, said.withdrawn, said.path) == ((100, 1000), (), "bundles/affect-1/7.bundle")
    (act,) = desk.log.acts
    assert (act["act"], act["by"], act["directive"]) == ("rollout", "person", said.digest)
    assert not desk.desk.advance(NOW + 1), "nothing is new"


def test_rings_widen_and_end_by_themselves(desk: Desk) -> None:
    desk.wants(Deed.START)
    desk.desk.advance(NOW)
    desk.all_say(Phase.COMMITTED, NOW + 60)
    assert not desk.desk.advance(NOW + 60)
    assert desk.desk.advance(NOW + DAY_S) and desk.published()[0].open == 2
    desk.all_say(Phase.COMMITTED, NOW + DAY_S)
    assert desk.desk.advance(NOW + 2 * DAY_S)
    assert desk.published()[0].state is State.FINISHED
    assert [act["by"] for act in desk.log.acts] == ["person", "rule", "rule"]


def test_what_somebody_wants_outlives_a_log_that_can_not_be_written(desk: Desk) -> None:
    desk.wants(Deed.START)
    desk.desk.advance(NOW)
    desk.wants(Deed.ABORT)
    desk.log.fails = True
    assert not desk.desk.advance(NOW + 1) and desk.faults
    assert desk.published()[0].state is State.STARTED
    desk.log.fails = False
    assert desk.desk.advance(NOW + 2)
    assert desk.published()[0].state is State.ABORTED and not desk.book.wishes()


def test_trouble_halts_and_a_person_withdraws_it(desk: Desk) -> None:
    desk.wants(Deed.START)
    desk.desk.advance(NOW)
    desk.all_say(Phase.REJECTED, NOW + 60, Reason.GOLDEN)
    assert desk.desk.advance(NOW + 60)
    assert desk.published()[0].state is State.PAUSED
    assert desk.log.acts[-1]["why"].startswith("Halted by itself in ring 1")
    desk.wants(Deed.ABORT)
    assert desk.desk.advance(NOW + 61)
    (said,) = desk.published()
    assert (said.state, said.withdrawn, said.number) == (State.ABORTED, (7,), 3)
    desk.wants(Deed.START, serial=8)
    assert desk.desk.advance(NOW + 62)
    (said,) = desk.published()
    assert (said.serial, said.withdrawn, said.number) == (8, (7,), 4)


def test_another_rollout_has_another_key(desk: Desk) -> None:
    keys = set()
    for serial in (7, 8):
        desk.wants(Deed.START, serial=serial)
        desk.desk.advance(NOW + serial)
        keys.add(desk.published()[0].key)
        desk.wants(Deed.PAUSE)
        desk.desk.advance(NOW + serial)
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("prepare", "deed", "serial", "why"),
    [
        ((), Deed.PAUSE, 7, "Nothing of the bundle"),
        ((), Deed.START, 21, "no such thing"),
        ((Deed.START,), Deed.START, 8, "still being rolled out"),
        ((Deed.START, Deed.PAUSE), Deed.START, 7, "not newer"),
        ((Deed.START, Deed.PAUSE), Deed.START, 6, "not newer"),
        ((Deed.START, Deed.ABORT), Deed.RESUME, 7, "can't be resumed"),
    ],
)
def test_what_can_not_be_had_is_told_and_changes_nothing(
    desk: Desk, prepare: tuple[Deed, ...], deed: Deed, serial: int, why: str
) -> None:
    for each in prepare:
        desk.wants(each)
    desk.desk.advance(NOW)
    before = desk.book.rollouts()
    desk.wants(deed, serial=serial)
    assert not desk.desk.advance(NOW + 1)
    assert desk.book.rollouts() == before and why in str(desk.faults[-1])


def test_there_is_room_for_so_many_names(desk: Desk) -> None:
    for number in range(MOST_DIRECTIVES + 1):
        desk.wants(Deed.START, name=f"affect-{number}")
    assert desk.desk.advance(NOW)
    assert len(desk.published()) == MOST_DIRECTIVES and "no room" in str(desk.faults[-1])


def test_what_can_not_be_logged_is_not_done_and_the_fault_told_once_a_minute(desk: Desk) -> None:
    desk.log.fails = True
    desk.wants(Deed.START)
    for second in range(50):
        assert not desk.desk.advance(NOW + second)
    assert len(desk.faults) == 1 and not desk.book.rollouts()
    assert not (desk.folder / "updates" / ROLLOUT_FILE).exists()


def test_a_lost_or_foreign_file_is_made_again_from_the_book(desk: Desk) -> None:
    desk.wants(Deed.START)
    desk.desk.advance(NOW)
    file = desk.folder / "updates" / ROLLOUT_FILE
    content = file.read_bytes()
    empty = json.dumps({"version": 1, "rollouts": []}).encode()
    for number, wrong in enumerate((None, b"", content[:-9], empty), 1):
        if wrong is None:
            file.unlink()
        else:
            file.write_bytes(wrong)
        assert desk.desk.advance(NOW + 10 * number)
        assert file.read_bytes() == content


def test_a_book_that_was_put_back_takes_nothing_back(tmp_path: Path) -> None:
    with desk_in(tmp_path) as desk:
        desk.wants(Deed.START)
        desk.desk.advance(NOW)
    shutil.copy(tmp_path / "rollouts.db", tmp_path / "backup.db")
    with desk_in(tmp_path) as desk:
        desk.wants(Deed.ABORT)
        desk.desk.advance(NOW + 9)
        (last,) = desk.published()
    put_back(tmp_path)
    with desk_in(tmp_path) as desk:
        desk.desk.advance(NOW + 20)
        assert desk.published() == (last,) and desk.book.rollouts()[0].directive == last


def test_a_book_that_was_put_back_pauses_what_it_knows_no_better(tmp_path: Path) -> None:
    with desk_in(tmp_path) as desk:
        desk.wants(Deed.START)
        desk.desk.advance(NOW)
    (tmp_path / "rollouts.db").rename(tmp_path / "backup.db")
    put_back(tmp_path)
    (tmp_path / "rollouts.db").unlink()  # lost altogether
    with desk_in(tmp_path) as desk:
        desk.desk.advance(NOW + 20)
        (said,) = desk.published()
        assert (said.state, said.number) == (State.PAUSED, 2)
        assert "older than what it had published" in desk.book.rollouts()[0].why


def put_back(folder: Path) -> None:
    for rest in ("rollouts.db-wal", "rollouts.db-shm"):
        (folder / rest).unlink(missing_ok=True)
    shutil.copy(folder / "backup.db", folder / "rollouts.db")


def test_a_wish_that_the_world_keeps_from_being_done_stays_wanted(desk: Desk) -> None:
    desk.wants(Deed.START)
    desk.desk.advance(NOW)
    desk.wants(Deed.PAUSE)
    desk.wants(Deed.ABORT)
    desk.log.fails = True
    desk.desk.advance(NOW + 1)
    assert desk.book.wishes() == 2 and desk.published()[0].state is State.STARTED
    desk.log.fails = False
    desk.desk.advance(NOW + 2)
    assert not desk.book.wishes() and desk.published()[0].state is State.ABORTED


def test_nonsense_of_a_device_is_not_kept(desk: Desk) -> None:
    with pytest.raises(ProtocolError):
        desk.desk.hear(pseudonym(1), b"{}", NOW)
    assert not desk.book.last_words()


def test_a_study_without_a_repository_offers_nothing(tmp_path: Path) -> None:
    assert offered(tmp_path) == ()
    with pytest.raises(RolloutError, match="offers no bundle 'affect-1' latest"):
        find(tmp_path, Kind.BUNDLE, "affect-1", "latest")
