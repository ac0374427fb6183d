"""Intake: every message is kept or refused with its reason, and only our own disk stops it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from sync.coordinator.intake import Intake, plausible
from sync.coordinator.store import Outcome, ReportStoreError, open_store
from sync.messages import CELLS, MOST_COUNT
from sync.policy import parse_policy
from sync.topics import report_topic

POLICY = parse_policy(
    b'{"name":"weekly","version":1,"rho_per_report":"1/8","rho_budget":"1/4","delta":1e-6,'
    b'"period_days":7}'
)
PERSON = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
TOPIC = report_topic("north", PERSON)


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "study": "north",
        "pseudonym": PERSON,
        "period": "2026-W48",
        "policy": "weekly@1",
        "bundle": "affect-1",
        "counts": [3, *[-1] * (CELLS - 1)],
    } | changes


def payload(**changes: Any) -> bytes:
    return json.dumps(fields(**changes)).encode()


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    with open_store(
        tmp_path / "reports.db",
        study="north",
        policy=POLICY.reference,
        cells=CELLS,
        clock=lambda: datetime(2026, 11, 24, tzinfo=UTC),
    ) as store:
        yield Intake("north", POLICY, store)


def test_a_valid_report_is_kept_once(intake: Intake) -> None:
    assert intake.receive(TOPIC, payload()) is Outcome.STORED
    assert intake.receive(TOPIC, payload()) is Outcome.DUPLICATE
    assert intake.receive(TOPIC, payload(bundle="affect-2")) is Outcome.CONFLICT
    assert intake.store.snapshot().sums[0].reports == 1


@pytest.mark.parametrize(
    ("topic", "changes", "outcome"),
    [
        (report_topic("north", OTHER), {}, Outcome.OTHER_PERSON),
        (TOPIC, {"pseudonym": OTHER}, Outcome.OTHER_PERSON),
        (report_topic("south", PERSON), {}, Outcome.OTHER_STUDY),
        (TOPIC, {"study": "south"}, Outcome.OTHER_STUDY),
        (report_topic("south", PERSON), {"study": "south"}, Outcome.OTHER_STUDY),
        (TOPIC, {"policy": "weekly@2"}, Outcome.OTHER_POLICY),
        (TOPIC, {"policy": "none-at-all@1"}, Outcome.OTHER_POLICY),
        (TOPIC, {"version": 2}, Outcome.OTHER_VERSION),
        (TOPIC, {"version": 2, "cells": [1], "counts": None}, Outcome.OTHER_VERSION),
        (TOPIC, {"version": True}, Outcome.UNREADABLE),
        (TOPIC, {"counts": [1] * (CELLS - 1)}, Outcome.UNREADABLE),
        (TOPIC, {"counts": [MOST_COUNT + 1] * CELLS}, Outcome.UNREADABLE),
        (TOPIC, {"counts": [MOST_COUNT] * CELLS}, Outcome.IMPLAUSIBLE),
        (TOPIC, {"counts": [0] * (CELLS - 1) + [-86]}, Outcome.IMPLAUSIBLE),
        (TOPIC, {"period": "2026-W54"}, Outcome.UNREADABLE),
        (TOPIC, {"extra": 1}, Outcome.UNREADABLE),
        ("sottovoce/v1/north/other", {}, Outcome.UNREADABLE),
    ],
)
def test_a_message_that_is_not_for_us_is_counted_by_its_reason(
    intake: Intake, topic: str, changes: dict[str, Any], outcome: Outcome
) -> None:
    assert intake.receive(topic, payload(**changes)) is outcome
    assert [(tally.outcome, tally.count) for tally in intake.store.tallies()] == [(outcome, 1)]
    assert intake.store.snapshot().sums == ()


def test_a_person_cannot_report_beyond_the_budget(intake: Intake) -> None:
    weeks = [f"2026-W{week}" for week in (40, 41, 42)]
    outcomes = [intake.receive(TOPIC, payload(period=week)) for week in weeks]
    assert outcomes == [Outcome.STORED, Outcome.STORED, Outcome.OVER_BUDGET]


def test_twelve_standard_deviations_are_plausible_and_no_more() -> None:
    assert plausible(POLICY) == 85  # 1 + 12 * sqrt(48), rounded up


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(topic=some.one_of(some.just(TOPIC), some.text(max_size=90)), message=some.binary())
def test_any_bytes_on_any_topic_get_an_outcome(intake: Intake, topic: str, message: bytes) -> None:
    assert intake.receive(topic, message) in (Outcome.UNREADABLE, Outcome.OTHER_VERSION)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    where=some.integers(0, 400),
    junk=some.one_of(some.binary(max_size=5), some.just(b"[" * 9000), some.just(b"9" * 9000)),
)
def test_any_damage_to_a_report_gets_an_outcome(intake: Intake, where: int, junk: bytes) -> None:
    whole = payload()
    damaged = whole[:where] + junk + whole[where + len(junk) :]
    assert intake.receive(TOPIC, damaged) in Outcome


def test_a_failing_store_is_passed_on_so_that_the_message_comes_again(intake: Intake) -> None:
    intake.store._connection.execute("PRAGMA query_only = 1")
    for message in (payload(), b"not a report"):
        with pytest.raises(ReportStoreError):
            intake.receive(TOPIC, message)
    intake.store._connection.execute("PRAGMA query_only = 0")
    assert intake.receive(TOPIC, payload()) is Outcome.STORED
