"""Patches: small for a changed layer, bounded in cost, and never trusted by themselves."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_models.bundle import shipped_folder
from edge_models.errors import ContractError
from sync.updates import deltas
from sync.updates.archive import pack
from sync.updates.rejected import Reason, UpdateRejected

SLOW = settings(suppress_health_check=list(HealthCheck), deadline=None)
OF_FULL = 0.05
"""The largest share of the full size that a change of one layer may cost."""


def patched(folder: Path, old: bytes, delta: bytes, most_bytes: int = 10**8) -> bytes:
    names = (folder / "old", folder / "delta", folder / "new")
    names[0].write_bytes(old)
    names[1].write_bytes(delta)
    deltas.patch(*names, most_bytes)
    return names[2].read_bytes()


def refused(folder: Path, old: bytes, delta: bytes, most_bytes: int = 10**8) -> Reason:
    with pytest.raises(UpdateRejected) as caught:
        patched(folder, old, delta, most_bytes)
    assert not (folder / "new").exists()
    return caught.value.reason


@SLOW
@given(st.binary(min_size=1, max_size=2000), st.binary(min_size=1, max_size=2000))
def test_a_patch_makes_the_new_file_of_the_old_one(old: bytes, new: bytes) -> None:
    with TemporaryDirectory() as name:
        assert patched(Path(name), old, deltas.make(old, new)) == new


def test_the_same_two_files_give_the_same_patch() -> None:
    old, new = b"abc" * 5000, b"abd" * 5000
    assert deltas.make(old, new) == deltas.make(old, new)


@SLOW
@given(st.binary(max_size=500))
def test_any_bytes_are_refused_or_give_no_more_than_allowed(delta: bytes) -> None:
    with TemporaryDirectory() as name:
        try:
            assert len(patched(Path(name), b"old" * 100, delta, 1000)) <= 1000
        except UpdateRejected:
            assert not (Path(name) / "new").exists()


@SLOW
@given(st.data())
def test_an_altered_patch_is_refused_or_gives_a_file_with_another_hash(data: st.DataObject) -> None:
    rng = np.random.default_rng(1)
    old = rng.bytes(5000)
    new = old[:2000] + rng.bytes(500) + old[2500:]
    delta = bytearray(deltas.make(old, new))
    at = data.draw(st.integers(0, len(delta) - 1))
    delta[at] ^= data.draw(st.integers(1, 255))
    with TemporaryDirectory() as name:
        try:
            made = patched(Path(name), old, bytes(delta), 10_000)
        except UpdateRejected:
            assert not (Path(name) / "new").exists()
        else:  # a bit of the header that changes nothing, and the caller's hash sees the rest
            assert made == new or hashlib.sha256(made).digest() != hashlib.sha256(new).digest()
            assert len(made) <= 10_000


@SLOW
@given(st.integers(0, 10_000))
def test_a_patch_that_is_cut_off_is_refused(kept: int) -> None:
    rng = np.random.default_rng(2)
    old, new = rng.bytes(4000), rng.bytes(4000)
    delta = deltas.make(old, new)
    with TemporaryDirectory() as name:
        assert refused(Path(name), old, delta[: kept % (len(delta) - 4)]) is Reason.MALFORMED


def test_a_patch_of_another_file_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    old = rng.bytes(50_000)
    delta = deltas.make(old, old[:30_000] + b"new" + old[30_000:])
    assert refused(tmp_path, rng.bytes(50_000), delta) is Reason.MALFORMED
    assert refused(tmp_path, b"short", delta) is Reason.MALFORMED


def test_a_bomb_is_refused_by_what_it_says(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(10**8))
    assert len(bomb) < 10_000
    assert refused(tmp_path, b"old", bomb, most_bytes=10**6) is Reason.TOO_LARGE


def test_a_bomb_that_understates_itself_is_refused_with_little_written(tmp_path: Path) -> None:
    bomb = bytearray(zstandard.ZstdCompressor().compress(bytes(10**6)))
    assert zstandard.get_frame_parameters(bytes(bomb)).content_size == 10**6
    size = (10**6).to_bytes(4, "little")
    at = bytes(bomb).index(size)
    bomb[at : at + 4] = (10**5).to_bytes(4, "little")
    assert refused(tmp_path, b"old", bytes(bomb)) is Reason.MALFORMED


def test_a_patch_that_does_not_say_how_long_its_result_is_is_refused(tmp_path: Path) -> None:
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(b"new" * 100)
    assert refused(tmp_path, b"old", silent) is Reason.MALFORMED


def test_a_patch_that_wants_two_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    # Frame header: magic; no single segment, content size of 4 bytes; window 2^31; content 1000.
    greedy = (
        b"\x28\xb5\x2f\xfd" + bytes([0b1000_0000, (31 - 10) << 3]) + (1000).to_bytes(4, "little")
    )
    assert zstandard.get_frame_parameters(greedy).window_size == 2**31
    assert refused(tmp_path, b"old", greedy + bytes(20)) is Reason.TOO_LARGE


def test_an_empty_patch_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, b"old", b"") is Reason.MALFORMED
    with pytest.raises(UpdateRejected):
        deltas.patch(tmp_path / "none", tmp_path / "delta", tmp_path / "new", 100)


def test_a_patch_from_nothing_is_our_own_mistake() -> None:
    with pytest.raises(ContractError):
        deltas.make(b"", b"new")


# What a change of one layer costs.


def archive_of(folder: Path, files: dict[str, bytes]) -> bytes:
    """The archive of these files, with a manifest that has their hashes."""
    about = json.loads(files["manifest.json"])
    for entry in about["files"]:
        content = files[entry["name"]]
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(about, indent=1) + "\n")
    return pack(folder)


@pytest.mark.parametrize(
    ("files", "layer_bytes"),
    [(("gate.onnx",), 15_936), (("body.onnx", "body.tflite"), 5_632)],
    ids=["the gate's largest layer", "the body's largest layer, in both runtimes"],
)
def test_a_new_layer_of_the_shipped_bundle_costs_at_most_a_twentieth(
    files: tuple[str, ...], layer_bytes: int, tmp_path: Path
) -> None:
    shipped = {path.name: path.read_bytes() for path in shipped_folder().iterdir()}
    changed, rng = dict(shipped), np.random.default_rng(4)
    for name in files:  # all of its weights are others, as after training anew
        whole = shipped[name]
        changed[name] = whole[:1000] + rng.bytes(layer_bytes) + whole[1000 + layer_bytes :]
    old, new = archive_of(tmp_path / "old", shipped), archive_of(tmp_path / "new", changed)
    assert len(deltas.make(old, new)) <= OF_FULL * len(new)


def ten_megabytes() -> tuple[bytes, bytes]:
    """A bundle-sized file of 24 layers of weights that nothing compresses, and one layer anew."""
    rng = np.random.default_rng(5)
    layers = [rng.bytes(425_000) for _ in range(24)]
    old = b"".join(layers)
    layers[7] = rng.bytes(425_000)
    return old, b"".join(layers)


def test_a_new_layer_of_ten_megabytes_costs_at_most_a_twentieth(tmp_path: Path) -> None:
    old, new = ten_megabytes()
    delta = deltas.make(old, new)
    assert len(delta) <= OF_FULL * len(new)
    assert patched(tmp_path, old, delta) == new


@pytest.mark.slow
def test_what_lies_first_in_a_large_file_is_found_again() -> None:
    rng = np.random.default_rng(6)
    old = rng.bytes(36 * 2**20)  # more than zstd's own tables for this level would remember
    new = rng.bytes(2**20) + old[2**20 :]
    assert len(deltas.make(old, new)) <= OF_FULL * len(new)


def test_a_layer_that_moves_by_some_bytes_costs_next_to_nothing() -> None:
    old, _ = ten_megabytes()
    assert len(deltas.make(old, old[:3_000_001] + b"inserted" + old[3_000_001:])) < 2_000


_PATCHING = """
import resource, sys
from pathlib import Path
from sync.updates.deltas import patch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
patch(*map(Path, sys.argv[1:4]), 64 * 1024 * 1024)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_patching_ten_megabytes_takes_no_more_memory_than_said(tmp_path: Path) -> None:
    old, new = ten_megabytes()
    names = [tmp_path / "old", tmp_path / "delta", tmp_path / "new"]
    names[0].write_bytes(old)
    names[1].write_bytes(deltas.make(old, new))
    said = subprocess.run(
        [sys.executable, "-c", _PATCHING, *map(str, names)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert names[2].read_bytes() == new
    most = 2 * len(old) + 2 ** (len(new) - 1).bit_length() + 8 * 2**20
    assert int(said.stdout) * 1024 <= most
