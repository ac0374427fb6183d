"""Members: an invite makes one member, whenever the machine stops, and whoever asks at once."""

import os
import secrets
import sqlite3
import threading
from pathlib import Path

import pytest

from sync.coordinator.members import Admission, Member, Members, MembersError, open_members
from sync.enrolment import Ask, Reason
from sync.errors import ProtocolError, StudyError
from sync.invites import invite_name

SECRET = bytes(range(32))
NOW, END = 1_000, 2_000


def ask(body: bytes = b"one") -> Ask:
    return Ask(invite_name(SECRET), body * 20)


def member(pseudonym: str, serial: int = 7) -> Member:
    return Member(pseudonym, bytes(32), serial, NOW, END)


def judge_for(pseudonym: str, answer: bytes = b"welcome", serial: int = 7):  # type: ignore[no-untyped-def]
    return lambda secret, member_of: Admission(member(pseudonym, serial), answer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with open_members(tmp_path / "members.db") as members:
        members.invite(SECRET, made=NOW, expires=END)
    return tmp_path / "members.db"


def test_an_invite_is_used_once_and_its_answer_kept(path: Path) -> None:
    with open_members(path) as members:
        assert members.admit(ask(), NOW, judge_for("aa" * 16)) == b"welcome"
        assert members.admit(ask(), NOW, judge_for("bb" * 16, b"other")) == b"welcome"
        assert members.admit(ask(b"two"), NOW, judge_for("bb" * 16)) is Reason.USED
    with open_members(path) as members:
        assert [known.pseudonym for known in members.members()] == ["aa" * 16]
        assert members.admit(ask(), END + 1, judge_for("bb" * 16)) == b"welcome"
        (invited,) = [members.invited(NOW)]
        assert (invited.open, invited.used, invited.expired) == (0, 1, 0)


def test_a_judge_who_refuses_or_stumbles_leaves_the_invite_good(path: Path) -> None:
    def stumbles(*_: object) -> Admission:
        raise ProtocolError("not an ask")

    with open_members(path) as members:
        assert members.admit(ask(), NOW, lambda *_: Reason.TAKEN) is Reason.TAKEN
        with pytest.raises(ProtocolError):
            members.admit(ask(), NOW, stumbles)
        assert members.admit(ask(), NOW, judge_for("aa" * 16)) == b"welcome"


def test_an_expired_invites_secret_is_erased(path: Path) -> None:
    with open_members(path) as members:
        assert members.admit(ask(), END, judge_for("aa" * 16)) is Reason.EXPIRED
        assert members.admit(ask(), NOW, judge_for("aa" * 16)) is Reason.EXPIRED  # clock set back
    rows = sqlite3.connect(path)
    assert rows.execute("SELECT secret FROM invites").fetchall() == [(None,)]
    rows.close()


def test_many_at_once_make_one_member(path: Path) -> None:
    answers: list[bytes | Reason] = []

    def come(number: int) -> None:
        with open_members(path) as mine:  # as processes of their own would
            answers.append(mine.admit(ask(bytes([number])), NOW, judge_for(f"{number:032x}")))

    threads = [threading.Thread(target=come, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == sorted([str(b"welcome"), *["used"] * 7])


def dies_at(path: Path, statement: int) -> bool:
    """Admit in a process that is killed before its n-th statement; whether it got that far."""
    child = os.fork()
    if child == 0:
        with open_members(path) as members:
            seen = 0

            def count(_: str) -> None:
                nonlocal seen
                seen += 1
                if seen == statement:
                    os._exit(9)

            members._connection.set_trace_callback(count)
            members.admit(ask(), NOW, judge_for("aa" * 16))
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_a_kill_between_any_two_statements_never_lets_an_invite_be_used_twice(
    tmp_path: Path,
) -> None:
    deaths = 0
    for statement in range(1, 20):
        path = tmp_path / f"{statement}.db"
        with open_members(path) as members:
            members.invite(SECRET, made=NOW, expires=END)
        died = dies_at(path, statement)
        deaths += died
        with open_members(path) as members:
            other = members.admit(ask(b"two"), NOW, judge_for("bb" * 16, b"other"))
            known = [each.pseudonym for each in members.members()]
            assert known == (["bb" * 16] if other == b"other" else ["aa" * 16])
            assert other == b"other" or other is Reason.USED
            if other is Reason.USED:
                assert members.admit(ask(), NOW, judge_for("cc" * 16)) == b"welcome"
        if not died:
            break
    assert deaths >= 6  # begin, erase, look, note, use up, commit


def test_a_renewal_withdraws_the_old_certificate_and_a_revocation_stays(path: Path) -> None:
    with open_members(path) as members:
        members.admit(ask(), NOW, judge_for("aa" * 16, serial=2**150))
        second = secrets.token_bytes(32)
        members.invite(second, made=NOW, expires=END)
        again = Ask(invite_name(second), b"again" * 10)
        members.admit(again, NOW, judge_for("aa" * 16, serial=8))
        assert members.gone().serials == {2**150}
        members.revoke("aa" * 16, NOW + 5)
        members.revoke("aa" * 16, NOW + 9)
        assert members.gone().serials == {2**150, 8}
        assert members.gone().pseudonyms == {"aa" * 16}
        assert members.members()[0].revoked == NOW + 5
        assert members.member("aa" * 16, NOW) is None
        with pytest.raises(StudyError):
            members.revoke("bb" * 16, NOW)


def test_a_member_ends(path: Path) -> None:
    with open_members(path) as members:
        members.admit(ask(), NOW, judge_for("aa" * 16))
        assert members.member("aa" * 16, END - 1) is not None
        assert members.member("aa" * 16, END) is None


def test_open_invites_can_be_withdrawn(path: Path) -> None:
    with open_members(path) as members:
        assert members.withdraw_invites() == 1
        assert members.admit(ask(), NOW, judge_for("aa" * 16)) is Reason.UNKNOWN


def test_a_file_that_is_no_members_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    rows = sqlite3.connect(other)
    rows.execute("CREATE TABLE mine (x)")
    rows.close()
    noise = tmp_path / "noise.db"
    noise.write_bytes(secrets.token_bytes(8192))
    for wrong in (other, noise, tmp_path):
        with pytest.raises(MembersError), open_members(wrong):
            pass
    with open_members(tmp_path / "new.db") as members:
        assert isinstance(members, Members)
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600
