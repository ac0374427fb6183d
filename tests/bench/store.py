"""What remembering costs: keeping and reading a window, its bytes, and the participant's page."""

import json
import multiprocessing
import secrets
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

import psutil

from agent.answers import Live
from agent.keys import Purpose, load_key, sub_key
from agent.records import OwnBaseline
from agent.reporter import Study, prepare_reports
from agent.service import ParticipantPage
from agent.store import Store
from agent.tally import tally_of
from edge_models.bundle import shipped_bundle
from edge_models.own import Own
from sync.release import Seal
from tests.bench.figure import Figure
from tests.stored import KEY, LAST_MONDAY, NOW, POLICY, THRESHOLDS, Device, scored

Found = TypeVar("Found")

_A_DAY: Final = 2_880
"""Windows in a day of eight hours, all of them speech: more than anybody says."""
_DAYS: Final = 7
_KEPT: Final = 500
_MEGABYTE: Final = 1e6
_STUDY: Final = Study("home", POLICY, "affect-1", THRESHOLDS)


def measure() -> list[Figure]:
    """Keep, read, count, report and show a week of eight hours of speech a day."""
    with tempfile.TemporaryDirectory() as name:
        device = Device(Path(name))
        keep_ms = _keep_ms(device)
        size = _fill(device)
        with device.store() as store:
            week = LAST_MONDAY, LAST_MONDAY + timedelta(days=_DAYS)
            read_s, windows = _seconds(lambda: sum(1 for _ in store.windows(*week)))
            tally_s, _ = _seconds(lambda: tally_of(store.windows(*week), [], *week))
            report_s, prepared = _seconds(lambda: _report(store))
        assert prepared == ("2026-W47",)
        page = _page(device)
    passphrase_s, memory = _passphrase()
    return [
        Figure(
            "keep one window", f"{statistics.median(keep_ms):.2f} ms", "", None,
            f"sealed and on the disk (FULL), with its baseline; median of {_KEPT}, "
            f"p95 {statistics.quantiles(keep_ms, n=20)[-1]:.2f} ms",
        ),
        Figure(
            "one described window on disk", f"{size:.0f} bytes", "", None,
            f"file size over {windows} windows: {size * _A_DAY / _MEGABYTE:.1f} MB for a day "
            "of eight hours of speech",
        ),
        Figure(
            "read one window", f"{1e6 * read_s / windows:.0f} us", "", None,
            f"open, decode; {windows} windows, a day in memory at a time",
        ),
        Figure("count a week", f"{tally_s:.2f} s", "", None, f"{windows} windows read and counted"),
        Figure("make a week's report", f"{report_s:.2f} s", "", None, "count, noise, seal, commit"),
        Figure(
            "participant's page, first look", f"{page['first_s']:.2f} s", "", None,
            f"{windows} windows read; JSON of {page['bytes'] / 1000:.0f} kB",
        ),
        Figure(
            "participant's page, later looks", f"{1000 * page['later_s']:.1f} ms", "", None,
            "days that have not changed are not read again; median of 20",
        ),
        Figure(
            "participant's page in memory", f"{page['grown_mb']:.1f} MB", "", None,
            f"resident growth of a process that serves it, {page['rss_mb']:.0f} MB in all with "
            "Python, numpy and pydantic",
        ),
        Figure(
            "key from a passphrase", f"{passphrase_s:.2f} s", "", None,
            f"scrypt, once a start; {memory} MB while it runs",
        ),
    ]  # fmt: skip


def _seconds(work: Callable[[], Found]) -> tuple[float, Found]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def _keep_ms(device: Device) -> list[float]:
    """Milliseconds for each of some windows, kept as the agent keeps them."""
    size = len(Own.empty(shipped_bundle()).to_bytes())
    baseline = OwnBaseline("0" * 16, secrets.token_bytes(size))
    with device.store() as store:
        taken = []
        for place in range(_KEPT):
            record = scored(NOW + timedelta(seconds=10 * place))
            taken.append(1000 * _seconds(lambda r=record: store.add_window(r, baseline))[0])
    return taken


def _fill(device: Device) -> float:
    """A week of windows; returns the bytes that each takes in the file."""
    with device.store() as store:
        before = device.path.stat().st_size
        store._rows.connection.execute("PRAGMA synchronous=OFF")  # to fill it only
        for day in range(_DAYS):
            morning = LAST_MONDAY + timedelta(days=day, hours=9)
            for place in range(_A_DAY):
                store.add_window(scored(morning + timedelta(seconds=10 * place)))
    return (device.path.stat().st_size - before) / (_DAYS * _A_DAY)


def _report(store: Store) -> tuple[str, ...]:
    return prepare_reports(
        store, _STUDY, Seal(sub_key(KEY, Purpose.SEAL)),
        now=NOW, randbelow=secrets.randbelow, random_bytes=secrets.token_bytes,
    ).made  # fmt: skip


def _page(device: Device) -> dict[str, float]:
    """The page in a process of its own, as it answers and as it grows."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: dict[str, float] = pool.apply(_serve, (device,))
    return found


def _serve(device: Device) -> dict[str, float]:
    process = psutil.Process()
    before = process.memory_info().rss
    with ParticipantPage(
        device.store, _STUDY, Seal(sub_key(KEY, Purpose.SEAL)),
        live=Live, clock=lambda: NOW, port=0,
    ) as page:  # fmt: skip
        first_s, body = _seconds(lambda: _fetch(page.address))
        later_s = [_seconds(lambda: _fetch(page.address))[0] for _ in range(20)]
        rss = process.memory_info().rss
    assert json.loads(body)["privacy"]["reports_made"] == 1
    return {
        "first_s": first_s,
        "later_s": statistics.median(later_s),
        "bytes": len(body),
        "grown_mb": (rss - before) / _MEGABYTE,
        "rss_mb": rss / _MEGABYTE,
    }


def _fetch(address: str) -> bytes:
    with urllib.request.urlopen(f"{address}/api/status", timeout=60) as answer:  # loopback
        body: bytes = answer.read()
    return body


def _passphrase() -> tuple[float, int]:
    """Seconds of the key derivation, and the megabytes that scrypt takes (128 N r)."""
    with tempfile.TemporaryDirectory() as name:
        phrase = "four random words here"
        load_key(Path(name), passphrase=phrase)
        taken_s, _ = _seconds(lambda: load_key(Path(name), passphrase=phrase))
    return taken_s, round(128 * 2**15 * 8 / _MEGABYTE)
