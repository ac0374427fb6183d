"""A federated head on the simulated cohort beside a central one, and what poisoners can do to it.

Nobody in the cohort exists; voices are real recordings where they are at hand. The shipped body was
trained on these speakers, so accuracies are too good for strangers; the *difference* between
central and federated is what is measured. Intervals: 95 %, over cohorts (seeds), speakers parted
anew each.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from edge_models.bundle import shipped_bundle
from edge_models.errors import RecordingError
from edge_models.frame import Frame, Reals
from edge_models.training.cohort import Voices, made_up_voices, simulated_cohort
from edge_models.training.cohort import voices_of_recordings as heard
from edge_models.training.recordings import recordings_folder
from sync.coordinator.accounting import composed
from sync.coordinator.gate import Rule
from sync.coordinator.optimisers import dp_ftrl, fed_adam, fed_avg, tail_mean
from sync.coordinator.suspicion import examined
from sync.coordinator.tree import TreeNoise
from sync.federated.layout import Layout
from sync.federated.update import to_integers, update_of
from sync.shared_noise import NEIGHBOURS, noise_share, squared_sensitivity
from tests.bench.figure import Figure
from tests.federation import (
    CLIP,
    RHO_CANARY,
    RHO_ROUND,
    ROUNDS,
    TRAINING,
    People,
    central,
    federated,
    judged,
    noise_of,
    quality,
    random_below,
)
from tests.poisoners import Recruit, boosted, hostile_among, label_flip, sign_flip, sybils

PEOPLE = 300
TESTED = 2000
COHORTS = 12
POISONED_COHORTS = 5
DELTA = 1e-6
RIDGES = (1e-4, 1e-3, 1e-2)
RULE = Rule(hostile=0.02)

_BUNDLE = shipped_bundle()
_FULL = _BUNDLE.frame
_ALONG = _FULL.along(_BUNDLE.head)
_T95 = {12: 2.201, 5: 2.776}  # Student's t, two-sided


@dataclass(frozen=True)
class _Cohort:
    """People to train with and others, with other speakers' voices, to test on; in one frame."""

    frame: Frame
    people: People
    others: People
    start: Reals

    def balanced(self, point: Reals) -> float:
        return float(quality(point, self.others, self.frame).balanced.mean())

    def auroc(self, point: Reals) -> float:
        return float(quality(point, self.others, self.frame).auroc.mean())


def measure() -> list[Figure]:
    """All figures of federated rounds."""
    voices = _voices()
    pairs = [_drawn(voices, seed) for seed in range(COHORTS)]
    along, full = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return [
        *_headline(along, full, voices.made_up),
        _price(),
        *_canary(along),
        *_poisoning(along[:POISONED_COHORTS]),
        *_seldom(voices),
        _device(along[0]),
    ]


def _voices() -> Voices:
    try:
        folder = recordings_folder()
    except RecordingError:
        return made_up_voices(_BUNDLE, 7)
    return heard(folder, _BUNDLE, 7)


def _drawn(voices: Voices, seed: int) -> tuple[_Cohort, _Cohort]:
    train, test = voices.parted(seed)
    trained = simulated_cohort(train, PEOPLE, seed)
    tested = simulated_cohort(test, TESTED, seed + 1000, questionnaires=1)
    along, full = (
        _Cohort(f, People.of(trained, f), People.of(tested, f), f.point(_BUNDLE.head))
        for f in (_ALONG, _FULL)
    )
    return along, full


def _spread(values: list[float]) -> str:
    mean = float(np.mean(values))
    half = _T95[len(values)] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{mean:.3f} ({mean - half:.3f} to {mean + half:.3f})"


