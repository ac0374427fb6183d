"""A study's authority: the keys that say who belongs to it, in a folder of their own.

Rules upheld here: a study is made whole or not at all, in a folder that its owner alone can
read; a private key never leaves its file; what the broker needs lies apart, and none of the
authority's keys is among it.

In the life of a device: signs what `desk` grants. In a round: certifies the coordinator's key.

Two authorities in one: a CA for the connections (`certificates`), and an Ed25519 key for what is
said over them (`sync.identity`).

    STATE/study/            0700
        study.json          name, host and ports
        ca.*, authority.key the two authorities
        coordinator.signing, coordinator.credential      what the coordinator signs rounds with
        coordinator.crt, coordinator.key                 its connection to the broker
        door.*              what the enrolment desk shows
        members.db          invites and members (`members`)
        broker/             what the broker's machine gets, and nothing else
"""

import os
import shutil
import ssl
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

from pydantic import Field, StrictInt

from edge_models.errors import ContractError
from sync.agreement import SIGNATURE_FILE, sign_policy
from sync.coordinator import broker_files
from sync.coordinator.broker_files import BrokerSettings, mosquitto_acl, mosquitto_conf
from sync.coordinator.certificates import LIFE, CertificateAuthority, Pair, door_certificate
from sync.endpoint import Tls
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError, StudyError
from sync.identity import (
    COORDINATOR,
    KEY_BYTES,
    Credential,
    Identity,
    Role,
    issue_credential,
    parse_credential,
    public_key,
)
from sync.messages import Noise, StudyName, Version
from sync.policy import parse_policy
from sync.updates.first_root import authorise_root

STUDY_FOLDER: Final = "study"
BROKER_FOLDER: Final = "broker"
MEMBERS_FILE: Final = "members.db"
_COORDINATOR: Final = "coordinator"  # as the broker knows it

_MOMENT: Final = timedelta(minutes=5)
_STUDY_FILE: Final = "study.json"
_AUTHORITY_KEY: Final = "authority.key"
_SIGNING_KEY: Final = "coordinator.signing"
_CREDENTIAL: Final = "coordinator.credential"
_POLICY: Final = "policy.json"  # founded under; what newcomers' installations carry
_ADOPTED: Final = "policy-adopted.json"  # what rounds ask for since; none: the one above

RandomBytes = Callable[[int], bytes]


class StudyFile(Message):
    """What `study init` was told: `host` of broker and desk, their ports, and where noise is added.

    `noise`: "sum", inside a secure sum that is opened as a whole; or "local", by each device for
    itself, in a study too small or too seldom together for sums.
    """

    version: Version
    study: StudyName
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9:._-]{1,253}$")]
    broker_port: Annotated[StrictInt, Field(ge=1, le=65535)]
    desk_port: Annotated[StrictInt, Field(ge=1, le=65535)]
    noise: Noise = "sum"


