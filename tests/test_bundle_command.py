"""`sottovoce bundle inspect|verify|build`, as somebody types it."""

import json
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest

from edge_models.alignment import Moments, written
from edge_models.bundle import shipped_bundle, shipped_folder
from edge_models.bundle_checks import checks
from edge_models.card_statement import text_of
from edge_models.errors import BundleError
from edge_models.manifest import LARGEST_BODY_BYTES, MANIFEST_NAME, MOMENTS, NEEDED
from sync import bundle_command
from sync.updates.archive import pack
from sync.updates.rejected import UpdateRejected
from tests.faulty_bundles import (
    file,
    graph,
    in_manifest,
    lite,
    resealed,
    restated,
    turned_weights,
    without_moments,
)

BUNDLE = shipped_bundle()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "bundle"
    shutil.copytree(shipped_folder(), copy)
    return copy


def said(*words: str) -> int:
    parser = ArgumentParser()
    bundle_command.add_arguments(parser)
    return bundle_command.run(parser.parse_args(words))


def test_inspect_shows_what_is_in_the_shipped_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert said("inspect") == 0
    out = capsys.readouterr().out
    about = BUNDLE.manifest
    for word in (f"{about.name} {about.version}", about.licence, BUNDLE.space, BUNDLE.hearing,
                 "version 1", bundle_command.policy_said(BUNDLE.policy), *NEEDED):  # fmt: skip
        assert word in out
    assert BUNDLE.statement is not None
    assert all(figure.value in out for figure in BUNDLE.statement.figures)


def test_inspect_says_the_same_to_machines_of_a_folder_and_of_what_devices_fetch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "1.affect-1.bundle"
    packed.write_bytes(pack(shipped_folder()))
    answers = []
    for place in (shipped_folder(), packed):
        assert said("inspect", str(place), "--json") == 0
        answers.append(json.loads(capsys.readouterr().out))
    one, other = answers
    assert one == other
    assert one["space"] == BUNDLE.space and one["embedding"] == BUNDLE.head.embedding_size
    assert {entry["name"] for entry in one["files"]} >= NEEDED
    assert [graph["file"] for graph in one["graphs"] if graph["chosen"]][-1] == "body.onnx"
    assert one["golden"]["vectors"] == len(BUNDLE.golden.vectors)


def test_inspect_reads_no_bundle_that_would_not_load(folder: Path, tmp_path: Path) -> None:
    in_manifest(version="9.9.9")(folder)
    with pytest.raises(BundleError, match="card is of the version"):
        said("inspect", str(folder))
    with pytest.raises(BundleError, match="There is no"):
        said("inspect", str(tmp_path / "nowhere"))
    (tmp_path / "x.bundle").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UpdateRejected):
        said("inspect", str(tmp_path / "x.bundle"))


