"""The ledger's anchor: killed between any two steps or put back from a backup, nothing is lost."""

import shutil
import subprocess
import sys
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from agent.anchor import Anchor, Mark
from agent.codec import Outgoing
from agent.config import Settings
from agent.errors import StoreError
from agent.home import open_home
from agent.keys import Purpose, sub_key
from agent.reporter import Study, prepare_reports, send_outbox
from agent.store import ANCHOR_FOLDER
from sync.budget import Ledger, Spend
from sync.errors import LedgerRefused, PeriodSpent
from sync.ledger_head import LedgerNotice
from sync.policy import Purpose as For
from sync.release import Released, Seal
from tests.stored import KEY, LAST_MONDAY, NOW, POLICY, THRESHOLDS, Device, fill_week, scored

SPENDS = [Spend(f"2026-W{week}", Fraction(1, 8), POLICY.reference) for week in (45, 46, 47)]
HEAD = Spend("0b" * 32, Fraction(1, 80), POLICY.reference, For.HEAD)
STUDY = Study("home", POLICY, "affect-1", THRESHOLDS)
SEAL = Seal(sub_key(KEY, Purpose.SEAL))


def pay(folder: Path, count: int) -> None:
    """Releases up to the `count`-th, as an agent commits them."""
    with Device(folder).store() as store:
        for paid in range(len(store.ledger().spends) + 1, count + 1):
            store.commit_release(b"report %d" % paid, Ledger.of(SPENDS[:paid]), NOW)


def mark_of(folder: Path) -> Mark | None:
    return Anchor(folder / ANCHOR_FOLDER, sub_key(KEY, Purpose.ANCHOR)).read()


def copied(source: Path, target: Path, *, anchor: bool) -> Path:
    """A backup of the store, with or without what lies beside it."""
    target.mkdir()
    for file in source.glob("store.db*"):
        shutil.copy2(file, target)
    if anchor and (source / ANCHOR_FOLDER).exists():
        shutil.copytree(source / ANCHOR_FOLDER, target / ANCHOR_FOLDER)
    return target


def put_back(backup: Path, folder: Path) -> None:
    for file in folder.glob("store.db*"):
        file.unlink()
    for file in backup.glob("store.db*"):
        shutil.copy2(file, folder)


class Taker:
    """A broker that takes everything."""

    def __init__(self) -> None:
        self.arrived: list[Released] = []

    def publish(self, released: Released) -> None:
        self.arrived.append(released)


