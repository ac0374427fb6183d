"""The manifest: strict, bounded, and unable to name anything outside its folder."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_models.errors import BundleError
from edge_models.manifest import (
    LARGEST_BUNDLE_BYTES,
    LARGEST_MANIFEST_BYTES,
    NEEDED,
    Manifest,
    parse_manifest,
)

Table = dict[str, object]


def a_table() -> Table:
    return {
        "format": 1,
        "name": "affect-1",
        "version": "1.0.0",
        "purpose": "A screening aid.",
        "licence": "CC BY-NC-SA 4.0",
        "notice": "Trained on acted speech.",
        "made_with": ["torch 2.13.0"],
        "consent_version": 1,
        "runtimes": {"body": "tflite"},
        "thresholds": {
            "minimum_speech_s": 3.0,
            "minimum_speech_short_s": 0.5,
            "middle_from": 0.35,
            "high_from": 0.65,
        },
        "files": [{"name": name, "bytes": 10, "sha256": "0" * 64} for name in sorted(NEEDED)],
    }


def raw_of(table: Table) -> bytes:
    return json.dumps(table).encode()


def with_file(**changes: object) -> Table:
    table = a_table()
    files = list(table["files"])  # type: ignore[call-overload]
    table["files"] = [*files, {"name": "x.json", "bytes": 1, "sha256": "a" * 64} | changes]
    return table


def test_a_manifest_reads_back_as_written() -> None:
    manifest = parse_manifest(raw_of(a_table()))
    assert manifest.runtimes.body == "tflite"
    assert manifest.runtimes.gate == "onnx"
    assert parse_manifest(manifest.to_bytes()) == manifest


@pytest.mark.parametrize(
    "name",
    [
        "../body.onnx",
        "/etc/passwd",
        "a/b.onnx",
        "a\\b.onnx",
        ".hidden",
        "..",
        "",
        "manifest.json",
        "body.onnx\n",
        "nul\0",
        "C:evil",
        "é.onnx",
        "x" * 65,
    ],
)
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(BundleError):
        parse_manifest(raw_of(with_file(name=name)))


@pytest.mark.parametrize(
    "fault",
    [
        {"bytes": 0},
        {"bytes": -1},
        {"bytes": LARGEST_BUNDLE_BYTES},
        {"bytes": 10**30},
        {"bytes": "12"},
        {"sha256": "A" * 64},
        {"sha256": "a" * 63},
        {"surplus": 1},
    ],
)
def test_a_faulty_file_entry_is_refused(fault: Table) -> None:
    with pytest.raises(BundleError):
        parse_manifest(raw_of(with_file(**fault)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("surplus", 1),
        ("format", 2),
        ("name", "Affect 1"),
        ("version", "1"),
        ("licence", ""),
        ("notice", "x" * 2_000),
        ("runtimes", {"gate": "tflite"}),
        ("runtimes", {"body": "torch"}),
        ("thresholds", {"minimum_speech_s": 3.0}),
        (
            "thresholds",
            {
                "minimum_speech_s": 3.0,
                "minimum_speech_short_s": 0.5,
                "middle_from": 0.7,
                "high_from": 0.65,
            },
        ),
        ("files", []),
    ],
)
def test_a_faulty_manifest_is_refused_with_a_remedy(key: str, value: object) -> None:
    with pytest.raises(BundleError) as refused:
        parse_manifest(raw_of(a_table() | {key: value}))
    assert refused.value.remedy


@pytest.mark.parametrize("key", sorted(a_table()))
def test_a_manifest_without_one_of_its_keys_is_refused(key: str) -> None:
    table = a_table()
    del table[key]
    with pytest.raises(BundleError, match=key):
        parse_manifest(raw_of(table))


def test_a_file_listed_twice_is_refused() -> None:
    with pytest.raises(BundleError, match="twice"):
        parse_manifest(raw_of(with_file(name="body.onnx")))


def test_a_manifest_larger_than_any_is_refused_unread() -> None:
    with pytest.raises(BundleError, match="too large"):
        parse_manifest(b"[" * (LARGEST_MANIFEST_BYTES + 1))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(BundleError):
        parse_manifest(b"[" * 60_000)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_refused(raw: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(raw)


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_manifest_is_a_manifest_or_refused(data: st.DataObject) -> None:
    raw = bytearray(raw_of(a_table()))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        manifest = parse_manifest(bytes(raw))
    except BundleError as refused:
        assert len(str(refused)) < 400 and "\n" not in refused.cause
        return
    assert isinstance(manifest, Manifest) and not {"..", ""} & {f.name for f in manifest.files}