def test_inspect_needs_nothing_of_the_workshop() -> None:
    code = (
        "import sys, argparse; from sync import bundle_command as c;"
        "p = argparse.ArgumentParser(); c.add_arguments(p);"
        "c.run(p.parse_args(['inspect', '--json']));"
        "there = {'torch', 'onnx', 'tflite_runtime', 'scipy', 'edge_models.training'};"
        "sys.exit(bool(there & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode == 0


def test_verify_passes_the_shipped_bundle_with_a_line_for_each_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said("verify", str(shipped_folder())) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"All {len(lines) - 1} checks passed on this machine."
    assert all(line.startswith("ok ") for line in lines[:-1])
    for what in ("head.json", "moments", "contract of body.tflite", "card", "licence",
                 "consent", "policy", "golden vectors, TFLite", "golden sound",
                 "loads on a device"):  # fmt: skip
        assert any(line[8:].startswith(what) for line in lines)


def test_a_bundle_from_before_there_were_moments_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for aligned, said_of_them in ((True, "moved to everybody's"), (False, "none: embeddings stay")):
        assert said("inspect", str(folder)) == 0
        assert said_of_them in capsys.readouterr().out
        assert said("inspect", str(folder), "--json") == 0
        assert json.loads(capsys.readouterr().out)["aligned"] is aligned
        assert said("verify", str(folder)) == 0
        assert ("ok      moments   " in capsys.readouterr().out) and failing(folder) == {}
        if aligned:
            without_moments(folder)


def test_moments_of_another_size_are_a_failed_check(folder: Path) -> None:
    resealed(folder, MOMENTS, written(Moments(np.zeros(1), np.eye(1))))
    restated(folder)
    assert failing(folder) == {
        "moments": "The bundle's 'moments.json' is not valid.",
        "loads on a device": "The bundle's 'moments.json' is not valid.",
    }


def failing(folder: Path) -> dict[str, str]:
    found = checks(folder, {"policy.json": bundle_command.policy_said})
    return {check.what: check.fault for check in found if not check.ok}


def test_everything_that_is_wrong_is_told_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph("gate.onnx", lambda inner: inner.input.pop())(folder)
    lite(turned_weights)(folder)
    resealed(folder, "policy.json", b'{"name": "weekly-1"}')
    resealed(folder, "consent.md", b"\n\n")
    restated(folder)
    (folder / "head.json").write_bytes(b"{}")
    (folder / "more.txt").write_text("x")
    assert set(failing(folder)) == {
        "list of files", "head.json", "head", "moments", "contract of gate.onnx",
        "contract of body.onnx", "contract of body.tflite", "contract of descriptors.onnx",
        "contract of functionals.onnx", "consent", "policy", "golden scores",
        "golden vectors, ONNX Runtime", "golden vectors, TFLite", "golden sound", "speech gate",
        "loads on a device",
    }  # fmt: skip
    assert said("verify", str(folder)) == 1
    out = capsys.readouterr().out
    assert re.search(r"^17 of \d\d checks failed: no device should be given this\.$", out, re.M)
    assert "Not looked at, since head.json failed." in out


@pytest.mark.parametrize(
    ("what", "name", "raw"),
    [
        ("size of body.tflite", "body.tflite", bytes(LARGEST_BODY_BYTES)),
        ("card", "CARD.md", b"# affect-1 7.0.0\n"),
        ("licence", "CARD.md", b"# Card"),
        ("head", "head.json", b"{}"),
        ("population", "population.json", b"[]"),
        ("golden scores", "golden.json", b"null"),
    ],
)
def test_each_part_has_a_check_of_its_own(folder: Path, what: str, name: str, raw: bytes) -> None:
    if what == "licence":
        in_manifest(licence="CC BY 4.0")(folder)
    more = (folder / name).read_bytes() if what.startswith("size") else b""
    resealed(folder, name, more + raw)
    assert what in failing(folder)


def test_a_body_of_other_numbers_fails_in_its_runtime_only(folder: Path) -> None:
    lite(turned_weights)(folder)
    restated(folder)
    assert set(failing(folder)) == {"golden vectors, TFLite"}


def test_an_older_card_passes_and_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file("CARD.md", lambda raw: text_of(raw.decode()).encode())(folder)
    assert said("verify", str(folder)) == 0
    assert "states nothing: written before cards did" in capsys.readouterr().out


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff"])
def test_a_folder_without_a_manifest_fails_and_nothing_breaks(folder: Path, raw: bytes) -> None:
    (folder / MANIFEST_NAME).write_bytes(raw)
    found = failing(folder)
    assert "manifest" in found[MANIFEST_NAME]
    assert found["head"] == "Not looked at, since head.json failed."


def test_build_tells_what_it_checked_and_what_comes_next(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("build", str(folder), "--out", str(out), "--version", "1.1.0")
    assert said(*words) == 0
    heard = capsys.readouterr().out
    assert heard.count("\nok ") > 30
    assert f"affect-1 1.1.0 lies in {out} now." in heard
    assert f"sottovoce publish bundle {out}" in heard
    assert said(*words) == 0
    assert "already, the same to the byte" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["1", "1.2", "v1.2.3", "1.2.3.4", "1.2.x"])
def test_a_version_is_three_numbers(word: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        said("build", str(folder), "--out", str(tmp_path / "out"), "--version", word)
