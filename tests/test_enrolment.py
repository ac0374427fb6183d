"""Enrolment: a good invite makes one member; replayed, expired and foreign ones are refused.

The desk is asked in memory where bytes are enough, and through its real port where they are not.
"""

import dataclasses
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import SettingError
from agent.membership import IdentityFolder, Pending
from edge_models.errors import Explained
from sync import enrolment
from sync.coordinator.desk import Desk, opened_desk
from sync.coordinator.members import MembersError
from sync.enrolment import (
    Ask,
    Grant,
    Reason,
    make_ask,
    new_keys,
    open_ask,
    parse_ask,
    read_answer,
    tls_public_key,
)
from sync.enrolment_line import exchange
from sync.errors import DeskError, DoorError, InviteRefused, ProtocolError, StudyError
from sync.identity import Role, verify
from sync.invites import Invite
from tests.founding import World, founded_study, free_port

PSEUDONYM = "ab" * 16


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with founded_study(tmp_path) as made:
        yield made


def desk_of(world: World) -> Desk:
    return Desk(
        world.authority, world.founded.members, clock=world.clock, random_bytes=secrets.token_bytes
    )


def asked(invite: Invite, pseudonym: str = PSEUDONYM) -> Ask:
    keys = new_keys(secrets.token_bytes)
    return make_ask(invite, keys, pseudonym, random_bytes=secrets.token_bytes)


def answered(world: World, ask: Ask, invite: Invite) -> Grant:
    answer = desk_of(world).answer(ask.to_bytes())
    return read_answer(answer, ask=ask, invite=invite, now=int(world.clock().timestamp()))


# What a member gets.