def _headline(along: list[_Cohort], full: list[_Cohort], made_up: bool) -> list[Figure]:
    how = (
        f"{PEOPLE} simulated people ({'made-up' if made_up else 'recorded'} voices), {ROUNDS} "
        f"rounds, {COHORTS} cohorts; mean of three tasks on {TESTED} others with other voices"
    )
    points = {
        "published head": [one.start for one in along],
        "usual": [
            federated(c.start, c.people, c.frame, seed=s, shares=True).point
            for s, c in _each(along)
        ],
        "no noise": [
            federated(c.start, c.people, c.frame, seed=s, rho=None).point for s, c in _each(along)
        ],
        "30 % drop out of every round": [
            federated(c.start, c.people, c.frame, seed=s, dropout=0.3).point
            for s, c in _each(along)
        ],
        "from nothing": [
            federated(0 * c.start, c.people, c.frame, seed=s).point for s, c in _each(along)
        ],
        "moving clip": [
            federated(c.start, c.people, c.frame, seed=s, clip=0.5, adaptive=0.95).point
            for s, c in _each(along)
        ],
        "FedAdam": [
            federated(
                c.start,
                c.people,
                c.frame,
                seed=s,
                optimiser=tail_mean(fed_adam(0.1), 8),  # type: ignore[arg-type]
            ).point
            for s, c in _each(along)
        ],
    }
    figures = [_quality(name, along, found, how) for name, found in points.items()]
    wide = [federated(c.start, c.people, c.frame, seed=s).point for s, c in _each(full)]
    figures.append(_quality("all 51 numbers", full, wide, how))
    best = [
        max(
            (c.balanced(p), c.auroc(p)) for c in both for r in RIDGES
             for p in [central(c.people, c.frame, r)]
        )
        for both in zip(along, full, strict=True)
    ]  # fmt: skip
    figures.append(
        Figure(
            "federated: best central head, balanced accuracy",
            f"{_spread([b for b, _ in best])}; AUROC {_spread([a for _, a in best])}",
            "",
            None,
            f"un-noised; the best of two frames and ridges {RIDGES}, chosen on the test people",
        )
    )
    behind = [b - c.balanced(p) for (b, _), c, p in zip(best, along, points["usual"], strict=True)]
    figures.append(
        Figure(
            "federated: points behind the best central head",
            _spread([100 * one for one in behind]),
            "at most 3",
            float(np.mean(behind)) <= 0.03,
            f"{how}; every device's noise share drawn by itself",
        )
    )
    return figures


def _each(cohorts: list[_Cohort]) -> list[tuple[int, _Cohort]]:
    return list(enumerate(cohorts))


def _quality(name: str, cohorts: list[_Cohort], points: list[Reals], how: str) -> Figure:
    balanced = [c.balanced(p) for c, p in zip(cohorts, points, strict=True)]
    area = [c.auroc(p) for c, p in zip(cohorts, points, strict=True)]
    value = f"{_spread(balanced)}; AUROC {_spread(area)}"
    return Figure(f"federated: {name}, balanced accuracy", value, "", None, how)


def _price() -> Figure:
    whole = composed([RHO_ROUND] * ROUNDS + [RHO_CANARY], DELTA)
    in_order = whole.epsilon_pld <= whole.epsilon_rdp <= whole.epsilon
    return Figure(
        "federated: epsilon of a person at 1e-6",
        f"{whole.epsilon_pld:.2f} (PLD), {whole.epsilon_rdp:.2f} (Renyi), "
        f"{whole.epsilon:.2f} (device's bound)",
        "at most 4, the device's bound never below",
        in_order and whole.epsilon <= 4.0,
        f"{ROUNDS} rounds of rho {RHO_ROUND} and one canary of {RHO_CANARY}; left-out neighbours",
    )


def _canary(cohorts: list[_Cohort]) -> list[Figure]:
    told: dict[str, list[bool]] = {"better": [], "worse": []}
    for seed, cohort in _each(cohorts):
        trained = federated(cohort.start, cohort.people, cohort.frame, seed=seed).point
        for again in range(10):
            for name, one, two in (
                ("better", trained, cohort.start),
                ("worse", cohort.start, trained),
            ):
                verdict = judged(
                    one, two, cohort.people, cohort.frame, seed=100 * seed + again, rule=RULE
                )
                told[name].append(verdict.publish)
    how = f"{len(told['better'])} votes of {PEOPLE} people, rho {RHO_CANARY}, {RULE}"
    return [
        Figure(
            "canary: the federated head is let through",
            f"{100 * np.mean(told['better']):.0f} %",
            "",
            None,
            f"beside the published one; {how}",
        ),
        Figure(
            "canary: a worse head is published",
            f"{100 * np.mean(told['worse']):.1f} %",
            "at most 5 %",
            float(np.mean(told["worse"])) <= 0.05,
            f"the published head offered in the place of the federated one; {how}",
        ),
    ]


