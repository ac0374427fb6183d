"""Questionnaires on the device: asked, added up, kept encrypted, and turned into labels."""

import argparse
import contextlib
import io
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import check_in
from agent.check_in import asked
from agent.codec import decode_check_in, encode_check_in
from agent.config import settings_said
from agent.errors import DamagedRecord, SettingError
from agent.home import open_home
from agent.labelled import sessions_in
from agent.questionnaires import AID, GAD7, HELP, PHQ8, said_of
from agent.records import CheckIn
from edge_models.errors import ContractError
from tests.stored import NOW, Device, abstained, scored

ANSWERS = st.integers(0, 3)
MONTH = timedelta(days=28)


def _check_in(each: int = 1, moment: datetime = NOW) -> CheckIn:
    return CheckIn(moment, (each,) * 8, (each,) * 7)


def _asked(words: list[str]) -> tuple[CheckIn, list[str]]:
    told: list[str] = []
    lines = iter(words)

    def ask(prompt: str) -> str:
        told.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    return asked(ask, told.append, started_at=NOW), told


@pytest.mark.parametrize(
    ("questionnaire", "total", "band"),
    [(PHQ8, 0, "minimal"), (PHQ8, 4, "minimal"), (PHQ8, 5, "mild"), (PHQ8, 9, "mild"),
     (PHQ8, 10, "moderate"), (PHQ8, 15, "moderately severe"), (PHQ8, 20, "severe"),
     (PHQ8, 24, "severe"), (GAD7, 4, "minimal"), (GAD7, 9, "mild"), (GAD7, 10, "moderate"),
     (GAD7, 15, "severe"), (GAD7, 21, "severe")],
)  # fmt: skip
def test_bands_are_the_published_ones(questionnaire: object, total: int, band: str) -> None:
    assert questionnaire.band(total) == band  # type: ignore[attr-defined]


def test_a_sum_that_items_cannot_give_has_no_band() -> None:
    for questionnaire, total in ((PHQ8, 25), (PHQ8, -1), (GAD7, 22)):
        with pytest.raises(ContractError):
            questionnaire.band(total)


def test_all_items_are_asked_in_order_and_added_up() -> None:
    record, told = _asked(
        ["0", "1", "2", "3", "0", "1", "2", "3", "3", "2", "1", "0", "3", "2", "1"]
    )
    assert record.phq8 == (0, 1, 2, 3, 0, 1, 2, 3)
    assert (record.phq8_sum, record.gad7_sum) == (12, 12)
    prompts = [line for line in told if line.endswith("[0-3] ")]
    assert [p.split(". ", 1)[1].removesuffix(" [0-3] ") for p in prompts] == [
        *PHQ8.items, *GAD7.items,
    ]  # fmt: skip
    assert not any("better off dead" in item for item in PHQ8.items)


@pytest.mark.parametrize(
    "wrong", ["", "4", "-1", "yes", "1.0", "²", "٣", "0 1", "\x00", "9" * 9999]
)
def test_what_is_no_answer_is_asked_again_with_a_sentence(wrong: str) -> None:
    record, told = _asked([wrong, *["1"] * 15])
    assert record.phq8_sum == 8
    assert sum("one number: 0, 1, 2 or 3" in line for line in told) == 1


def test_input_that_ends_early_keeps_nothing_and_says_so() -> None:
    with pytest.raises(SettingError, match="nothing was kept"):
        _asked(["1"] * 14)


def test_a_high_sum_says_where_help_is_and_no_sum_is_a_diagnosis() -> None:
    low, high = said_of(_check_in(1)), said_of(CheckIn(NOW, (1,) * 8, (2,) * 7))
    assert AID in low
    assert AID in high
    assert "never a diagnosis" in AID
    assert not set(HELP) & set(low)
    assert set(HELP) <= set(high)


def test_answers_that_nobody_can_give_cannot_exist() -> None:
    for phq8, gad7 in (((4,) * 8, (0,) * 7), ((0,) * 7, (0,) * 7), ((0,) * 8, (True,) * 7)):
        with pytest.raises(ContractError):
            CheckIn(NOW, phq8, gad7)


@given(st.tuples(*[ANSWERS] * 8), st.tuples(*[ANSWERS] * 7))
def test_a_check_in_survives_its_bytes(phq8: tuple[int, ...], gad7: tuple[int, ...]) -> None:
    record = CheckIn(NOW, phq8, gad7)
    assert decode_check_in(encode_check_in(record)) == record


