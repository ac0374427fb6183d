"""What README and its neighbours say is so: commands, options, targets, files and numbers."""

import argparse
import importlib
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sync.messages import HISTOGRAMS
from sync.policy import Purpose, epsilon, parse_policy

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "CONTRIBUTING.md", "DECISIONS.md", "CHANGELOG.md")


def _commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`(sottovoce [^`]+)`", README)
    return [line for line in (*lines, *inline) if line.startswith("sottovoce ")]


@pytest.mark.parametrize("line", _commands())
def test_each_command_is_understood_by_its_own_parser(line: str) -> None:
    _, name, *words = shlex.split(line.replace("DIR", "x"))
    entry = next(e for e in entry_points(group="sottovoce.commands") if e.name == name)
    module = importlib.import_module(entry.value)
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.add_arguments(parser)
    parser.parse_args(words)


def test_each_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (demo|test|bench|setup|train|locks)\b", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_each_file_and_test_that_is_named_exists() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        named = set(re.findall(r"\]\(([\w./-]+)\)", text)) | set(
            re.findall(r"`((?:tests|sync|agent|deploy|edge_models)/[\w./-]+)`", text)
        )
        named |= set(re.findall(r"(tests/\w+\.py)", text))
        for name in named - {"BENCHMARKS.md"}:
            assert (ROOT / name).exists(), f"{page} names {name}"


def test_the_privacy_numbers_are_the_policys() -> None:
    raw = (ROOT / "edge_models" / "bundles" / "affect-1" / "policy.json").read_bytes()
    policy = parse_policy(raw)
    assert len(HISTOGRAMS) == 6
    assert "√12" in README
    assert policy.sigma2 == 48
    assert f"ε ≤ {policy.epsilon_per_report + 0.05:.1f}" in README
    assert f"ε ≤ {policy.epsilon_budget:.1f}" in README
    course = 20 * policy.price(Purpose.HEAD).rho + policy.price(Purpose.CANARY).rho
    assert f"ε ≤ {epsilon(course, policy.delta):.1f}" in README


def test_no_page_claims_a_diagnosis() -> None:
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*/**/web/*"), *ROOT.glob("edge_models/**/*.md")):
        if ".venv" in path.parts or path.suffix not in {".md", ".html", ".js"}:
            continue
        for line in path.read_text(encoding="utf-8").lower().splitlines():
            for found in re.finditer(r"diagnos\w*", line):
                around = line[max(0, found.start() - 40) : found.end()]
                assert re.search(r"never|not |n't|no ", around), f"{path.name}: {line.strip()}"
