"""The suite attacks itself: each planted bug must be caught, and the clean tree must raise nothing.

Rules it upholds: an attack that did not run has caught nothing; a bug counts as caught only if its
named attack breaks a promise with the bug and breaks none without it, on the same seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_models.threats.attack import Attack, Effort
from edge_models.threats.job import Job
from edge_models.threats.planted.bug import Bug
from edge_models.threats.record import Detected
from edge_models.threats.result import Result


def detection_jobs(
    bugs: Sequence[Bug],
    attacks: Mapping[str, Attack],
    seed: int,
    folder: Path,
    *,
    whole_matrix: bool = False,
) -> list[Job]:
    """Each bug against its named attack, and each such attack without any bug.

    With `whole_matrix` each bug against every attack that is named for one.
    """
    named = [name for name in attacks if any(bug.caught_by == name for bug in bugs)]
    jobs = [
        Job(attacks[name], Effort.PROBE, seed, folder / f"{name}.{seed}.clean.json")
        for name in named
    ]
    for bug in bugs:
        for name in named if whole_matrix else [bug.caught_by]:
            place = folder / f"{name}.{seed}.{bug.name}.json"
            jobs.append(Job(attacks[name], Effort.PROBE, seed, place, bug))
    return jobs


def detected(bugs: Sequence[Bug], results: Mapping[Job, Result]) -> tuple[Detected, ...]:
    """One row of the matrix for each bug."""
    clean = {job.attack.name: result for job, result in results.items() if job.bug is None}
    rows = []
    for bug in bugs:
        met = {job.attack.name: found for job, found in results.items() if job.bug == bug}
        own, without = met[bug.caught_by], clean[bug.caught_by]
        quiet = without.ran and not without.alarms
        also = [
            name
            for name, found in met.items()
            if name != bug.caught_by and found.alarms and not clean[name].alarms
        ]
        rows.append(
            Detected(
                bug=bug.name,
                what=bug.what,
                caught_by=bug.caught_by,
                caught=own.alarms and quiet,
                caught_also=tuple(also),
                clean=quiet,
                not_run=own.not_run or without.not_run,
            )
        )
    return tuple(rows)