@given(st.binary(max_size=40))
def test_any_bytes_are_a_check_in_or_damaged(raw: bytes) -> None:
    with contextlib.suppress(DamagedRecord):
        assert encode_check_in(decode_check_in(raw)) == raw


def test_answers_are_kept_encrypted_and_forgotten_with_the_rest(tmp_path: Path) -> None:
    device = Device(tmp_path)
    with device.store() as store:
        store.add_check_in(_check_in(3, NOW - MONTH))
        store.add_check_in(_check_in(2))
        kept = list(store.check_ins(NOW - 2 * MONTH, NOW + MONTH))
        assert [one.phq8_sum for one in kept] == [24, 16]
        assert list(store.check_ins(NOW - MONTH / 2, NOW)) == []
        plain = bytes((3,) * 15)
        assert all(plain not in path.read_bytes() for path in tmp_path.glob("store.db*"))
        store.forget_before(NOW - MONTH / 2)
        assert [one.gad7_sum for one in store.check_ins(NOW - 2 * MONTH, NOW + MONTH)] == [14]


@pytest.mark.parametrize("form", [1, 2])
def test_a_store_of_an_earlier_form_gets_its_table_and_keeps_its_records(
    tmp_path: Path, form: int
) -> None:
    device = Device(tmp_path)
    with device.store() as store:
        store.add_window(scored(NOW))
    with sqlite3.connect(device.path) as raw:
        raw.executescript(f"DROP TABLE answers; PRAGMA user_version = {form}")
    raw.close()
    with device.store() as store:
        assert len(list(store.windows(NOW - MONTH, NOW + MONTH))) == 1
        store.add_check_in(_check_in())
    with device.store() as store:
        assert len(list(store.check_ins(NOW - MONTH, NOW + MONTH))) == 1


def test_a_store_of_an_earlier_form_and_another_key_is_not_touched(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.store().close()
    with sqlite3.connect(device.path) as raw:
        raw.executescript("DROP TABLE answers; PRAGMA user_version = 1")
    raw.close()
    with pytest.raises(Exception, match="another key"):
        Device(tmp_path, bytes(32)).store()
    with sqlite3.connect(device.path) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)
    raw.close()


def test_sessions_are_the_windows_around_a_check_in(tmp_path: Path) -> None:
    with Device(tmp_path).store() as store:
        near = [NOW + timedelta(days=day, hours=1) for day in (-6, -5, -2, 0, 3, 6)]
        for moment in near:
            store.add_window(scored(moment))
        for moment in (NOW - timedelta(days=8), NOW + timedelta(days=8)):
            store.add_window(scored(moment))
        store.add_window(abstained(NOW))
        store.add_check_in(_check_in(2))
        now = NOW + MONTH
        asking = {"embedding_size": 24, "now": now, "back": 2 * MONTH}
        told = sessions_in(store, space="affect-1-0123456789abcdef", **asking)  # type: ignore[arg-type]
        assert told.truth.tolist() == [[True, True, True]]
        mean = np.mean([scored(moment).embedding for moment in near], axis=0)
        assert np.allclose(told.means[0], mean)
        other = sessions_in(store, space="affect-1-fedcba9876543210", **asking)  # type: ignore[arg-type]
        assert len(other) == 0


def _command(tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    parser = argparse.ArgumentParser()
    check_in.add_arguments(parser)
    monkeypatch.setattr("sys.stdin", io.StringIO(words))
    return check_in.run(parser.parse_args(["--state", str(tmp_path)]))


def test_the_command_keeps_what_was_answered_and_tells_the_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _command(tmp_path, "3\n" * 7 + "no\n" + "3\n" * 8, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "PHQ-8: 24 of 24, severe low mood." in said
    assert "GAD-7: 21 of 21, severe anxiety." in said
    assert all(line in said for line in HELP)
    home = open_home(settings_said(None, {"state": str(tmp_path)}), {})
    with home.open_store() as store:
        day = timedelta(days=1)
        (kept,) = store.check_ins(datetime.now(UTC) - day, datetime.now(UTC) + day)
        assert kept.phq8_sum == 24


def test_the_command_keeps_nothing_of_half_a_check_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError):
        _command(tmp_path, "1\n" * 5, monkeypatch)
