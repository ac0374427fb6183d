"""The figures of one task, from windows of other people to sessions of those held out."""

import numpy as np
import pytest

from edge_models.errors import ContractError
from edge_models.training.utility import Evidence, Fold, HeldOut, held_out_sessions, utility_report
from tests.speaking_people import speaking_people


def folds(people: int = 40, seed: int = 1) -> list[Fold]:
    logits, truth, names = speaking_people(np.random.default_rng(seed), people)
    fold = np.asarray([int(name[1:]) % 4 for name in names])

    def some(rows: np.ndarray) -> Evidence:
        return Evidence(logits[rows], truth[rows], names[rows])

    return [Fold(some(fold != one), some(fold == one)) for one in range(4)]


@pytest.fixture(scope="module")
def tested() -> HeldOut:
    return held_out_sessions(folds(), np.random.default_rng(2))


def test_everybody_is_tested_once_and_by_others(tested: HeldOut) -> None:
    assert len(np.unique(tested.people)) == 40
    assert tested.windows == 6 and tested.promised
    assert set(tested.said) <= {-1, 0, 1}


def test_what_is_learnt_does_not_depend_on_the_truth_held_out() -> None:
    first = folds()[0]
    held = first.held
    turned = Fold(first.others, Evidence(held.logits, ~held.truth, held.people))
    one, two = (held_out_sessions([fold], np.random.default_rng(3)) for fold in (first, turned))
    order = [np.lexsort((each.said, each.log_odds)) for each in (one, two)]
    # Sides are drawn in the other order, so sessions differ; where answers begin does not.
    for each, rows in zip((one, two), order, strict=True):
        said = each.said[rows]
        rising = np.where(said < 0, 0.5, said)
        assert (np.diff(rising) >= 0).all()
    lows = [each.log_odds[each.said == -1] for each in (one, two)]
    assert max(low.min() for low in lows) < min(low.max() for low in lows)


def test_the_report_says_what_was_put_in(tested: HeldOut) -> None:
    sex = {f"p{number:04d}": "female" if number % 2 else "male" for number in range(40)}
    language = {f"p{number:04d}": "de" if number < 3 else "en" for number in range(40)}
    report = utility_report(
        "distress",
        tested,
        {"sex": sex, "language": language},
        np.random.default_rng(4),
        strata=language,
        resamples=60,
    )
    assert (report.task, report.people, report.sessions) == ("distress", 40, len(tested.truth))
    assert 0.85 < report.balanced_accuracy.value < 1
    assert report.calibration.error.value < 0.05
    assert report.calibration.left.slope == pytest.approx(1, abs=0.4)
    unanswered = report.unanswered
    assert unanswered.missed.value < 0.2 and unanswered.false_alarms.value < 0.2
    assert [one.prevalence for one in report.screening] == [0.05, 0.1, 0.2]
    ppvs = [one.ppv.value for one in report.screening]
    assert ppvs == sorted(ppvs)
    assert [one.name for one in report.fairness] == ["sex", "language", "sex × language"]
    assert report.fairness[1].groups[0].figures is None  # three people


def test_too_few_people_get_figures_but_no_answers() -> None:
    few = held_out_sessions(folds(people=8), np.random.default_rng(5))
    assert not few.promised and (few.said == -1).all()
    report = utility_report("fear", few, {}, np.random.default_rng(6), resamples=20)
    assert report.unanswered.abstained.value == 1
    assert np.isnan(report.unanswered.wrong_if_answered.value)


def test_nobody_with_enough_windows_or_one_class_is_our_bug() -> None:
    with pytest.raises(ContractError, match="Nobody"):
        held_out_sessions([], np.random.default_rng(7))
    one = held_out_sessions(folds(), np.random.default_rng(7))
    yes = one.truth
    lone = HeldOut(one.log_odds[yes], yes[yes], one.said[yes], one.people[yes], 6, 0.1, True)
    with pytest.raises(ContractError, match="both classes"):
        utility_report("fear", lone, {}, np.random.default_rng(8))
