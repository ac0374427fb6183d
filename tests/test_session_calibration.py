"""Sessions: windows of one person say less than as many people would."""

import numpy as np
import pytest

from edge_models.errors import TooFewPeople
from edge_models.head import sigmoid
from edge_models.session import Answer
from edge_models.training.calibration_error import calibration_line
from edge_models.training.metrics import calibration_error
from edge_models.training.session_calibration import (
    SIZES,
    Pooling,
    drawn_sessions,
    session_calibration,
    session_rows,
    sessions_of,
)
from tests.speaking_people import speaking_people


def test_sessions_are_of_one_person_and_truth_without_a_window_twice() -> None:
    logits = np.asarray([1.0, 2, 4, 8, 16, 32])
    truth = np.asarray([True, True, True, False, False, True])
    people = np.asarray(["a", "a", "a", "a", "b", "b"])
    drawn = drawn_sessions(logits, truth, people, 2, np.random.default_rng(1), draws=50)
    assert set(drawn.people) == {"a"} and drawn.truth.all() and len(drawn) == 50
    assert set(drawn.mean) == {1.5, 2.5, 3.0}
    assert len(drawn_sessions(logits, truth, people, 4, np.random.default_rng(1))) == 0


def test_independent_windows_add_up_and_those_of_one_mood_do_not() -> None:
    assert Pooling(1.0, 0.0, 0.0).line(6).slope == pytest.approx(6)
    assert Pooling(1.0, 1.0, 0.0).line(6).slope == pytest.approx(1)
    line = Pooling(1.2, 0.2, 0.5).line(6)
    assert line.slope == pytest.approx(1.2 * 6 / 2)
    assert line.of(np.asarray([0.5])) == pytest.approx([0.0])


@pytest.mark.parametrize(("own", "correlation"), [(0.2, 0.04), (0.5, 0.2), (1.0, 0.5)])
def test_how_alike_a_persons_windows_are_is_learnt(own: float, correlation: float) -> None:
    rng = np.random.default_rng(2)
    logits, truth, people = speaking_people(rng, 400, own=own)
    drawn = [drawn_sessions(logits + 0.3, truth, people, size, rng, 4) for size in SIZES]
    found = session_calibration(drawn)
    assert found.gain == pytest.approx(1, abs=0.2)  # the prior pulls a little, and 400 are few
    assert found.correlation == pytest.approx(correlation, abs=0.12)
    assert found.centre == pytest.approx(0.3, abs=0.06)


def test_sessions_of_people_never_met_are_calibrated_as_mean_log_odds_are_not() -> None:
    rng = np.random.default_rng(3)
    logits, truth, people = speaking_people(rng, 400)
    met = people < "p0040"
    drawn = [drawn_sessions(logits[met], truth[met], people[met], n, rng) for n in SIZES]
    line = session_calibration(drawn).line(6)
    new = drawn_sessions(logits[~met], truth[~met], people[~met], 6, rng)
    assert calibration_error(sigmoid(line.of(new.mean)), new.truth) < 0.05
    assert calibration_error(sigmoid(new.mean), new.truth) > 0.1
    assert calibration_error(sigmoid(6 * new.mean), new.truth) > 0.05
    assert calibration_line(line.of(new.mean), new.truth).slope == pytest.approx(1, abs=0.25)


def test_people_whom_nothing_confuses_do_not_ask_for_an_infinite_gain() -> None:
    rng = np.random.default_rng(4)
    logits, truth, people = speaking_people(rng, 10, own=0.01, window=0.01)
    far = np.where(truth, 3.0, -3.0) + logits
    found = session_calibration([drawn_sessions(far, truth, people, n, rng) for n in SIZES])
    assert 0.2 < found.gain < 5 and 0 < found.correlation < 0.9


def test_a_size_that_too_few_people_fill_is_left_out() -> None:
    rng = np.random.default_rng(5)
    logits, truth, people = speaking_people(rng, 12, each=6)
    turn = np.arange(len(truth)) % 6
    short = (people < "p0004") & (turn >= 4)  # four of twelve have no six windows
    rows = session_rows(logits[~short], truth[~short], people[~short], rng)
    assert [row.windows for row in rows] == [1, 2, 3, 4]
    assert [row.slope for row in rows] == sorted(row.slope for row in rows)


def test_a_task_of_too_few_people_is_never_answered() -> None:
    rng = np.random.default_rng(6)
    logits, truth, people = speaking_people(rng, 12, each=6)
    three = np.repeat(logits[:, None], 3, axis=1)
    known = np.ones((len(truth), 3), bool)
    known[:, 1] = people < "p0005"
    three[0, 2] = np.nan
    table = sessions_of(three, np.repeat(truth[:, None], 3, axis=1), known, people, rng)
    assert [row.windows for row in table.tasks[0]] == list(SIZES)
    assert table.tasks[1] == ()
    answers = table.answers(np.full((6, 3), 4.0))
    assert [one.answer for one in answers] == [Answer.YES, Answer.NOT_PROMISED, Answer.YES]


def test_nobody_with_both_sides_is_refused() -> None:
    rng = np.random.default_rng(7)
    logits, truth, people = speaking_people(rng, 3)
    one_side = [drawn_sessions(logits[truth], truth[truth], people[truth], 2, rng)]
    with pytest.raises(TooFewPeople, match="each side"):
        session_calibration(one_side)
