"""The simulated cohort: drawn to a survey's numbers, seeded, and apart by speaker."""

from pathlib import Path

import numpy as np
import pytest

from edge_models.bundle import shipped_bundle
from edge_models.errors import ContractError
from edge_models.training.cohort import (
    GAD_FROM_8,
    PHQ_FROM_10,
    Participant,
    made_up_voices,
    simulated_cohort,
    voices_of_recordings,
)
from edge_models.training.corpora import affect_clips

BUNDLE = shipped_bundle()
VOICES = made_up_voices(BUNDLE, seed=1)


def _sums(cohort: tuple[Participant, ...]) -> tuple[np.ndarray, np.ndarray]:
    told = [answered for one in cohort for answered in one.answered]
    return np.asarray([one.phq8 for one in told]), np.asarray([one.gad7 for one in told])


def test_answers_have_the_surveys_prevalence_and_overlap() -> None:
    """Five standard errors of 5,000 people: two points."""
    phq8, gad7 = _sums(simulated_cohort(VOICES, 5000, 3, questionnaires=1, windows_a_day=0.1))
    low, worried = phq8 >= 10, gad7 >= 8
    assert low.mean() == pytest.approx(PHQ_FROM_10, abs=0.022)
    assert worried.mean() == pytest.approx(GAD_FROM_8, abs=0.025)
    assert (low & worried).sum() / (low | worried).sum() == pytest.approx(0.48, abs=0.07)
    assert phq8.max() <= 24
    assert gad7.max() <= 21


def test_a_seed_gives_one_cohort_and_another_gives_another() -> None:
    one, two, other = (simulated_cohort(VOICES, 20, seed) for seed in (1, 1, 2))
    assert all(
        np.array_equal(a.windows, b.windows)
        for x, y in zip(one, two, strict=True)
        for a, b in zip(x.answered, y.answered, strict=True)
    )
    assert [x.speaker for x in one] != [x.speaker for x in other]


def test_test_people_speak_with_other_voices() -> None:
    for seed in range(5):
        train, test = VOICES.parted(seed)
        assert set(train.speakers) | set(test.speakers) == set(VOICES.speakers)
        heard = {one.speaker for one in simulated_cohort(train, 200, seed)}
        unheard = {one.speaker for one in simulated_cohort(test, 200, seed)}
        assert heard.isdisjoint(unheard)


def test_the_low_sound_sad_more_often() -> None:
    cohort = simulated_cohort(VOICES, 2000, 4, questionnaires=1)
    row = np.asarray(BUNDLE.head.weights[0])
    by_side: dict[bool, list[float]] = {True: [], False: []}
    for one in cohort:
        (told,) = one.answered
        if len(told.windows):
            by_side[told.phq8 >= 10].append(float((told.windows @ row).mean()))
    assert np.mean(by_side[True]) > np.mean(by_side[False]) + 0.1


def test_a_persons_state_lasts_and_some_days_are_silent() -> None:
    cohort = simulated_cohort(VOICES, 2000, 5, questionnaires=2, silent_days=0.5)
    first, second = (np.asarray([one.answered[n].phq8 for one in cohort]) for n in (0, 1))
    assert np.corrcoef(first, second)[0, 1] > 0.8
    windows = [len(told.windows) for one in cohort for told in one.answered]
    assert np.mean(windows) == pytest.approx(14 * 0.5 * 3, rel=0.05)
    assert min(windows) < 12


@pytest.mark.parametrize("people", [19, 5001])
def test_a_size_outside_what_was_tried_is_refused(people: int) -> None:
    with pytest.raises(ContractError):
        simulated_cohort(VOICES, people, 1)


def test_silent_cohorts_and_single_speakers_are_refused() -> None:
    with pytest.raises(ContractError):
        simulated_cohort(VOICES, 20, 1, silent_days=1.0)
    with pytest.raises(ContractError):
        VOICES.of(VOICES.speakers[:1]).parted(1)


def test_voices_of_real_recordings_are_whole(recordings: Path) -> None:
    clips = [clip for clip in affect_clips(recordings) if clip.person in ("rav01", "rav02")]
    voices = voices_of_recordings(recordings, shipped_bundle(), 7, clips=clips)
    assert not voices.made_up
    assert voices.speakers == ("rav01", "rav02")
    for speaker in voices.speakers:
        assert len(np.unique(voices.affect[voices.speaker == speaker])) == 3
