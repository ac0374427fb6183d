"""A release's life: published, handed over, installed by somebody else, tried, kept or taken back.

The study's repository is in memory; environments, wheels, launcher and child processes are real.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from agent.updates import launch
from agent.updates.child import Owner, run_child
from agent.updates.installer import BY_HAND, Installer, work
from agent.updates.probation import Demands
from agent.updates.release_desk import ReleaseDesk, release_is_healthy
from agent.updates.slots import Slots
from agent.updates.wheelhouse import build_environment
from sync.updates import offers
from sync.updates.mirrors import FolderMirror
from sync.updates.rejected import Reason, UpdateRejected
from sync.updates.source import Source
from sync.updates.trust import Trust
from sync.updates.wheels import this_platform
from tests.signing import PEOPLE, founded, keys_of, said
from tests.update_repository import NOW, Mirror, Repository
from tests.wheels import list_of, make_wheel, project_wheel, small_release

ROOT: Final = Path(__file__).resolve().parent.parent


class Study:
    """The study's side: signs releases of wheels that it makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository()
        self.beside = make_wheel(folder, "beside", "2.0", {"beside.py": "x = 1\n"})

    def publish(self, serial: int, own: Path, *others: Path, **said: object) -> None:
        says = own.name.split("-")[1]
        wheels = (own, *others)
        for wheel in wheels:
            self.repository.add(offers.wheel_path(wheel.name), wheel.read_bytes())
        offer = {"kind": "release", "name": "sottovoce", "serial": serial, "says": says}
        raw = list_of(says, serial, *wheels).to_bytes()
        self.repository.add(offers.release_path(serial), raw, offer=offer | said)
        self.repository.release("releases")


class Device:
    """Release 0.1.0, installed by hand; the agent's folders, and the installer's own."""

    def __init__(
        self, folder: Path, study: Study, mirror: Source | None = None, root: bytes = b""
    ) -> None:
        """`mirror` and its first root, where the study's repository is not the one in memory."""
        self.study = study
        self.prefix, self.state, self.own = (folder / n for n in ("prefix", "state", "own"))
        self.log = folder / "log"
        folder.mkdir(exist_ok=True)
        self.log.touch()
        self.state.mkdir()
        self.mirror = Mirror(study.repository.files, piece_bytes=100_000)
        self.desk = ReleaseDesk(self.prefix, self.state)
        trust = self.state / "updates" / "trust"
        source = mirror or self.mirror
        self.now = datetime.now(UTC) if mirror else NOW
        self.trust = Trust(trust, source, source, now=lambda: self.now, study=None)
        self.trust.init(root or study.repository.first_root)
        slot = self.prefix / "releases" / "a"
        slot.mkdir(parents=True)
        first = small_release(folder / "by-hand", "0.1.0", runs=self.logs("0"))
        build_environment([first, study.beside], slot)
        shutil.copy(study.beside, first.parent)
        self.installer.adopt("a", first.parent)
        self.installer.pin(root or study.repository.first_root)
        shutil.copy(launch.__file__, self.prefix / "launch.py")
        (self.prefix / "current").symlink_to("releases/current")

    @property
    def installer(self) -> Installer:
        """A new one each time, as each time it is another process."""
        return Installer(self.prefix, self.state, self.own, now=lambda: self.now, owner=None)

    @property
    def slots(self) -> Slots:
        return self.desk.slots

    def logs(self, letter: str, then: str = "") -> str:
        """What a small release does when it is run."""
        return f"open({str(self.log)!r}, 'a').write({letter!r}); {then}"

    def hand_over(self, serial: int) -> None:
        self.trust.refresh()
        target = self.trust.offer(offers.release_path(serial))
        assert target is not None
        self.desk.hand_over(self.trust, target)

    def refused(self) -> tuple[Reason | None, str]:
        """The installer's answer, which must be a refusal that changes nothing."""
        before = self.slots.current()
        assert work(self.installer) == 0
        answer = self.desk.answer()
        assert answer is not None
        assert not answer.taken
        assert self.slots.current() == before
        return answer.reason, answer.sentence

    def launch(self, *words: str) -> int:
        command = [sys.executable, "-I", str(self.prefix / "launch.py"), "--state"]
        command += [str(self.state), "--pause-s", "0.01", "run", *words]
        return subprocess.run(command, timeout=120, check=False, cwd=self.state).returncode

    @property
    def starts(self) -> dict[str, object]:
        found = json.loads((self.state / "updates" / "launch" / "starts.json").read_text())
        assert isinstance(found, dict)
        return found

    @property
    def runs(self) -> str:
        program = self.prefix / "current" / "bin" / "sottovoce"
        return subprocess.check_output([program, "--version"], text=True).split()[1]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path, Study(tmp_path / "study"))


