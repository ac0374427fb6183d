"""Signing keys of people and of the coordinator: one private file each, and a public half to share.

Rules it upholds: a private key exists in one file that only its owner may read, closed with a
passphrase unless a machine has to open it alone; the passphrase is stretched (scrypt), since the
standard file's own stretching is weak; what others need is the public half, a small file that
may be shown to anybody; a key file that others may read is refused.

In the life of a bundle: what every signature is made with.

Source: PKCS #8 and RFC 8032 (Ed25519) for the key, RFC 7914 (scrypt) for the passphrase.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import Field, ValidationError
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from sync.envelope import Message, faults
from sync.errors import PublishingError
from sync.publishing.files import explained, put, read

PASSPHRASE_VARIABLE: Final = "SOTTOVOCE_KEY_PASSPHRASE"
SHORTEST_PASSPHRASE: Final = 12
PRIVATE_ENDING: Final = ".key.pem"
PUBLIC_ENDING: Final = ".pub.json"
HOLDER_FIELD: Final = "x-sottovoce-holder"
"""Whose key it is, in the key's own entry of TUF's metadata."""

_MOST_BYTES: Final = 16 * 1024
_LOG2_N, _R, _P = 17, 8, 1  # 128 MiB and a third of a second for each guess
_STRETCH: Final = re.compile(rb"Sottovoce-Stretch: scrypt (1[0-9]) 8 1 ([0-9a-f]{32})\n")

Passphrase = Callable[[Path], str]
"""Asks for, or knows, the passphrase of a key file."""
Holder = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class _PublicFile(Message):
    version: Literal[1]
    holder: Holder
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    ed25519: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half of a key that checks signatures (32 bytes), and who holds the other."""

    holder: str
    raw: bytes

    @property
    def key_id(self) -> str:
        """How metadata and the log name it: 64 hexadecimal digits."""
        return str(self.entry.keyid)

    @property
    def entry(self) -> SSlibKey:
        """Its entry in TUF's metadata."""
        plain = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(self.raw))
        plain.unrecognized_fields[HOLDER_FIELD] = self.holder
        return plain

    def verifies(self, signature: bytes, body: bytes) -> bool:
        """Whether the holder of this key has signed `body`."""
        entry = self.entry
        try:
            entry.verify_signature(Signature(entry.keyid, signature.hex()), body)
        except UnverifiedSignatureError:
            return False
        return True

    def to_bytes(self) -> bytes:
        """The public file."""
        about = _PublicFile(
            version=1, holder=self.holder, key_id=self.key_id, ed25519=self.raw.hex()
        )
        return about.model_dump_json(indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that was opened; it signs, and shows nothing of itself."""

    public: PublicKey
    signer: CryptoSigner = field(repr=False)

    @property
    def key_id(self) -> str:
        """How metadata and the log name it."""
        return self.public.key_id

    def sign(self, body: bytes) -> bytes:
        """A signature, 64 bytes."""
        return bytes.fromhex(self.signer.sign(body).signature)


def new_key(folder: Path, holder: str, passphrase: str | None) -> SigningKey:
    """Make a key for somebody: `HOLDER.key.pem`, mode 0600, and `HOLDER.pub.json` beside it.

    `passphrase` is None for a machine's key, which has to be opened without a person.

    Raises:
        PublishingError: there is such a key already, the passphrase is short, the folder is not
            usable.
    """
    if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
        raise PublishingError(
            f"The passphrase has fewer than {SHORTEST_PASSPHRASE} characters.",
            "Take five or more random words.",
        )
    private = folder / f"{holder}{PRIVATE_ENDING}"
    if private.exists():
        raise PublishingError(
            f"'{private}' is there already.", "Choose another name; a key is never overwritten."
        )
    key = Ed25519PrivateKey.generate()
    opened = _opened(key, holder)
    with explained(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(private, _closed(key, passphrase), 0o600)
        put(folder / f"{holder}{PUBLIC_ENDING}", opened.public.to_bytes())
    return opened


def open_key(path: Path, passphrase: Passphrase) -> SigningKey:
    """Open a private key; it is asked for a passphrase only where it has one.

    Raises:
        PublishingError: it is missing, damaged, readable by others, or the passphrase is wrong.
    """
    with explained(path):
        mode = path.stat().st_mode
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PublishingError(f"Others may read the key '{path}'.", f"Run: chmod 600 '{path}'")
    content = read(path, _MOST_BYTES)
    stretch = _STRETCH.match(content)
    secret: bytes | None = None
    if stretch is not None:
        content = content[stretch.end() :]
        secret = _stretched(passphrase(path), bytes.fromhex(stretch[2].decode()), int(stretch[1]))
    try:
        key = load_pem_private_key(content, secret)
    except (ValueError, TypeError) as fault:
        wrong = "the passphrase is wrong, or " if stretch is not None else ""
        raise PublishingError(
            f"The key '{path}' can't be opened: {wrong}the file is damaged.",
            "Try again; a lost passphrase is a lost key (deploy/key-ceremony.md).",
        ) from fault
    holder = path.name.removesuffix(PRIVATE_ENDING)
    if not isinstance(key, Ed25519PrivateKey) or not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", holder):
        raise PublishingError(
            f"'{path}' is not a key of ours.", f"It is an Ed25519 key named HOLDER{PRIVATE_ENDING}."
        )
    return _opened(key, holder)


def read_public(path: Path) -> PublicKey:
    """The public half in a `.pub.json` file.

    Raises:
        PublishingError: it can't be read, or is none.
    """
    return parse_public(read(path, _MOST_BYTES), str(path))


def parse_public(content: bytes, named: str) -> PublicKey:
    """The public half in these bytes.

    Raises:
        PublishingError: there is none.
    """
    try:
        about = _PublicFile.model_validate_json(content)
    except ValidationError as fault:
        raise PublishingError(
            f"'{named}' is not the public half of a key ({faults(fault)}).",
            f"Ask its holder for the file that ends in {PUBLIC_ENDING}.",
        ) from None
    found = PublicKey(about.holder, bytes.fromhex(about.ed25519))
    if found.key_id != about.key_id:
        raise PublishingError(
            f"The key in '{named}' is not the one that it names.", "Ask its holder for it again."
        )
    return found


def public_of(entry: object, key_id: str) -> PublicKey | None:
    """The public half in an entry of TUF's metadata; None where the key is of another kind."""
    if not isinstance(entry, SSlibKey) or entry.keytype != "ed25519":
        return None
    holder = entry.unrecognized_fields.get(HOLDER_FIELD)
    found = PublicKey(str(holder or key_id[:12]), bytes.fromhex(entry.keyval["public"]))
    return found if found.key_id == key_id else None


def passphrase_from(environ: Mapping[str, str], ask: Callable[[str], str]) -> Passphrase:
    """What opens keys: the variable `SOTTOVOCE_KEY_PASSPHRASE` if it is set, else a question."""

    def known(path: Path) -> str:
        given = environ.get(PASSPHRASE_VARIABLE)
        return ask(f"Passphrase of {path.name}: ") if given is None else given

    return known


def _opened(key: Ed25519PrivateKey, holder: str) -> SigningKey:
    public = PublicKey(holder, key.public_key().public_bytes_raw())
    return SigningKey(public, CryptoSigner(key, public.entry))


def _closed(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    salt = os.urandom(16)
    secret = BestAvailableEncryption(_stretched(passphrase, salt, _LOG2_N))
    stretch = f"Sottovoce-Stretch: scrypt {_LOG2_N} {_R} {_P} {salt.hex()}\n".encode()
    return stretch + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)


def _stretched(passphrase: str, salt: bytes, log2_n: int) -> bytes:
    made = hashlib.scrypt(
        passphrase.encode(), salt=salt, n=1 << log2_n, r=_R, p=_P, maxmem=1 << 30, dklen=32
    )
    return made.hex().encode()
