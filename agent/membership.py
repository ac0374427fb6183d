"""What enrolment gave this device: its certificates, its signing key, and where the study is.

Rules it upholds: all of it counts from one moment, when the sealed file `membership` is replaced;
private keys are sealed with the device's key, except the one that TLS must read from a file (mode
0600); the keys of an enrolment that got no answer yet are kept, so that trying again asks the
same; no identity is overwritten unless its owner says so.

Place in the life of a device: `enrol` writes it once, `home` reads it at every start.

    STATE/identity/         0700
        membership          sealed: what this module calls a `Membership`
        pending             sealed: keys and ask of an enrolment on its way
        tls-XXXXXXXX.pem    certificate and key for TLS;  study-ca-XXXXXXXX.pem: the broker's CA
"""

import hashlib
import os
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StrictInt

from agent.cipher import Cipher
from agent.errors import DamagedRecord, StoreError
from agent.keys import IDENTITY_FOLDER, Purpose, sub_key
from edge_models.errors import ContractError
from sync.endpoint import Tls
from sync.enrolment import Ask, DeviceKeys, Grant, parse_ask
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.identity import Credential, Identity, parse_credential
from sync.invites import Invite
from sync.messages import Noise, Pseudonym, StudyName, Version

_MEMBERSHIP: Final = "membership"
_PENDING: Final = "pending"
_VERSION: Final = 1
_Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,4096}$")]
_Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{1,253}$")]
_Port = Annotated[StrictInt, Field(ge=1, le=65535)]


class _Kept(Message):
    """The content of `membership`."""

    version: Version
    study: StudyName
    host: _Host
    port: _Port
    pseudonym: Pseudonym
    authority: _Hex
    signing_key: _Hex
    credential: _Hex
    coordinator: _Hex
    policy_signature: _Hex
    noise: Noise
    tls_file: Annotated[str, Field(pattern=r"^tls-[0-9a-f]{8}\.pem$")]
    ca_file: Annotated[str, Field(pattern=r"^study-ca-[0-9a-f]{8}\.pem$")]


class _Waiting(Message):
    """The content of `pending`."""

    version: Version
    study: StudyName
    tls_key: _Hex
    signing_key: _Hex
    ask: _Hex


@dataclass(frozen=True, slots=True)
class Membership:
    """This device in its study.

    `authority` (32 bytes) checks every credential of the study; `coordinator` is the
    coordinator's own; `identity` signs what the device says; `tls` is how it knows the broker at
    `host`:`port` and is known by it. `policy_signature` is the study's over its privacy policy,
    `noise` where the study adds it.
    """

    study: str
    host: str
    port: int
    pseudonym: str
    authority: bytes
    identity: Identity = field(repr=False)
    coordinator: Credential = field(repr=False)
    tls: Tls
    policy_signature: bytes = field(repr=False)
    noise: Noise


@dataclass(frozen=True, slots=True)
class Pending:
    """An enrolment in a study that was asked for and may have no answer yet."""

    study: str
    keys: DeviceKeys
    ask: Ask


