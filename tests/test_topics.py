"""Topics: parts go in checked, and come out the same or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.topics import ReportTopic, all_reports, parse_report_topic, report_topic

STUDIES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
PSEUDONYMS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)


@given(STUDIES, PSEUDONYMS)
def test_a_topic_is_read_back_to_its_parts(study: str, pseudonym: str) -> None:
    topic = report_topic(study, pseudonym)
    assert topic == f"sottovoce/v1/{study}/report/{pseudonym}"
    assert parse_report_topic(topic) == ReportTopic(study, pseudonym)


@given(STUDIES, PSEUDONYMS)
def test_the_filter_of_a_study_matches_its_reports(study: str, pseudonym: str) -> None:
    levels = all_reports(study).split("/")
    topic = report_topic(study, pseudonym).split("/")
    assert len(levels) == len(topic)
    assert all(level in ("+", part) for level, part in zip(levels, topic, strict=True))


@given(st.text())
def test_no_word_smuggles_a_separator_or_wildcard_into_a_topic(word: str) -> None:
    for study, pseudonym in ((word, "ab" * 16), ("home", word)):
        try:
            topic = report_topic(study, pseudonym)
        except ContractError:
            continue
        assert topic.count("/") == 4 and not set("+#\0\n") & set(topic)


@pytest.mark.parametrize("study", ["", "+", "#", "a/b", "Home", "home\n", "a" * 33, "-home"])
def test_a_filter_is_made_for_a_studys_name_only(study: str) -> None:
    with pytest.raises(ContractError):
        all_reports(study)


@given(st.text())
def test_any_text_is_a_topic_or_protocol_error(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_report_topic(text)


@pytest.mark.parametrize(
    "topic",
    [
        "sottovoce/v2/home/report/" + "ab" * 16,
        "sottovoce/v1/home/report/" + "AB" * 16,
        "sottovoce/v1/home/report/" + "ab" * 16 + "/",
        "sottovoce/v1/home/report/" + "ab" * 16 + "\n",
        "/sottovoce/v1/home/report/" + "ab" * 16,
        "sottovoce/v1/home/update/" + "ab" * 16,
    ],
)
def test_a_neighbouring_topic_is_refused(topic: str) -> None:
    with pytest.raises(ProtocolError):
        parse_report_topic(topic)
