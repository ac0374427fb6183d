"""Records as bytes: read as written, small, and any other bytes are refused by name."""

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.capture.frames import GapReason, Sensor
from agent.codec import (
    Gone,
    Outgoing,
    decode_gap,
    decode_outgoing,
    decode_single,
    decode_spend,
    decode_window,
    encode_gap,
    encode_outgoing,
    encode_single,
    encode_spend,
    encode_window,
)
from agent.errors import DamagedRecord
from agent.records import GapRecord, WindowRecord
from edge_models.assessment import Abstention, Assessment, Scores
from edge_models.errors import ContractError
from sync.budget import Spend
from sync.policy import Purpose
from tests.stored import NOW, abstained, scored

UNIT = st.floats(0, 1)
ROW = st.none() | arrays.arrays(
    np.float32, st.integers(0, 100), elements=st.floats(width=32, allow_nan=False)
)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))
SECONDS = st.floats(0, 1e9)
RECORDS = st.builds(
    WindowRecord,
    TIMES, SECONDS, SECONDS, SECONDS, st.none() | st.booleans(), ROW, ROW, ROW,
    st.builds(Assessment, st.builds(Scores, UNIT, UNIT, UNIT), st.none())
    | st.builds(Assessment, st.none(), st.sampled_from(Abstention)),
    st.text(max_size=64),
)  # fmt: skip
GAPS = st.builds(
    GapRecord, TIMES, SECONDS, st.sampled_from(Sensor), st.sampled_from(GapReason), st.text()
)


@given(RECORDS)
def test_a_window_is_read_as_it_was_written(record: WindowRecord) -> None:
    found = decode_window(encode_window(record))
    for name in ("summary", "facial", "embedding"):
        a, b = getattr(found, name), getattr(record, name)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == np.float32 and a.tobytes() == b.tobytes())
    for name in ("started_at", "duration_s", "speech_s", "face_s", "alone", "assessment", "bundle"):
        assert getattr(found, name) == getattr(record, name)


@given(GAPS)
def test_a_gap_is_read_as_it_was_written(record: GapRecord) -> None:
    assert decode_gap(encode_gap(record)) == record


@given(st.builds(Outgoing, st.just(7), st.text(), TIMES, st.none() | TIMES, st.binary()))
def test_a_report_is_read_as_it_was_written(outgoing: Outgoing) -> None:
    assert decode_outgoing(encode_outgoing(outgoing), 7) == outgoing


@given(
    st.builds(
        Gone, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9),
        st.integers(1, 999), st.integers(1, 999), st.integers(0, 2**22),
        st.binary(min_size=32, max_size=32),
    ),
    TIMES,
)  # fmt: skip
def test_what_is_kept_of_a_rounds_message_is_read_as_it_was_written(
    gone: Gone, sent_at: datetime
) -> None:
    waiting = Outgoing(3, "", NOW, None, b"sealed", "ab" * 32)
    sent = Outgoing(3, "", NOW, sent_at, b"", "ab" * 32, gone)
    for outgoing in (waiting, sent):
        assert decode_outgoing(encode_outgoing(outgoing), 3) == outgoing
    cut = encode_outgoing(sent)[:-1]
    for raw in (cut, encode_outgoing(sent) + b"x"):
        with pytest.raises(DamagedRecord):
            decode_outgoing(raw, 3)


@given(st.fractions(min_value=Fraction(1, 10**9), max_value=10**6, max_denominator=10**9))
def test_a_spend_stays_exact(rho: Fraction) -> None:
    for spend in (
        Spend("2026-W01", rho, "policy@1"),
        Spend("0a" * 32, rho, "policy@1", Purpose.HEAD),
    ):
        assert decode_spend(encode_spend(spend, bytes(range(32)))) == (spend, bytes(range(32)))


def test_a_spend_of_an_older_version_is_a_reports_and_has_no_digest() -> None:
    old = b"\x01\x08\x002026-W47\x03\x001/8\x10\x00weekly-local-1@1"
    assert decode_spend(old) == (Spend("2026-W47", Fraction(1, 8), "weekly-local-1@1"), None)


@given(st.text(), st.binary())
def test_content_under_a_name_is_read_as_it_was_written(name: str, content: bytes) -> None:
    assert decode_single(encode_single(name, content)) == (name, content)


@pytest.mark.parametrize(
    "decode",
    [decode_window, decode_gap, decode_spend, decode_single, lambda raw: decode_outgoing(raw, 1)],
)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_record_or_a_damaged_record(
    decode: Callable[[bytes], object], raw: bytes
) -> None:
    for bytes_read in (raw, b"\x01" + raw, b"\x02" + raw):
        try:
            decode(bytes_read)
        except DamagedRecord as damage:
            assert damage.remedy


@pytest.mark.parametrize("rho", ["1/0", "-1/8", "1e999999999", "0/1", "1", "1/" + "9" * 40])
def test_a_rho_that_costs_nothing_or_endless_work_is_refused(rho: str) -> None:
    good = encode_spend(Spend("2026-W01", Fraction(1, 8), "policy@1"), bytes(32))
    forged = good.replace(b"\x03\x001/8", len(rho).to_bytes(2, "little") + rho.encode())
    assert forged != good
    with pytest.raises(DamagedRecord):
        decode_spend(forged)


def test_a_form_of_a_newer_version_is_refused_with_a_remedy() -> None:
    raw = b"\x03" + encode_window(scored(NOW))[1:]
    with pytest.raises(DamagedRecord, match="newer"):
        decode_window(raw)


def test_a_device_name_that_is_no_text_does_not_stop_its_record() -> None:
    record = GapRecord(NOW, 1.0, Sensor.MICROPHONE, GapReason.BUSY, "Microphone \udcff is busy.")
    assert decode_gap(encode_gap(record)).detail == "Microphone ? is busy."


def test_a_text_too_long_for_a_record_is_our_bug() -> None:
    with pytest.raises(ContractError):
        encode_gap(GapRecord(NOW, 1.0, Sensor.CAMERA, GapReason.BUSY, "x" * 70_000))


@given(RECORDS, st.data())
def test_a_cut_or_altered_window_gives_a_record_or_a_damaged_record(
    record: WindowRecord, data: st.DataObject
) -> None:
    raw = bytearray(encode_window(record))
    place = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(DamagedRecord):
        decode_window(bytes(raw[:place]))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        decode_window(bytes(raw))
    except DamagedRecord:
        return


def test_records_stay_small() -> None:
    assert len(encode_window(scored(NOW))) < 640
    assert len(encode_window(abstained(NOW))) < 80
