"""Judging a window: whose it is decides whether it becomes part of what is usual."""

import numpy as np
import pytest

from agent.screening import Heard, Screener
from edge_models.acoustic import DESCRIPTOR_NAMES
from edge_models.bundle import shipped_bundle
from edge_models.own import Own


@pytest.mark.parametrize(("alone", "joins"), [(True, True), (None, True), (False, False)])
def test_only_a_window_in_which_nobody_else_is_seen_joins_what_is_usual(
    alone: bool | None, joins: bool
) -> None:
    rows = np.random.default_rng(0).normal(0, 1, (1000, len(DESCRIPTOR_NAMES)))
    heard = Heard(np.abs(rows).astype(np.float32), np.ones(1000, np.bool_))
    own = Own.empty(shipped_bundle())
    judged, after = Screener(shipped_bundle()).judge(heard, own, alone=alone)
    assert judged.embedding is not None
    assert (after.to_bytes() != own.to_bytes()) == joins
