"""A whole run: every attack chosen, the bugs they must catch, and the record of it all.

Rules it upholds: finished parts are kept under a key of seed, effort, code, recordings and systems,
so that a run goes on where it stopped and never mixes two; what is written holds no path and no
person.
"""

import hashlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console

from edge_models import assessment
from edge_models.errors import ModelError, RecordingError
from edge_models.threats.attack import Attack, Effort
from edge_models.threats.detection import detected, detection_jobs
from edge_models.threats.ground import Ground
from edge_models.threats.job import Job
from edge_models.threats.planted.bug import Bug
from edge_models.threats.record import Record
from edge_models.threats.result import SCHEMA_VERSION, Result, Verdict
from edge_models.threats.running import all_done
from edge_models.training.coevaluation.schema import Corpus
from edge_models.training.corpora import licences_of
from edge_models.training.corpora.manifest import MANIFEST

PARTS: Final = "unfinished"
_ROOMS: Final = ("edge_models", "sync", "agent")
_TELLING: Final = ("report/", "compare.py", "command.py", "record.py")
"""Modules of this room that only tell of finished parts: a change to them keeps the parts."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run is asked for; `bugs` are those planted, `at_once` how many processes run."""

    attacks: tuple[Attack, ...]
    bugs: tuple[Bug, ...]
    effort: Effort
    seed: int
    out: Path
    at_once: int

    def jobs(self, parts: Path) -> tuple[list[Job], list[Job]]:
        """The attacks, and the jobs of the detection matrix."""
        own = [
            Job(attack, self.effort, self.seed, parts / f"{attack.name}.json")
            for attack in self.attacks
        ]
        by_name = {attack.name: attack for attack in self.attacks}
        whole = self.effort is Effort.FULL
        return own, detection_jobs(self.bugs, by_name, self.seed, parts, whole_matrix=whole)


def run_all(asked: Asked, ground: Ground, console: Console) -> Record:
    """Run every attack and plant every bug; the caller writes the record, then calls `forget`.

    Raises:
        RecordingError: `out` can't be written.
    """
    began = time.monotonic()
    attacks, matrix = asked.jobs(opened_parts(asked, ground))
    results = done_and_told([*attacks, *matrix], ground, asked.at_once, console)
    rows = detected(asked.bugs, {job: results[job] for job in matrix})
    return Record(
        schema_version=SCHEMA_VERSION,
        made=datetime.now(UTC).replace(microsecond=0),
        program=version("sottovoce"),
        effort=str(asked.effort),
        seed=asked.seed,
        recordings=_sets(ground),
        results=tuple(results[job] for job in attacks),
        detection=rows,
        seconds=round(time.monotonic() - began, 1),
        peak_mib=max((one.peak_mib for one in results.values()), default=0.0),
    )


def done_and_told(
    jobs: Sequence[Job], ground: Ground, at_once: int, console: Console
) -> Mapping[Job, Result]:
    """Run jobs, with a line for each that ends."""
    total, ended = len(jobs), 0

    def finished(job: Job, result: Result) -> None:
        nonlocal ended
        ended += 1
        console.print(f"[dim]{ended:>3}/{total}[/]  {job.name:<44}  {told(job, result)}")

    return all_done(jobs, ground, at_once, lambda name: None, finished)


def told(job: Job, result: Result) -> str:
    """How a job ended, in a few words."""
    if not result.ran:
        return f"[yellow]not run[/]: {result.not_run}"
    if job.bug is not None:
        caught = result.alarms
        return f"{'[green]caught[/]' if caught else '[red]missed[/]'} in {result.seconds:.0f} s"
    counted = [
        f"{colour}{len(result.with_verdict(verdict))} {verdict}[/]"
        for verdict, colour in (
            (Verdict.HOLDS, "[green]"),
            (Verdict.UNSURE, "[yellow]"),
            (Verdict.BROKEN, "[red]"),
            (Verdict.NO_PROMISE, "[dim]"),
        )
        if result.with_verdict(verdict)
    ]
    return f"{', '.join(counted)} in {result.seconds:.0f} s"


def opened_parts(asked: Asked, ground: Ground) -> Path:
    """The folder of finished parts; parts of another run are removed.

    Raises:
        RecordingError: it can't be written.
    """
    folder, key = asked.out / PARTS, _key(asked, ground)
    told_key = folder / "KEY"
    try:
        if not told_key.exists() or told_key.read_text(encoding="utf-8") != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, mode=0o700)
            told_key.write_text(key, encoding="utf-8")
    except OSError as fault:
        raise RecordingError(
            f"'{asked.out}' can't be written: {fault.strerror}.", "Give --out a folder of yours."
        ) from fault
    return folder


def forget(asked: Asked) -> None:
    """Remove the parts: the report is written. Traces of faults stay for whoever mends them."""
    folder = asked.out / PARTS
    for trace in folder.glob("*.fault.txt"):
        trace.replace(asked.out / trace.name)
    shutil.rmtree(folder, ignore_errors=True)


def _key(asked: Asked, ground: Ground) -> str:
    words = [str(asked.seed), str(asked.effort), *(str(system.name) for system in ground.systems)]
    digest = hashlib.sha256("\0".join([*words, *_code(), *_heard(ground)]).encode())
    return digest.hexdigest()


def _code() -> Iterable[str]:
    """A hash of every module that may change a figure."""
    top = Path(assessment.__file__).parent.parent
    for room in _ROOMS:
        for path in sorted((top / room).rglob("*.py")):
            name = path.relative_to(top).as_posix()
            if not name.removeprefix("edge_models/threats/").startswith(_TELLING):
                yield name + hashlib.sha256(path.read_bytes()).hexdigest()


def _heard(ground: Ground) -> Iterable[str]:
    """The recordings by name, size and time."""
    try:
        clips = ground.clips
    except ModelError as lacking:
        return [str(lacking)]
    paths = [ground.folder / MANIFEST, *(ground.folder / clip.path for clip in clips)]
    seen = [path.stat() if path.exists() else None for path in paths]
    return [
        f"{path} {stat.st_size if stat else 0} {stat.st_mtime_ns if stat else 0}"
        for path, stat in zip(paths, seen, strict=True)
    ]


def _sets(ground: Ground) -> tuple[Corpus, ...]:
    """The sets that were attacked, with their licences; none where there are no recordings."""
    try:
        clips, windows = ground.clips, ground.windows
    except ModelError:
        return ()
    names = sorted({clip.dataset for clip in clips})
    return tuple(
        Corpus(
            name=name,
            licence=", ".join(licence for other, licence in licences_of(clips) if other == name),
            people=len({*windows.person[windows.dataset == name].tolist()}),
            windows=int((windows.dataset == name).sum()),
        )
        for name in names
    )
