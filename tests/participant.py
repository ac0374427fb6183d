"""A participant's device in each state that the page must show, made through the real store."""

import random
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

from agent.answers import Live
from agent.capture.frames import GapReason, Sensor
from agent.keys import Purpose, sub_key
from agent.reporter import Study, prepare_reports, send_outbox
from agent.service import ParticipantPage
from agent.store import Store
from edge_models.assessment import Abstention
from sync.budget import Ledger, Spend
from sync.errors import BrokerError
from sync.policy import Purpose as For
from sync.release import Released, Seal
from tests.stored import (
    KEY,
    LAST_MONDAY,
    NOW,
    POLICY,
    THRESHOLDS,
    Device,
    abstained,
    fill_week,
    gap,
    scored,
)

SEAL = Seal(sub_key(KEY, Purpose.SEAL))
STUDY = Study("spring", POLICY, "affect-1", THRESHOLDS)
ABSENT = BrokerError(
    "The broker at 127.0.0.1:1883 can't be reached.", "It is tried again by itself."
)


class Broker:
    """Keeps what it is given, or is absent."""

    def __init__(self, fault: BrokerError | None = None) -> None:
        self.kept: list[Released] = []
        self.fault = fault

    def publish(self, released: Released) -> None:
        if self.fault is not None:
            raise self.fault
        self.kept.append(released)


def report(store: Store, now_weeks_ago: int = 0, broker: Broker | None = None) -> None:
    """Make the reports that are due, and send them where there is a broker."""
    rng = random.Random(now_weeks_ago)
    now = NOW - timedelta(weeks=now_weeks_ago)
    prepare_reports(
        store, STUDY, SEAL, now=now, randbelow=rng.randrange, random_bytes=rng.randbytes
    )
    if broker is not None:
        send_outbox(store, broker, SEAL, now)


def full_week(device: Device) -> Live:
    """Three weeks of talking, two reports sent, and a day in progress."""
    with device.store() as store:
        for weeks in (1, 0):
            fill_week(store, LAST_MONDAY - timedelta(weeks=weeks), days=6 - weeks)
            report(store, weeks, Broker())
        fill_week(store, LAST_MONDAY + timedelta(weeks=1), days=1)
        for minute in range(40):
            store.add_window(scored(NOW - timedelta(minutes=90 - minute), 0.34, 0.2))
        for why, seconds in ((Abstention.TOO_LITTLE_SPEECH, 10), (Abstention.NOT_ALONE, 30)):
            store.add_window(abstained(NOW - timedelta(seconds=seconds), why))
    return Live(True, frozenset({Sensor.MICROPHONE, Sensor.CAMERA}), "broker.example:8883")


def budget_used_up(device: Device) -> Live:
    """Twelve weeks with a report each: the thirteenth is refused."""
    with device.store() as store:
        for weeks in reversed(range(13)):
            monday = LAST_MONDAY - timedelta(weeks=weeks)
            fill_week(store, monday, days=2, a_day=4)
            report(store, weeks, Broker())
    return Live(True, frozenset({Sensor.MICROPHONE}), "broker.example:8883")


def broker_absent(device: Device) -> Live:
    """Two reports wait."""
    with device.store() as store:
        for weeks in (1, 0):
            fill_week(store, LAST_MONDAY - timedelta(weeks=weeks), days=3)
            report(store, weeks, Broker(ABSENT))
    return Live(True, frozenset({Sensor.MICROPHONE}), "127.0.0.1:1883", str(ABSENT))


def microphone_gap(device: Device) -> Live:
    """The microphone is unplugged, and the camera was dark."""
    with device.store() as store:
        fill_week(store, LAST_MONDAY, days=4)
        store.add_gap(gap(NOW - timedelta(hours=2), duration_s=7200.0))
        store.add_gap(
            gap(NOW - timedelta(days=1), GapReason.BUSY, 95.0, detail="Close the other program.")
        )
        store.add_gap(
            gap(
                NOW - timedelta(hours=5),
                GapReason.SILENT,
                400.0,
                Sensor.CAMERA,
                "Open its shutter.",
            )
        )
    return Live(True, frozenset({Sensor.CAMERA}))


def old_copy(device: Device) -> Live:
    """A backup of the store was put back after another report had left; two rounds were paid."""
    with device.store() as store:
        for number in (1, 2):
            head = Spend(f"{number:064x}", Fraction(1, 80), POLICY.reference, For.HEAD)
            with store.book.spending(Ledger((*store.ledger().spends, head))):
                pass
        fill_week(store, LAST_MONDAY - timedelta(weeks=1), days=3)
        report(store, 1, Broker())
    backup = device.path.read_bytes()  # whole: the last connection has emptied the log
    with device.store() as store:
        fill_week(store, LAST_MONDAY, days=3)
        report(store, 0, Broker())
    device.path.write_bytes(backup)
    return Live(True, frozenset({Sensor.MICROPHONE}), "broker.example:8883", "It is an old copy.")


def fresh_install(device: Device) -> Live:
    """Nothing was recorded yet, and no broker is set."""
    device.store().close()
    return Live(True, frozenset({Sensor.MICROPHONE}))


STATES = {
    make.__name__: make
    for make in (
        fresh_install,
        full_week,
        budget_used_up,
        old_copy,
        broker_absent,
        microphone_gap,
    )
}


def page_of(device: Device, live: Live) -> ParticipantPage:
    """The page of a device; enter it."""
    return ParticipantPage(device.store, STUDY, SEAL, live=lambda: live, clock=lambda: NOW, port=0)


def device_in(folder: Path, state: str) -> tuple[Device, Live]:
    """A device in one of `STATES`."""
    device = Device(folder)
    return device, STATES[state](device)