def _poisoning(cohorts: list[_Cohort]) -> list[Figure]:
    """A second campaign of 20 rounds, which starts from an honestly trained head."""
    layout = Layout(_ALONG.size)
    apart = squared_sensitivity(layout.squared_clip, NEIGHBOURS["head"])
    sigma2 = float(noise_of(apart, layout.length, RHO_ROUND, PEOPLE).sum_sigma2(PEOPLE))
    good = [federated(c.start, c.people, c.frame, seed=s).point for s, c in _each(cohorts)]
    pulls: dict[str, Callable[[Reals], Recruit]] = {
        "sign flip": lambda head: sign_flip,
        "label flip": lambda head: label_flip(_ALONG, TRAINING, CLIP),
        "sybils, one pull": lambda head: sybils(head),
        "boosted 10 times, no clip": lambda head: boosted(sybils(head), 10),
        "boosted 100 times, no clip": lambda head: boosted(sybils(head), 100),
    }
    figures = []
    for name, pull in [("nobody hostile", None), *pulls.items()]:
        for share in (0.01, 0.05, 0.1) if pull else (0.0,):
            lost, found, let, warned = [], [], [], []
            for seed, cohort in _each(cohorts):
                head = good[seed]
                hostile = (
                    hostile_among(cohort.people.sessions, share, pull(head), seed) if pull else {}
                )
                ended = federated(
                    head, cohort.people, cohort.frame, seed=seed + 50, hostile=hostile
                )
                lost.append(100 * (cohort.balanced(head) - cohort.balanced(ended.point)))
                found += [
                    examined(s, layout, members=PEOPLE, sigma2=sigma2).suspicion is not None
                    for s in ended.sums
                ]
                usual, wary = (
                    judged(
                        ended.point, head, cohort.people, cohort.frame, seed=seed, rule=rule,
                        lying=frozenset(hostile),
                    ).publish
                    for rule in (RULE, Rule(hostile=max(share, RULE.hostile)))
                )  # fmt: skip
                let += lost[-1:] if usual else []
                warned += lost[-1:] if wary else []
            worst = f", {max(let):.1f} lost at worst" if let else ""
            figures.append(
                Figure(
                    f"poisoning: {name}{f', {100 * share:.0f} %' if pull else ''}",
                    f"{np.mean(lost):.1f} points lost ({max(lost):.1f} at worst); "
                    f"{100 * np.mean(found):.0f} % of sums found out; "
                    f"gate lets {len(let)} of {len(cohorts)} through{worst}; "
                    f"{len(warned)} where it knows the share",
                    "none let through loses 5 points",
                    max(let, default=0.0) < 5.0,
                    f"{ROUNDS} more rounds from an honest head; hostile devices also vote",
                )
            )
    return figures


def _seldom(voices: Voices) -> list[Figure]:
    """2,000 people, each in one of 20 rounds: independent noise beside a tree's."""
    members, rho, seeds = 100, Fraction(1, 5), 5
    layout = Layout(_ALONG.size)
    unit = CLIP / (layout.room * members)
    found: dict[str, list[float]] = {"noise in each sum": [], "DP-FTRL, noise of a tree": []}
    for seed in range(seeds):
        train, test = voices.parted(seed)
        people = People.of(simulated_cohort(train, members * ROUNDS, seed), _ALONG)
        others = People.of(simulated_cohort(test, TESTED, seed + 1000, questionnaires=1), _ALONG)
        draw = random_below(seed)
        apart = squared_sensitivity(layout.squared_clip, NEIGHBOURS["head"])
        shared = noise_of(apart, layout.length, rho, members)
        trees = TreeNoise.costing(rho, layout.squared_clip, draw, rounds=ROUNDS, participations=1)
        for name in found:
            start = _ALONG.point(_BUNDLE.head)
            summing = tail_mean(fed_avg(0.25, 0.9), 8)
            growing = tail_mean(dp_ftrl(0.25, trees, unit, 0.9), 8)
            averaged, led = summing.init(start), growing.init(start)
            for number in range(ROUNDS):
                block = people.sessions[number * members : (number + 1) * members]
                here = (led if name.startswith("DP") else averaged).inner.point
                vectors = [
                    to_integers(update_of(here, one, _ALONG, TRAINING), CLIP, layout)
                    for one in block
                ]
                total = np.sum(vectors, axis=0)[: layout.numbers]
                if name.startswith("DP"):
                    led = growing.apply(led, total)
                else:
                    share = TreeNoise(1, 1, 1, shared.sum_sigma2(members), draw)
                    mean = dp_ftrl(1.0, share, unit)
                    moved = mean.apply(mean.init(np.zeros(layout.numbers)), total).point
                    averaged = summing.apply(averaged, moved)
            end = (led if name.startswith("DP") else averaged).point
            found[name].append(float(quality(end, others, _ALONG).balanced.mean()))
    return [
        Figure(
            f"federated: people who come once, {name}",
            _spread(values),
            "",
            None,
            f"{members * ROUNDS:,} people, {members} in each of {ROUNDS} rounds, rho {rho} each; "
            "the tree's noise is drawn by a trusted coordinator",
        )
        for name, values in found.items()
    ]


def _device(cohort: _Cohort) -> Figure:
    """One device's work in a round, without the masks."""
    layout = Layout(cohort.frame.size)
    apart = squared_sensitivity(layout.squared_clip, NEIGHBOURS["head"])
    noise = noise_of(apart, layout.length, RHO_ROUND, PEOPLE)
    taken_s = []
    for sessions in cohort.people.sessions[:50]:
        begun = time.process_time()
        update = update_of(cohort.start, sessions, cohort.frame, TRAINING)
        to_integers(update, CLIP, layout)
        noise_share(noise, secrets.randbelow)
        taken_s.append(time.process_time() - begun)
    return Figure(
        "federated: one device's update and noise share",
        f"{1000 * float(np.median(taken_s)):.1f} ms",
        "",
        None,
        f"CPU, median of 50; {layout.length} numbers, from sessions to noised whole numbers",
    )
