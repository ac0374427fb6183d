"""The tally: a week in six answers, each from the right records and with enough evidence."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capture.frames import GapReason, Sensor
from agent.records import GapRecord, WindowRecord
from agent.tally import FEWEST_SCORED, LEAST_GAP_S, counts_of, tally_of
from edge_models.assessment import Abstention
from edge_models.errors import ContractError
from sync.messages import CELLS, HISTOGRAMS
from tests.stored import LAST_MONDAY, THRESHOLDS, abstained, gap, scored

START, END = LAST_MONDAY, LAST_MONDAY + timedelta(days=7)
BINS = {histogram.name: histogram.bins for histogram in HISTOGRAMS}


def at(day: int = 0, second: float = 0.0) -> datetime:
    return START + timedelta(days=day, seconds=second)


def answers(
    windows: list[WindowRecord] | None = None, gaps: list[GapRecord] | None = None
) -> Mapping[str, str]:
    choices = tally_of(windows or [], gaps or [], START, END).choices(THRESHOLDS)
    return {name: BINS[name][place] for name, place in choices.items()}


def talk(minutes: float, sadness: float = 0.2, fear: float = 0.1) -> list[WindowRecord]:
    """Windows of six seconds of speech each."""
    return [scored(at(0, 10 * n), sadness, fear) for n in range(round(10 * minutes))]


def test_a_week_without_records_is_a_week_without_evidence() -> None:
    assert answers() == {
        "speech_minutes": "none",
        "face_minutes": "none",
        "depression_band": "not enough evidence",
        "anxiety_band": "not enough evidence",
        "coverage": "0 days",
        "gap_reason": "none",
    }


@pytest.mark.parametrize(
    ("minutes", "answer"),
    [(0.9, "none"), (1, "1 to 10"), (9.9, "1 to 10"), (10, "10 to 60"), (59.9, "10 to 60"),
     (60, "60 or more"), (900, "60 or more")],
)  # fmt: skip
def test_minutes_of_speech_fall_into_the_bins_by_their_names(minutes: float, answer: str) -> None:
    assert answers(talk(minutes))["speech_minutes"] == answer


def test_speech_counts_even_where_there_was_too_little_to_describe() -> None:
    short = [abstained(at(0, 10 * n), speech_s=2.0) for n in range(30)]
    assert answers(short)["speech_minutes"] == "1 to 10"
    assert answers(short)["coverage"] == "0 days"


def test_face_minutes_count_seconds_with_a_face() -> None:
    assert answers(talk(0.7))["face_minutes"] == "none"  # 7 windows of 8 s
    assert answers(talk(0.8))["face_minutes"] == "1 to 10"


@pytest.mark.parametrize(
    ("score", "band"),
    [(0.0, "low"), (0.39, "low"), (0.4, "middle"), (0.69, "middle"), (0.7, "high"), (1.0, "high")],
)
def test_bands_are_cut_at_the_bundles_thresholds(score: float, band: str) -> None:
    found = answers(talk(1, sadness=score, fear=0.1))
    assert (found["depression_band"], found["anxiety_band"]) == (band, "low")
    found = answers(talk(1, sadness=0.1, fear=score))
    assert (found["depression_band"], found["anxiety_band"]) == ("low", band)


def test_too_few_scored_windows_give_no_band() -> None:
    few = talk(5)[: FEWEST_SCORED - 1]
    unscored = [abstained(at(1, 10 * n), Abstention.NOT_ALONE) for n in range(50)]
    assert answers(few + unscored)["depression_band"] == "not enough evidence"
    assert answers([*talk(5)[:FEWEST_SCORED], *unscored])["depression_band"] == "low"


def test_a_few_loud_windows_do_not_move_a_band() -> None:
    calm, loud = talk(1, sadness=0.1), talk(0.4, sadness=1.0)
    assert answers([*calm, *loud])["depression_band"] == "low"


@pytest.mark.parametrize(
    ("days", "answer"),
    [(0, "0 days"), (1, "1 to 2"), (2, "1 to 2"), (3, "3 to 4"), (4, "3 to 4"), (5, "5 to 7"),
     (7, "5 to 7")],
)  # fmt: skip
def test_coverage_counts_days_with_a_described_window(days: int, answer: str) -> None:
    windows = [scored(at(day, 10 * n)) for day in range(days) for n in range(3)]
    assert answers(windows)["coverage"] == answer


@pytest.mark.parametrize("reason", list(GapReason))
def test_every_reason_has_an_answer_of_its_own_or_is_no_gap(reason: GapReason) -> None:
    found = answers(gaps=[gap(at(), reason)])["gap_reason"]
    assert found == (reason.value if reason.value in BINS["gap_reason"] else "none")


def test_every_fault_of_a_sensor_is_an_answer() -> None:
    faults = set(BINS["gap_reason"]) - {"none"}
    assert faults <= {reason.value for reason in GapReason}


def test_the_main_reason_is_the_one_that_took_longest_in_all() -> None:
    gaps = [
        gap(at(0), GapReason.BUSY, 300.0),
        *(gap(at(1, 100 * n), GapReason.PAUSED, 61.0, Sensor.CAMERA) for n in range(5)),
    ]
    assert answers(gaps=gaps)["gap_reason"] == "paused"
    assert answers(gaps=gaps[:-1])["gap_reason"] == "busy"


def test_a_tie_is_broken_by_the_order_of_the_answers() -> None:
    gaps = [gap(at(0), GapReason.PAUSED, 99.9), gap(at(1), GapReason.ABSENT, 99.9)]
    assert answers(gaps=gaps)["gap_reason"] == answers(gaps=gaps[::-1])["gap_reason"] == "absent"


def test_a_lost_block_is_not_the_reason_of_a_week() -> None:
    lost = gap(at(), GapReason.OVERRUN, LEAST_GAP_S - 0.1)
    assert answers(gaps=[lost])["gap_reason"] == "none"
    assert answers(gaps=[lost, gap(at(3), GapReason.OVERRUN, 0.1)])["gap_reason"] == "overrun"


def test_gaps_are_cut_to_the_week_at_both_ends() -> None:
    inside = gap(at(3), GapReason.BUSY, 100.0)
    before = gap(START - timedelta(seconds=3600), GapReason.PAUSED, 3600.0 + 99.0)
    after = gap(END - timedelta(seconds=99), GapReason.ABSENT, 3600.0)
    outside = gap(END, GapReason.SILENT, 3600.0)
    assert answers(gaps=[inside, before, after, outside])["gap_reason"] == "busy"


def test_windows_of_other_weeks_are_left_out() -> None:
    edges = [scored(START - timedelta(microseconds=1)), scored(END)]
    assert tally_of(edges, [], START, END).windows == 0
    edges = [scored(START), scored(END - timedelta(microseconds=1))]
    assert tally_of(edges, [], START, END).windows == 2


def test_a_week_that_ends_before_it_starts_is_our_bug() -> None:
    with pytest.raises(ContractError):
        tally_of([], [], END, START)


MOMENTS = st.datetimes(
    datetime(2026, 11, 10), datetime(2026, 11, 28), timezones=st.just(UTC)
)  # around the week
UNIT = st.floats(0, 1)
WINDOWS = st.builds(scored, MOMENTS, UNIT, UNIT, st.floats(0, 10)) | st.builds(
    abstained, MOMENTS, st.sampled_from(Abstention)
)
GAPS = st.builds(
    gap, MOMENTS, st.sampled_from(GapReason), st.floats(0, 1e6), st.sampled_from(Sensor)
)


@given(st.lists(WINDOWS, max_size=20), st.lists(GAPS, max_size=10), st.randoms())
def test_any_week_has_one_answer_to_each_question_in_whatever_order_it_came(
    windows: list[WindowRecord], gaps: list[GapRecord], order: random.Random
) -> None:
    counts = counts_of(windows, gaps, THRESHOLDS, START, END)
    assert len(counts.cells) == CELLS and sum(counts.cells) == len(HISTOGRAMS)
    order.shuffle(windows)
    order.shuffle(gaps)
    assert counts_of(windows, gaps, THRESHOLDS, START, END) == counts