def test_a_good_invite_makes_a_member_with_two_certified_keys(world: World) -> None:
    member = world.enrol("device")
    assert (member.study, member.host) == ("north", "127.0.0.1")
    assert member.port == world.authority.about.broker_port
    now = int(world.clock().timestamp())
    for credential, role in (
        (member.identity.credential, Role.DEVICE),
        (member.coordinator, Role.COORDINATOR),
    ):
        credential.check(study="north", authority=member.authority, role=role, now=now)
    assert member.identity.credential.name.hex() == member.pseudonym
    verify(member.identity.credential.signing_key, "x", b"y", member.identity.sign("x", b"y"))
    assert world.identity("device").membership() == member

    assert member.tls.certificate_file is not None
    found = x509.load_pem_x509_certificate(member.tls.certificate_file.read_bytes())
    (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == member.pseudonym
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    left = found.not_valid_after_utc - world.clock()
    assert timedelta(days=399) < left < timedelta(days=401)


def test_private_keys_are_sealed_or_the_owners_alone(world: World) -> None:
    member = world.enrol("device")
    folder = world.folder / "device" / "identity"
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        content = path.read_bytes()
        assert member.identity.private_key not in content
        assert member.identity.private_key.hex().encode() not in content
    names = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    assert names == ["membership", "study", "tls"]
    assert member.identity.private_key.hex() not in repr(member)


def test_nothing_of_the_authority_is_in_the_brokers_folder(world: World) -> None:
    folder = world.authority.folder
    secrets_ = [(folder / n).read_bytes() for n in ("ca.key", "authority.key", "door.key")]
    for path in world.authority.broker_folder.iterdir():
        assert not any(secret in path.read_bytes() for secret in secrets_)
        assert path.stat().st_mode & 0o777 == 0o600


# Replayed.


def test_the_same_ask_gets_the_same_answer_again(world: World) -> None:
    invite = world.invite()
    ask, desk = asked(invite), desk_of(world)
    first = desk.answer(ask.to_bytes())
    assert desk.answer(ask.to_bytes()) == first
    assert len(world.founded.members.members()) == 1


def test_another_ask_with_a_used_invite_is_refused(world: World) -> None:
    invite = world.invite()
    world.enrol("device", invite)
    with pytest.raises(InviteRefused, match=r"was used already.*fresh one"):
        world.enrol("thief", invite)
    with pytest.raises(InviteRefused, match="was used already"):
        answered(world, asked(invite), invite)
    assert len(world.founded.members.members()) == 1


def test_a_used_invite_leaves_no_secret_behind(world: World) -> None:
    invite = world.invite()
    world.enrol("device", invite)
    for path in world.authority.folder.glob("members.db*"):
        if path.suffix != ".db-wal":  # the log is overwritten in its turn
            assert invite.secret not in path.read_bytes()


def test_an_answer_that_was_lost_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(invite: Invite, ask: Ask) -> bytes:
        exchange(invite, ask)
        raise DeskError("The connection broke.")

    invite = world.invite()
    with monkeypatch.context() as patched:
        patched.setattr("agent.enrol.exchange", lost)
        with pytest.raises(DeskError):
            world.enrol("device", invite)
    assert world.identity("device").membership() is None
    (known,) = world.founded.members.members()
    assert world.enrol("device", invite).pseudonym == known.pseudonym
    assert world.identity("device").pending() is None


def test_a_lost_answer_does_not_stand_in_the_way_of_another_invite(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("agent.enrol.exchange", lambda i, a: exchange(i, a)[:0])
        with pytest.raises(ProtocolError):
            world.enrol("device")
    assert world.enrol("device").pseudonym == world.founded.members.members()[0].pseudonym


@pytest.mark.parametrize("dies_at", range(1, 5))
def test_a_device_that_dies_in_any_write_enrols_with_the_same_invite(
    world: World, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    class Died(Exception):
        pass

    invite, writes, real = world.invite(), 0, IdentityFolder._write

    def write(folder: IdentityFolder, name: str, content: bytes) -> None:
        nonlocal writes
        writes += 1  # pending, certificate, CA, membership
        if writes == dies_at:
            raise Died
        real(folder, name, content)

    with monkeypatch.context() as patched:
        patched.setattr(IdentityFolder, "_write", write)
        with pytest.raises(Died):
            world.enrol("device", invite)
    assert world.identity("device").membership() is None
    member = world.enrol("device", invite)
    assert [known.pseudonym for known in world.founded.members.members()] == [member.pseudonym]


# Expired.


def test_an_expired_invite_is_refused_by_the_device_and_by_the_desk(world: World) -> None:
    invite = world.invite(timedelta(hours=1))
    ask = asked(invite)
    world.clock.pass_(timedelta(hours=1))
    with pytest.raises(SettingError, match=r"expired on .* fresh one, or set this device's clock"):
        world.enrol("device", invite)
    with pytest.raises(InviteRefused, match="has expired"):
        answered(world, ask, invite)
    late = dataclasses.replace(invite, expires=invite.expires + 10**6)  # by hand: no use
    with pytest.raises(InviteRefused, match="has expired"):
        world.enrol("device", late)


# Foreign.


def test_an_invite_of_another_study_is_refused(world: World, tmp_path: Path) -> None:
    with founded_study(tmp_path / "other", "south") as other:
        theirs = other.invite()
        here = dataclasses.replace(theirs, desk_port=world.authority.about.desk_port)
        with pytest.raises(DeskError, match="is not the study's desk that the invite names"):
            world.enrol("device", here)
        with pytest.raises(ProtocolError, match="not the study that this invite is from"):
            answered(world, asked(theirs), theirs)
        assert not other.founded.members.members()


def test_an_invite_that_the_study_never_made_is_refused_in_its_name(world: World) -> None:
    made_up = dataclasses.replace(world.invite(), secret=secrets.token_bytes(32))
    with pytest.raises(InviteRefused, match="does not know this invite"):
        world.enrol("device", made_up)


def test_a_refusal_that_another_study_signed_is_not_believed(world: World, tmp_path: Path) -> None:
    invite = world.invite()
    ask = asked(invite)
    with founded_study(tmp_path / "other", "north") as other:  # of the same name, even
        answer = desk_of(other).answer(ask.to_bytes())
    with pytest.raises(ProtocolError, match="not the study"):
        read_answer(answer, ask=ask, invite=invite, now=int(world.clock().timestamp()))


def test_a_refusal_of_another_ask_is_not_believed(world: World) -> None:
    invite = world.invite()
    made_up = dataclasses.replace(invite, secret=secrets.token_bytes(32))
    answer = desk_of(world).answer(asked(made_up).to_bytes())
    with pytest.raises(ProtocolError, match="not the study"):
        read_answer(answer, ask=asked(invite), invite=invite, now=int(world.clock().timestamp()))


def test_a_grant_from_who_has_the_secret_but_not_the_authority_is_not_believed(
    world: World, tmp_path: Path
) -> None:
    invite = world.invite()
    ask = asked(invite)
    with founded_study(tmp_path / "other", "north") as other:
        other.founded.members.invite(invite.secret, made=0, expires=invite.expires)
        answer = desk_of(other).answer(ask.to_bytes())
    with pytest.raises(ProtocolError, match="not the study"):
        read_answer(answer, ask=ask, invite=invite, now=int(world.clock().timestamp()))


# Names and keys.


def test_nobody_enrols_under_the_name_of_another(world: World) -> None:
    member = world.enrol("device")
    invite = world.invite()
    with pytest.raises(InviteRefused, match="Another device of the study has this device's name"):
        answered(world, asked(invite, member.pseudonym), invite)
    assert answered(world, asked(invite), invite).pseudonym == PSEUDONYM  # the invite is still good


def test_a_device_renews_under_its_name_and_its_old_certificate_ends(world: World) -> None:
    before = world.enrol("device")
    (old,) = world.founded.members.members()
    with pytest.raises(SettingError, match=r"a member of the study 'north' already.*--again"):
        world.enrol("device")
    after = world.enrol("device", again=True)
    assert after.pseudonym == before.pseudonym
    assert after.identity.private_key != before.identity.private_key
    (new,) = world.founded.members.members()
    assert new.serial != old.serial
    assert world.founded.members.gone().serials == {old.serial}
    assert not world.founded.members.gone().pseudonyms


def test_a_revoked_device_does_not_come_back_under_its_name(world: World) -> None:
    member = world.enrol("device")
    world.founded.members.revoke(member.pseudonym, 1)
    with pytest.raises(InviteRefused, match="has revoked this device"):
        world.enrol("device", again=True)
    assert not world.founded.is_member(member.pseudonym)
    with pytest.raises(StudyError, match="no member"):
        world.founded.members.revoke("0" * 32, 1)


def forged(invite: Invite, **changed: str) -> Ask:
    """An ask of somebody who holds the invite and alters the request."""
    ask = asked(invite)
    request = open_ask(ask, study=invite.study, secret=invite.secret)
    altered = request.model_copy(update=changed)
    key = enrolment._key(invite.secret, invite.study, b"ask")
    sealed = enrolment._sealed(key, enrolment.encoded(altered), secrets.token_bytes)
    return Ask(invite.name, sealed)


def test_a_key_that_is_not_proven_is_not_certified(world: World) -> None:
    invite, other = world.invite(), world.invite()
    request = open_ask(asked(invite), study="north", secret=invite.secret)
    elsewhere = open_ask(asked(other), study="north", secret=other.secret)
    for changed in (
        {"signing_key": request.signing_key},  # of somebody else
        {"certificate_request": request.certificate_request},
        {"certificate_request": elsewhere.certificate_request, "proof": elsewhere.proof},
        {"pseudonym": "cd" * 16},
        {"study": "south"},
    ):
        with pytest.raises(InviteRefused, match="could not read this device's request"):
            answered(world, forged(invite, **changed), invite)
    with pytest.raises(ProtocolError, match="not proven"):
        tls_public_key(request, other.name)
    assert answered(world, asked(invite), invite).pseudonym == PSEUDONYM  # and is still good


# Any bytes.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_get_a_signed_no(world: World, payload: bytes) -> None:
    answer = desk_of(world).answer(payload)
    assert answer[:1] == b"\x02"
    assert len(answer) < 1024


def test_an_ask_that_was_touched_anywhere_gets_a_signed_no(world: World) -> None:
    invite = world.invite()
    good = asked(invite).to_bytes()
    for place in range(0, len(good), 37):
        touched = bytearray(good)
        touched[place] ^= 1
        assert desk_of(world).answer(bytes(touched))[:1] == b"\x02"
    assert not world.founded.members.members()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x01", b"\x02", b'\x02{"version":1}']))
def test_any_answer_is_a_grant_or_a_protocol_error(
    world: World, payload: bytes, kind: bytes
) -> None:
    invite = world.invite()
    with pytest.raises(ProtocolError):
        read_answer(kind + payload, ask=Ask(invite.name, b"x" * 40), invite=invite, now=1)


@given(st.binary(max_size=400))
def test_any_certification_request_is_read_or_refused(payload: bytes) -> None:
    request = enrolment.Request.model_construct(certificate_request=payload.hex())
    with pytest.raises(ProtocolError):
        tls_public_key(request, bytes(16))


@given(st.binary(max_size=5000))
def test_any_bytes_are_an_ask_or_are_refused(payload: bytes) -> None:
    try:
        assert parse_ask(payload).to_bytes() == payload
    except ProtocolError:
        assert len(payload) < 45 or len(payload) > 4096 or payload[0] != 1


# The line.


def test_the_line_sends_nothing_but_an_ask(world: World) -> None:
    with pytest.raises(DoorError):
        exchange(world.invite(), b"a window of features")  # type: ignore[arg-type]


def test_a_desk_that_is_not_there_is_explained(world: World) -> None:
    away = dataclasses.replace(world.invite(), desk_port=free_port())
    with pytest.raises(DeskError, match=r"can't be reached.*The invite stays good"):
        world.enrol("device", away)


def test_an_unknown_host_is_explained(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> socket.socket:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    away = dataclasses.replace(world.invite(), host="no-such-study.invalid")
    with pytest.raises(DeskError, match=r"can't be reached.*network"):
        world.enrol("device", away)


def test_what_answers_without_tls_or_not_at_all_is_explained(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = dataclasses.replace(world.invite(), desk_port=silent.getsockname()[1])
        with pytest.raises(DeskError, match="did not answer in time"):
            exchange(there, asked(there), timeout_s=0.2)


def test_strangers_at_the_desk_neither_stop_nor_hold_it(world: World) -> None:
    faults: list[Explained] = []
    with opened_desk(
        desk_of(world), world.authority, "127.0.0.1", 0, on_fault=faults.append, patience_s=0.5
    ) as port:
        idle = socket.create_connection(("127.0.0.1", port))
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", secrets.token_bytes(400)):
            with socket.create_connection(("127.0.0.1", port)) as rude:
                rude.sendall(words)
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            anyone.wrap_socket(plain) as line,
        ):
            since = time.monotonic()
            line.sendall(b"\xff\xffslowly")  # promises more than it sends
            assert line.recv(1) == b""
            assert time.monotonic() - since < 3
        invite = dataclasses.replace(world.invite(), desk_port=port)
        assert world.enrol("device", invite).study == "north"
        idle.close()
    assert not faults


def test_a_desk_on_every_address_answers_on_ipv4_too(world: World) -> None:
    with opened_desk(desk_of(world), world.authority, "", 0) as port:
        for host in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            invite = dataclasses.replace(world.invite(), desk_port=port, host=host)
            ask = asked(invite, secrets.token_hex(16))
            assert exchange(invite, ask)[:1] == b"\x01"


def test_a_desk_whose_disk_fails_answers_nothing_and_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Explained] = []
    invite = world.invite()
    with opened_desk(
        desk_of(world), world.authority, "127.0.0.1", 0, on_fault=faults.append
    ) as port:
        here = dataclasses.replace(invite, desk_port=port)
        with monkeypatch.context() as patched:

            def full(*_: object) -> bytes:
                raise MembersError("The disk is full.")

            patched.setattr(type(world.founded.members), "admit", full)
            with pytest.raises(DeskError, match="ended the connection"):
                world.enrol("device", here)
        assert world.enrol("device", here).study == "north"
    assert [fault.cause for fault in faults] == ["The disk is full."]


def test_a_pending_ask_survives_and_a_damaged_one_counts_as_none(world: World) -> None:
    invite = world.invite()
    folder = world.identity("device")
    world.store("device").close()
    pending = Pending("north", new_keys(secrets.token_bytes), asked(invite))
    folder.keep_pending(pending)
    assert folder.pending() == pending
    (world.folder / "device" / "identity" / "pending").write_bytes(b"torn")
    assert folder.pending() is None


def test_every_reason_has_its_own_sentence_and_remedy() -> None:
    told = [enrolment._TOLD[reason] for reason in Reason]
    assert len(set(told)) == len(Reason)
    assert all(cause.endswith(".") and remedy.endswith(".") for cause, remedy in told)
