"""What a device says of a session, and `sessions.json`."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import BundleError, ContractError
from edge_models.head import sigmoid
from edge_models.session import Answer, SessionRow, Sessions, answered, parse_sessions

THREE = SessionRow(windows=3, slope=2.0, shift=0.5, no_below=-1.0, yes_above=1.0)
SIX = SessionRow(windows=6, slope=4.0, shift=1.0, no_below=-0.5, yes_above=0.5)
TABLE = Sessions(format=1, error_rate=0.1, tasks=((THREE, SIX), (SIX,), ()))


def windows(*log_odds: float) -> np.ndarray:
    return np.repeat(np.asarray(log_odds)[:, None], 3, axis=1)


def test_a_session_takes_the_largest_row_it_fills_and_its_latest_windows() -> None:
    sadness, fear, _ = TABLE.answers(windows(9, 9, 0.1, 0.2, 0.3))
    assert sadness.windows == 3 and sadness.answer is Answer.UNCLEAR
    assert sadness.probability == pytest.approx(sigmoid(np.asarray(2 * 0.2 + 0.5)))
    assert fear.answer is Answer.TOO_FEW_WINDOWS and fear.probability is None and fear.windows == 5
    sadness, fear, distress = TABLE.answers(windows(-9, 1, 1, 1, 1, 1, 1))
    assert sadness.windows == fear.windows == 6
    assert sadness.answer is fear.answer is Answer.YES
    assert distress.answer is Answer.NOT_PROMISED and distress.probability is None
    assert TABLE.answers(windows(*[-1] * 6))[0].answer is Answer.NO


def test_no_window_is_too_few() -> None:
    assert TABLE.answers(np.empty((0, 3)))[0].answer is Answer.TOO_FEW_WINDOWS


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((2, 4)), np.full((2, 3), np.nan)])
def test_windows_without_three_finite_log_odds_are_our_bug(bad: np.ndarray) -> None:
    with pytest.raises(ContractError):
        TABLE.answers(bad)


@given(st.floats(-50, 50), st.floats(0, 20), st.lists(st.floats(-99, 99), min_size=1, max_size=20))
def test_every_session_is_answered_one_way_and_rises(
    low: float, width: float, log_odds: list[float]
) -> None:
    said = answered(np.sort(np.asarray(log_odds)), low, low + width).tolist()
    order = {0: 0, -1: 1, 1: 2}
    assert [order[one] for one in said] == sorted(order[one] for one in said)


def test_the_table_survives_its_file() -> None:
    assert parse_sessions(TABLE.to_bytes()) == TABLE


def broken(**changed: object) -> bytes:
    table = json.loads(TABLE.to_bytes())
    return json.dumps(table | changed).encode()


ROW = {"windows": 3, "slope": 1.0, "shift": 0.0, "no_below": 0.0, "yes_above": 0.0}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b" " * 70_000,
        broken(format=2),
        broken(error_rate=0.5),
        broken(extra=1),
        broken(tasks=[[], []]),
        broken(tasks=[[ROW, ROW], [], []]),
        broken(tasks=[[ROW | {"slope": 0}], [], []]),
        broken(tasks=[[ROW | {"no_below": 0.1}], [], []]),
        broken(tasks=[[ROW | {"windows": 0}], [], []]),
        broken(tasks=[[ROW | {"shift": 1e9}], [], []]),
    ],
    ids=lambda raw: raw[:60].decode(),
)
def test_a_table_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"sessions\.json"):
        parse_sessions(raw)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_table_or_a_reason(raw: bytes) -> None:
    with pytest.raises(BundleError):
        parse_sessions(raw)
