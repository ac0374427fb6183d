"""Windows as an attacker meets them: numbers, who spoke, which text, when, and with which affect.

Rules it upholds: enrolment and test never share a text (a session, where one text is all there
is); every text and session is enrolled once and tested once; permuted identities keep the rows,
the test, and how many windows of each affect a person has, and break nothing but the link to the
person: who is sad more often than others is found by that alone, and no body could hide it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
Words = npt.NDArray[np.str_]

SIX: Final = 6
DRAWS: Final = 10
"""Sessions of six windows drawn for each person in each test."""

MOST_COLUMNS: Final = 96
"""Attackers meet no more columns than that: what is wider is narrowed first."""

LEAST: Final = 4
"""Windows that a person has in each half, or is left out: two to learn from, two to choose by."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """N windows of one gallery of people: `rows` float32 (N, D); the rest (N,) words.

    `sentence` is the text spoken, `session` the occasion or repetition, `affect` the emotion (or
    the truth) that a useful model tells; each "" where unknown.
    All windows of a person are of one device: they were normalised by one running baseline.
    """

    rows: Floats
    person: Words
    sentence: Words
    session: Words
    affect: Words

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def people(self) -> Words:
        """The gallery, in order of name."""
        return np.unique(self.person)

    def at(self, chosen: npt.NDArray[np.bool_] | Places) -> "Samples":
        """Some of the windows."""
        return Samples(
            self.rows[chosen],
            self.person[chosen],
            self.sentence[chosen],
            self.session[chosen],
            self.affect[chosen],
        )

    def permuted(self, rng: np.random.Generator) -> "Samples":
        """The same windows, identities permuted among the windows of each affect."""
        person = self.person.copy()
        for affect in np.unique(self.affect):
            own = np.flatnonzero(self.affect == affect)
            person[own] = self.person[rng.permutation(own)]
        return replace(self, person=person)


def halves(samples: Samples, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which windows are of the first half, bool (N,): no text is in both.

    Where all windows have one text, no session is in both; where there is one session too (or
    neither is known), each person's windows are dealt out at random.
    """
    for column in (samples.sentence, samples.session):
        if len(np.unique(column)) > 1:
            return _dealt(samples.person, column)
    return _random_part(samples.person, 0.5, rng)


def both_directions(
    samples: Samples, rng: np.random.Generator
) -> Iterator[tuple[Samples, Samples]]:
    """Enrolment and test, then the other way round, of the people with four windows in each."""
    first = halves(samples, rng)
    kept = np.isin(samples.person, _with(samples.person, first, LEAST))
    for side in (first, ~first):
        yield samples.at(side & kept), samples.at(~side & kept)


def _with(person: Words, part: npt.NDArray[np.bool_], least: int) -> Words:
    """The people with at least so many windows inside and outside a part."""
    return np.asarray(
        [
            one
            for one in np.unique(person)
            if min(np.count_nonzero(part[person == one]), np.count_nonzero(~part[person == one]))
            >= least
        ],
        person.dtype,
    )


def held_out(enrolment: Samples, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Windows of the enrolment that choose the attacker, bool (N,): about half of each person's.

    Of other texts than the rest where the enrolment has three or more, else of another session,
    else at random.
    """
    if len(np.unique(enrolment.sentence)) > 2:
        part = _dealt(enrolment.person, enrolment.sentence)
    elif len(np.unique(enrolment.session)) > 1:
        part = _dealt(enrolment.person, enrolment.session)
    else:
        part = _random_part(enrolment.person, 0.5, rng)
    if len(_with(enrolment.person, part, 2)) < len(enrolment.people):
        return _random_part(enrolment.person, 0.5, rng)
    return part


def _dealt(person: Words, word: Words) -> npt.NDArray[np.bool_]:
    """Deal words alternately, in order, anew for each set: sets share no speaker."""
    side: dict[str, bool] = {}
    dealt: dict[str, int] = {}
    for one in np.unique(word):
        speaker = min(person[word == one].tolist())
        side[str(one)] = dealt.get(speaker, 0) % 2 == 0
        dealt[speaker] = dealt.get(speaker, 0) + 1
    return np.asarray([side[str(one)] for one in word], bool)


def _random_part(person: Words, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    part = np.zeros(len(person), bool)
    for one in np.unique(person):
        own = rng.permutation(np.flatnonzero(person == one))
        part[own[: max(round(share * len(own)), 1)]] = True
    return part


def narrowed(enrolment: Samples, test: Samples) -> tuple[Samples, Samples]:
    """Both in the enrolment's leading principal directions, where they are of many columns.

    Source: Belhumeur, Hespanha, Kriegman, "Eigenfaces vs. Fisherfaces", IEEE TPAMI 19(7), 1997:
    fewer directions than windows before a discriminant is looked for.
    """
    if enrolment.rows.shape[1] <= MOST_COLUMNS:
        return enrolment, test
    mean = enrolment.rows.mean(axis=0, dtype=np.float64)
    spread = np.maximum(enrolment.rows.std(axis=0, dtype=np.float64), 1e-9)
    scaled = [np.clip((one.rows - mean) / spread, -6, 6) for one in (enrolment, test)]
    _, _, turn = np.linalg.svd(scaled[0], full_matrices=False)
    kept = turn[:MOST_COLUMNS].T
    known, unseen = ((rows @ kept).astype(np.float32) for rows in scaled)
    return replace(enrolment, rows=known), replace(test, rows=unseen)


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """S groups of W windows, each of one person: `rows` float32 (S, W, D), `person` int (S,)."""

    rows: Floats
    person: Places

    def __len__(self) -> int:
        return len(self.rows)


def alone(rows: Floats, person: Places) -> Sessions:
    """Each window as a session of its own."""
    return Sessions(rows[:, None, :], person)


def sessions_of(
    rows: Floats,
    person: Places,
    windows: int,
    draws: int,
    rng: np.random.Generator,
    owner: Places | None = None,
) -> Sessions:
    """For each owner (else person), `draws` times `windows` of their windows, none twice in one.

    If somebody has fewer windows than that, everybody's sessions are as short as theirs.
    """
    whose = person if owner is None else owner
    own = [np.flatnonzero(whose == one) for one in np.unique(whose)]
    size = min(windows, *(len(places) for places in own))
    chosen = [rng.choice(places, size, replace=False) for places in own for _ in range(draws)]
    places = np.asarray(chosen).reshape(-1, size)
    return Sessions(rows[places], person[places[:, 0]])
