"""Measure every figure of BENCHMARKS.md on this machine: `make bench`, or `… -m tests.bench NAME`.

Each module beside this one has `measure() -> list[Figure]`. They run one after another, each in
its own process so that none warms up or fattens the next.
"""

import datetime
import multiprocessing
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.bench._one import measured
from tests.bench.figure import Figure

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def _names() -> list[str]:
    return sorted(
        path.stem
        for path in HERE.glob("*.py")
        if not path.stem.startswith("_") and path.stem != "figure"
    )


def _machine() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    else:
        model = platform.machine()
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )


def _table(figures: list[Figure]) -> str:
    mark = {True: "met", False: "**not met**", None: ""}
    rows = [f"| {f.name} | {f.value} | {f.target} | {mark[f.met]} | {f.how} |" for f in figures]
    return "\n".join(["| what | measured | target | | how |", "|---|---|---|---|---|", *rows])


def main(names: list[str]) -> int:
    """Measure the named benches, or all and write BENCHMARKS.md."""
    chosen = names or _names()
    sections = []
    for name in chosen:
        print(f"Measuring {name} …", flush=True)
        # Not a Pool: its workers may have no processes of their own, and some benches need them.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            table = _table(process.submit(measured, name).result())
        print(table, flush=True)
        sections.append(f"## {name.replace('_', ' ')}\n{table}\n")
    if not names:
        head = (
            "# Benchmarks\n"
            f"Measured by `make bench` on {datetime.date.today():%d %B %Y}: {_machine()}.\n"
            "One thread; ratios are taken within one run. A desktop core is not a Raspberry Pi's: "
            "run it there for its figures.\n"
        )
        text = "\n".join([head, *sections])
        (ROOT / "BENCHMARKS.md").write_text(text, encoding="utf-8")
        print("Written to BENCHMARKS.md.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
