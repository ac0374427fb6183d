"""The simulated cohort: drawn to a survey's numbers, seeded, apart by speaker, openly marked."""

import csv
from argparse import ArgumentParser
from dataclasses import fields
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from edge_models.bundle import shipped_bundle, shipped_folder
from edge_models.errors import ContractError, ModelError
from edge_models.training.cohort import (
    AT_HOME,
    GENERAL,
    PUPILS,
    Cohort,
    Habits,
    Heard,
    Prior,
    Room,
    Voices,
    command,
    drawn_cohort,
    made_up_voices,
    simulated_cohort,
    voices_of_recordings,
)
from edge_models.training.cohort.answers import Law, items_of
from edge_models.training.cohort.summary import Share, summarised
from edge_models.training.cohort.tables import marked, written
from edge_models.training.corpora import affect_clips
from edge_models.training.described_cache import Cache
from edge_models.training.hearing import FrontEnd

BUNDLE = shipped_bundle()
VOICES = made_up_voices(BUNDLE, seed=1, together=True)
SELDOM = Habits(windows_a_day=0.2)


@cache
def _large(prior: Prior = GENERAL) -> Cohort:
    return drawn_cohort(VOICES, 5000, 4, 3, prior=prior, room=AT_HOME)


def _row(cohort: Cohort, text: str) -> Share:
    return next(one for one in summarised(cohort).shares if one.text == text)


# Answers


@pytest.mark.parametrize("prior", [GENERAL, PUPILS], ids=["general", "pupils"])
def test_answers_have_the_surveys_prevalence_and_comorbidity(prior: Prior) -> None:
    """Four standard errors of 5,000 people: one seed in 16,000 fails."""
    cohort = _large(prior)
    low, worried = cohort.people.phq9[:, 0] >= 10, cohort.people.gad7[:, 0] >= 8
    either = low | worried
    for drawn, published in (
        (low, prior.phq_from_10),
        (worried, prior.gad_from_8),
        ((low & worried)[either], prior.both_of_either),
    ):
        error = np.sqrt(published * (1 - published) / len(drawn))
        assert drawn.mean() == pytest.approx(published, abs=4 * error)


def test_the_general_laws_meet_the_published_points_exactly() -> None:
    assert GENERAL.phq9.reaches(10) == pytest.approx(0.108)
    assert GENERAL.gad7.reaches(8) == pytest.approx(0.147)
    published = _row(_large(), "either")
    assert published.published == pytest.approx(0.172, abs=0.001)
    assert published.within == pytest.approx(0.0205, abs=0.002)  # 15.1 to 19.4 % in the paper


def test_the_pupils_law_is_that_of_their_table(recordings: Path) -> None:
    """At cut-offs that the fit was not asked about, within two standard errors of the table."""
    with (recordings / "tables" / "mmpsy_scores.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for law, column in ((PUPILS.phq9, "phq9"), (PUPILS.gad7, "gad7")):
        sums = np.asarray([int(row[column]) for row in rows])
        for cut in (5, 8, 10, 15):
            share = float((sums >= cut).mean())
            error = np.sqrt(share * (1 - share) / len(sums))
            assert law.reaches(cut) == pytest.approx(share, abs=2 * error), (column, cut)
    low, worried = (np.asarray([int(row[c]) for row in rows]) for c in ("phq9", "gad7"))
    either = ((low >= 10) | (worried >= 8)).sum()
    both = ((low >= 10) & (worried >= 8)).sum()
    assert both / either == pytest.approx(PUPILS.both_of_either, abs=0.001)
    assert (low >= 10).mean() == pytest.approx(PUPILS.phq_from_10, abs=0.001)
    assert low.min() == PUPILS.phq9.least


def test_a_law_is_a_law() -> None:
    for law in (GENERAL.phq9, PUPILS.phq9, PUPILS.gad7):
        chances = law.chances()
        assert chances.sum() == pytest.approx(1.0)
        assert (chances >= 0).all()
        assert law.sums(np.asarray([-9.0, 9.0])).tolist() == [law.least, law.most]
    with pytest.raises(ContractError):
        Law(0, 1.0, 1.0, 27)


def test_items_add_up_and_the_last_one_is_the_rarest() -> None:
    sums = np.repeat(np.arange(28, dtype=np.int8), 200)
    items = items_of(sums, np.random.default_rng(1))
    assert (items.sum(axis=1) == sums).all()
    assert items.min() == 0
    assert items.max() == 3
    mild = items[(sums > 0) & (sums < 15)].mean(axis=0)
    assert mild.argmin() == 8
    assert mild.argmax() == 3  # tiredness


def test_items_are_answered_as_students_answer_them(recordings: Path) -> None:
    """Each item's mean given the forms' own sums, within three of its standard errors."""
    words = ("Not at all", "Several days", "More than half the days", "Nearly every day")
    path = recordings / "tables" / "studentlife_PHQ-9.csv"
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))[1:]
    items = np.asarray([[words.index(cell.strip()) for cell in row[2:11]] for row in rows])
    sums = np.repeat(items.sum(axis=1), 100).astype(np.int8)
    drawn = items_of(sums, np.random.default_rng(2)).mean(axis=0)
    errors = items.std(axis=0) / np.sqrt(len(items))
    assert (np.abs(drawn - items.mean(axis=0)) < 3 * errors).all()