def published(device: Device, serial: int, says: str, **kind: object) -> None:
    own = small_release(device.study.folder, says, **kind)  # type: ignore[arg-type]
    device.study.publish(serial, own, device.study.beside)


def test_a_release_goes_from_the_study_to_the_next_start_and_is_kept(device: Device) -> None:
    published(device, 2, "0.1.1", runs=device.logs("1"))
    assert device.runs == "0.1.0"
    device.hand_over(2)
    wheels = [path for path, _ in device.mirror.asked if path.endswith(".whl")]
    assert len(wheels) == 1  # the one beside is here already
    assert "sottovoce-0.1.1" in wheels[0]
    assert device.desk.answer() is None
    assert work(device.installer) == 0
    answer = device.desk.answer()
    assert answer is not None
    assert answer.taken
    assert device.runs == "0.1.1"
    assert device.slots.on_probation
    assert device.launch() == 0
    assert device.log.read_text() == "1"
    device.desk.keep(2)
    assert work(device.installer) == 0  # it only settles: what was wanted is answered
    assert not device.slots.on_probation
    assert device.runs == "0.1.1"


def test_a_release_that_does_not_stay_up_is_taken_back_and_never_taken_again(
    device: Device,
) -> None:
    published(device, 2, "0.1.1", runs=device.logs("1", "sys.exit(9)"))
    device.hand_over(2)
    work(device.installer)
    assert device.launch() == 0
    assert device.log.read_text() == "1110"  # three starts, then the one before, without anybody
    assert device.runs == "0.1.1"  # the launcher writes no code, and no link to code
    assert device.desk.given_up() == 2
    work(device.installer)
    assert device.runs == "0.1.0"
    (failed,) = device.slots.failed()
    assert failed.reason is Reason.UNHEALTHY
    assert device.launch() == 0
    device.hand_over(2)
    assert device.refused()[0] is Reason.UNHEALTHY


def test_the_next_release_takes_the_idle_slot_and_older_wheels_go(device: Device) -> None:
    for serial, says in ((2, "0.1.1"), (3, "0.1.2"), (4, "0.1.3")):
        published(device, serial, says)
        device.hand_over(serial)
        work(device.installer)
        assert device.runs == says
        device.desk.keep(serial)
        work(device.installer)
        device.desk.clear()
    running = device.slots.current()
    assert running is not None
    assert running.folder.name == "b"
    kept = sorted(path.name.partition(".")[2] for path in device.desk.wheels.folder.iterdir())
    assert [name.partition("-py3")[0] for name in kept] == [
        "beside-2.0", "sottovoce-0.1.2", "sottovoce-0.1.3",
    ]  # fmt: skip


def test_a_release_that_fails_its_trial_leaves_nothing_and_is_said_why(device: Device) -> None:
    published(device, 2, "0.1.1", first="import nothing_of_the_kind")
    device.hand_over(2)
    reason, sentence = device.refused()
    assert reason is Reason.GOLDEN
    assert "nothing_of_the_kind" in sentence
    assert not (device.prefix / "releases" / "b").exists()
    work(device.installer)  # woken again, it doesn't try again
    assert not (device.prefix / "releases" / "b").exists()