_KILLED_AT = """
import os, shutil, signal, sys
from pathlib import Path
from tests.stored import Device, NOW
from tests.test_anchor import SPENDS
from sync.budget import Ledger

folder, points = Path(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")]
names = ("anchor.py", "book.py", "rows.py", "sealed.py", "store.py")
watched = tuple(str(Path("agent", name)) for name in names)

def kill_at(point):
    left = [point]
    def step(frame, event, _):
        if frame.f_code.co_filename.endswith(watched):
            frame.f_trace_opcodes = True
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return step
    sys.settrace(step)

for point in points:
    copy = folder / str(point)
    shutil.copytree(folder / "before", copy)
    child = os.fork()
    if child == 0:
        store = Device(copy).store()
        kill_at(point)
        store.commit_release(b"report 2", Ledger.of(SPENDS[:2]), NOW)
        store.book.check()
        sys.settrace(None)
        (copy / "sent").touch()  # only now anything may leave
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_kill_between_any_two_steps_neither_loses_nor_doubles_a_spend(tmp_path: Path) -> None:
    pay_first = tmp_path / "before"
    pay_first.mkdir()
    pay(pay_first, 1)
    backup = copied(pay_first, tmp_path / "backup", anchor=False)
    points = [*range(0, 3000, 67), 100_000]
    words = [sys.executable, "-c", _KILLED_AT, str(tmp_path), ",".join(map(str, points))]
    subprocess.run(words, check=True, timeout=60, cwd=Path(__file__).parents[1])
    seen = set()
    for point in points:
        folder = tmp_path / str(point)
        sent, before = (folder / "sent").exists(), mark_of(folder)
        assert before is not None
        with Device(folder).store() as store:
            spent = len(store.ledger().spends)
            assert store.book.refusal() is None
            assert [each.sealed for each in store.outbox()] == [b"report 1", b"report 2"][:spent]
            assert before.count <= spent  # the anchor is never ahead
            assert not sent or (spent, before.count) == (2, 2)  # sent means paid, and anchored
            assert store.book.check() == Ledger.of(SPENDS[:spent])
            after = mark_of(folder)
            assert after is not None and after.count == spent  # it has caught up
            if spent == 2:
                with pytest.raises(PeriodSpent):
                    store.commit_release(b"again", Ledger.of(SPENDS[:2]), NOW)
        seen.add((spent, before.count))
        put_back(backup, folder)
        with Device(folder).store() as store:
            assert (store.book.refusal() is None) == (spent == 1)  # an old copy is known as one
    assert seen == {(1, 1), (2, 1), (2, 2)}  # kills came before, between and after


def test_a_store_put_back_from_a_backup_releases_nothing_and_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    pay(folder, 1)
    backup = copied(folder, tmp_path / "backup", anchor=False)
    pay(folder, 3)
    put_back(backup, folder)
    with Device(folder).store() as store:
        with pytest.raises(LedgerRefused) as refused:
            store.book.check()
        assert "holds 1 releases" in refused.value.cause and "paid for 3" in refused.value.cause
        assert "newest store back" in refused.value.remedy
        with pytest.raises(LedgerRefused):
            store.commit_release(b"a second draw", Ledger.of(SPENDS[:2]), NOW)
        assert len(store.ledger().spends) == len(store.outbox()) == 1
        store.add_window(scored(NOW))  # screening goes on
        refusal = store.book.refusal()
        assert refusal is not None and refusal.cause == refused.value.cause
    mark = mark_of(folder)
    assert mark is not None and mark.count == 3  # and stays


def test_the_reporter_neither_makes_nor_sends_anything_from_an_old_copy(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    pay(folder, 1)
    backup = copied(folder, tmp_path / "backup", anchor=False)
    pay(folder, 2)
    put_back(backup, folder)
    drawn: list[int] = []
    with Device(folder).store() as store:
        fill_week(store, LAST_MONDAY)
        prepared = prepare_reports(
            store, STUDY, SEAL, now=NOW, randbelow=lambda n: drawn.append(n) or 0,
            random_bytes=bytes,
        )  # fmt: skip
        assert prepared.made == () and isinstance(prepared.refused, LedgerRefused)
        taker = Taker()
        sending = send_outbox(store, taker, SEAL, NOW)
        assert (sending.sent, sending.waiting) == ((), ("2026-W45",)) and not taker.arrived
        assert isinstance(sending.why, LedgerRefused) and not drawn


def test_another_story_of_the_same_length_is_refused(tmp_path: Path) -> None:
    for name, story in (("one", SPENDS[:2]), ("other", [SPENDS[0], SPENDS[2]])):
        (tmp_path / name).mkdir()
        with Device(tmp_path / name).store() as store:
            for paid in (1, 2):
                store.commit_release(b"report", Ledger.of(story[:paid]), NOW)
    put_back(tmp_path / "other", tmp_path / "one")
    with (
        Device(tmp_path / "one").store() as store,
        pytest.raises(LedgerRefused, match="another story"),
    ):
        store.book.check()


def test_a_store_that_lost_its_anchor_is_refused_and_a_new_store_beside_an_old_anchor_too(
    tmp_path: Path,
) -> None:
    pay(tmp_path, 2)
    shutil.move(tmp_path / ANCHOR_FOLDER, tmp_path / "aside")
    with Device(tmp_path).store() as store, pytest.raises(LedgerRefused, match="is gone"):
        store.book.check()
    shutil.move(tmp_path / "aside", tmp_path / ANCHOR_FOLDER)
    with Device(tmp_path).store() as store:
        assert len(store.book.check().spends) == 2
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    with Device(tmp_path).store() as store, pytest.raises(LedgerRefused, match="paid for 2"):
        store.commit_release(b"a new budget", Ledger.of(SPENDS[:1]), NOW)


@pytest.mark.parametrize("content", [b"", b"SVA1", bytes(76), bytes(200)])
def test_an_anchor_that_was_altered_is_refused(tmp_path: Path, content: bytes) -> None:
    pay(tmp_path, 1)
    (tmp_path / ANCHOR_FOLDER / "ledger").write_bytes(content)
    with Device(tmp_path).store() as store, pytest.raises(LedgerRefused, match="damaged"):
        store.book.check()


def test_an_anchor_of_another_device_is_refused(tmp_path: Path) -> None:
    pay(tmp_path, 1)
    Anchor(tmp_path / ANCHOR_FOLDER, bytes(32)).move(Mark(0, bytes(32)))
    with Device(tmp_path).store() as store, pytest.raises(LedgerRefused, match="another key"):
        store.book.check()


def test_an_anchor_that_cannot_be_moved_holds_everything_back_until_it_can(tmp_path: Path) -> None:
    pay(tmp_path, 1)
    blocked = tmp_path / ANCHOR_FOLDER / ".ledger"
    blocked.mkdir()
    with Device(tmp_path).store() as store:
        with pytest.raises(StoreError, match="anchor"):
            store.commit_release(b"report 2", Ledger.of(SPENDS[:2]), NOW)
        assert len(store.ledger().spends) == 2  # paid and kept, not sent
        with pytest.raises(StoreError, match="anchor"):
            send_outbox(store, Taker(), SEAL, NOW)
        blocked.rmdir()
        assert len(store.book.check().spends) == 2
    mark = mark_of(tmp_path)
    assert mark is not None and mark.count == 2


def test_a_store_of_before_there_was_a_chain_opens_and_goes_on(tmp_path: Path) -> None:
    pay(tmp_path, 2)
    shutil.rmtree(tmp_path / ANCHOR_FOLDER)
    with Device(tmp_path).store() as store:  # write it again as it was written then
        rows = store._rows
        with rows.transaction():
            rows.connection.execute("DELETE FROM singles WHERE name = 'anchored'")
            for number, spend in enumerate(SPENDS[:2], 1):
                old = b"\x01" + b"".join(
                    len(word).to_bytes(2, "little") + word.encode()
                    for word in (spend.subject, "1/8", spend.policy)
                )
                sealed = store._sealed.cipher.close(old, f"row/spends/{number}/0".encode())
                rows.replace("spends", (number, 0, sealed))
    with Device(tmp_path).store() as store:
        assert store.book.refusal() is None
        assert store.book.check() == Ledger.of(SPENDS[:2])
        store.commit_release(b"report 3", Ledger.of(SPENDS), NOW)
        assert store.ledger() == Ledger.of(SPENDS)
    mark = mark_of(tmp_path)
    assert mark is not None and mark.count == 3


def test_a_round_and_what_belongs_to_it_are_paid_for_in_one_transaction(tmp_path: Path) -> None:
    with Device(tmp_path).store() as store:
        with store.book.spending(Ledger((HEAD,))) as rows:
            rows.set_single("a round", b"its state")
        assert store.ledger() == Ledger((HEAD,)) and store.outbox() == []
        with (
            pytest.raises(ZeroDivisionError),
            store.book.spending(Ledger((HEAD, SPENDS[0]))) as rows,
        ):
            rows.set_single("a round", b"another state")
            raise ZeroDivisionError
        assert store.ledger() == Ledger((HEAD,)) and rows.single("a round") == b"its state"
        with pytest.raises(PeriodSpent, match="head round 0b0b0b0b"):
            store.commit_release(b"again", Ledger((HEAD,)), NOW)


def test_what_the_study_has_seen_stops_a_device_that_does_not_know_it_for_good(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    pay(folder, 1)
    backup = copied(folder, tmp_path / "backup", anchor=True)  # the whole folder, this time
    pay(folder, 3)
    with Device(folder).store() as store:
        known = store.book.head("home", "ab" * 16)
        early = store.book.head("home", "ab" * 16).trail[1]
    notice = LedgerNotice(
        version=1, study="home", pseudonym="ab" * 16, count=3, digest=known.trail[-1]
    )
    with Device(folder).store() as store:
        store.book.heed(notice)  # it knows, and goes on
        store.book.heed(
            notice.model_copy(update={"count": 1, "digest": early})
        )  # late: stops nobody
        assert store.book.refusal() is None
    with Device(backup).store() as store:
        assert store.book.refusal() is None  # it can't know by itself
        with pytest.raises(LedgerRefused, match="seen 3 paid releases"):
            store.book.heed(notice)
    with Device(backup).store() as store:
        refusal = store.book.refusal()
        assert refusal is not None and "holds 1" in refusal.cause and refusal.remedy
        with pytest.raises(LedgerRefused):
            store.commit_release(b"a second draw", Ledger.of(SPENDS[:2]), NOW)


def test_the_anchor_lies_where_the_settings_say(tmp_path: Path) -> None:
    settings = Settings(state=str(tmp_path / "state"), anchor=str(tmp_path / "elsewhere"))
    with open_home(settings, {}).open_store() as store:
        store.commit_release(b"report", Ledger.of(SPENDS[:1]), NOW)
    assert (tmp_path / "elsewhere" / "ledger").exists()
    assert not (tmp_path / "state" / ANCHOR_FOLDER).exists()


def test_two_connections_never_move_the_anchor_backward(tmp_path: Path) -> None:
    with Device(tmp_path).store() as one, Device(tmp_path).store() as two:
        for paid, store in enumerate((one, two, one), 1):
            store.commit_release(b"report", Ledger.of(SPENDS[:paid]), NOW)
            two.book.check()
            mark = mark_of(tmp_path)
            assert mark is not None and mark.count == paid
        assert one.outgoing()[0] == Outgoing(1, "2026-W45", NOW, None, b"report")
        one.add_window(scored(NOW - timedelta(days=1)))
