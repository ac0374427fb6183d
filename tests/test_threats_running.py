"""Jobs in processes of their own: every way to end is told, and nothing finished is done again."""

from pathlib import Path

import pytest

from edge_models.threats.attack import Effort
from edge_models.threats.checking import check_jobs, counted
from edge_models.threats.detection import detected, detection_jobs
from edge_models.threats.ground import Ground
from edge_models.threats.job import Job, carried_out
from edge_models.threats.result import Result
from edge_models.threats.running import all_done
from edge_models.threats.whole_run import Asked, forget, opened_parts
from tests import made_up_attacks as made

NOWHERE = Path("/nowhere/at/all")


def ground(folder: Path) -> Ground:
    return Ground(recordings=NOWHERE, cache=folder / "cache")


def job(attack: made.Attack, folder: Path, seed: int = 0) -> Job:
    return Job(attack, Effort.QUICK, seed, folder / f"{attack.name}.json")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("parts")
    told: list[str] = []
    jobs = [job(attack, folder) for attack in made.EVERY]
    done = all_done(
        jobs, ground(folder), 2, told.append, lambda one, _: told.append(f"{one.name} ended")
    )
    assert {f"{one.name} ended" for one in jobs} <= set(told)
    assert list(done) == jobs
    return {one.attack.name: result for one, result in done.items()}


def test_what_went_well_is_told_with_its_cost(results: dict[str, Result]) -> None:
    assert results["well"].ran
    assert results["well"].peak_mib > 20
    assert not results["well"].alarms


@pytest.mark.parametrize(
    ("name", "words", "ours"),
    [
        ("lacking", "Two people are too few. Give three.", False),
        ("heard", "MANIFEST.csv", False),
        ("package", "'not_installed_here', which is not installed", False),
        ("contract", "ContractError: A caller broke a shape.", True),
        ("no-number", "The attack itself failed: ValidationError", True),
        ("fallen", "ZeroDivisionError: one by none", True),
        ("killed", "ended by signal 9", True),
    ],
)
def test_whatever_else_happens_is_not_run_and_never_a_pass(
    results: dict[str, Result], name: str, words: str, ours: bool
) -> None:
    result = results[name]
    assert not result.ran
    assert not result.findings
    assert words in result.not_run
    assert result.broke is ours


def test_a_finished_job_is_not_run_again(tmp_path: Path) -> None:
    first = job(made.WELL, tmp_path)
    all_done([first], ground(tmp_path), 1, print, lambda *_: None)
    before = first.place.read_bytes()
    begun: list[str] = []
    again = all_done([first, job(made.LACKING, tmp_path)], ground(tmp_path), 1, begun.append, _none)
    assert begun == ["lacking"]
    assert first.place.read_bytes() == before
    assert again[first].ran


def _none(job: Job, result: Result) -> None:
    """Nobody is told."""


def _done(jobs: list[Job], folder: Path) -> dict[Job, Result]:
    return {one: carried_out(one, ground(folder)) for one in jobs}


def test_a_bug_is_caught_only_by_an_attack_that_is_quiet_without_it(tmp_path: Path) -> None:
    bugs = (made.LEAK, made.NOT_A_BUG, made.UNSEEN)
    attacks = {one.name: one for one in made.EVERY}
    rows = detected(bugs, _done(detection_jobs(bugs, attacks, 1, tmp_path), tmp_path))
    assert [(row.bug, row.caught, row.clean) for row in rows] == [
        ("leak", True, True),
        ("harmless", False, True),
        ("unseen", False, False),
    ]
    assert "too few" in rows[2].not_run


def test_an_attack_that_cries_wolf_catches_nothing(tmp_path: Path) -> None:
    attacks = {one.name: one for one in made.EVERY}
    jobs = detection_jobs((made.LEAK,), attacks, 1, tmp_path)
    found = _done(jobs, tmp_path)
    loud = found[jobs[1]]
    assert loud.alarms
    row = detected((made.LEAK,), {jobs[0]: loud, jobs[1]: loud})[0]
    assert not row.caught
    assert not row.clean


def test_the_whole_matrix_shows_who_else_noticed(tmp_path: Path) -> None:
    bugs = (made.LEAK, made.UNSEEN)
    attacks = {one.name: one for one in made.EVERY}
    jobs = detection_jobs(bugs, attacks, 1, tmp_path, whole_matrix=True)
    assert len(jobs) == 2 + 4
    assert not detected(bugs, _done(jobs, tmp_path))[0].caught_also


def test_alarms_are_counted_over_seeds(tmp_path: Path) -> None:
    jobs = check_jobs((made.WELL, made.LACKING), (made.LEAK,), 3, tmp_path)
    rows = {(row.attack, row.bug): row for row in counted(_done(jobs, tmp_path))}
    assert not rows["well", ""].wrong
    assert rows["well", "leak"].alarms == 3
    assert not rows["well", "leak"].wrong
    assert rows["lacking", ""].not_run == 3
    assert rows["lacking", ""].wrong


def test_parts_of_another_run_are_never_taken(tmp_path: Path) -> None:
    asked = Asked((made.WELL,), (), Effort.QUICK, 1, tmp_path / "out", 1)
    folder = opened_parts(asked, ground(tmp_path))
    kept = folder / "well.json"
    kept.write_text("{}")
    assert opened_parts(asked, ground(tmp_path)) == folder
    assert kept.exists()
    opened_parts(Asked((made.WELL,), (), Effort.QUICK, 2, tmp_path / "out", 1), ground(tmp_path))
    assert not kept.exists()
    (folder / "well.fault.txt").write_text("trace")
    forget(asked)
    assert not folder.exists()
    assert (tmp_path / "out" / "well.fault.txt").read_text() == "trace"
