"""Messages: any bytes give a valid report or ProtocolError, and a report has one encoding."""

import json
import re
import secrets
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.capture.frames import GapReason
from edge_models.errors import ContractError
from sync.envelope import MOST_PAYLOAD_BYTES
from sync.errors import ProtocolError
from sync.messages import (
    CELLS,
    HISTOGRAMS,
    MOST_COUNT,
    VERSION,
    Histogram,
    Report,
    first_cells,
    new_pseudonym,
    parse_report,
)
from sync.periods import period_before, period_end, period_of, period_start
from sync.policy import Policy

PSEUDONYM = "0123456789abcdef" * 2
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))


@st.composite
def reports(draw: st.DrawFn) -> Report:
    counts = st.integers(-MOST_COUNT, MOST_COUNT)
    return Report(
        version=VERSION,
        study=draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)),
        pseudonym=draw(st.from_regex(r"[0-9a-f]{32}", fullmatch=True)),
        period=period_of(draw(MOMENTS)),
        policy=draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}@[1-9][0-9]{0,5}", fullmatch=True)),
        bundle=draw(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,63}", fullmatch=True)),
        counts=tuple(draw(st.lists(counts, min_size=CELLS, max_size=CELLS))),
    )


def valid() -> dict[str, object]:
    return {
        "version": 1, "study": "home", "pseudonym": PSEUDONYM, "period": "2026-W48",
        "policy": "weekly-1@1", "bundle": "affect-1", "counts": [0] * CELLS,
    }  # fmt: skip


@given(reports())
def test_a_report_round_trips_and_has_one_encoding(report: Report) -> None:
    payload = report.to_bytes()
    assert parse_report(payload) == report
    assert parse_report(payload).to_bytes() == payload
    assert payload.isascii() and b" " not in payload and len(payload) < 1024


@given(reports(), st.randoms(use_true_random=False))
def test_another_writers_spaces_and_order_mean_the_same(report: Report, order: object) -> None:
    fields = list(json.loads(report.to_bytes()).items())
    order.shuffle(fields)  # type: ignore[attr-defined]
    assert parse_report(json.dumps(dict(fields), indent=2).encode()) == report


@given(st.binary(max_size=400))
@example(b"[" * MOST_PAYLOAD_BYTES)
@example(b"9" * MOST_PAYLOAD_BYTES)
@example(b'{"a":' * 3000)
@example(b'{"version":1e999}')
@example(b'"\\ud800"')
@example(b"null")
def test_any_bytes_give_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_report(payload)


@given(reports(), st.data())
def test_a_damaged_report_is_a_report_or_protocol_error(
    report: Report, data: st.DataObject
) -> None:
    payload = bytearray(report.to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert", "repeat"])):
            case "change":
                payload[at] = data.draw(st.integers(0, 255))
            case "cut" if len(payload) > 1:
                del payload[at:]
            case "insert":
                payload[at:at] = data.draw(st.binary(max_size=8))
            case _:
                payload += payload[at:]
        if not payload:
            break
    try:
        found = parse_report(bytes(payload))
    except ProtocolError as refused:
        assert refused.remedy
    else:
        assert len(found.counts) == CELLS and found.version == VERSION


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from(sorted(valid())),
)
def test_any_json_in_a_field_is_taken_as_it_is_or_refused(value: object, field: str) -> None:
    try:
        report = parse_report(json.dumps(valid() | {field: value}).encode())
    except ProtocolError:
        return
    assert json.loads(report.to_bytes())[field] == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2), ("version", True), ("version", 1.0), ("version", "1"),
        ("study", ""), ("study", "a/b"), ("study", "+"), ("study", "home\n"),
        ("pseudonym", PSEUDONYM[:-1]), ("pseudonym", PSEUDONYM.upper()), ("pseudonym", "#" * 32),
        ("period", "2026-W54"), ("period", "2026-W00"), ("period", "2026-48"),
        ("period", "2025-W53"), ("period", "2026-W٤٨"),
        ("policy", "weekly-1"), ("policy", "weekly-1@0"),
        ("bundle", "../affect-1"), ("bundle", None),
        ("counts", [0] * (CELLS - 1)), ("counts", [0] * (CELLS + 1)), ("counts", []),
        ("counts", [0.0] * CELLS), ("counts", [True] * CELLS), ("counts", ["0"] * CELLS),
        ("counts", [MOST_COUNT + 1] + [0] * (CELLS - 1)), ("counts", None),
        ("score", 0.7),
    ],
)  # fmt: skip
def test_a_report_with_one_fault_is_refused(field: str, value: object) -> None:
    assert parse_report(json.dumps(valid()).encode())
    with pytest.raises(ProtocolError):
        parse_report(json.dumps(valid() | {field: value}).encode())


