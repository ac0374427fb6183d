"""A/B slots: their states, two processes, a full disk, and a machine that is killed anywhere."""

import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.errors import SlotError
from agent.updates.slots import Slots
from sync.updates.offers import Offer
from sync.updates.rejected import Reason, UpdateRejected
from tests.killing import killed_after
from tests.test_slots_kill import fill, install, is_whole, label, serial_of


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path / "slots")


def test_without_current_the_factory_runs_and_looking_writes_nothing(slots: Slots) -> None:
    assert slots.current() is None and slots.previous() is None and slots.staged() is None
    assert slots.failed() == () and not slots.on_probation and slots.stamp() is None
    assert not slots.folder.exists()


def test_what_is_staged_waits_and_runs_on_probation_until_committed(slots: Slots) -> None:
    install(slots, 1)
    stamp = slots.stamp()
    fill(slots, 2)
    assert (serial_of(slots.current()), serial_of(slots.staged())) == (1, 2)
    assert slots.stamp() == stamp
    slots.activate()
    assert slots.on_probation and slots.staged() is None
    assert (serial_of(slots.current()), serial_of(slots.previous())) == (2, 1)
    assert slots.stamp() != stamp
    slots.commit()
    slots.commit()
    assert not slots.on_probation
    assert serial_of(slots.previous()) == 1, "kept until the next staging"


def test_what_was_gone_back_from_is_never_ready_again_and_its_reason_is_kept(slots: Slots) -> None:
    install(slots, 1)
    fill(slots, 2)
    slots.activate()
    assert serial_of(slots.roll_back(Reason.UNHEALTHY, "It was too slow.")) == 1
    (failed,) = slots.failed()
    assert (failed.label.serial, failed.reason, failed.sentence) == (
        2, Reason.UNHEALTHY, "It was too slow.",
    )  # fmt: skip
    assert slots.staged() is None
    with pytest.raises(SlotError, match="No update is ready"):
        slots.activate()
    fill(slots, 3)
    assert slots.failed() == ()


def test_a_committed_one_can_be_gone_back_from_down_to_the_factory(slots: Slots) -> None:
    install(slots, 1)
    install(slots, 2)
    assert serial_of(slots.roll_back(Reason.DECLINED)) == 1
    assert slots.roll_back(Reason.DECLINED) is None
    assert [failed.label.serial for failed in slots.failed()] == [1, 2]
    with pytest.raises(SlotError, match="nothing before"):
        slots.roll_back(Reason.DECLINED)


def test_on_probation_nothing_is_staged_over_the_way_back(slots: Slots) -> None:
    install(slots, 1)
    fill(slots, 2)
    slots.activate()
    with pytest.raises(SlotError, match="on probation"):
        fill(slots, 3)
    assert serial_of(slots.previous()) == 1


def test_a_step_meant_for_another_label_changes_nothing(slots: Slots) -> None:
    fill(slots, 1)
    slots.activate()
    slots.commit(of=label(9))
    assert slots.on_probation
    assert serial_of(slots.roll_back(Reason.UNHEALTHY, of=label(9))) == 1
    slots.commit(of=label(1))
    assert not slots.on_probation
    assert slots.roll_back(Reason.UNHEALTHY, of=label(1)) is None
    assert slots.roll_back(Reason.UNHEALTHY, of=label(1)) is None


def test_what_goes_wrong_while_filling_leaves_an_empty_slot(slots: Slots) -> None:
    install(slots, 1)
    with pytest.raises(ZeroDivisionError), slots.stage(label(2)) as folder:
        (folder / "half").write_bytes(b"x")
        raise ZeroDivisionError
    assert not folder.exists() and slots.staged() is None
    assert serial_of(slots.current()) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff" * 5000])
def test_a_label_that_can_not_be_read_is_no_label(slots: Slots, content: bytes) -> None:
    install(slots, 1)
    fill(slots, 2)
    (slots.folder / "b.label").write_bytes(content)
    assert slots.staged() is None
    (slots.folder / "a.label").write_bytes(content)
    assert slots.current() is None


@pytest.mark.parametrize("target", ["/", "..", "a/..", "c", ""])
def test_a_current_that_leads_elsewhere_leads_to_the_factory(slots: Slots, target: str) -> None:
    install(slots, 1)
    (slots.folder / "current").unlink()
    if target:
        (slots.folder / "current").symlink_to(target)
    else:
        (slots.folder / "current").mkdir()
    assert slots.current() is None


