"""Topics: parts go in checked, and come out the same or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_models.errors import ContractError
from sync.errors import ProtocolError
from sync.topics import (
    AllTopic,
    DownTopic,
    FileTopic,
    ReportTopic,
    UpTopic,
    all_reports,
    all_up,
    parse_all_topic,
    parse_down_topic,
    parse_file_topic,
    parse_report_topic,
    parse_up_topic,
    report_topic,
)

PARSERS = (parse_up_topic, parse_down_topic, parse_all_topic, parse_file_topic)
STUDIES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)
PSEUDONYMS = st.from_regex(r"[0-9a-f]{32}", fullmatch=True)


@given(STUDIES, PSEUDONYMS)
def test_a_topic_is_read_back_to_its_parts(study: str, pseudonym: str) -> None:
    topic = report_topic(study, pseudonym)
    assert topic == f"sottovoce/v1/{study}/report/{pseudonym}"
    assert parse_report_topic(topic) == ReportTopic(study, pseudonym)


@given(STUDIES, PSEUDONYMS)
def test_each_way_of_a_round_has_a_topic_of_its_own(study: str, pseudonym: str) -> None:
    up, down, to_all = UpTopic(study, pseudonym), DownTopic(study, pseudonym), AllTopic(study)
    files = FileTopic(study, pseudonym)
    assert str(up) == f"sottovoce/v1/{study}/up/{pseudonym}"
    assert str(down) == f"sottovoce/v1/{study}/down/{pseudonym}"
    assert str(to_all) == f"sottovoce/v1/{study}/all"
    assert str(files) == f"sottovoce/v1/{study}/file/{pseudonym}"
    parsers = (*PARSERS, parse_report_topic)
    for topic, reader in zip((up, down, to_all, files), parsers, strict=False):
        for parse in parsers:
            if parse is reader:
                assert parse(str(topic)) == topic
            else:
                with pytest.raises(ProtocolError):
                    parse(str(topic))


def matches(topic_filter: str, topic: str) -> bool:
    levels, parts = topic_filter.split("/"), topic.split("/")
    return len(levels) == len(parts) and all(
        level in ("+", part) for level, part in zip(levels, parts, strict=True)
    )


@given(STUDIES, PSEUDONYMS)
def test_the_filter_of_a_study_matches_its_reports(study: str, pseudonym: str) -> None:
    assert matches(all_reports(study), report_topic(study, pseudonym))


@given(STUDIES, PSEUDONYMS)
def test_the_coordinators_filter_matches_what_devices_say_and_nothing_else(
    study: str, pseudonym: str
) -> None:
    assert matches(all_up(study), str(UpTopic(study, pseudonym)))
    for other in (
        DownTopic(study, pseudonym),
        AllTopic(study),
        FileTopic(study, pseudonym),
        ReportTopic(study, pseudonym),
    ):
        assert not matches(all_up(study), str(other))


@given(st.text())
def test_no_word_smuggles_a_separator_or_wildcard_into_a_topic(word: str) -> None:
    for study, pseudonym in ((word, "ab" * 16), ("home", word)):
        try:
            topic = report_topic(study, pseudonym)
        except ContractError:
            continue
        assert topic.count("/") == 4 and not set("+#\0\n") & set(topic)
    for make in (UpTopic, DownTopic, FileTopic, lambda study, _: AllTopic(study)):
        for study, pseudonym in ((word, "ab" * 16), ("home", word)):
            try:
                made = str(make(study, pseudonym))
            except ContractError:
                continue
            assert made.count("/") in (3, 4) and not set("+#\0\n") & set(made)


@pytest.mark.parametrize("study", ["", "+", "#", "a/b", "Home", "home\n", "a" * 33, "-home"])
def test_a_filter_is_made_for_a_studys_name_only(study: str) -> None:
    for filter_of in (all_reports, all_up):
        with pytest.raises(ContractError):
            filter_of(study)


@given(st.text())
def test_any_text_is_a_topic_or_protocol_error(text: str) -> None:
    for parse in (parse_report_topic, *PARSERS):
        with pytest.raises(ProtocolError):
            parse(text)


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