@pytest.mark.parametrize("field", sorted(valid()))
def test_no_field_may_be_missing(field: str) -> None:
    fields = valid()
    del fields[field]
    with pytest.raises(ProtocolError, match=field):
        parse_report(json.dumps(fields).encode())


def test_a_key_that_occurs_twice_is_refused() -> None:
    payload = json.dumps(valid())
    with pytest.raises(ProtocolError):
        parse_report((payload[:-1] + ', "study": "other"}').encode())


def test_a_long_payload_is_refused_before_it_is_parsed() -> None:
    payload = json.dumps(valid()).encode()
    assert parse_report(payload.ljust(MOST_PAYLOAD_BYTES))
    with pytest.raises(ProtocolError, match="longer"):
        parse_report(payload.ljust(MOST_PAYLOAD_BYTES + 1))


def test_a_refusal_never_repeats_what_a_field_held() -> None:
    secret = "the-secret-word-of-this-person"
    for field in valid():
        with pytest.raises(ProtocolError) as refused:
            parse_report(json.dumps(valid() | {field: [secret, secret + "!"]}).encode())
        assert secret not in str(refused.value)
        assert refused.value.__cause__ is None


def test_the_line_in_the_docstring_is_a_valid_report() -> None:
    line = re.sub(r"\\\n\s*", "", Report.__doc__ or "")
    found = re.search(r"mosquitto_pub .* -t (\S+) -m '(.*)'", line)
    assert found is not None
    report = parse_report(found[2].encode())
    assert found[1] == f"sottovoce/v1/{report.study}/report/{report.pseudonym}"
    assert report.to_bytes() == found[2].encode()


def test_the_gap_reasons_are_the_devices_own() -> None:
    histogram = next(h for h in HISTOGRAMS if h.name == "gap_reason")
    assert histogram.bins == ("none", *(reason.value for reason in GapReason))


def test_each_question_has_its_own_cells() -> None:
    names = [histogram.name for histogram in HISTOGRAMS]
    assert names == [
        "speech_minutes", "face_minutes", "depression_band", "anxiety_band", "coverage",
        "gap_reason",
    ]  # fmt: skip
    assert all(histogram.question.endswith("?") for histogram in HISTOGRAMS)
    taken = [
        cell
        for first, histogram in zip(first_cells(), HISTOGRAMS, strict=True)
        for cell in range(first, first + len(histogram.bins))
    ]
    assert taken == list(range(CELLS))


@pytest.mark.parametrize("bins", [(), ("one",), ("one", "two", "one")])
def test_a_histogram_without_a_choice_cannot_exist(bins: tuple[str, ...]) -> None:
    with pytest.raises(ContractError):
        Histogram("question", "Which?", bins)


def test_no_policys_noise_comes_near_the_bound_on_a_count() -> None:
    loudest = Policy(
        name="loud", version=1, rho_per_report="0.000001", rho_budget="1", delta=1e-6,  # type: ignore[arg-type]
        period_days=7,
    )  # fmt: skip
    assert 500_000**2 * loudest.sigma2 < MOST_COUNT**2


def test_a_pseudonym_is_128_random_bits() -> None:
    assert new_pseudonym(lambda length: bytes(range(length))) == bytes(range(16)).hex()
    assert new_pseudonym(secrets.token_bytes) != new_pseudonym(secrets.token_bytes)


@given(MOMENTS)
def test_a_moment_is_in_exactly_one_period(moment: datetime) -> None:
    period = period_of(moment)
    assert period_start(period) <= moment < period_end(period)
    assert period_of(period_end(period)) > period > period_before(period)
    assert period_end(period_before(period)) == period_start(period)


def test_periods_follow_utc_wherever_the_clock_is() -> None:
    sunday_evening = datetime(2026, 11, 29, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert period_of(sunday_evening) == "2026-W49"  # already Monday in UTC
    assert period_of(datetime(2027, 1, 2, tzinfo=UTC)) == "2026-W53"


def test_a_moment_without_a_time_zone_has_no_period() -> None:
    with pytest.raises(ContractError):
        period_of(datetime(2026, 11, 24))
