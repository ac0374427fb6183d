"""The suite checked over many seeds: is every bug caught each time, and is the clean tree quiet?

Rules it upholds: every attack runs on clean code, not only those that are named for a bug; a run
that could not be made counts as neither.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_models.threats.attack import Attack, Effort
from edge_models.threats.job import Job
from edge_models.threats.planted.bug import Bug
from edge_models.threats.result import Result
from edge_models.training.coevaluation.figure import Frozen


class Counted(Frozen):
    """How often an attack raised an alarm: of `ran` runs `alarms` did; `bug` "" is clean code."""

    attack: str
    bug: str
    ran: int
    not_run: int
    alarms: int

    @property
    def wrong(self) -> bool:
        """An alarm on clean code, a bug missed, or nothing that ran."""
        return not self.ran or self.alarms != (self.ran if self.bug else 0)


def check_jobs(
    attacks: Sequence[Attack], bugs: Sequence[Bug], seeds: int, parts: Path
) -> list[Job]:
    """Every attack on clean code and every bug against its attack, for seeds 0 to `seeds` - 1."""
    by_name = {attack.name: attack for attack in attacks}
    jobs = []
    for seed in range(seeds):
        for attack in attacks:
            place = parts / f"{attack.name}.{seed}.clean.json"
            jobs.append(Job(attack, Effort.PROBE, seed, place))
        for bug in bugs:
            place = parts / f"{bug.caught_by}.{seed}.{bug.name}.json"
            jobs.append(Job(by_name[bug.caught_by], Effort.PROBE, seed, place, bug))
    return jobs


def counted(results: Mapping[Job, Result]) -> tuple[Counted, ...]:
    """A line for each attack on clean code, then one for each bug."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for job, result in results.items():
        key = (job.bug.name if job.bug else "", job.attack.name)
        groups.setdefault(key, []).append(result)
    ordered = sorted(groups.items(), key=lambda one: bool(one[0][0]))
    return tuple(
        Counted(
            attack=attack,
            bug=bug,
            ran=sum(one.ran for one in found),
            not_run=sum(not one.ran for one in found),
            alarms=sum(one.alarms for one in found),
        )
        for (bug, attack), found in ordered
    )
