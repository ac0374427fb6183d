"""Wheels: believed by their hash, looked into before pip sees them, installed without a network."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.updates import release_trial, wheelhouse
from agent.updates.release_trial import try_release
from agent.updates.wheelhouse import (
    Wheelhouse,
    build_environment,
    check_room,
    check_wheel,
)
from sync.updates.rejected import Reason, UpdateRejected
from tests.wheels import described, make_wheel, self_test_of, small_release

ROOT: Final = Path(__file__).resolve().parent.parent


def refusal(reason: Reason) -> "pytest.RaisesContext[UpdateRejected]":  # type: ignore[name-defined]
    return pytest.raises(UpdateRejected, check=lambda fault: fault.reason is reason)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slot with a small release and a package beside it."""
    folder = tmp_path_factory.mktemp("prefix")
    other = make_wheel(folder, "beside", "2.0", {"beside.py": "x = 1\n"})
    slot = folder / "releases" / "a"
    slot.mkdir(parents=True)
    build_environment([small_release(folder, "0.1.0"), other], slot)
    return slot


# Kept by their hash.


def test_a_wheel_is_kept_once_and_laid_out_under_its_own_name(tmp_path: Path) -> None:
    file = small_release(tmp_path / "came", "0.1.0")
    wheel, house = described(file), Wheelhouse(tmp_path / "kept")
    assert house.missing([wheel]) == (wheel,)
    house.add(wheel, file)
    file.unlink()
    assert house.missing([wheel]) == ()
    house.add(wheel, file)  # it is here: nothing is read
    (laid,) = house.lay_out([wheel], tmp_path)
    assert laid.name == wheel.file
    assert hashlib.sha256(laid.read_bytes()).hexdigest() == wheel.sha256


def test_a_wheel_that_is_not_the_one_that_was_signed_for_is_not_kept(tmp_path: Path) -> None:
    file = small_release(tmp_path / "came", "0.1.0")
    wheel, house = described(file), Wheelhouse(tmp_path / "kept")
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    for altered in (bytes(content), bytes(content[:-1]), file.read_bytes() + b"x", b""):
        file.write_bytes(altered)
        with refusal(Reason.ALTERED):
            house.add(wheel, file)
    assert not list(house.folder.iterdir())


def test_a_kept_wheel_that_a_disk_damaged_is_found_out_and_fetched_again(tmp_path: Path) -> None:
    file = small_release(tmp_path / "came", "0.1.0")
    wheel, house = described(file), Wheelhouse(tmp_path / "kept")
    house.add(wheel, file)
    (kept,) = house.folder.iterdir()
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with refusal(Reason.ALTERED):
        house.lay_out([wheel], tmp_path)
    assert house.missing([wheel]) == (wheel,)


def test_a_wheel_that_is_not_there_is_named(tmp_path: Path) -> None:
    wheel = described(small_release(tmp_path, "0.1.0"))
    with refusal(Reason.INCOMPLETE) as caught:
        Wheelhouse(tmp_path / "kept").lay_out([wheel], tmp_path)
    assert wheel.file in str(caught.value)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_came_is_a_plain_file_or_refused_at_once(tmp_path: Path, kind: str) -> None:
    file = small_release(tmp_path / "came", "0.1.0")
    wheel = described(file)
    aside = file.rename(tmp_path / "aside")
    if kind == "link":
        file.symlink_to(aside)
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    with refusal(Reason.INCOMPLETE):
        Wheelhouse(tmp_path / "kept").add(wheel, file)


def test_wheels_of_older_releases_go(tmp_path: Path) -> None:
    old, new = (small_release(tmp_path, says) for says in ("0.1.0", "0.1.1"))
    house = Wheelhouse(tmp_path / "kept")
    for file in (old, new):
        house.add(described(file), file)
    house.keep_only([described(new)])
    assert house.missing([described(old), described(new)]) == (described(old),)


# Looked into.


def packed(folder: Path, *entries: zipfile.ZipInfo, content: bytes = b"x") -> Path:
    path = folder / "odd-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            archive.writestr(entry, content, entry.compress_type)
    return path


