"""Attacks on a synthetic table: what it tells of the people behind it and not of other people.

Rules it upholds: every attack runs alike against members (whom the synthesiser learnt from) and
a control (held-out people), because what works against strangers too is knowledge of mankind,
not a leak; what it reaches is told for each person.

    singling out         predicates from synthetic rows that fit one person of a room alone
    linkability          two halves of a window's columns that lead to one synthetic row
    attribute inference  half of a window's columns, and the nearest row's label as the guess
    nearest record       whose window lies nearest to each synthetic row
    membership           see `membership`

Source: Giomi, Boenisch, Wehmeyer, Tasnádi, "A Unified Framework for Quantifying Privacy Risk in
Synthetic Data" (Anonymeter), PoPETs 2023, arXiv 2211.10459; Platzer, Reutterer, "Holdout-Based
Empirical Assessment of Mixed-Type Synthetic Data", Frontiers in Big Data 4, 2021.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import gammaln

from edge_models.errors import RecordingError
from edge_models.training.streams import Places
from edge_models.training.synthesis.membership import suspected
from edge_models.training.synthesis.table import Flags, Reals, Table, Words

PREDICATES: Final = 600
PREDICATE_COLUMNS: Final = (4, 8, 16)
NEIGHBOURS: Final = 3
FEWEST_IN_CONTROL: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Exposed:
    """What each attack reaches against P people, members first, and their N windows.

    `singled_out`, `linked`, `inferred` are success rates, `by_distance` and `by_density` mean
    membership scores, all float64 (P,); `member` bool (P,). `nearest` is float64 (P,): the share
    of synthetic rows nearest to this person, in fair shares of their group. `distances` (S, P) from
    each synthetic row to each person's nearest window; `strangers` is the median ratio, for the
    control's own windows, of the distance to a member to that to another control person. `row_*`
    are of the windows, (N,).
    """

    people: Words
    member: Flags
    singled_out: Reals
    linked: Reals
    inferred: Reals
    nearest: Reals
    by_distance: Reals
    by_density: Reals
    distances: Reals
    strangers: float
    row_person: Words
    row_member: Flags
    row_by_distance: Reals
    row_by_density: Reals


def exposed(synthetic: Table, members: Table, control: Table, rng: np.random.Generator) -> Exposed:
    """Run every attack.

    Raises:
        RecordingError: fewer than two people were held out.
    """
    inside, outside = np.unique(members.person), np.unique(control.person)
    if len(outside) < FEWEST_IN_CONTROL:
        raise RecordingError(
            "Attacks need at least two people whom the synthesiser never met.",
            "Give recordings of more people.",
        )
    people = np.concatenate([inside, outside])
    member = np.repeat([True, False], [len(inside), len(outside)])
    owners = np.concatenate([members.person, control.person])
    rows = np.concatenate([members.values, control.values])
    labels = np.concatenate([members.labels.keys, control.labels.keys])
    own = [owners == person for person in people]

    def each(scores: Reals) -> Reals:
        return np.asarray([scores[at].mean() for at in own])

    linked, inferred = _linked(synthetic, rows, labels, rng)
    scores = suspected(synthetic.values, members, control)
    distances = np.stack([cdist(synthetic.values, rows[at]).min(axis=1) for at in own], axis=1)
    groups = np.concatenate([members.group, control.group])
    of_people = np.asarray([groups[at][0] for at in own])
    return Exposed(
        people=people,
        member=member,
        singled_out=_singled_out(synthetic.values, [rows[at] for at in own], member, rng),
        linked=each(linked),
        inferred=each(inferred),
        nearest=_fair_shares(distances, of_people),
        by_distance=each(scores.by_distance),
        by_density=each(scores.by_density),
        distances=distances,
        strangers=_strangers(members, control),
        row_person=owners,
        row_member=np.repeat([True, False], [len(members), len(control)]),
        row_by_distance=scores.by_distance,
        row_by_density=scores.by_density,
    )


def _singled_out(
    synthetic: Reals, people: list[Reals], member: Flags, rng: np.random.Generator
) -> Reals:
    """How often a predicate fits this person alone in a room as large as the control, (P,).

    For members the room is a random one of that size with the person in it: of n members of whom
    M fit, the chance that none of the other M − 1 is among the m − 1 others is exact.
    """
    size = synthetic.shape[1]
    middle = np.median(synthetic, axis=0)
    fits = np.empty((PREDICATES, len(people)), bool)
    for turn in range(PREDICATES):
        row = synthetic[rng.integers(len(synthetic))]
        wanted = min(size, PREDICATE_COLUMNS[turn % len(PREDICATE_COLUMNS)])
        columns = rng.permutation(size)[:wanted]
        side = np.where(row[columns] >= middle[columns], 1.0, -1.0)
        edge = side * row[columns]
        for place, values in enumerate(people):
            fits[turn, place] = (side * values[:, columns] >= edge).all(axis=1).any()
    room = np.count_nonzero(~member)
    rates = np.empty(len(people))
    for group in (member, ~member):
        crowd = fits[:, group]
        alone = _chance_alone(crowd.sum(axis=1), crowd.shape[1], min(room, crowd.shape[1]))
        rates[group] = (crowd * alone[:, None]).mean(axis=0)
    return rates


def _chance_alone(fitting: Places, crowd: int, room: int) -> Reals:
    """C(n − M, m − 1) / C(n − 1, m − 1); 0 where too few don't fit to fill the room."""
    others = crowd - fitting
    possible = (others >= room - 1) & (fitting >= 1)
    rest = np.where(possible, others, room - 1)
    logs = _log_choose(rest, room - 1) - _log_choose(np.asarray(crowd - 1), room - 1)
    return np.asarray(np.where(possible, np.exp(logs), 0.0))


def _log_choose(many: Places, few: int) -> Reals:
    return np.asarray(gammaln(many + 1) - gammaln(few + 1) - gammaln(many - few + 1))


def _linked(
    synthetic: Table, rows: Reals, labels: Words, rng: np.random.Generator
) -> tuple[Reals, Reals]:
    """Whether both halves find one synthetic row, and whether the first tells the label, (N,)."""
    order = rng.permutation(rows.shape[1])
    halves = (order[::2], order[1::2]) if len(order) > 1 else (order, order)
    near = []
    for columns in halves:
        gaps = cdist(rows[:, columns], synthetic.values[:, columns])
        near.append(np.argsort(gaps, axis=1)[:, :NEIGHBOURS])
    shared = (near[0][:, :, None] == near[1][:, None, :]).any(axis=(1, 2))
    guessed = synthetic.labels.keys[near[0][:, 0]] == labels
    return shared.astype(np.float64), guessed.astype(np.float64)


def _fair_shares(distances: Reals, groups: Words) -> Reals:
    owner = distances.argmin(axis=1)
    counts = np.bincount(owner, minlength=distances.shape[1]).astype(np.float64)
    shares = np.ones(len(counts))
    for name in np.unique(groups):
        group = groups == name
        total = counts[group].sum()
        if total:
            shares[group] = counts[group] / (total / group.sum())
    return shares


def _strangers(members: Table, control: Table) -> float:
    to_members = cdist(control.values, members.values).min(axis=1)
    gaps = cdist(control.values, control.values)
    gaps[control.person[:, None] == control.person[None]] = np.inf
    return float(np.median(to_members / np.maximum(gaps.min(axis=1), 1e-9)))
