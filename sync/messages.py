"""What a device says: one weekly report of noised counts, and the questions it answers.

Rules it upholds: the histograms and their bins are stated once, here, and everything else
(sensitivity, noise, tally, estimate, pages) is derived from them; a report that exists is valid;
it carries no time of day, no score and no feature, only counts that already hold their noise.

In the life of a report: `release` makes one, `transport` carries its bytes, the coordinator's
intake parses them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StrictInt

from edge_models.errors import ContractError
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.periods import period_start

VERSION: Final = 1
MOST_COUNT: Final = 2**31 - 1
"""Bound on a count: thousands of standard deviations of any policy's noise, and an int32."""

_BANDS: Final = ("not enough evidence", "low", "middle", "high")


@dataclass(frozen=True, slots=True)
class Histogram:
    """One question and its possible answers; a person's report has exactly one of them."""

    name: str
    question: str
    bins: tuple[str, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z_]*", self.name) or len(set(self.bins)) < 2:
            raise ContractError("A histogram has a name and at least two different bins.")
        if len(set(self.bins)) != len(self.bins):
            raise ContractError(f"The histogram {self.name} has a bin twice.")


HISTOGRAMS: Final = (
    Histogram(
        "speech_minutes",
        "How many minutes of the person's speech were heard this week?",
        ("none", "1 to 10", "10 to 60", "60 or more"),
    ),
    Histogram(
        "face_minutes",
        "For how many minutes was the person's face seen this week?",
        ("none", "1 to 10", "10 to 60", "60 or more"),
    ),
    Histogram(
        "depression_band",
        "In which band was the screening for signs of depression this week?",
        _BANDS,
    ),
    Histogram(
        "anxiety_band",
        "In which band was the screening for signs of anxiety this week?",
        _BANDS,
    ),
    Histogram(
        "coverage",
        "On how many days of the week was any speech heard?",
        ("0 days", "1 to 2", "3 to 4", "5 to 7"),
    ),
    Histogram(
        "gap_reason",
        "What was the main reason for time in which nothing could be heard or seen?",
        (
            "none",
            "absent",
            "busy",
            "unplugged",
            "stalled",
            "silent",
            "overrun",
            "paused",
            "unreadable",
        ),
    ),
)
"""The questions of a report, in the order of its cells; bins are in order, too."""

CELLS: Final = sum(len(histogram.bins) for histogram in HISTOGRAMS)
"""N, the length of a report's `counts`."""


def first_cells() -> tuple[int, ...]:
    """Where each histogram's cells start in `counts`, in the order of `HISTOGRAMS`."""
    return tuple(accumulate((len(h.bins) for h in HISTOGRAMS[:-1]), initial=0))


def _must_be_a_period(word: str) -> str:
    try:
        period_start(word)
    except ProtocolError as fault:
        raise ValueError(fault.cause) from None
    return word


Version = Annotated[StrictInt, Field(ge=VERSION, le=VERSION)]
"""The protocol's version; a Literal would take True and 1.0 for it."""
StudyName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
"""A study's short name."""
Pseudonym = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""A person within one study: 128 random bits in hexadecimal."""
Period = Annotated[str, Field(max_length=8), AfterValidator(_must_be_a_period)]
"""An ISO week, such as 2026-W48."""
PolicyReference = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}@[1-9][0-9]{0,5}$")]
"""A policy's name and version, such as weekly-1@1."""
Noise = Literal["sum", "local"]
"""Where the noise of a study's reports is added: inside a secure sum, or on each device."""
BundleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
"""A bundle's name, such as affect-1."""
Count = Annotated[StrictInt, Field(ge=-MOST_COUNT, le=MOST_COUNT)]
"""One cell with its noise; it may well be negative."""


class Report(Message):
    """A person's week as noised counts; already differentially private by itself.

    Topic: `sottovoce/v1/{study}/report/{pseudonym}`, QoS 1, not retained.

    Fields: `version` 1; `study`; `pseudonym` (32 hexadecimal digits); `period` (ISO week);
    `policy` (name@version); `bundle` (which models screened); `counts` (N integers, the cells of
    `HISTOGRAMS` in order, each a 0 or 1 plus discrete Gaussian noise).

    By hand, to a broker on this machine::

        mosquitto_pub -V mqttv5 -q 1 -t sottovoce/v1/home/report/0123456789abcdef0123456789abcdef \
-m '{"bundle":"affect-1","counts":[4,-9,1,5,0,-3,7,2,-6,8,1,-2,3,0,5,-4,9,-1,2,6,-8,0,4,-5,1,3,\
-7,2,0],"period":"2026-W48","policy":"weekly-1@1",\
"pseudonym":"0123456789abcdef0123456789abcdef","study":"home","version":1}'
    """

    version: Version
    study: StudyName
    pseudonym: Pseudonym
    period: Period
    policy: PolicyReference
    bundle: BundleName
    counts: Annotated[tuple[Count, ...], Field(min_length=CELLS, max_length=CELLS, strict=False)]

    def to_bytes(self) -> bytes:
        """The one encoding of this report."""
        return encoded(self)


def parse_report(payload: bytes) -> Report:
    """The report that these bytes from the other side hold.

    Raises:
        ProtocolError: they hold none.
    """
    return decoded(payload, Report)


def new_pseudonym(random_bytes: Callable[[int], bytes]) -> str:
    """A fresh pseudonym for one person in one study; pass `secrets.token_bytes`."""
    return random_bytes(16).hex()
