"""Where messages are published: topics as values, and how to read one back.

Rules it upholds: a topic's parts are checked before they are joined, so that no part can hold a
separator or a wildcard; a topic is read back to the same parts or refused.

In the life of a report: its address.
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
    if not re.fullmatch(_STUDY, study):
        raise ContractError("A topic filter needs a study's short name.")
    return f"{_ROOT}/{study}/report/+"


def parse_report_topic(topic: str) -> ReportTopic:
    """The parts of a topic on which a report arrived.

    Raises:
        ProtocolError: the topic is not one of reports.
    """
    found = _REPORT.fullmatch(topic)
    if found is None:
        raise ProtocolError(
            "A message came on a topic that is not one of reports.",
            "Check what else publishes below the study's topics.",
        )
    return ReportTopic(found[1], found[2])