def test_the_phq8_is_the_phq9_without_its_last_item() -> None:
    people = _large().people
    assert (people.phq9 - people.phq8 == people.items[:, :, 8]).all()
    assert people.phq8.max() <= 24
    assert people.gad7.max() <= 21


# Weeks


def test_a_state_lasts_and_fades_with_the_weeks() -> None:
    low = drawn_cohort(VOICES, 3000, 12, 5, habits=SELDOM).people.low.astype(float)
    near, far = (np.corrcoef(low[:, 0], low[:, week])[0, 1] for week in (1, 10))
    assert near > 0.85
    assert 0.6 < far < 0.8  # StudentLife's students at ten weeks: 0.73 by rank
    assert far < np.corrcoef(low[:, 0], low[:, 4])[0, 1] < near


def test_who_is_worse_sounds_sad_or_fearful_more_often() -> None:
    cohort = _large()
    own = cohort.heard == Heard.OWN
    affect = cohort.voices.affect[cohort.place]
    week = cohort.day // 7
    for word, weekly, most in (
        ("sad", cohort.people.low, 27),
        ("fearful", cohort.people.worried, 21),
    ):
        share = weekly[cohort.person, week] / most
        rises, always = np.polyfit(share[own], (affect[own] == word).astype(float), 1)
        assert always == pytest.approx(0.05, abs=0.01)
        assert rises == pytest.approx(0.40, abs=0.04)


def test_missing_days_come_in_runs() -> None:
    silent = drawn_cohort(VOICES, 2000, 4, 6, habits=Habits(30.0, 0.25)).people.silent
    assert silent.mean() == pytest.approx(0.25, abs=0.015)
    before = silent[:, :-1]
    assert silent[:, 1:][before].mean() > 2 * silent[:, 1:][~before].mean()
    assert summarised(_large()).run_days > 2


def test_the_worse_answer_and_talk_less_and_the_average_stays() -> None:
    cohort = drawn_cohort(VOICES, 5000, 2, 7, habits=Habits(3.0, 0.25, 0.2))
    people = cohort.people
    order = np.argsort(people.low[:, 0] + people.worried[:, 0], kind="stable")
    best, worst = order[:1250], order[-1250:]
    assert people.silent[worst].mean() > people.silent[best].mean() + 0.1
    assert people.answered[worst].mean() < people.answered[best].mean() - 0.1
    assert 1 - people.answered.mean() == pytest.approx(0.2, abs=0.03)
    windows = np.bincount(cohort.person, minlength=5000)
    assert windows.mean() == pytest.approx(14 * 0.75 * 3, rel=0.03)
    days = np.maximum((~people.silent).sum(axis=1), 1)
    assert (windows / days)[worst].mean() < (windows / days)[best].mean()
    table = summarised(cohort).shares[0]
    assert table.answered < table.drawn  # what a study sees is too good


def test_days_and_hours_are_in_order_and_people_sleep() -> None:
    cohort = _large()
    when = (cohort.person.astype(np.int64) * 28 + cohort.day) * 24 + cohort.hour
    assert (np.diff(when) >= 0).all()
    assert set(np.unique(cohort.hour)) <= set(range(6, 24))
    assert cohort.day.max() == 27
    assert cohort.asked.max() == 1


# Voices


def test_others_in_the_room_are_marked_and_come_from_home() -> None:
    cohort = _large()
    people, voices = cohort.people, cohort.voices
    speaker, second = voices.speaker[cohort.place], voices.beside[cohort.place]
    own = people.speaker[cohort.person]
    mates = people.housemates[cohort.person]
    is_own, is_both, is_other = (cohort.heard == one for one in Heard)
    assert is_both.mean() == pytest.approx(AT_HOME.both, abs=0.005)
    assert is_other.mean() == pytest.approx(AT_HOME.other, abs=0.005)
    assert (speaker[is_own | is_both] == own[is_own | is_both]).all()
    assert (second[~is_both] == "").all()
    assert (second[is_both, None] == mates[is_both]).any(axis=1).all()
    assert (speaker[is_other, None] == mates[is_other]).any(axis=1).all()
    assert (people.housemates != people.speaker[:, None]).all()


