"""Answer the PHQ-8 and the GAD-7 here, for yourself; the answers stay on this device.

    sottovoce check-in

Fifteen items, a number from 0 to 3 each. Your answers are kept encrypted with the rest; they label
the weeks around them if you take part in training, and never leave as answers. End of input
or Ctrl-C before the last one keeps nothing. It is a screening aid and never a diagnosis.
"""

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from agent.config import settings_said
from agent.errors import SettingError
from agent.home import open_home
from agent.questionnaires import AID, CHOICES, GAD7, PHQ8, STEM, Questionnaire, said_of
from agent.records import CheckIn

Ask = Callable[[str], str]
Tell = Callable[[str], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sottovoce check-in`."""
    parser.add_argument("--state", type=Path, help="the state folder (default: the settings')")
    parser.add_argument("--config", type=Path, help="settings file, TOML")


def run(arguments: argparse.Namespace) -> int:
    """Ask, keep, and say what the sums are called."""
    said = {"state": arguments.state and str(arguments.state)}
    home = open_home(settings_said(arguments.config, said), os.environ)
    record = asked(_read, print, started_at=datetime.now(UTC))
    with home.open_store() as store:
        store.add_check_in(record)
    print()
    for line in said_of(record):
        print(line)
    return 0


def asked(ask: Ask, tell: Tell, *, started_at: datetime) -> CheckIn:
    """Ask all items by `ask`, which shows a prompt and returns a line; `tell` shows one.

    Raises:
        SettingError: the input ended before the last answer.
    """
    tell(AID)
    tell(f"\n{STEM}")
    tell("  ".join(f"{number} {choice}" for number, choice in enumerate(CHOICES)))
    phq8, gad7 = (_answers(questionnaire, ask, tell) for questionnaire in (PHQ8, GAD7))
    return CheckIn(started_at, phq8, gad7)


def _answers(questionnaire: Questionnaire, ask: Ask, tell: Tell) -> tuple[int, ...]:
    tell("")
    return tuple(
        _answer(f"{number}. {item} [0-3] ", ask, tell)
        for number, item in enumerate(questionnaire.items, start=1)
    )


def _answer(prompt: str, ask: Ask, tell: Tell) -> int:
    while True:
        try:
            word = ask(prompt).strip()
        except EOFError:
            raise SettingError(
                "The input ended before the last answer, so nothing was kept.",
                "Run `sottovoce check-in` in a terminal and answer all fifteen items.",
            ) from None
        if word in {str(number) for number in range(len(CHOICES))}:
            return int(word)
        tell("Please answer with one number: 0, 1, 2 or 3. (Ctrl-C ends, and keeps nothing.)")


def _read(prompt: str) -> str:
    if not sys.stdin.isatty():  # a pipe: nobody sees a prompt, the lines are the answers
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line
    return input(prompt)