def test_a_release_on_probation_keeps_its_way_back(device: Device) -> None:
    for serial, says in ((2, "0.1.1"), (3, "0.1.2")):
        published(device, serial, says)
        device.hand_over(serial)
        if serial == 2:
            work(device.installer)
    reason, sentence = device.refused()
    assert reason is None
    assert "probation" in sentence


def test_what_is_not_newer_is_not_taken(device: Device) -> None:
    published(device, 2, "0.1.1")
    published(device, 3, "0.1.2")
    device.hand_over(3)
    work(device.installer)
    device.desk.keep(3)
    work(device.installer)
    device.hand_over(2)
    assert device.refused()[0] is Reason.OLDER


def test_an_installer_that_is_killed_half_way_leaves_what_runs_and_begins_anew(
    device: Device,
) -> None:
    began = device.log.with_name("began")
    waits = (
        f"import os, time; os.mkfifo({str(began)!r}); open({str(began)!r}, 'w'); time.sleep(600)"
    )
    published(device, 2, "0.1.1", first=waits)
    device.hand_over(2)
    code = f"""
from datetime import datetime
from pathlib import Path
from agent.updates.installer import Installer, work
at = datetime.fromisoformat({NOW.isoformat()!r})
work(Installer(*map(Path, {list(map(str, (device.prefix, device.state, device.own)))!r}),
    now=lambda: at, owner=None))
"""
    installer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not began.exists():
        assert installer.poll() is None
        time.sleep(0.02)
    with began.open():  # the new release is at its self-test
        installer.kill()
        installer.wait()
    assert (device.prefix / "releases" / "b" / "bin" / "sottovoce").exists()
    assert device.slots.staged() is None
    assert device.runs == "0.1.0"
    assert device.launch() == 0
    (device.prefix / "releases" / ".scratch-of-an-earlier-cut" / "x").mkdir(parents=True)
    published(device, 3, "0.1.2")
    device.hand_over(3)
    work(device.installer)
    assert device.runs == "0.1.2"
    left = [path.name for path in (device.prefix / "releases").iterdir() if path.is_dir()]
    assert sorted(left) == ["a", "b", "back", "current"]


def test_what_the_publisher_signs_is_what_the_installer_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    founded(tmp_path / "repository", keys_of(tmp_path, *PEOPLE, "online"))
    keys = [word for name in ("online", "asha", "ben") for word in ("--key", f"{name}.key.pem")]
    study = Study(tmp_path / "study")
    root = (tmp_path / "repository" / "metadata" / "1.root.json").read_bytes()
    device = Device(tmp_path / "device", study, FolderMirror(tmp_path / "repository"), root)
    for serial, says in ((1, "0.1.1"), (2, "0.1.2")):
        wheels = tmp_path / f"wheels-{serial}"
        small_release(wheels, says)
        shutil.copy(study.beside, wheels)
        platform = ("--platform", this_platform())
        said("release", wheels.name, "--repository", "repository", *keys, *platform)
        device.now = datetime.now(UTC)
        device.hand_over(serial)
        work(device.installer)
        assert device.runs == says
        device.desk.keep(serial)
        work(device.installer)


# What the agent's user may do: everything in its own folders, and no more.


def wheel_in(device: Device) -> Path:
    return next((device.state / "updates" / "release" / "mirror").rglob("*0.1.1*.whl"))


def altered(device: Device) -> None:
    content = bytearray(wheel_in(device).read_bytes())
    content[100] ^= 1
    wheel_in(device).write_bytes(content)


def linked(device: Device) -> None:
    aside = wheel_in(device).rename(device.state / "aside")
    shutil.copy(aside, device.state / "copy")
    place = next((device.state / "updates/release/mirror/targets/releases/wheels").iterdir(), None)
    assert place is None
    name = next(p for p, _ in device.mirror.asked if "0.1.1" in p)
    (device.state / "updates/release/mirror" / name).symlink_to(device.state / "copy")