def test_test_people_speak_with_other_voices_and_live_with_other_voices() -> None:
    for seed in range(5):
        train, test = VOICES.parted(seed)
        assert set(train.speakers) | set(test.speakers) == set(VOICES.speakers)
        heard, unheard = (_everybody(part, seed) for part in (train, test))
        assert heard.isdisjoint(unheard)


def _everybody(part: Voices, seed: int) -> set[str]:
    cohort = drawn_cohort(part, 200, 2, seed, room=Room(both=0.2, other=0.2))
    voices, place = cohort.voices, cohort.place
    return {*voices.speaker[place].tolist(), *voices.beside[place].tolist()} - {""}


def test_nobody_is_heard_beside_voices_that_were_never_together() -> None:
    alone = made_up_voices(BUNDLE, 1)
    with pytest.raises(ContractError, match="together"):
        drawn_cohort(alone, 20, 2, 1, room=Room(both=0.1))
    assert (drawn_cohort(alone, 20, 2, 1, room=Room(other=0.1)).heard == Heard.OTHER).any()
    with pytest.raises(ContractError):
        drawn_cohort(alone.of(alone.speakers[:1]), 20, 2, 1, room=Room(other=0.1))


def test_made_up_voices_say_so_and_have_no_functionals() -> None:
    assert VOICES.made_up
    with pytest.raises(ContractError, match="Made-up"):
        _large().summaries()
    assert _large().embeddings(slice(0, 5)).shape == (5, VOICES.embeddings.shape[1])


def test_the_cache_is_the_one_of_training() -> None:
    names = ("gate.onnx", "descriptors.onnx", "functionals.onnx")
    graphs = ((shipped_folder() / name).read_bytes() for name in names)
    assert FrontEnd.of_bundle(BUNDLE).fingerprint == FrontEnd.of_graphs(*graphs).fingerprint


def test_voices_of_real_recordings_are_whole(recordings: Path, tmp_path: Path) -> None:
    everything = affect_clips(recordings)
    clips = [
        clip
        for person in ("rav01", "rav02")
        for emotion in ("sad", "fearful", "calm")
        for clip in [one for one in everything if (one.person, one.emotion) == (person, emotion)][
            :4
        ]
    ]
    voices = voices_of_recordings(recordings, BUNDLE, 7, clips=clips, together=iter)
    assert not voices.made_up
    assert voices.speakers == ("rav01", "rav02")
    for speaker in voices.speakers:
        assert len(np.unique(voices.affect[voices.speaker == speaker])) == 3
    assert voices.summaries is not None and voices.origin is not None
    assert voices.summaries.shape == (len(voices.speaker), 88)
    assert np.isfinite(voices.summaries).all()
    assert len(np.unique(voices.origin.segment)) == len(voices.speaker)
    assert set(voices.origin.sex[voices.speaker == "rav02"]) == {"female"}
    assert set(voices.origin.language) == {"en"}
    cache = Cache(tmp_path)
    alone = voices_of_recordings(recordings, BUNDLE, 7, clips=clips, cache=cache)
    assert np.array_equal(voices.embeddings[voices.beside == ""], alone.embeddings)
    again = voices_of_recordings(recordings, BUNDLE, 7, clips=clips, cache=cache)
    assert np.array_equal(again.embeddings, alone.embeddings)
    both = voices.summaries[voices.beside != ""]
    assert 4 <= len(both) <= 6
    assert not any(np.allclose(row, own, rtol=1e-3) for row in both for own in alone.summaries)
    cohort = drawn_cohort(voices, 20, 2, 1, room=Room(both=0.3))
    assert cohort.summaries().shape == (len(cohort), 88)


# Cohorts


def test_a_seed_gives_one_cohort_and_another_gives_another() -> None:
    one, two, other = (drawn_cohort(VOICES, 20, 3, seed, room=AT_HOME) for seed in (1, 1, 2))
    for field in fields(Cohort)[3:]:
        assert np.array_equal(getattr(one, field.name), getattr(two, field.name)), field.name
    for field in fields(one.people):
        assert np.array_equal(getattr(one.people, field.name), getattr(two.people, field.name))
    assert one.people.speaker.tolist() != other.people.speaker.tolist()


@pytest.mark.parametrize(("people", "weeks"), [(19, 4), (5001, 4), (20, 0), (20, 105)])
def test_a_size_outside_what_was_tried_is_refused(people: int, weeks: int) -> None:
    with pytest.raises(ContractError):
        drawn_cohort(VOICES, people, weeks, 1)


def test_shares_out_of_their_domain_are_refused() -> None:
    for made in (
        lambda: Habits(silent_days=1.0),
        lambda: Habits(windows_a_day=0.0),
        lambda: Habits(unanswered=-0.1),
        lambda: Room(both=0.6, other=0.4),
        lambda: simulated_cohort(VOICES, 20, 1, silent_days=1.0),
        lambda: simulated_cohort(VOICES, 20, 1, questionnaires=0),
        lambda: VOICES.of(VOICES.speakers[:1]).parted(1),
    ):
        with pytest.raises(ContractError):
            made()


