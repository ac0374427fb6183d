"""Thresholds of a screening score for a stated prevalence, with intervals over people.

    sottovoce thresholds --scores X.csv --prevalence 0.1
    sottovoce thresholds --scores X.csv --sensitivity 0.8 --by sex age_band
    sottovoce thresholds --scores X.csv --score-column wavlm_score --truth-column label --json

X.csv has a line of names and the columns score (a probability in 0 to 1), truth (0 or 1) and, if
a person has several rows, person. How common a state is among those people says nothing of how
common it is elsewhere: state the prevalence. "Other half" is what thresholds chosen on one half
of the people do to the other half, so look there first. A screening result asks for a closer
look; it is never a diagnosis.
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from edge_models.errors import ScoresError
from edge_models.training.conformal import ERROR_RATE, Unanswered, people_needed
from edge_models.training.fairness import LEAST_PEOPLE, MEASURES
from edge_models.training.metrics import Estimate
from edge_models.training.score_table import Columns, read_scores
from edge_models.training.seeds import seed_number
from edge_models.training.thresholds import PREVALENCES, Aim
from edge_models.training.thresholds_report import Report, Threshold, Wish, thresholds_report

DEFAULT_SEED: Final = 7
_WIDTH: Final = 160
_AIMS: Final = (Aim.SENSITIVITY, Aim.SPECIFICITY, Aim.PPV, Aim.NPV)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce thresholds`."""
    parser.add_argument("--scores", type=Path, required=True, metavar="CSV")
    parser.add_argument("--score-column", default="score", metavar="NAME")
    parser.add_argument("--truth-column", default="truth", metavar="NAME")
    parser.add_argument("--person-column", default="person", metavar="NAME")
    parser.add_argument("--log-odds", action="store_true", help="scores are log-odds")
    parser.add_argument(
        "--prevalence",
        type=float,
        nargs="+",
        default=list(PREVALENCES),
        metavar="P",
        help="how common it is where the score will be used (default 0.05 0.1 0.2)",
    )
    for aim in _AIMS:
        parser.add_argument(
            f"--{aim}", type=float, metavar="LEAST", help=f"a threshold with at least this {aim}"
        )
    parser.add_argument(
        "--by", nargs="+", default=[], metavar="COLUMN", help="gaps between groups of people"
    )
    parser.add_argument(
        "--error-rate",
        type=float,
        default=ERROR_RATE,
        metavar="SHARE",
        help="of each class, the most to be told the wrong answer; the rest gets none "
        "(default 0.1)",
    )
    parser.add_argument("--seed", type=seed_number, default=DEFAULT_SEED)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Read the table, look at it, and print."""
    wishes = [Wish(Aim.YOUDEN)]
    for aim in _AIMS:
        if (least := getattr(arguments, aim)) is not None:
            wishes.append(Wish(aim, _share(least, f"--{aim}")))
    prevalences = tuple(_share(each, "--prevalence") for each in arguments.prevalence)
    columns = Columns(
        arguments.score_column,
        arguments.truth_column,
        arguments.person_column,
        tuple(dict.fromkeys(arguments.by)),
        arguments.log_odds,
    )
    table = read_scores(arguments.scores, columns)
    error_rate = _share(arguments.error_rate, "--error-rate", 0.5)
    rng = np.random.default_rng(arguments.seed)
    with Console(stderr=True).status("Drawing people anew"):
        report = thresholds_report(table, tuple(wishes), prevalences, rng, error_rate)
    if arguments.json:
        print(json.dumps(_plain(asdict(report)), indent=1))
    else:
        console = Console()
        _tell(report, console if console.is_terminal else Console(width=_WIDTH))
    return 0


def _share(value: float, option: str, most: float = 1.0) -> float:
    if not 0 < value < most:
        raise ScoresError(f"{option} can't be {value:g}.", f"It lies between 0 and {most:g}.")
    return value


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN: both become null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _tell(report: Report, console: Console) -> None:
    skipped = f"; {report.skipped} rows without score or truth skipped" if report.skipped else ""
    console.print(
        f"{report.scores} scores of {report.people} people, {report.positives} of them so"
        f"{skipped}. AUROC {report.auroc}.\n"
        f"Calibration error under equal priors: as given {report.as_given.error}, log-loss "
        f"{report.as_given.log_loss};\ncalibrated on other people ({report.way}) "
        f"{report.calibrated.error}, log-loss {report.calibrated.log_loss}.\n"
        "In brackets: 95 % intervals over people."
    )
    console.print(_thresholds_table(report.thresholds))
    console.print(_values_table(report.thresholds))
    console.print(_benefit_table(report))
    console.print(_said_of_answers(report.unanswered))
    for attribute in report.groups:
        few = [group.name for group in attribute.groups if group.figures is None]
        if few:
            console.print(
                f"{attribute.name}: too few people (under {LEAST_PEOPLE} of a class): "
                f"{', '.join(few)}."
            )
    if any(attribute.gaps for attribute in report.groups):
        console.print(_gaps_table(report))


def _said_of_answers(unanswered: Unanswered) -> str:
    rate = f"{unanswered.error_rate:g}"
    if not unanswered.promised:
        return (
            f"An error rate of {rate} can't be promised from so few people: "
            f"{people_needed(unanswered.error_rate)} of each class are needed beside those tested."
        )
    return (
        f"At most {rate} of each class told the wrong answer, the rest none "
        "(limits of other people):\n"
        f"told no of those that are so {unanswered.missed}, told yes of those that are not "
        f"{unanswered.false_alarms};\nno answer {unanswered.abstained}; wrong among answers "
        f"{unanswered.wrong_if_answered}, both classes weighing the same."
    )


def _named(wish: Wish) -> str:
    return str(wish.aim) if wish.aim is Aim.YOUDEN else f"{wish.aim} ≥ {wish.least:g}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _thresholds_table(thresholds: tuple[Threshold, ...]) -> Table:
    table = _table(
        "Thresholds",
        *("aim", "prevalence", "yes from", "calibrated", "sensitivity", "specificity"),
        *("other half: sensitivity", "specificity", "short of aim"),
    )
    for one in thresholds:
        start = (_named(one.wish), f"{one.prevalence:g}")
        if one.here is None or one.elsewhere is None:
            table.add_row(*start, "not reached")
            continue
        table.add_row(
            *start,
            f"{one.here.threshold:.3g}",
            f"{one.probability:.3f}",
            str(one.here.sensitivity),
            str(one.here.specificity),
            str(one.elsewhere.sensitivity),
            str(one.elsewhere.specificity),
            "" if math.isnan(one.elsewhere.missed_aim) else f"{one.elsewhere.missed_aim:.0%}",
        )
    return table


def _values_table(thresholds: tuple[Threshold, ...]) -> Table:
    table = _table(
        "What an answer means at the stated prevalence",
        *("aim", "prevalence", "PPV", "NPV", "likelihood ratio, yes", "no"),
        *("screened for one found", "looked at for one found"),
    )
    for one in thresholds:
        if (here := one.here) is not None:
            table.add_row(
                _named(one.wish),
                f"{one.prevalence:g}",
                *(str(each) for each in (here.ppv, here.npv, here.ratio_yes, here.ratio_no)),
                *(_tenths(each) for each in (here.screened_per_case, here.looked_at_per_case)),
            )
    return table


def _tenths(estimate: Estimate) -> str:
    return f"{estimate.value:.1f} ({estimate.low:.1f} to {estimate.high:.1f})"


def _benefit_table(report: Report) -> Table:
    table = _table(
        "Net benefit in a thousand people (a look at nobody: 0)",
        *("prevalence", "a look is worth it from", "by score", "at everybody"),
    )
    for prevalence, benefits in report.benefits:
        for one in benefits:
            table.add_row(
                f"{prevalence:g}",
                f"{one.exchange:g}",
                f"{1000 * one.by_score:.0f}",
                f"{1000 * one.of_everybody:.0f}",
            )
    return table


def _gaps_table(report: Report) -> Table:
    table = _table(
        f"Largest gap between groups ({len(MEASURES)} measures at 0.5 of calibrated scores)",
        *("by", "measure", "gap", "lowest", "highest", "by chance, median and 95 %", "p"),
    )
    for attribute in report.groups:
        for gap in attribute.gaps:
            table.add_row(
                attribute.name,
                gap.measure,
                str(gap.largest),
                gap.lowest,
                gap.highest,
                f"{gap.by_chance:.2f}, {gap.by_chance_95:.2f}",
                f"{gap.p:.3f}",
            )
    return table
