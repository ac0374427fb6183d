"""One attack carried out, in a process of its own, its result left as a file.

Rules it upholds: whatever goes wrong becomes a result that says *not run* and why: a lack of
material in one sentence, a fault of ours as such, with its trace beside; the seed is all the
randomness there is; libraries run on one thread, so that two jobs don't get in each other's way.
"""

import resource
import sys
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from threadpoolctl import threadpool_limits

from edge_models.errors import ContractError, ModelError
from edge_models.threats.attack import Attack, Effort
from edge_models.threats.ground import Ground
from edge_models.threats.planted.bug import Bug
from edge_models.threats.result import Result
from edge_models.training.whole import written_whole

_MIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Job:
    """An attack to run, with a bug planted or without; `place` is where its result goes."""

    attack: Attack
    effort: Effort
    seed: int
    place: Path
    bug: Bug | None = None

    @property
    def name(self) -> str:
        """What the console calls it."""
        return f"{self.attack.name} with '{self.bug.name}'" if self.bug else self.attack.name


def carried_out(job: Job, ground: Ground) -> Result:
    """Run the attack; never raises but for what ends a process."""
    began = time.monotonic()
    planted: AbstractContextManager[object] = nullcontext() if job.bug is None else job.bug.plant()
    result: dict[str, object]
    try:
        with planted, threadpool_limits(1):
            told = job.attack.run(ground, job.effort, job.seed)
        result = {"findings": told.findings, "says": told.says, "points": told.points}
    except ContractError:
        result = _fault(job)
    except ModelError as lacking:
        result = {"not_run": str(lacking)}
    except ModuleNotFoundError as missing:
        result = {"not_run": f"It needs the package '{missing.name}', which is not installed."}
    except Exception:  # noqa: BLE001 - whatever an attack or a stranger's system raises
        result = _fault(job)
    return Result.model_validate(
        {
            "attack": job.attack.name,
            "family": str(job.attack.family),
            "asks": job.attack.asks,
            "effort": str(job.effort),
            "seed": job.seed,
            "seconds": round(time.monotonic() - began, 1),
            "peak_mib": round(_peak_mib(), 1),
            **result,
        }
    )


def _fault(job: Job) -> dict[str, object]:
    """What is said of a fault of ours; the trace lies beside the result."""
    kind, fault, _ = sys.exc_info()
    trace = job.place.with_suffix(".fault.txt")
    trace.write_text(traceback.format_exc(), encoding="utf-8")
    said = f"The attack itself failed: {kind.__name__ if kind else 'fault'}: {fault}"
    return {"not_run": said[:400], "broke": True}


def _peak_mib() -> float:
    """The most memory that this process and the largest of its children held, MiB."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(one).ru_maxrss for one in whose) / _MIB


def run_and_leave(job: Job, ground: Ground) -> None:
    """The whole life of a job's process."""
    import torch

    torch.set_num_threads(1)
    result = carried_out(job, ground)
    with written_whole(job.place) as part:
        part.write_text(result.model_dump_json(), encoding="utf-8")


def left_by(job: Job, exit_code: int | None) -> Result:
    """The result that a process left, or what is to be said of one that left none."""
    try:
        return Result.model_validate_json(job.place.read_bytes())
    except (OSError, ValueError):
        ended = f"by signal {-exit_code}" if exit_code and exit_code < 0 else f"with {exit_code}"
        return Result(
            attack=job.attack.name,
            family=str(job.attack.family),
            asks=job.attack.asks,
            effort=str(job.effort),
            seed=job.seed,
            not_run=f"Its process ended {ended} and left no result: it may have lacked memory.",
            broke=True,
        )
