"""The seed of a command: what a person types after `--seed`."""

import argparse
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
