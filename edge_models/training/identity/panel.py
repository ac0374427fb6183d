"""The panel: several attackers enrol, one is chosen without the test, and answers the test.

Rules it upholds: attackers are retrained on whatever they attack; the attacker (and its single
hyper-parameter, each value of which is a member of the panel) is chosen on windows held out of the
enrolment, once for single windows and once for sessions of six; *chance* is all of it, the choice
included, under permuted identities of the enrolment.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from edge_models.errors import ContractError
from edge_models.training.identity import attackers
from edge_models.training.identity.attackers import Attacker, Reals
from edge_models.training.identity.networks import SessionNetwork, WindowNetwork
from edge_models.training.identity.samples import (
    DRAWS,
    SIX,
    Floats,
    Places,
    Samples,
    Sessions,
    Words,
    alone,
    both_directions,
    held_out,
    narrowed,
    sessions_of,
)

Make = Callable[[int], Attacker]
_TIE: Final = 0.05

SIZES: Final = (1, SIX)
"""How many windows a question holds."""


@dataclass(frozen=True, slots=True)
class Member:
    """One attacker of the panel, made from a seed; `sessions_only` ones need several windows."""

    name: str
    make: Make
    sessions_only: bool = False


def _windowed(make: Callable[[], object], *, products: bool = False) -> Make:
    return lambda seed: attackers.Windowed(make, products=products)


PANEL: Final[tuple[Member, ...]] = (
    Member("LDA", _windowed(attackers.discriminant)),
    Member("LDA, products", _windowed(attackers.discriminant, products=True)),
    Member("normal densities", lambda seed: attackers.Gaussian()),
    Member("logistic, C 0.03", _windowed(partial(attackers.logistic, 0.03))),
    Member("logistic, C 1", _windowed(partial(attackers.logistic, 1.0))),
    Member("logistic, products", _windowed(partial(attackers.logistic, 0.1), products=True)),
    Member("RBF SVM, C 1", _windowed(partial(attackers.support_vectors, 1.0))),
    Member("RBF SVM, C 10", _windowed(partial(attackers.support_vectors, 10.0))),
    Member("boosting", lambda seed: attackers.Windowed(lambda: attackers.boosted(seed))),
    Member("extra trees", lambda seed: attackers.Windowed(lambda: attackers.trees(seed))),
    Member("MLP", WindowNetwork),
    Member("LDA of session moments", attackers.SessionMoments, sessions_only=True),
    Member("set network", SessionNetwork, sessions_only=True),
)
"""Who attacks in full."""

QUICK_PANEL: Final = tuple(
    member
    for member in PANEL
    if member.name in ("LDA, products", "normal densities", "RBF SVM, C 10", "extra trees")
) + tuple(member for member in PANEL if member.sessions_only)
"""Who attacks when time is short: no boosting, logistic regression or MLP."""


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What was said of S questions: `log_probabilities` float64 (S, C), `person` int (S,)."""

    log_probabilities: Reals
    person: Places

    def hits(self) -> Reals:
        """The share of questions answered rightly for each person, float64 (C,)."""
        right = self.log_probabilities.argmax(axis=1) == self.person
        people = self.log_probabilities.shape[1]
        asked = np.bincount(self.person, minlength=people)
        return np.asarray(np.bincount(self.person, right, people) / np.maximum(asked, 1))

    def claims(self) -> Reals:
        """Scores of each claimed identity, float64 (S, C), for verification.

        Log-odds, scaled to mean 0 and spread 1 over the attack's claims, so that the scores of
        several attackers can be put under one threshold.

        Source: Auckenthaler et al., "Score normalization for text-independent speaker
        verification systems", Digital Signal Processing 10, 2000, in its plainest form.
        """
        own = self.log_probabilities
        rest = np.log(np.maximum(-np.expm1(np.minimum(own, -1e-12)), 1e-300))
        odds = own - rest
        return np.asarray((odds - odds.mean()) / max(float(odds.std()), 1e-9))


@dataclass(frozen=True, slots=True, eq=False)
class Attack:
    """One enrolment against one test, by question size (1 and 6 windows).

    `chosen` names the attacker and `answers` are its answers; `every` is the top-1 of each member
    that was retrained on the whole enrolment (all, or only the chosen under permuted identities).
    """

    people: Words
    chosen: Mapping[int, str]
    answers: Mapping[int, Answers]
    every: Mapping[int, Mapping[str, float]]


