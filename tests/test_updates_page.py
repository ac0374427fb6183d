"""`sync/updates.md` names a test for each attack, and each of them is there."""

import ast
import re
from pathlib import Path

import pytest

from sync.updates.rejected import Reason

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "sync" / "updates.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("## The attacks")[2].partition("## The public suite")[0].splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| attack |"))
]
NAMED = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", PAGE)

# TUF specification 1.5.2; Uptane standard, threat analysis; issue and bad input of our own.
ATTACKS = [
    "arbitrary installation", "rollback", "fast-forward", "freeze", "mix-and-match", "endless data",
    "slow retrieval", "wrong software", "key compromise below threshold", "partial bundle",
    "equal-version replay", "another study", "clock in 1970", "clock in 2100", "truncated",
    "zip bomb", "escaping paths", "links", "half written", "full disk",
]  # fmt: skip


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_named_test_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_known_attack_has_a_row(attack: str) -> None:
    assert any(attack in row[0] for row in ROWS)


def test_each_row_names_a_test_and_reasons_that_there_are() -> None:
    codes = {reason.value for reason in Reason}
    for row in ROWS:
        assert len(row) == 4, row
        assert "`tests/test_" in row[3] or "to come" in row[1], row
        assert {code for code in row[2].split(", ") if code} <= codes, row
