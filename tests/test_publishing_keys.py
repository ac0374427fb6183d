"""Key files: one person's, closed, and opened by nobody else."""

import re
import subprocess
from pathlib import Path

import pytest

from sync.errors import PublishingError
from sync.publishing.keys import (
    PASSPHRASE_VARIABLE,
    new_key,
    open_key,
    passphrase_from,
    read_public,
)

WORDS = "seven random words are enough"


def never(question: object) -> str:
    raise AssertionError(f"nobody should be asked: {question}")


def test_a_key_is_opened_with_its_passphrase_and_signs_as_before(tmp_path: Path) -> None:
    made = new_key(tmp_path, "asha", WORDS)
    opened = open_key(tmp_path / "asha.key.pem", lambda _: WORDS)
    assert opened.public == made.public == read_public(tmp_path / "asha.pub.json")
    signature = opened.sign(b"body")
    assert made.public.verifies(signature, b"body")
    assert not made.public.verifies(signature, b"other body")


def test_a_wrong_passphrase_opens_nothing(tmp_path: Path) -> None:
    new_key(tmp_path, "asha", WORDS)
    with pytest.raises(PublishingError, match="passphrase is wrong"):
        open_key(tmp_path / "asha.key.pem", lambda _: WORDS + "!")


def test_the_private_file_is_its_owners_and_shows_nothing(tmp_path: Path) -> None:
    key = new_key(tmp_path / "keys", "asha", WORDS)
    path = tmp_path / "keys" / "asha.key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert WORDS.encode() not in path.read_bytes()
    assert "signer" not in repr(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    new_key(tmp_path, "asha", None)
    (tmp_path / "asha.key.pem").chmod(mode)
    with pytest.raises(PublishingError, match="chmod 600"):
        open_key(tmp_path / "asha.key.pem", never)


def test_a_short_passphrase_and_a_second_key_of_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishingError, match="fewer than"):
        new_key(tmp_path, "asha", "short")
    assert list(tmp_path.iterdir()) == []
    first = new_key(tmp_path, "asha", None)
    with pytest.raises(PublishingError, match="there already"):
        new_key(tmp_path, "asha", None)
    assert open_key(tmp_path / "asha.key.pem", never).public == first.public


def test_a_machines_key_opens_without_a_question(tmp_path: Path) -> None:
    made = new_key(tmp_path, "online", None)
    assert open_key(tmp_path / "online.key.pem", never).public == made.public


def test_the_passphrase_comes_from_the_environment_before_anybody_is_asked() -> None:
    known = passphrase_from({PASSPHRASE_VARIABLE: WORDS}, never)
    assert known(Path("asha.key.pem")) == WORDS
    asked = passphrase_from({}, lambda question: f"answer to {question}")
    assert asked(Path("asha.key.pem")) == "answer to Passphrase of asha.key.pem: "


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(content: bytes, tmp_path: Path) -> None:
    for name in ("asha.key.pem", "asha.pub.json"):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    with pytest.raises(PublishingError):
        open_key(tmp_path / "asha.key.pem", never)
    with pytest.raises(PublishingError):
        read_public(tmp_path / "asha.pub.json")


def test_a_public_file_whose_key_was_exchanged_is_refused(tmp_path: Path) -> None:
    new_key(tmp_path, "asha", None)
    other = new_key(tmp_path, "ben", None)
    path = tmp_path / "asha.pub.json"
    path.write_text(
        re.sub(r'("ed25519": ")\w+', rf"\g<1>{other.public.raw.hex()}", path.read_text())
    )
    with pytest.raises(PublishingError, match="not the one that it names"):
        read_public(path)


def test_a_key_without_passphrase_is_a_plain_pkcs8_file(tmp_path: Path) -> None:
    made = new_key(tmp_path, "online", None)
    shown = subprocess.run(
        ["openssl", "pkey", "-in", str(tmp_path / "online.key.pem"), "-noout", "-text_pub"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    digits = re.sub(r"[^0-9a-f]", "", shown.partition("pub:")[2])
    assert digits == made.public.raw.hex()
