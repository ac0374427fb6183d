"""PHQ-8 and GAD-7: what is asked, how it adds up, and what a sum is called.

Rules it upholds: the items are asked in their published words; a sum is a sum of all items, none
guessed; a band is a word for a sum and never a diagnosis; where a sum is high, the words say
where help is.

The PHQ-8 is the PHQ-9 without its ninth item, which a device must not ask without somebody who
answers. Both questionnaires were put in the public domain by their authors: no permission is
needed to reproduce, translate, display or distribute them.

In the life of a federated round: these answers label the person's own sessions, on the device.

Source: Kroenke, Strine, Spitzer, Williams, Berry, Mokdad 2009 (PHQ-8; bands 5, 10, 15, 20);
Spitzer, Kroenke, Williams, Löwe 2006 (GAD-7; bands 5, 10, 15).
"""

from dataclasses import dataclass
from typing import Final

from agent.records import MOST_PER_ITEM, CheckIn
from edge_models.errors import ContractError

STEM: Final = "Over the last 2 weeks, how often have you been bothered by the following?"
CHOICES: Final = ("Not at all", "Several days", "More than half the days", "Nearly every day")


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """Its name, its items, and from which sum on each band is said, lowest first."""

    name: str
    items: tuple[str, ...]
    bands: tuple[tuple[int, str], ...]

    def band(self, total: int) -> str:
        """The word for a sum.

        Raises:
            ContractError: the items can't add up to that.
        """
        if not 0 <= total <= MOST_PER_ITEM * len(self.items):
            raise ContractError(f"The {self.name} sums to 0 to {MOST_PER_ITEM * len(self.items)}.")
        return [word for least, word in self.bands if total >= least][-1]


PHQ8: Final = Questionnaire(
    "PHQ-8",
    (
        "Little interest or pleasure in doing things",
        "Feeling down, depressed, or hopeless",
        "Trouble falling or staying asleep, or sleeping too much",
        "Feeling tired or having little energy",
        "Poor appetite or overeating",
        "Feeling bad about yourself, or that you are a failure, or have let yourself or your "
        "family down",
        "Trouble concentrating on things, such as reading the newspaper or watching television",
        "Moving or speaking so slowly that other people could have noticed; or the opposite, "
        "being so fidgety or restless that you have been moving around a lot more than usual",
    ),
    ((0, "minimal"), (5, "mild"), (10, "moderate"), (15, "moderately severe"), (20, "severe")),
)
GAD7: Final = Questionnaire(
    "GAD-7",
    (
        "Feeling nervous, anxious, or on edge",
        "Not being able to stop or control worrying",
        "Worrying too much about different things",
        "Trouble relaxing",
        "Being so restless that it is hard to sit still",
        "Becoming easily annoyed or irritable",
        "Feeling afraid, as if something awful might happen",
    ),
    ((0, "minimal"), (5, "mild"), (10, "moderate"), (15, "severe")),
)

HIGH_FROM: Final = 10
"""From this sum on, in either, the words say where help is."""

AID: Final = "This is a screening aid and never a diagnosis; it stays on this device."
HELP: Final = (
    "Answers like these are worth talking over with a doctor or somebody you trust, soon.",
    "If you might harm yourself or can't keep yourself safe, call your emergency number now "
    "(112 in the EU, 999 in the UK, 911 in the US and Canada).",
    "Somebody listens at any hour: 988 (US and Canada, call or text), 116 123 (UK, Ireland and "
    "much of Europe), 13 11 14 (Australia); elsewhere see findahelpline.com.",
)


def said_of(record: CheckIn) -> tuple[str, ...]:
    """What the person is told about a check-in, line by line."""
    lines = [
        f"{PHQ8.name}: {record.phq8_sum} of 24, {PHQ8.band(record.phq8_sum)} low mood.",
        f"{GAD7.name}: {record.gad7_sum} of 21, {GAD7.band(record.gad7_sum)} anxiety.",
        AID,
    ]
    if max(record.phq8_sum, record.gad7_sum) >= HIGH_FROM:
        lines += HELP
    return tuple(lines)