def removed(device: Device) -> None:
    wheel_in(device).unlink()


def of_another_study(device: Device) -> None:
    other = Repository("other")
    offer = {"kind": "release", "name": "sottovoce", "serial": 2, "says": "0.1.1"}
    other.add(offers.release_path(2), b"{}", offer=offer)
    other.release("releases")
    folder = device.state / "updates" / "release" / "mirror"
    for path, content in other.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def another_list(device: Device) -> None:
    place = next((device.state / "updates/release/mirror/targets/releases").glob("*.json"))
    place.write_bytes(place.read_bytes().replace(b"0.1.1", b"0.1.2"))


def no_metadata(device: Device) -> None:
    shutil.rmtree(device.state / "updates" / "release" / "mirror" / "metadata")


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (altered, Reason.ALTERED),
        (linked, Reason.BAD_PATH),
        (removed, Reason.UNREACHABLE),
        (of_another_study, None),
        (another_list, Reason.ALTERED),
        (no_metadata, Reason.UNREACHABLE),
    ],
)
def test_the_installer_believes_nothing_of_what_it_is_handed(
    device: Device, does: Callable[[Device], None], reason: Reason | None
) -> None:
    published(device, 2, "0.1.1")
    device.hand_over(2)
    does(device)
    found, _ = device.refused()
    assert found is reason or (reason is None and found is not None)
    assert device.runs == "0.1.0"
    assert not (device.prefix / "releases" / "b").exists()


@pytest.mark.parametrize(
    "note",
    [b"", b"{}", b"[" * 5000, b'{"serial": 0, "attempt": 1}', b'{"serial":"2"}', b"\xff", None],
)
def test_a_note_that_is_none_wakes_nobody(device: Device, note: bytes | None) -> None:
    for name in ("release/wanted.json", "launch/starts.json", "launch/kept.json"):
        place = device.state / "updates" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if note is None:
            place.symlink_to("/etc/passwd")
        else:
            place.write_bytes(note)
    assert work(device.installer) == 0
    assert device.desk.answer() is None
    assert device.runs == "0.1.0"


def test_without_a_pinned_root_no_release_is_taken(device: Device) -> None:
    published(device, 2, "0.1.1")
    device.hand_over(2)
    shutil.rmtree(device.own)
    assert device.refused()[0] is Reason.UNKNOWN


def test_a_release_for_other_machines_only_is_refused_by_name(device: Device) -> None:
    own = small_release(device.study.folder, "0.1.1")
    repository = device.study.repository
    raw = list_of("0.1.1", 2, own, platform="cp311-linux-riscv64").to_bytes()
    offer = {"kind": "release", "name": "sottovoce", "serial": 2, "says": "0.1.1"}
    repository.add(offers.release_path(2), raw, offer=offer)
    repository.release("releases")
    with pytest.raises(UpdateRejected) as caught:
        device.hand_over(2)
    assert caught.value.reason is Reason.NOT_ALLOWED
    assert "machine" in str(caught.value)


def test_what_came_by_another_way_is_handed_over_as_well(device: Device) -> None:
    """Such as a stick's lists, which the line is not asked for any more."""
    published(device, 2, "0.1.1")
    stick = Mirror(device.study.repository.files)
    by_hand = Trust(
        device.state / "updates" / "trust", stick, stick, now=lambda: device.now, study=None
    )
    by_hand.refresh()
    by_hand.offer(offers.release_path(2))
    device.hand_over(2)
    work(device.installer)
    assert device.runs == "0.1.1"


def test_only_the_newest_lists_are_kept_for_the_installer(device: Device) -> None:
    for serial, says in ((2, "0.1.1"), (3, "0.1.2")):
        published(device, serial, says)
        device.hand_over(serial)
    names = [path.name for path in (device.state / "updates/release/mirror/metadata").iterdir()]
    lists = [name for name in names if not name.endswith("root.json")]
    assert sorted(name.split(".")[-2] for name in lists) == [
        "releases", "snapshot", "targets", "timestamp",
    ]  # fmt: skip