def test_a_wheel_is_measured_by_unpacking_it(tmp_path: Path) -> None:
    file = make_wheel(tmp_path, "a", "1", {"a.py": "x" * 1000})
    with zipfile.ZipFile(file) as archive:
        assert check_wheel(file) == sum(entry.file_size for entry in archive.infolist())


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a/../../x", "a//x", "./x", "..", "a\\..\\x", "a\nb", "a/" + "b" * 600],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with refusal(Reason.BAD_PATH):
        check_wheel(packed(tmp_path, zipfile.ZipInfo(name)))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_is_refused(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("a")
    entry.external_attr = (kind | 0o777) << 16
    with refusal(Reason.BAD_PATH):
        check_wheel(packed(tmp_path, entry))


def test_a_name_that_is_cut_by_a_zero_byte_is_refused(tmp_path: Path) -> None:
    file = packed(tmp_path, zipfile.ZipInfo("abc.py"))
    file.write_bytes(file.read_bytes().replace(b"abc.py", b"a\0c.py"))
    with pytest.raises(UpdateRejected) as caught:
        check_wheel(file)
    assert caught.value.reason in (Reason.BAD_PATH, Reason.MALFORMED)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with refusal(Reason.MALFORMED):
        check_wheel(packed(tmp_path, zipfile.ZipInfo("a"), zipfile.ZipInfo("a")))


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_holds(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("a")
    entry.compress_type = zipfile.ZIP_DEFLATED
    file = packed(tmp_path, entry, content=bytes(10_000_000))
    assert file.stat().st_size < 20_000
    with refusal(Reason.TOO_LARGE):
        check_wheel(file, most_bytes=9_999_999)
    size = (10_000_000).to_bytes(4, "little")
    assert file.read_bytes().count(size) == 2
    file.write_bytes(file.read_bytes().replace(size, (10).to_bytes(4, "little")))
    with refusal(Reason.MALFORMED):  # it says 10 bytes, and holds a million times as many
        check_wheel(file, most_bytes=9_999_999)


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheelhouse, "MOST_ENTRIES", 2)
    with refusal(Reason.TOO_LARGE):
        check_wheel(packed(tmp_path, *(zipfile.ZipInfo(name) for name in "abc")))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(tmp_path: Path, compression: int) -> None:
    entry = zipfile.ZipInfo("a")
    entry.compress_type = compression
    with refusal(Reason.MALFORMED):
        check_wheel(packed(tmp_path, entry))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_any_bytes_are_a_wheel_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(make_wheel(tmp_path, "a", "1", {"a.py": "x" * 50}).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "fuzzed.whl"
    file.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        assert check_wheel(file) < 10_000
    except UpdateRejected as fault:
        assert fault.reason in (Reason.MALFORMED, Reason.BAD_PATH, Reason.TOO_LARGE)


def test_a_full_disk_is_known_before_a_byte_is_written(tmp_path: Path) -> None:
    check_room(tmp_path, 1)
    with refusal(Reason.NO_ROOM):
        check_room(tmp_path, 2**60)


# Installed.


def test_a_slot_works_by_the_link_that_leads_to_it(installed: Path) -> None:
    current = installed.parent / "current"
    current.symlink_to("a")
    said = subprocess.check_output([current / "bin" / "sottovoce", "--version"], text=True)
    assert said == "sottovoce 0.1.0\n"
    for script in (installed / "bin").iterdir():
        first = script.read_bytes()[:300].split(b"\n")[0]
        if first.startswith(b"#!") and b"python" in first:
            assert first.startswith(f"#!{installed}/bin/python".encode()), script


def test_a_slot_holds_what_was_listed_and_nothing_of_this_environment(installed: Path) -> None:
    listing = "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))"
    said = subprocess.check_output([installed / "bin/python", "-I", "-c", listing], text=True)
    assert set(said.split()) == {"beside", "sottovoce"}


def test_a_slot_can_be_read_and_run_by_all_and_written_by_its_owner_only(installed: Path) -> None:
    for path in (installed, *installed.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            assert not mode & 0o022, path
            assert mode & 0o044 == 0o044, path


def test_what_pip_refuses_is_a_refused_update_in_its_words(tmp_path: Path) -> None:
    file = small_release(tmp_path, "0.1.0")
    foreign = file.rename(tmp_path / "sottovoce-0.1.0-cp27-cp27m-win32.whl")
    (tmp_path / "a").mkdir()
    with refusal(Reason.INCOMPLETE) as caught:
        build_environment([foreign], tmp_path / "a")
    assert "not a supported wheel" in str(caught.value)


def test_an_installation_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nsleep 600\n")
    slow.chmod(0o755)
    (tmp_path / "a").mkdir()
    with refusal(Reason.INCOMPLETE) as caught:
        build_environment([], tmp_path / "a", python=slow, limit_s=0.2)
    assert "too long" in str(caught.value)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_installing_opens_no_connection_whatever_the_environment_offers(tmp_path: Path) -> None:
    """With an index, a proxy and a configuration file on offer; strace sees every process."""
    wheel = small_release(tmp_path, "0.1.0")
    slot, calls = tmp_path / "a", tmp_path / "calls"
    slot.mkdir()
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/simple\n")
    offered = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    code = (
        "import sys, pathlib; from agent.updates.wheelhouse import build_environment as build; "
        "build([pathlib.Path(sys.argv[1])], pathlib.Path(sys.argv[2]))"
    )

    def traced(*command: str) -> list[str]:
        trace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(calls)]
        environment = {**os.environ, **offered}
        subprocess.run([*trace, sys.executable, *command], env=environment, check=False)
        return [line for line in calls.read_text().splitlines() if "AF_INET" in line]

    assert traced("-m", "pip", "install", "--retries=0", "--timeout=1", "x")  # it is believed
    assert not traced("-c", code, str(wheel), str(slot))
    assert (slot / "bin" / "sottovoce").exists()


# Tried.


def answers(slot: Path, source: str) -> None:
    """Give the release in a slot another self-test."""
    (module,) = slot.glob("lib/*/site-packages/agent/updates/self_test.py")
    shutil.rmtree(module.parent / "__pycache__")
    (module.parent / "__pycache__").mkdir()
    module.write_text(source)


def test_a_release_that_runs_is_tried_and_says_what_it_found(installed: Path) -> None:
    answers(installed, self_test_of("0.1.0"))
    found = try_release(installed, "0.1.0")
    assert found.golden
    assert found.says == "0.1.0"


def test_a_release_that_calls_itself_another_version_is_refused(installed: Path) -> None:
    with refusal(Reason.CONTRACT):
        try_release(installed, "0.1.1")


@pytest.mark.parametrize(
    ("first", "answer", "reason", "says"),
    [
        ("import nothing_of_the_kind", {}, Reason.GOLDEN, "No module named"),
        ("import os; os.abort()", {}, Reason.GOLDEN, "signal 6"),
        ("import time; time.sleep(600)", {}, Reason.GOLDEN, "too long"),
        ("print('x' * 10**7); raise SystemExit(3)", {}, Reason.GOLDEN, "xxx"),
        ("", {"store_reads": "everything"}, Reason.GOLDEN, "no answer"),
        ("", {"says": "0.0.9"}, Reason.CONTRACT, "0.1.0"),
        ("", {"store_reads": [4], "store_writes": 4}, Reason.CONTRACT, "recorded"),
        ("", {"store_reads": [3, 4], "store_writes": 4}, Reason.CONTRACT, "no way back"),
    ],
)
def test_a_release_is_refused_for_what_it_does_or_says(
    installed: Path, first: str, answer: dict[str, object], reason: Reason, says: str
) -> None:
    answers(installed, self_test_of("0.1.0", first, answer))
    limit_s = 3.0 if "sleep" in first else release_trial.LIMIT_S
    with refusal(reason) as caught:
        try_release(installed, "0.1.0", limit_s=limit_s)
    assert says in str(caught.value)


def test_a_slot_without_its_program_does_not_start(tmp_path: Path) -> None:
    with refusal(Reason.INCOMPLETE):
        try_release(tmp_path, "0.1.0")