@dataclass(frozen=True, slots=True)
class Authority:
    """A study's keys, read from its folder by `open_study`; `door` is the desk's fingerprint.

    `policy` is the file of the privacy policy that its rounds ask for; `policy_signature` is its
    own over the one that it was founded under, which newcomers' installations carry.
    """

    folder: Path
    about: StudyFile
    coordinator: Identity = field(repr=False)
    door: bytes
    ca: CertificateAuthority = field(repr=False)
    policy: bytes = field(repr=False)
    policy_signature: bytes = field(repr=False)
    _signing_key: bytes = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """The Ed25519 key that every credential of the study is checked with, 32 bytes."""
        return public_key(self._signing_key)

    @property
    def broker_folder(self) -> Path:
        """What the broker needs, and nothing else: to be copied to its machine."""
        return self.folder / BROKER_FOLDER

    @property
    def members_file(self) -> Path:
        """Where invites and members are kept."""
        return self.folder / MEMBERS_FILE

    @property
    def tls(self) -> Tls:
        """How the coordinator connects to the study's broker: once at a time."""
        certificate = self.folder / f"{_COORDINATOR}.crt"
        return Tls(self.folder / "ca.crt", certificate, certificate.with_suffix(".key"))

    @contextmanager
    def in_the_name_of(self, pseudonym: str, now: datetime) -> Iterator[Tls]:
        """A connection's files under a device's name, gone afterwards: to end its session.

        Raises:
            StudyError: they can't be written.
        """
        with _explained(self.folder), TemporaryDirectory(dir=self.folder) as place:
            _keep(Path(place), "end", self.ca.for_client(pseudonym, now, _MOMENT))
            yield Tls(self.folder / "ca.crt", Path(place) / "end.crt", Path(place) / "end.key")

    def door_context(self) -> ssl.SSLContext:
        """TLS 1.3 for the desk, which shows the certificate that invites name.

        Raises:
            StudyError: its files can't be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with _explained(self.folder):
            context.load_cert_chain(self.folder / "door.crt", self.folder / "door.key")
        return context

    def certify_signing_key(self, pseudonym: str, signing_key: bytes, expires: int) -> Credential:
        """The authority's word for a device's signing key (public, 32 bytes)."""
        return issue_credential(
            self._signing_key,
            study=self.about.study,
            role=Role.DEVICE,
            name=bytes.fromhex(pseudonym),
            signing_key=signing_key,
            expires=expires,
        )

    def authorise_root(self, root: bytes) -> bytes:
        """The authority's word for the first root of the study's updates: see `first_root`."""
        return authorise_root(self._signing_key, study=self.about.study, root=root)

    def sign_policy(self, policy: bytes) -> bytes:
        """The authority's signature over another privacy policy of its study, 64 bytes.

        Raises:
            PolicyError: these bytes hold no policy that can be kept.
        """
        return sign_policy(self._signing_key, study=self.about.study, policy=policy)

    def adopt_policy(self, policy: bytes) -> None:
        """Ask for this policy from the next start of the coordinator on.

        Newcomers go on being granted the one that the study was founded under, which their
        installation carries; the newer one comes to them as everybody's, in a bundle.

        Raises:
            PolicyError: these bytes hold no policy that can be kept.
            StudyError: single reports under two policies don't add up; or the folder can't be
                written.
        """
        parse_policy(policy)
        if self.about.noise == "local":
            raise StudyError(
                "In this study each report is noised by itself, and reports under different noise "
                "don't add up.",
                "Found another study for the new policy.",
            )
        with _explained(self.folder):
            _replace(self.folder / _ADOPTED, policy)

    def write_revocations(
        self, serials: Iterable[int], pseudonyms: Iterable[str], now: datetime
    ) -> None:
        """Renew the broker's revocation list and access list.

        Raises:
            StudyError: they can't be read or written.
        """
        path = self.broker_folder / broker_files.CRL_FILE
        with _explained(self.folder):
            before = path.read_bytes() if path.exists() else None
            _replace(path, self.ca.revocation_list(serials, now, before))
            rules = mosquitto_acl(self.about.study, sorted(pseudonyms))
            _replace(self.broker_folder / broker_files.ACL_FILE, rules.encode())


def found_study(
    state: Path, about: StudyFile, policy: bytes, *, now: datetime, random_bytes: RandomBytes
) -> Path:
    """Make a study's keys, certificates and broker files in `state`; returns their folder.

    `policy` is the file of its privacy policy; the study signs it.

    Raises:
        PolicyError: these bytes hold no policy that can be kept.
        StudyError: there is one already, or the folder can't be written.
    """
    folder = state / STUDY_FOLDER
    if folder.exists():
        raise StudyError(
            f"'{folder}' holds a study already, whose keys can't be made again.",
            "Name another folder with --state. To end a study for good, delete its folder.",
        )
    draft = state / f".{STUDY_FOLDER}.{os.getpid()}"
    with _explained(state):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            draft.mkdir(mode=0o700)
            (draft / BROKER_FOLDER).mkdir(mode=0o700)
            ca = CertificateAuthority.found(about.study, now)
            _fill(draft, about, policy, ca, now, random_bytes)
            _fill_broker(draft / BROKER_FOLDER, about, ca, now)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _fill(
    folder: Path,
    about: StudyFile,
    policy: bytes,
    ca: CertificateAuthority,
    now: datetime,
    random_bytes: RandomBytes,
) -> None:
    _keep(folder, "ca", ca.pair)
    _keep(folder, "door", door_certificate(now))
    _keep(folder, _COORDINATOR, ca.for_client(_COORDINATOR, now, LIFE))
    authority_key, signing_key = random_bytes(KEY_BYTES), random_bytes(KEY_BYTES)
    credential = issue_credential(
        authority_key,
        study=about.study,
        role=Role.COORDINATOR,
        name=COORDINATOR,
        signing_key=public_key(signing_key),
        expires=int((now + LIFE).timestamp()),
    )
    _replace(folder / _AUTHORITY_KEY, authority_key)
    _replace(folder / _SIGNING_KEY, signing_key)
    _replace(folder / _CREDENTIAL, credential.to_bytes())
    _replace(folder / _POLICY, policy)
    signature = sign_policy(authority_key, study=about.study, policy=policy)
    _replace(folder / SIGNATURE_FILE, signature)
    _replace(folder / _STUDY_FILE, encoded(about))


def _fill_broker(folder: Path, about: StudyFile, ca: CertificateAuthority, now: datetime) -> None:
    _keep(folder, "broker", ca.for_broker((about.host, "localhost", "127.0.0.1"), now))
    settings = BrokerSettings(listener=str(about.broker_port))
    for name, content in {
        broker_files.CA_FILE: ca.pair.certificate,
        broker_files.CRL_FILE: ca.revocation_list((), now),
        broker_files.CONF_FILE: mosquitto_conf(settings).encode(),
        broker_files.ACL_FILE: mosquitto_acl(about.study).encode(),
    }.items():
        _replace(folder / name, content)


def has_study(state: Path) -> bool:
    """Whether `study init` made a study in this state folder."""
    return (state / STUDY_FOLDER / _STUDY_FILE).exists()


def open_study(state: Path) -> Authority:
    """The study that `study init` made in this state folder.

    Raises:
        StudyError: there is none, others can read it, or it is damaged.
    """
    folder = state / STUDY_FOLDER
    if not has_study(state):
        raise StudyError(
            f"There is no study in '{state}'.",
            "Make one: sottovoce study init NAME --host HOST; or name its folder with --state.",
        )
    with _explained(folder):
        if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StudyError(
                f"Others may read the study's keys in '{folder}'.",
                f"Run: chmod 700 '{folder}' (and think about who could have copied them).",
            )
        credential = parse_credential((folder / _CREDENTIAL).read_bytes())
        adopted = folder / _ADOPTED
        return Authority(
            folder,
            decoded((folder / _STUDY_FILE).read_bytes(), StudyFile),
            Identity((folder / _SIGNING_KEY).read_bytes(), credential),
            _kept(folder, "door").fingerprint,
            CertificateAuthority.read(_kept(folder, "ca")),
            (adopted if adopted.exists() else folder / _POLICY).read_bytes(),
            (folder / SIGNATURE_FILE).read_bytes(),
            (folder / _AUTHORITY_KEY).read_bytes(),
        )


def _keep(folder: Path, name: str, pair: Pair) -> None:
    _replace(folder / f"{name}.crt", pair.certificate)
    _replace(folder / f"{name}.key", pair.key)


def _kept(folder: Path, name: str) -> Pair:
    return Pair((folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes())


def _replace(path: Path, content: bytes) -> None:
    """A file of mode 0600, whole: the old content or the new, whenever the power fails."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what the file system and damaged files say into a cause and a remedy."""
    try:
        yield
    except OSError as fault:
        raise StudyError(
            f"The study's folder '{folder}' can't be used ({fault.strerror}).",
            "Name a folder that you may write to with --state, or free some space.",
        ) from fault
    except (ValueError, ContractError, ProtocolError) as fault:
        raise StudyError(
            f"A key or certificate in '{folder}' is damaged.", "Put the folder back from a backup."
        ) from fault