def attack(
    enrolment: Samples,
    test: Samples,
    seed: int,
    panel: Sequence[Member] = PANEL,
    *,
    all_members: bool = True,
) -> Attack:
    """Enrol the panel, choose, retrain on the whole enrolment, and answer the test.

    Both sample sets are of the same people. `all_members` False retrains the chosen alone.
    """
    people = enrolment.people
    rng = np.random.default_rng(seed)
    enrolment, test = narrowed(enrolment, test)
    with threadpool_limits(1):
        best = best_members(_splits(enrolment, people, rng), panel, seed, rng)
        asked = questions(test.rows, np.searchsorted(people, test.person), rng)
        enrolled = np.searchsorted(people, enrolment.person)
        answers: dict[int, Answers] = {}
        every: dict[int, dict[str, float]] = {size: {} for size in SIZES}
        for place, member in enumerate(panel):
            if not all_members and place not in best.values():
                continue
            model = member.make(seed).fit(enrolment.rows, enrolled)
            for size in sizes_of(member):
                said = Answers(model.log_probabilities(asked[size].rows), asked[size].person)
                every[size][member.name] = float(said.hits().mean())
                if best[size] == place:
                    answers[size] = said
    chosen = {size: panel[place].name for size, place in best.items()}
    return Attack(people, chosen, answers, every)


def sizes_of(member: Member) -> tuple[int, ...]:
    """Which questions a member can answer."""
    return SIZES[1:] if member.sessions_only else SIZES


def questions(
    rows: Floats, person: Places, rng: np.random.Generator, owner: Places | None = None
) -> dict[int, Sessions]:
    """Every window alone, and sessions of six drawn for each owner (else person)."""
    return {1: alone(rows, person), SIX: sessions_of(rows, person, SIX, DRAWS, rng, owner)}


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Windows to learn from and windows to choose by; `owner` is whose a session is."""

    rows: Floats
    person: Places
    owner: Places
    unseen_rows: Floats
    unseen_person: Places
    unseen_owner: Places


def _splits(enrolment: Samples, people: Words, rng: np.random.Generator) -> Iterator[Split]:
    """Both parts of the enrolment held out once."""
    part = held_out(enrolment, rng)
    person = np.searchsorted(people, enrolment.person)
    for side in (part, ~part):
        known, unseen = person[~side], person[side]
        yield Split(enrolment.rows[~side], known, known, enrolment.rows[side], unseen, unseen)


def best_members(
    splits: Iterable[Split], panel: Sequence[Member], seed: int, rng: np.random.Generator
) -> dict[int, int]:
    """The place of the best member for each size: by top-1 on the held-out windows.

    Where sessions tie (all right, all wrong), the better one of single windows is taken, and then
    the one that believes more in the right name. Nothing but the splits is looked at.
    """
    worth = {
        size: np.asarray([0.0 if size in sizes_of(member) else -np.inf for member in panel])
        for size in SIZES
    }
    for split in splits:
        asked = questions(split.unseen_rows, split.unseen_person, rng, split.unseen_owner)
        for place, member in enumerate(panel):
            model = member.make(seed).fit(split.rows, split.person, split.owner)
            for size in sizes_of(member):
                said = Answers(model.log_probabilities(asked[size].rows), asked[size].person)
                right = said.log_probabilities[np.arange(len(said.person)), said.person]
                hits = float(said.hits().mean())
                worth[size][place] += hits + 0.01 * np.tanh(right.mean() / 10)
                if size == 1:
                    worth[SIX][place] += _TIE * hits
    return {size: int(values.argmax()) for size, values in worth.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Campaign:
    """Both directions of one gallery, and the same under permuted identities."""

    people: Words
    attacks: tuple[Attack, ...]
    under_permutation: tuple[tuple[Attack, ...], ...]


def campaign(
    samples: Samples,
    seed: int,
    permutations: int = 0,
    panel: Sequence[Member] = PANEL,
) -> Campaign:
    """Attack a gallery: half of the texts enrolled and half tested, both ways, then `permutations`
    times again with the identities of the enrolment permuted.

    Raises:
        ContractError: fewer than two people have four windows in both halves.
    """
    rng = np.random.default_rng(seed)
    directions = list(both_directions(samples, rng))
    if min(len(enrolment.people) for enrolment, _ in directions) < 2:
        raise ContractError("A gallery holds at least two people with four windows in each half.")
    attacks = tuple(attack(*pair, seed, panel) for pair in directions)
    lost = tuple(
        tuple(
            attack(enrolment.permuted(rng), test, seed + 1 + turn, panel, all_members=False)
            for enrolment, test in directions
        )
        for turn in range(permutations)
    )
    return Campaign(attacks[0].people, attacks, lost)