def test_the_smallest_cohort_of_one_week_without_silence_is_whole() -> None:
    cohort = drawn_cohort(VOICES, 20, 1, 1, habits=Habits(40.0, 0.0))
    assert not cohort.people.silent.any()
    assert cohort.people.answered.shape == (20, 1)
    assert len(summarised(cohort).shares) == 4


def test_participants_hold_what_a_device_would() -> None:
    told = simulated_cohort(VOICES, 200, 4, questionnaires=3, unanswered=0.4)
    assert len({one.name for one in told}) == 200
    assert {len(one.answered) for one in told} == {0, 1, 2, 3}
    for one in told:
        for answered in one.answered:
            assert answered.phq8 == sum(answered.items[:8])
            assert answered.places is not None
            assert np.array_equal(answered.windows, VOICES.embeddings[answered.places])
            assert (VOICES.speaker[answered.places] == one.speaker).all()


def test_the_federated_simulations_people_miss_days_at_random_unless_asked() -> None:
    for worse_less, differ in ((0.0, False), (1.0, True)):
        told = simulated_cohort(VOICES, 5000, 5, questionnaires=1, worse_less=worse_less)
        (sums, windows) = zip(
            *((one.answered[0].phq8, len(one.answered[0].windows)) for one in told), strict=True
        )
        low, count = np.asarray(sums) >= 10, np.asarray(windows)
        error = count.std() / np.sqrt(low.sum())
        assert (count[~low].mean() - count[low].mean() > 4 * error) == differ


def test_windows_are_places_and_a_large_cohort_is_small() -> None:
    cohort = _large()
    held = (cohort.person, cohort.day, cohort.hour, cohort.place, cohort.heard)
    assert sum(one.nbytes for one in held) <= 13 * len(cohort)
    assert len(cohort) > 250_000


# Tables and the command


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_tables_say_that_nobody_exists_and_hold_the_cohort(tmp_path: Path, ending: str) -> None:
    cohort = drawn_cohort(VOICES, 20, 3, 1, room=AT_HOME)
    out = tmp_path / f"mine{ending}"
    assert list(written(cohort, out, {"seed": "1"}))[-1] == len(cohort)
    names = marked(out)
    assert sorted(tmp_path.iterdir()) == sorted(names)
    assert all("simulated" in name.name for name in names)
    windows, people, answers = (_read(name) for name in names)
    assert (len(windows), len(people), len(answers)) == (len(cohort), 20, 40)
    assert {str(row["simulated"]) for row in (*windows, *people, *answers)} == {"True"}
    assert [str(row["heard"]) for row in windows] == [Heard(h).name.lower() for h in cohort.heard]
    for row in windows:
        place = int(row["place"])
        assert row["voice"] == VOICES.speaker[place]
        own = next(one for one in people if one["person"] == row["person"])
        assert (row["voice"] == own["voice"]) == (row["heard"] != "other")
    for row in answers:
        assert sum(int(row[f"phq9_{n}"]) for n in range(1, 10)) == int(row["phq9"])
    if ending == ".parquet":
        metadata = pyarrow.parquet.read_schema(names[0]).metadata
        assert metadata[b"simulated"] == b"nobody in this table exists"


def _read(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, object]] = pyarrow.parquet.read_table(path).to_pylist()
        return rows
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_an_unfinished_cohort_leaves_nothing_behind(tmp_path: Path) -> None:
    cohort = drawn_cohort(VOICES, 20, 1, 1)
    writing = written(cohort, tmp_path / "mine.csv", {})
    next(writing)
    writing.close()
    assert not list(tmp_path.iterdir())


def _run(*words: str) -> int:
    parser = ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def test_the_command_works_without_recordings_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOTTOVOCE_DATA", str(tmp_path))
    words = ("--people", "60", "--weeks", "2", "--voices", "test", "--prior", "pupils")
    assert _run(*words, "--out", str(tmp_path / "few.csv")) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "made up from public constants" in told
    assert "60 people who don't exist" in told
    rows = _read(tmp_path / "few-simulated-people.csv")
    assert len(rows) == 60
    assert all(str(row["voice"]).startswith("made-up") for row in rows)
    assert len({row["voice"] for row in rows}) <= 6


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    for words in (
        ("--people", "19", "--out", str(tmp_path / "a.csv")),
        ("--people", "20", "--out", str(tmp_path / "a.txt")),
        ("--people", "20", "--out", str(tmp_path / "no" / "a.csv")),
        ("--people", "20", "--recordings", str(tmp_path), "--out", str(tmp_path / "a.csv")),
    ):
        with pytest.raises(ModelError):
            _run(*words)
    assert not list(tmp_path.iterdir())
