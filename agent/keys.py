"""The device's one key, where it comes from, and what is derived from it.

Rules it upholds: a key is 32 random bytes (or made from a passphrase by scrypt) that only its
owner can read; a key that others could read is refused, not used; a new key is never made beside a
store that it could not open; each purpose gets its own sub-key, so no two ciphers share one.

A key comes from the first of these that there is:

1. the systemd credential `sottovoce.key` (see `systemd-creds encrypt`);
2. a passphrase and the file `key.salt` in the state folder;
3. the file `key` in the state folder, made at the first start.

Place in the life of a record: the key that `store` seals it with.
"""

import os
import secrets
import stat
import struct
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.errors import SettingError, StoreError
from edge_models.errors import ContractError

KEY_BYTES: Final = 32
KEY_FILE: Final = "key"
SALT_FILE: Final = "key.salt"
STORE_FILE: Final = "store.db"
"""What the key opens; it lies beside the key."""
IDENTITY_FOLDER: Final = "identity"
"""Where what enrolment gave lies, beside the store; absent on a device that is no member."""
UPDATES_FOLDER: Final = "updates"
"""Where updates of bundles lie: signed metadata, slots, and what became of them. Nothing sensed."""
CREDENTIAL: Final = "sottovoce.key"

RandomBytes = Callable[[int], bytes]
"""`secrets.token_bytes`."""

_SHORTEST_PASSPHRASE: Final = 12
_SALT: Final = struct.Struct("<4sBBB16s")  # magic, log2 of N, r, p, salt
_SALT_MAGIC: Final = b"SVS1"
# 32 MiB and about half a second on a Pi. Source: RFC 7914, section 2; OWASP Password Storage.
_LOG2_N: Final = 15
_R: Final = 8
_P: Final = 3


class Purpose(StrEnum):
    """What a sub-key is for."""

    STORE = "store"
    SEAL = "seal"
    LEDGER = "ledger"  # where the ledger's chain of digests starts
    ANCHOR = "anchor"
    SHELF = "shelf"  # of the names of what belongs to rounds
    VEIL = "veil"  # of the day numbers and names that a file must show
    IDENTITY = "identity"


def sub_key(key: bytes, purpose: Purpose) -> bytes:
    """The 32-byte key for one purpose.

    Raises:
        ContractError: `key` is not 32 bytes.
    Source: RFC 5869 (HKDF), with SHA-256, no salt, and the purpose as info.
    """
    if len(key) != KEY_BYTES:
        raise ContractError("The device's key has 32 bytes.")
    info = f"sottovoce/key/1/{purpose}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)


def load_key(
    state_folder: Path,
    *,
    passphrase: str | None = None,
    credentials: Path | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> bytes:
    """The device's key, 32 bytes; made at the first start.

    `credentials` is the folder that systemd names in `CREDENTIALS_DIRECTORY`, where it does.

    Raises:
        SettingError: others may read or replace the key, it is not a key, the passphrase is
            missing or too short, or the key is gone while its store is still there.
        StoreError: the state folder can't be read or written.
    """
    if credentials is not None and (credentials / CREDENTIAL).exists():
        # systemd lets a service's user in by an access list, which shows as the group's mode.
        content = _read_private(credentials / CREDENTIAL, refused=stat.S_IRWXO)
        return _key_in(content, credentials / CREDENTIAL)
    _prepare(state_folder)
    if passphrase is not None:
        return _from_passphrase(state_folder, passphrase, random_bytes)
    if (state_folder / SALT_FILE).exists():
        raise SettingError(
            "This device's store is protected by a passphrase, and none was given.",
            "Start again with the passphrase.",
        )
    path = state_folder / KEY_FILE
    if not path.exists():
        _must_be_new(state_folder, path)
        _write_once(path, random_bytes(KEY_BYTES))
    return _key_in(_read_private(path), path)


def _from_passphrase(folder: Path, passphrase: str, random_bytes: RandomBytes) -> bytes:
    if len(passphrase) < _SHORTEST_PASSPHRASE:
        raise SettingError(
            f"The passphrase is too short: it has fewer than {_SHORTEST_PASSPHRASE} characters.",
            "Take four or more random words.",
        )
    path = folder / SALT_FILE
    if not path.exists():
        if (folder / KEY_FILE).exists():
            raise SettingError(
                "This device already has a key file; a passphrase would make another key.",
                "Start without a passphrase, or choose another state folder.",
            )
        _must_be_new(folder, path)
        _write_once(path, _SALT.pack(_SALT_MAGIC, _LOG2_N, _R, _P, random_bytes(16)))
    found = _read_private(path)
    if len(found) != _SALT.size or found[:4] != _SALT_MAGIC:
        raise _damaged(path)
    _, log2_n, r, p, salt = _SALT.unpack(found)
    if not (10 <= log2_n <= 20 and 1 <= r <= 16 and 1 <= p <= 16):  # bounds memory and time
        raise _damaged(path)
    return Scrypt(salt=salt, length=KEY_BYTES, n=1 << log2_n, r=r, p=p).derive(passphrase.encode())


def _prepare(folder: Path) -> None:
    """Make the folder if need be; refuse one in which others could replace the key."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as fault:
        raise _unusable(folder, fault) from fault
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingError(
            f"Others may write to the state folder '{folder}': they could replace its key.",
            f"Run: chmod 700 '{folder}'",
        )


def _must_be_new(folder: Path, path: Path) -> None:
    # A key is there before its store: looked for last, lest another process just made both.
    if (folder / STORE_FILE).exists() and not path.exists():
        raise SettingError(
            f"'{path}' is gone, and the store beside it can't be opened without it.",
            f"Put '{path.name}' back from a backup, or move '{STORE_FILE}' away to start anew.",
        )


def _write_once(path: Path, content: bytes) -> None:
    """Make a file of mode 0600 whole or not at all; whoever was first stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        _sync(path.parent)
    except FileExistsError:
        pass  # another process of ours was first: its key is the key
    except OSError as fault:
        raise _unusable(path, fault) from fault
    finally:
        draft.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_private(path: Path, refused: int = stat.S_IRWXG | stat.S_IRWXO) -> bytes:
    """A small file that nobody but its owner can touch."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4 * KEY_BYTES)
    except OSError as fault:
        raise _unusable(path, fault) from fault
    if mode & refused:
        raise SettingError(
            f"Others may read '{path}', so it no longer protects the store.",
            f"Run: chmod 600 '{path}' (and think about who could have copied it).",
        )
    return content


def _key_in(content: bytes, path: Path) -> bytes:
    """32 raw bytes, or the same as 64 hexadecimal digits with or without an end of line."""
    if len(content) == KEY_BYTES:
        return content
    try:
        key = bytes.fromhex(content.decode("ascii"))
    except ValueError:  # not ASCII, or no digits
        key = b""
    if len(key) != KEY_BYTES:
        raise _damaged(path)
    return key


def _damaged(path: Path) -> SettingError:
    return SettingError(
        f"'{path}' does not hold a key of {KEY_BYTES} bytes.", "Put it back from a backup."
    )


def _unusable(path: Path, fault: OSError) -> StoreError:
    return StoreError(
        f"'{path}' can't be used: {fault.strerror}.",
        "Check who owns the state folder and whether its disk is full.",
    )
