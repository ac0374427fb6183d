"""When failures are too many to be chance: a test that may look after every single device.

Rules upheld here: however often it looks, in whatever order devices answer and however rings are
cut, a version that fails on no more than the tolerated share of devices is halted in at most one
rollout of twenty; one failure alone halts nothing; and what a ring of a given size will miss is
worked out before it begins, not hoped for.

The test: the likelihood of what was seen if devices fail at three, six or twelve times the
tolerated rate (one third of belief each), over its likelihood at that rate. Under the tolerated
rate, or a lower one, this ratio is a non-negative supermartingale that begins at 1, so it ever
reaches 20 with a probability of at most 1/20, whenever one looks. A device counts as well from the
moment it begins until it fails: so this also holds while failures are told sooner than successes.

At a tolerated 2 %: 2 failures of the first 2 to 5 devices halt, 3 of 10 to 20, 5 of 50, 8 of 100.
False halts: a version that fails on 2 % is halted among 500 devices with 2.8 %, on 0.5 % with
0.07 %. Misses, when a whole ring begins at once: of one that fails on 10 %, 20.6 % in a ring of 100
and 0.8 % in one of 200; of one that fails on 30 %, 38.3 % in a ring of 10.

In the life of a bundle: beside `rollouts`, which counts.

Source: J. Ville, "Étude critique de la notion de collectif", 1939, chapter V (the inequality);
A. Wald, "Sequential Tests of Statistical Hypotheses", 1945 (the ratio).
"""

import math
from functools import cache
from typing import Final

FALSE_HALT: Final = 0.05
"""At most this share of rollouts is halted though the version fails no more than is tolerated."""
_TIMES: Final = (3, 6, 12)
_MOST_RATE: Final = 0.9
TROUBLE: Final = 5
"""A first ring is made to find trouble at this many times the tolerated rate."""
FOUND: Final = 0.98
"""With this probability it is found in the first ring, where the study has enough devices."""
_MOST_DEVICES: Final = 20_000
_SETTLED: Final = 1.3  # from there on it is found for good
_WIDER: Final = 1.5  # a ring is this much larger than the one before, or left out
_USUAL: Final = (10, 100, 500, 1000)
_STEP: Final = 10  # shares are whole per cent


def evidence(failures: int, well: int, tolerated: float) -> float:
    """How many times likelier this is in trouble than at the tolerated rate; infinite beyond 1e300.

    `tolerated` between 0 and 0.2.
    """
    ratios = []
    for times in _TIMES:
        rate = min(times * tolerated, _MOST_RATE)
        ratios.append(
            failures * math.log(rate / tolerated) + well * math.log((1 - rate) / (1 - tolerated))
        )
    if max(ratios) > 690:
        return math.inf
    return math.fsum(map(math.exp, ratios)) / len(ratios)


def is_trouble(failures: int, well: int, tolerated: float) -> bool:
    """Whether that many failures halt a rollout."""
    return evidence(failures, well, tolerated) >= 1 / FALSE_HALT


def halted_within(devices: int, rate: float, tolerated: float) -> float:
    """The probability that a version failing at `rate` is halted among so many devices. Exact.

    They begin one after the other, and it looks after each.
    """
    return _halted(devices, rate, tolerated)[-1] if devices else 0.0


def found_among(devices: int, rate: float, tolerated: float) -> float:
    """The same if all of them begin at once: only what they come to in the end counts. Exact."""
    fewest = next((k for k in range(devices + 1) if is_trouble(k, devices - k, tolerated)), None)
    if fewest is None:
        return 0.0
    return 1 - math.fsum(_binomial(k, devices, rate) for k in range(fewest))


@cache
def devices_needed(tolerated: float) -> int:
    """How many devices find a version that fails five times as often as tolerated, with 98 %."""
    trouble = min(TROUBLE * tolerated, _MOST_RATE)
    needed = 2
    for devices in range(2, _MOST_DEVICES):
        if found_among(devices, trouble, tolerated) < FOUND:
            needed = devices + 1  # power falls a little wherever one more failure is wanted
        elif devices > _SETTLED * needed:
            break
    return needed


def rings_for(everybody: int, tolerated: float) -> tuple[int, ...]:
    """Shares per mille for so many devices: the first ring is no larger than trouble needs.

    Where the whole study is too few for that, half of it comes first.
    """
    needed = math.ceil(1000 * devices_needed(tolerated) / max(1, everybody) / _STEP) * _STEP
    first = min(500, max(_USUAL[0], needed))
    return (first, *(share for share in _USUAL if share >= _WIDER * first))


def _binomial(k: int, devices: int, rate: float) -> float:
    choices = math.lgamma(devices + 1) - math.lgamma(k + 1) - math.lgamma(devices - k + 1)
    return math.exp(choices + k * math.log(rate) + (devices - k) * math.log1p(-rate))


def _halted(devices: int, rate: float, tolerated: float) -> list[float]:
    """For 1, 2, … devices: the probability of a halt by then; failures so far are the state."""
    going = [1.0]  # by the count of failures
    halted, after = 0.0, []
    for seen in range(1, devices + 1):
        grown = [0.0] * (len(going) + 1)
        for failures, weight in enumerate(going):
            grown[failures] += weight * (1 - rate)
            grown[failures + 1] += weight * rate
        while grown and is_trouble(len(grown) - 1, seen - len(grown) + 1, tolerated):
            halted += grown.pop()
        going = grown
        after.append(halted)
    return after