class IdentityFolder:
    """The folder `identity` in a device's state folder; `key` is the device's own (32 bytes)."""

    def __init__(self, state_folder: Path, key: bytes) -> None:
        self._folder = state_folder / IDENTITY_FOLDER
        self._cipher = Cipher(sub_key(key, Purpose.IDENTITY))

    def membership(self) -> Membership | None:
        """What enrolment gave; None before it.

        Raises:
            StoreError: it can't be read, or is damaged.
        """
        try:
            content = self._opened(_MEMBERSHIP)
            if content is None:
                return None
            kept = decoded(content, _Kept)
            tls_file = self._folder / kept.tls_file
            return Membership(
                kept.study,
                kept.host,
                kept.port,
                kept.pseudonym,
                bytes.fromhex(kept.authority),
                Identity(
                    bytes.fromhex(kept.signing_key),
                    parse_credential(bytes.fromhex(kept.credential)),
                ),
                parse_credential(bytes.fromhex(kept.coordinator)),
                Tls(self._folder / kept.ca_file, tls_file, tls_file),
                bytes.fromhex(kept.policy_signature),
                kept.noise,
            )
        except (DamagedRecord, ProtocolError, ContractError, ValueError) as fault:
            raise _damaged(self._folder / _MEMBERSHIP) from fault

    def pending(self) -> Pending | None:
        """The last enrolment that got no answer, None where there is none.

        One that is damaged is worth nothing, and counts as none.

        Raises:
            StoreError: the folder can't be read.
        """
        try:
            content = self._opened(_PENDING)
            if content is None:
                return None
            waiting = decoded(content, _Waiting)
            ask = parse_ask(bytes.fromhex(waiting.ask))
        except (DamagedRecord, ProtocolError):
            return None
        keys = DeviceKeys(bytes.fromhex(waiting.tls_key), bytes.fromhex(waiting.signing_key))
        return Pending(waiting.study, keys, ask)

    def keep_pending(self, pending: Pending) -> None:
        """Keep what is about to be asked; only then ask it.

        Raises:
            StoreError: it can't be written.
        """
        self._close(
            _PENDING,
            _Waiting(
                version=_VERSION,
                study=pending.study,
                tls_key=pending.keys.tls_key.hex(),
                signing_key=pending.keys.signing_key.hex(),
                ask=pending.ask.to_bytes().hex(),
            ),
        )

    def keep_granted(self, invite: Invite, pending: Pending, grant: Grant) -> Membership:
        """Keep what was granted: from now on, this device is a member.

        Raises:
            StoreError: it can't be written; what was before holds.
        """
        certificate, ca = bytes.fromhex(grant.certificate), bytes.fromhex(grant.ca_certificate)
        kept = _Kept(
            version=_VERSION,
            study=invite.study,
            host=invite.host,
            port=invite.broker_port,
            pseudonym=grant.pseudonym,
            authority=invite.authority.hex(),
            signing_key=pending.keys.signing_key.hex(),
            credential=grant.credential,
            coordinator=grant.coordinator,
            policy_signature=grant.policy_signature,
            noise=grant.noise,
            tls_file=f"tls-{hashlib.sha256(certificate).hexdigest()[:8]}.pem",
            ca_file=f"study-ca-{hashlib.sha256(ca).hexdigest()[:8]}.pem",
        )
        pem = ssl.DER_cert_to_PEM_cert(certificate).encode()
        self._write(kept.tls_file, pending.keys.tls_key + pem)
        self._write(kept.ca_file, ssl.DER_cert_to_PEM_cert(ca).encode())
        self._close(_MEMBERSHIP, kept)
        self._tidy({_MEMBERSHIP, kept.tls_file, kept.ca_file})
        membership = self.membership()
        assert membership is not None
        return membership

    def _tidy(self, keep: set[str]) -> None:
        """Remove what the last enrolment left; if this fails, nothing depends on it."""
        for path in self._folder.iterdir():
            if path.name not in keep:
                path.unlink(missing_ok=True)

    def _opened(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            return self._cipher.open(path.read_bytes(), name.encode())
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise _unusable(path, fault) from fault

    def _close(self, name: str, content: Message) -> None:
        self._write(name, self._cipher.close(encoded(content), name.encode()))

    def _write(self, name: str, content: bytes) -> None:
        """A file of mode 0600, whole: the old content or the new, whenever the power fails."""
        path = self._folder / name
        draft = self._folder / f".{name}.{os.getpid()}.{threading.get_ident()}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as fault:
            raise _unusable(path, fault) from fault


def _damaged(path: Path) -> StoreError:
    return StoreError(
        f"'{path}' is damaged, or was made with another key.",
        "Put it back from a backup, or enrol again with a fresh invite: sottovoce enrol --again",
    )


def _unusable(path: Path, fault: OSError) -> StoreError:
    return StoreError(
        f"'{path}' can't be used: {fault.strerror}.",
        "Check who owns the state folder and whether its disk is full.",
    )