def test_a_slot_that_is_a_link_is_no_slot_and_what_it_leads_to_stays(
    slots: Slots, tmp_path: Path
) -> None:
    install(slots, 1)
    fill(slots, 2)
    shutil.rmtree(slots.folder / "b")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine").write_bytes(b"mine")
    (slots.folder / "b").symlink_to(tmp_path / "else")
    assert slots.staged() is None
    fill(slots, 3)
    assert serial_of(slots.staged()) == 3
    assert (tmp_path / "else" / "mine").read_bytes() == b"mine"


def test_a_label_takes_all_from_the_signed_offer(slots: Slots) -> None:
    offer = Offer(
        kind=label(4).kind, name="affect-1", serial=4, says="1.0.4", policy_signature="ab" * 64
    )
    from agent.updates.slots import Label

    with slots.stage(Label.of(offer, "0" * 64)) as folder:
        (folder / "x").touch()
    ready = slots.activate()
    assert ready.label == Label.of(offer, "0" * 64)
    assert ready.label.policy_signature == "ab" * 64


FILLS = """
import sys
from pathlib import Path
from agent.updates.slots import Slots
from tests.test_slots_kill import label
with Slots(Path(sys.argv[1])).stage(label(5)) as folder:
    (folder / "x").touch()
    print("inside", flush=True)
    sys.stdin.readline()
"""


