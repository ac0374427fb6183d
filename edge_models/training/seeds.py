"""Numbers that a person types after an option: a seed, an epsilon."""

import argparse
import math
from typing import Final

LARGEST_SEED: Final = 2**32 - 1


def seed_number(words: str) -> int:
    """A seed, 0 to 4294967295: what every generator here can start from.

    Raises:
        argparse.ArgumentTypeError: it is no such number.
    """
    try:
        number = int(words)
    except ValueError:
        number = -1
    if not 0 <= number <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"'{words}' is no whole number from 0 to {LARGEST_SEED}.")
    return number


def positive_number(words: str) -> float:
    """A finite number above 0, such as an epsilon.

    Raises:
        argparse.ArgumentTypeError: it is no such number.
    """
    try:
        number = float(words)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"'{words}' is no number above 0.")
    return number
