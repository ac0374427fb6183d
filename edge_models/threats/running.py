"""Many jobs, a few at a time, each in a process of its own; finished ones are not run again.

Rules it upholds: a job that dies takes nobody with it; a run that is interrupted goes on where it
stopped, if seed, effort, code and recordings are the same; jobs that need no recordings run while
recordings are described; processes are forked from one that has loaded the libraries, and has
started nothing.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Final

from edge_models.threats.ground import Ground
from edge_models.threats.job import Job, left_by, run_and_leave
from edge_models.threats.result import Result

AT_ONCE: Final = 2
_LOADED_ONCE: Final = ("edge_models.threats.suite", "edge_models.threats.planted.bugs", "torch")
_LOOKS_EVERY_S: Final = 1.0

Told = Callable[[str], None]
Finished = Callable[[Job, Result], None]


def all_done(
    jobs: Sequence[Job], ground: Ground, at_once: int, begun: Told, finished: Finished
) -> dict[Job, Result]:
    """The result of every job, in their order; `begun` and `finished` are told as it goes.

    Long jobs first. KeyboardInterrupt ends the processes that were begun, and leaves what they
    had finished.
    """
    results: dict[Job, Result] = {}
    waiting: list[Job] = []
    for job in sorted(jobs, key=lambda one: -one.attack.seconds):
        if job.place.exists():
            results[job] = left_by(job, None)
            finished(job, results[job])
        else:
            waiting.append(job)
    with _processes() as start:
        preparing = (
            start(_prepare, ground) if any(job.attack.needs_ground for job in waiting) else None
        )
        running: dict[ForkServerProcess, Job] = {}
        while waiting or running:
            ready = preparing is None or not preparing.is_alive()
            busy = len(running) + (not ready)
            while busy < at_once and (following := _next(waiting, ready)) is not None:
                waiting.remove(following)
                begun(following.name)
                running[start(run_and_leave, following, ground)] = following
                busy += 1
            wait([one.sentinel for one in running], timeout=_LOOKS_EVERY_S)
            for process in [one for one in running if not one.is_alive()]:
                process.join()
                job = running.pop(process)
                results[job] = left_by(job, process.exitcode)
                finished(job, results[job])
    return {job: results[job] for job in jobs}


def _prepare(ground: Ground) -> None:
    ground.prepare()


def _next(waiting: Sequence[Job], ready: bool) -> Job | None:
    return next((job for job in waiting if ready or not job.attack.needs_ground), None)


@contextmanager
def _processes() -> Iterator[Callable[..., ForkServerProcess]]:
    """A way to start processes; those that still run when all is over are ended."""
    context: ForkServerContext = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED_ONCE))
    started: list[ForkServerProcess] = []

    def start(what: Callable[..., None], *with_: object) -> ForkServerProcess:
        process = context.Process(target=what, args=with_)
        process.start()
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
            process.join()
