"""What a panel's answers say: top-1, verification, the worst-off, and reduction, over people.

Rules it upholds: the person is the unit of every mean and interval; chance stands beside each
figure, as the same panel reached it under permuted identities; the original is measured by *its*
strongest attacker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_models.training.identity.panel import Attack, Campaign
from edge_models.training.identity.samples import Words
from edge_models.training.metrics import Estimate

Reals = npt.NDArray[np.float64]

RESAMPLES: Final = 400
WORST_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """How well P people of one or more galleries are told apart from questions of one size.

    `top1` and `chance` float64 (P,): the share of a person's questions answered with their name,
    and its mean over permutations; `permuted` float64 (K, P) is each permutation's; `one_in_n`
    float64 (P,) is 1 over the gallery's size. `own` and `others` hold, for each person, the
    scores of claims under the own name and under every other name of the gallery. `chosen`
    names the attackers chosen; `members` and `member_top1` (A,) are each member's own top-1.
    """

    people: Words
    top1: Reals
    permuted: Reals
    one_in_n: Reals
    own: tuple[Reals, ...]
    others: tuple[Reals, ...]
    chosen: tuple[str, ...]
    members: tuple[str, ...]
    member_top1: Reals

    @property
    def chance(self) -> Reals:
        """Each person's top-1 under permuted identities."""
        return self.permuted.mean(axis=0) if len(self.permuted) else self.one_in_n

    def __len__(self) -> int:
        return len(self.people)


def told_apart(campaigns: Sequence[Campaign], size: int) -> Told:
    """Galleries beside each other, all with as many permutations; see `together`."""
    return together([_told(campaign, size) for campaign in campaigns])


def together(parts: Sequence[Told]) -> Told:
    """Put people beside each other; who is in several parts (other streams) counts once.

    Their top-1 and chance are means over the parts; all parts have as many permutations.
    """
    people = np.unique(np.concatenate([part.people for part in parts]))
    where = [
        [(part, int(np.flatnonzero(part.people == one)[0])) for part in parts if one in part.people]
        for one in people
    ]
    return Told(
        people=people,
        top1=np.asarray([np.mean([part.top1[p] for part, p in own]) for own in where]),
        permuted=np.stack(
            [np.mean([part.permuted[:, p] for part, p in own], axis=0) for own in where], axis=1
        ),
        one_in_n=np.asarray([np.mean([part.one_in_n[p] for part, p in own]) for own in where]),
        own=tuple(np.concatenate([part.own[p] for part, p in own]) for own in where),
        others=tuple(np.concatenate([part.others[p] for part, p in own]) for own in where),
        chosen=tuple(name for part in parts for name in part.chosen),
        members=parts[0].members,
        member_top1=np.average(
            [part.member_top1 for part in parts], axis=0, weights=[len(part) for part in parts]
        ),
    )


def _told(campaign: Campaign, size: int) -> Told:
    count = len(campaign.people)
    claims = [_claims(campaign.attacks, size, place) for place in range(count)]
    permuted = [_hits(lost, size) for lost in campaign.under_permutation]
    members = tuple(campaign.attacks[0].every[size])
    return Told(
        people=campaign.people,
        top1=_hits(campaign.attacks, size),
        permuted=np.asarray(permuted, np.float64).reshape(-1, count),
        one_in_n=np.full(count, 1 / count),
        own=tuple(own for own, _ in claims),
        others=tuple(others for _, others in claims),
        chosen=tuple(attack.chosen[size] for attack in campaign.attacks),
        members=members,
        member_top1=np.mean(
            [[attack.every[size][name] for name in members] for attack in campaign.attacks], axis=0
        ),
    )


def _hits(attacks: Sequence[Attack], size: int) -> Reals:
    return np.asarray(np.mean([attack.answers[size].hits() for attack in attacks], axis=0))


def _claims(attacks: Sequence[Attack], size: int, place: int) -> tuple[Reals, Reals]:
    """Scores of a person's questions under the own name and under the others'."""
    own, others = [], []
    for attack in attacks:
        answers = attack.answers[size]
        scores = answers.claims()[answers.person == place]
        own.append(scores[:, place])
        others.append(np.delete(scores, place, axis=1).ravel())
    return np.concatenate(own), np.concatenate(others)


def figure_over_people(
    figure: Callable[[npt.NDArray[np.intp]], float], count: int, rng: np.random.Generator
) -> Estimate:
    """A figure of some people (places, repeated or not) with its bootstrap interval over people."""
    drawn = [figure(rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(figure(np.arange(count)), float(low), float(high))


def top1(told: Told, rng: np.random.Generator) -> Estimate:
    """Closed-set top-1, a mean over people."""
    return figure_over_people(lambda some: float(told.top1[some].mean()), len(told), rng)


def chance(told: Told, rng: np.random.Generator) -> Estimate:
    """Top-1 of the same panel under permuted identities; its interval is over people."""
    return figure_over_people(lambda some: float(told.chance[some].mean()), len(told), rng)


def above_chance(told: Told, rng: np.random.Generator) -> Estimate:
    """Top-1 less chance, person by person."""
    return figure_over_people(lambda s: float((told.top1 - told.chance)[s].mean()), len(told), rng)


def reduction(
    protected: Told, original: Told, rng: np.random.Generator, *, of_one_in_n: bool = False
) -> Estimate:
    """R = 1 - (top1 - chance) / (top1 of the original - its chance), over the same people.

    Below 0 where the protected windows tell more than the original ones, above 1 where less than
    by luck; never cut off. `of_one_in_n` takes 1 over the gallery's size as chance, for those who
    would rather not trust a measured one.

    Raises:
        ValueError: the two are not of the same people (our bug).
    """
    if not np.array_equal(protected.people, original.people):
        raise ValueError("a reduction compares the same people")
    kept, whole = (
        told.top1 - (told.one_in_n if of_one_in_n else told.chance)
        for told in (protected, original)
    )

    def figure(some: npt.NDArray[np.intp]) -> float:
        return float(1 - kept[some].mean() / max(whole[some].mean(), 1e-3))

    return figure_over_people(figure, len(protected), rng)


def worst_decile(told: Told) -> tuple[float, float]:
    """Mean top-1 of the tenth of people most often named, and the same under permutation.

    Somebody is always the worst off, so its chance lies above the mean chance.
    """
    return _worst(told.top1), (
        float(np.mean([_worst(row) for row in told.permuted]))
        if len(told.permuted)
        else float(told.one_in_n.mean())
    )


def _worst(each: Reals) -> float:
    count = int(np.ceil(WORST_SHARE * len(each)))
    return float(np.sort(each)[-count:].mean())