def test_while_another_process_fills_the_slot_it_is_refused_and_going_back_is_not(
    slots: Slots,
) -> None:
    install(slots, 1)
    other = subprocess.Popen(
        [sys.executable, "-c", FILLS, str(slots.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "inside\n"
        with pytest.raises(SlotError, match="Another process"):
            fill(slots, 6)
        assert slots.roll_back(Reason.UNHEALTHY) is None, "a bad one is left at once, even now"
        other.communicate("go on\n", timeout=30)
    finally:
        other.kill()
        other.wait()
    assert other.returncode == 0
    ready = slots.staged()
    assert ready is not None and ready.label.serial == 5


def test_two_threads_switch_once(slots: Slots) -> None:
    fill(slots, 1)
    done: list[object] = []

    def activate() -> None:
        try:
            done.append(slots.activate().label.serial)
        except SlotError:
            done.append("refused")

    threads = [threading.Thread(target=activate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, done)) == ["1", "refused", "refused", "refused"]


FULL = """
import os, sys
from pathlib import Path
from agent.updates.slots import Slots
from sync.updates.rejected import Reason, UpdateRejected
from tests.test_slots_kill import fill, install, label, serial_of
folder = Path(sys.argv[1])
slots = Slots(folder / "slots")
install(slots, 1)
try:
    with slots.stage(label(2)) as into:
        (into / "big").write_bytes(bytes(4 << 20))
except UpdateRejected as refused:
    assert refused.reason is Reason.NO_ROOM, refused
else:
    raise SystemExit("it fitted")
assert serial_of(slots.current()) == 1 and slots.staged() is None
fill(slots, 3)  # the room was given back
def fill_up(name):
    with open(folder / name, "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
fill_up("all the rest")
count = 0
try:
    while True:  # and every name that it can hold
        (folder / f"{count}").touch()
        count += 1
except OSError:
    pass
try:
    slots.activate()
except UpdateRejected as refused:
    assert refused.reason is Reason.NO_ROOM, refused
else:
    raise SystemExit("a link fitted")
assert serial_of(slots.current()) == 1
(folder / "0").unlink(), (folder / "1").unlink(), (folder / "2").unlink()
assert serial_of(slots.activate()) == 3
try:
    while True:
        (folder / f"again {count}").touch()
        count += 1
except OSError:
    pass
try:
    slots.commit()
except UpdateRejected as refused:
    assert refused.reason is Reason.NO_ROOM, refused
else:
    raise SystemExit("a mark fitted")
assert slots.on_probation
assert serial_of(slots.roll_back(Reason.UNHEALTHY)) == 1, "the way back needs no room"
assert Slots(folder / "slots").staged() is None
print("all held")
"""


def test_a_full_disk_leaves_what_runs_and_the_way_back(tmp_path: Path) -> None:
    words = f"mount -t tmpfs -o size=1m,nr_inodes=64 none '{tmp_path}' && exec \"$@\""
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", words, "sh", sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "mount" in ran.stderr or "unshare" in ran.stderr:
        pytest.skip("needs a file system of its own: no user namespace may mount one here")
    assert ran.stdout == "all held\n", ran.stderr


class Machine(RuleBasedStateMachine):
    """Slots beside a model of three words; any step may be killed after any of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.slots = Slots(self.folder / "slots")
        self.running = self.before = self.ready = 0
        self.proven = True
        self.next = 1
        self.left: set[int] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def try_to(self, step: str, calls: int | None) -> bool:
        """Do a step here, or in a child that is killed; False: it may or may not have happened."""
        work = {
            "stage": lambda: fill(self.slots, self.next),
            "activate": self.slots.activate,
            "commit": self.slots.commit,
            "roll back": lambda: self.slots.roll_back(Reason.UNHEALTHY),
        }[step]
        if calls is None:
            work()
            return True
        return not killed_after(calls, work)

    killed = st.one_of(st.none(), st.integers(0, 160))

    @precondition(lambda self: self.proven)
    @rule(calls=killed)
    def stage(self, calls: int | None) -> None:
        done = self.try_to("stage", calls)
        ready = serial_of(self.slots.staged())
        assert ready in ({self.next} if done else {0, self.ready, self.next})
        if ready != self.ready or done:  # it had begun: the slot's former content is gone
            self.before = 0
        elif self.before:
            self.before = serial_of(self.slots.previous())
        self.ready = ready
        self.next += 1

    @precondition(lambda self: self.ready)
    @rule(calls=killed)
    def activate(self, calls: int | None) -> None:
        done = self.try_to("activate", calls)
        now = serial_of(self.slots.current())
        assert now in ({self.ready} if done else {self.running, self.ready})
        if now == self.ready:
            self.running, self.before, self.ready, self.proven = now, self.running, 0, False

    @precondition(lambda self: not self.proven)
    @rule(calls=killed)
    def commit(self, calls: int | None) -> None:
        done = self.try_to("commit", calls)
        assert not (done and self.slots.on_probation)
        self.proven = not self.slots.on_probation

    @precondition(lambda self: self.running)
    @rule(calls=killed)
    def roll_back(self, calls: int | None) -> None:
        done = self.try_to("roll back", calls)
        now = serial_of(self.slots.current())
        assert now in ({self.before} if done else {self.running, self.before})
        if now != self.running or done:
            self.left.add(self.running)
            self.running, self.before, self.proven = now, 0, True

    @invariant()
    def a_fresh_look_sees_the_same_and_all_of_it_is_whole(self) -> None:
        fresh = Slots(self.folder / "slots")
        assert serial_of(fresh.current()) == self.running
        assert fresh.on_probation == (not self.proven)
        assert serial_of(fresh.staged()) == self.ready
        if not self.proven or not self.ready:
            assert serial_of(fresh.previous()) == self.before
        assert not {serial_of(fresh.current()), serial_of(fresh.staged())} & self.left

    @rule()
    def the_link_leads_where_a_launcher_must_go(self) -> None:
        """One who reads nothing but the link and the label beside it comes to the same."""
        link = self.folder / "slots" / "current"
        leads = link.is_symlink() and (link.parent / f"{link.readlink()}.label").exists()
        if leads:
            current = self.slots.current()
            assert current is not None and current.folder == link.parent / link.readlink()
            assert is_whole(current)


Machine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSlotsWhateverIsKilled = Machine.TestCase


def test_no_room_is_named_where_a_limit_is_reached(slots: Slots) -> None:
    """Without a file system of its own to fill: a limit on the size of files does as well."""
    script = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from agent.updates.slots import Slots\nfrom tests.test_slots_kill import label\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "with Slots(Path(sys.argv[1])).stage(label(2)) as folder:\n"
        "    (folder / 'big').write_bytes(bytes(100_000))\n"
    )
    install(slots, 1)
    ran = subprocess.run(
        [sys.executable, "-c", script, str(slots.folder)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert f"{UpdateRejected.__name__}: There is no room" in ran.stderr
    assert not (slots.folder / "b").exists()
    assert serial_of(slots.current()) == 1
