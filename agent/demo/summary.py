"""The demo's last words: who streamed what, and the cohort's estimate beside the truth."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from agent.demo.processes import Participant
from sync.messages import HISTOGRAMS


def participants_table(participants: Sequence[Participant]) -> Table:
    """One row a participant, totals below."""
    table = Table(title="Participants", caption="A screening aid: affect figures, no diagnosis.")
    table.add_column("person")
    for name in ("streamed s", "windows", "scored", "abstained", "gaps", "ε spent", "bytes out"):
        table.add_column(name, justify="right")
    done = [(p, p.account) for p in participants if p.account is not None]
    for participant, account in done:
        table.add_row(
            participant.person.name,
            f"{account.streamed_s:.0f}",
            str(account.windows),
            str(account.scored),
            ", ".join(f"{count} {why}" for why, count in account.abstained.items()) or "none",
            ", ".join(f"{count} {why}" for why, count in account.gaps.items()) or "none",
            f"{account.epsilon_spent:.2f}",
            str(account.bytes_out),
        )
    table.add_section()
    accounts = [account for _, account in done]
    table.add_row(
        f"all {len(done)}",
        f"{sum(a.streamed_s for a in accounts):.0f}",
        str(sum(a.windows for a in accounts)),
        str(sum(a.scored for a in accounts)),
        str(sum(sum(a.abstained.values()) for a in accounts)),
        str(sum(sum(a.gaps.values()) for a in accounts)),
        "",
        str(sum(a.bytes_out for a in accounts)),
    )
    return table


def cohort_table(cohort: Any, participants: Sequence[Participant]) -> Table:
    """What the coordinator can say of each bin, beside what was really so."""
    table = Table(title="The cohort, as the coordinator sees it, beside the truth")
    for name in ("question", "answer"):
        table.add_column(name)
    for name in ("truth", "estimate", "95 % noise interval"):
        table.add_column(name, justify="right")
    accounts = [p.account for p in participants if p.account is not None]
    for histogram in HISTOGRAMS:
        truth = [
            sum(account.choices.get(histogram.name) == place for account in accounts)
            for place in range(len(histogram.bins))
        ]
        for place, answer in enumerate(histogram.bins):
            estimate = cohort["histograms"][histogram.name][place]
            table.add_row(
                histogram.name.replace("_", " ") if place == 0 else "",
                answer,
                str(truth[place]),
                f"{estimate['people']:.0f}",
                f"{estimate['low']:.0f} to {estimate['high']:.0f}",
            )
        table.add_section()
    table.caption = cohort["in_words"]
    return table