def test_the_agents_user_can_read_the_installers_answer(device: Device) -> None:
    """Its own file, as whoever runs the agent sees it: they are two users."""
    published(device, 2, "0.1.1")
    device.hand_over(2)
    work(device.installer)
    assert not (device.own / "fetched").exists()
    assert (device.prefix / "releases" / "answer.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: somebody else owns the code")
def test_a_release_is_tried_as_the_agents_user_who_can_not_write_code(tmp_path: Path) -> None:
    agent = Owner(65534, 65534)
    said = run_child(["/usr/bin/id"], 10.0, {}, owner=agent).said
    assert "uid=65534" in said
    assert "gid=65534" in said
    assert "groups=65534" in said
    slot = tmp_path / "a"
    slot.mkdir()
    made = run_child(["/usr/bin/touch", str(slot / "x")], 10.0, {}, owner=agent)
    assert made.code != 0


def test_a_checkout_has_no_installer_and_no_desk(tmp_path: Path) -> None:
    assert ReleaseDesk.here(tmp_path) is None


@pytest.mark.parametrize(
    ("lived_s", "windows", "healthy"), [(600, 6, True), (599, 6, False), (600, 5, False)]
)
def test_a_release_is_healthy_after_enough_time_and_enough_windows(
    lived_s: float, windows: int, healthy: bool
) -> None:
    demands = Demands(windows=6, lived_s=600.0)
    assert release_is_healthy(lived_s=lived_s, windows=windows, demands=demands) is healthy


def test_the_label_of_an_installation_by_hand_says_its_version(device: Device) -> None:
    running = device.slots.current()
    assert running is not None
    assert (running.label.name, running.committed) == (BY_HAND, True)


# The real project.


@pytest.mark.slow
def test_the_real_agent_installs_passes_its_self_test_and_starts(tmp_path: Path) -> None:
    """What it depends on (hundreds of MB) is lent by this environment through a `.pth` file."""
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    lent = make_wheel(tmp_path, "lent", "1", {"lent.pth": f"{packages}\n"})
    study = Study(tmp_path / "study")
    own = project_wheel(tmp_path / "wheels")
    study.publish(2, own, lent)
    device = Device(tmp_path / "device", study)
    device.hand_over(2)
    work(device.installer)
    answer = device.desk.answer()
    assert answer is not None
    assert answer.taken, answer.sentence
    site = next((device.prefix / "current" / "lib").glob("python*/site-packages"))
    where = "import agent.run; print(agent.run.__file__)"
    python = device.prefix / "current" / "bin" / "python"
    said = subprocess.check_output([python, "-I", "-c", where], text=True)
    assert Path(said.strip()).resolve().is_relative_to(site.resolve())
    where = "from pathlib import Path; from agent.updates.release_desk import ReleaseDesk as Desk; "
    where += "desk = Desk.here(Path('s')); print(desk.prefix, desk.on_probation().label.serial)"
    python = device.prefix / "releases" / "b" / "bin" / "python"  # as the launcher starts it
    said = subprocess.check_output([python, "-I", "-c", where], text=True)
    assert said.split() == [str(device.prefix), "2"]
    help_text = subprocess.check_output(
        [device.prefix / "current" / "bin" / "sottovoce", "--help"], text=True
    )
    assert "check-in" in help_text
    listened = device.launch("--microphone", str(noise(tmp_path)), "--no-page", "--state", "store")
    assert listened == 0
    assert device.starts["starts"] == 0  # counted, and taken back: it ended by itself


def noise(folder: Path) -> Path:
    """Twenty-five seconds of nobody: two windows."""
    file = folder / "noise.wav"
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(hashlib.shake_256(b"noise").digest(25 * 16_000 * 2))
    return file
