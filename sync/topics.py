"""Where messages are published: topics as values, and how to read one back.

Rules it upholds: a topic's parts are checked before they are joined, so that no part can hold a
separator or a wildcard; a topic is read back to the same parts or refused.

In the life of a report, of a round, and of a bundle: its address.
"""

import re
from dataclasses import dataclass
from typing import Final

from edge_models.errors import ContractError
from sync.errors import ProtocolError

_ROOT: Final = "sottovoce/v1"
_STUDY: Final = "[a-z0-9][a-z0-9-]{0,31}"
_PSEUDONYM: Final = "[0-9a-f]{32}"
_REPORT: Final = re.compile(f"{_ROOT}/({_STUDY})/report/({_PSEUDONYM})")
_UP: Final = re.compile(f"{_ROOT}/({_STUDY})/up/({_PSEUDONYM})")
_DOWN: Final = re.compile(f"{_ROOT}/({_STUDY})/down/({_PSEUDONYM})")
_FILE: Final = re.compile(f"{_ROOT}/({_STUDY})/file/({_PSEUDONYM})")
_ALL: Final = re.compile(f"{_ROOT}/({_STUDY})/all")


@dataclass(frozen=True, slots=True)
class ReportTopic:
    """The topic of one person's reports in one study."""

    study: str
    pseudonym: str

    def __post_init__(self) -> None:
        if not _REPORT.fullmatch(str(self)):
            raise ContractError("A topic needs a study's short name and a pseudonym.")

    def __str__(self) -> str:
        return f"{_ROOT}/{self.study}/report/{self.pseudonym}"


@dataclass(frozen=True, slots=True)
class UpTopic:
    """Where one device speaks to its study's coordinator, in frames of parcels."""

    study: str
    pseudonym: str

    def __post_init__(self) -> None:
        if not _UP.fullmatch(str(self)):
            raise ContractError("A topic needs a study's short name and a pseudonym.")

    def __str__(self) -> str:
        return f"{_ROOT}/{self.study}/up/{self.pseudonym}"


@dataclass(frozen=True, slots=True)
class DownTopic:
    """Where the coordinator speaks to one device, in frames of parcels."""

    study: str
    pseudonym: str

    def __post_init__(self) -> None:
        if not _DOWN.fullmatch(str(self)):
            raise ContractError("A topic needs a study's short name and a pseudonym.")

    def __str__(self) -> str:
        return f"{_ROOT}/{self.study}/down/{self.pseudonym}"


@dataclass(frozen=True, slots=True)
class FileTopic:
    """Where the coordinator gives one device pieces of files, each a message of its own."""

    study: str
    pseudonym: str

    def __post_init__(self) -> None:
        if not _FILE.fullmatch(str(self)):
            raise ContractError("A topic needs a study's short name and a pseudonym.")

    def __str__(self) -> str:
        return f"{_ROOT}/{self.study}/file/{self.pseudonym}"


@dataclass(frozen=True, slots=True)
class AllTopic:
    """Where the coordinator speaks to every device of a study, in frames of parcels."""

    study: str

    def __post_init__(self) -> None:
        if not _ALL.fullmatch(str(self)):
            raise ContractError("A topic needs a study's short name.")

    def __str__(self) -> str:
        return f"{_ROOT}/{self.study}/all"


def report_topic(study: str, pseudonym: str) -> str:
    """`sottovoce/v1/{study}/report/{pseudonym}`.

    Raises:
        ContractError: a part has a form that it can't have.
    """
    return str(ReportTopic(study, pseudonym))


def all_reports(study: str) -> str:
    """The filter that matches every report of a study.

    Raises:
        ContractError: the study's name has a form that it can't have.
    """
    return _filter(study, "report")


def all_up(study: str) -> str:
    """The filter that matches whatever a study's devices say to its coordinator in frames.

    Raises:
        ContractError: the study's name has a form that it can't have.
    """
    return _filter(study, "up")


def parse_report_topic(topic: str) -> ReportTopic:
    """The parts of a topic on which a report arrived.

    Raises:
        ProtocolError: the topic is not one of reports.
    """
    return ReportTopic(*_parts(_REPORT, topic, "of reports"))


def parse_up_topic(topic: str) -> UpTopic:
    """The parts of a topic on which a device spoke.

    Raises:
        ProtocolError: the topic is not one of devices.
    """
    return UpTopic(*_parts(_UP, topic, "of devices"))


def parse_down_topic(topic: str) -> DownTopic:
    """The parts of a topic on which the coordinator spoke to one device.

    Raises:
        ProtocolError: the topic is not one of those.
    """
    return DownTopic(*_parts(_DOWN, topic, "to a device"))


def parse_file_topic(topic: str) -> FileTopic:
    """The parts of a topic on which a piece of a file came.

    Raises:
        ProtocolError: the topic is not one of those.
    """
    return FileTopic(*_parts(_FILE, topic, "of files"))


def parse_all_topic(topic: str) -> AllTopic:
    """The parts of a topic on which the coordinator spoke to all devices.

    Raises:
        ProtocolError: the topic is not one of those.
    """
    return AllTopic(*_parts(_ALL, topic, "to all devices"))


def _filter(study: str, whose: str) -> str:
    if not re.fullmatch(_STUDY, study):
        raise ContractError("A topic filter needs a study's short name.")
    return f"{_ROOT}/{study}/{whose}/+"


def _parts(form: re.Pattern[str], topic: str, whose: str) -> tuple[str, ...]:
    found = form.fullmatch(topic)
    if found is None:
        raise ProtocolError(
            f"A message came on a topic that is not one {whose}.",
            "Check what else publishes below the study's topics.",
        )
    return found.groups()
