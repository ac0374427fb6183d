"""The device's key: made once, private, and never made anew beside a store it can't open."""

import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from agent.errors import SettingError, StoreError
from agent.keys import CREDENTIAL, KEY_FILE, SALT_FILE, STORE_FILE, Purpose, load_key, sub_key
from edge_models.errors import ContractError

PASSPHRASE = "four random words here"


def test_the_first_start_makes_a_private_key_and_later_ones_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    key = load_key(folder)
    assert len(key) == 32
    assert load_key(folder) == key
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]  # no draft is left


def test_two_devices_have_different_keys(tmp_path: Path) -> None:
    assert load_key(tmp_path / "a") != load_key(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_helps(
    tmp_path: Path, mode: int
) -> None:
    folder = tmp_path / "state"
    load_key(folder)
    (folder / KEY_FILE).chmod(mode)
    with pytest.raises(SettingError, match="chmod 600"):
        load_key(folder)


def test_a_folder_in_which_others_could_replace_the_key_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(SettingError, match="chmod 700"):
        load_key(tmp_path)


def test_a_lost_key_is_not_replaced_beside_its_store(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    load_key(folder)
    (folder / STORE_FILE).write_bytes(b"a store")
    (folder / KEY_FILE).unlink()
    with pytest.raises(SettingError, match="is gone"):
        load_key(folder)
    assert not (folder / KEY_FILE).exists()
    with pytest.raises(SettingError, match="is gone"):
        load_key(folder, passphrase=PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33, b"g" * 64, b"\xff" * 64])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "state"
    load_key(folder)
    (folder / KEY_FILE).write_bytes(content)
    with pytest.raises(SettingError, match="does not hold a key"):
        load_key(folder)


def test_a_passphrase_gives_the_same_key_again_and_another_one_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    key = load_key(folder, passphrase=PASSPHRASE)
    assert load_key(folder, passphrase=PASSPHRASE) == key
    assert load_key(folder, passphrase=PASSPHRASE + "!") != key
    assert {path.name for path in folder.iterdir()} == {SALT_FILE}


def test_two_devices_with_one_passphrase_have_different_keys(tmp_path: Path) -> None:
    keys = {load_key(tmp_path / name, passphrase=PASSPHRASE) for name in "ab"}
    assert len(keys) == 2


def test_a_store_under_a_passphrase_asks_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    load_key(folder, passphrase=PASSPHRASE)
    with pytest.raises(SettingError, match="passphrase"):
        load_key(folder)
    assert not (folder / KEY_FILE).exists()


def test_a_passphrase_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="too short"):
        load_key(tmp_path / "state", passphrase="12345678")


def test_a_passphrase_does_not_silently_replace_a_key_file(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    load_key(folder)
    with pytest.raises(SettingError, match="key file"):
        load_key(folder, passphrase=PASSPHRASE)


def test_a_damaged_salt_can_not_ask_for_endless_work(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    load_key(folder, passphrase=PASSPHRASE)
    salt = bytearray((folder / SALT_FILE).read_bytes())
    salt[4] = 60  # 2^60 rounds
    (folder / SALT_FILE).write_bytes(salt)
    with pytest.raises(SettingError):
        load_key(folder, passphrase=PASSPHRASE)


def test_systemds_credential_goes_before_everything_else(tmp_path: Path) -> None:
    folder, credentials = tmp_path / "state", tmp_path / "credentials"
    made = load_key(folder)
    credentials.mkdir()
    assert load_key(folder, credentials=credentials) == made  # systemd gave none for us
    (credentials / CREDENTIAL).write_bytes(bytes(range(32)))
    (credentials / CREDENTIAL).chmod(0o440)  # as stat shows systemd's access list
    assert load_key(folder, credentials=credentials) == bytes(range(32))
    (credentials / CREDENTIAL).chmod(0o600)
    (credentials / CREDENTIAL).write_text(bytes(range(32)).hex() + "\n")
    assert load_key(folder, credentials=credentials) == bytes(range(32))
    (credentials / CREDENTIAL).chmod(0o444)
    with pytest.raises(SettingError, match="Others may read"):
        load_key(folder, credentials=credentials)


def test_a_folder_that_can_not_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        load_key(tmp_path / "file" / "state")


def test_sub_keys_follow_rfc_5869_and_differ_by_purpose() -> None:
    key = bytes(range(32))
    found = {purpose: sub_key(key, purpose) for purpose in Purpose}
    assert len(set(found.values())) == len(Purpose)
    for purpose, derived in found.items():  # the RFC's two steps, by hand, one block
        extracted = hmac.digest(bytes(32), key, hashlib.sha256)
        info = f"sottovoce/key/1/{purpose}".encode()
        assert derived == hmac.digest(extracted, info + b"\x01", hashlib.sha256)
    with pytest.raises(ContractError):
        sub_key(b"short", Purpose.STORE)
