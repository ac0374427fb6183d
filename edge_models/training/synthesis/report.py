"""What a comparison of synthesisers found, in words and tables: `comparison.md`, and as JSON.

Rules it upholds: nothing is called private for being synthetic: a table has the ε that its method
has, or none, and the text says which; what falls short is printed like what does not; affect
figures are called that.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from edge_models.training.metrics import Estimate
from edge_models.training.synthesis.accountant import Budget
from edge_models.training.synthesis.comparison import Comparison, Figures
from edge_models.training.synthesis.levels import Level
from edge_models.training.synthesis.tstr import Utility


@dataclass(frozen=True, slots=True)
class Told:
    """What stands around the figures."""

    level: Level
    seed: int
    licence: str
    notice: str
    budget: Budget | None
    with_epsilon: bool


def promise(epsilon: float | None, delta: float, level: Level) -> str:
    """What ε a table has, in words."""
    if epsilon is None:
        return (
            "It has no ε: it is synthetic, and that alone protects nobody. What speaks for it are "
            "the attacks that were tried, and no others."
        )
    whose = "Its synthesiser" if level is Level.EMBEDDING else "It"
    said = (
        f"{whose} has ε = {epsilon:g} at δ = {delta:g} for each person with all their windows "
        "(added or left out; dp-accounting, Rényi orders), for this one table. How many people "
        "there are, and behind each label, is public."
    )
    if level is Level.EMBEDDING:
        said += (
            " But the body that made the embeddings learnt from the same people without an ε, so "
            "the table as a whole has none."
        )
    return said


def verdict(won: Figures | None, told: Told) -> str:
    """Who won, by which rule, in words."""
    among = " with an ε" if told.with_epsilon else ""
    if won is None:
        return (
            f"**Nobody won; no table is published.** No method{among} both keeps its people from "
            "being told from strangers by every attack and teaches *distress* (affect)."
        )
    family = "The GAN did" if won.family == "gan" else "The GAN did not"
    return (
        f"**{won.name} won**: of the methods{among} whose attacks tell no member from a stranger, "
        f"what it teaches holds best for real people ({won.deciding} balanced accuracy on "
        f"*distress* over six windows, affect). {family}."
    )


def markdown(comparison: Comparison, won: Figures | None, told: Told) -> str:
    """The whole page."""
    delta = told.budget.delta if told.budget else 0.0
    frame = "background speakers" if comparison.public_frame else "the people themselves"
    parts = [
        "# Synthetic windows compared",
        f"Level *{told.level}*, {comparison.people} people, {comparison.windows} windows as "
        f"recorded, {comparison.labels} labels, seed {told.seed}. Folds are by person; values are "
        f"measured in spreads of {frame}. Affect figures on acted speech. Brackets are 95 % "
        "intervals over people.",
        verdict(won, told),
        *([promise(won.epsilon, delta, told.level)] if won else []),
        "Rule, set beforehand: of the tables whose people no attack tells from strangers and which "
        "teach distress better than chance, the one that teaches it best; within 0.01, one with an "
        "ε before one without, then the simpler. The figures that choose are also the ones shown, "
        "so the winner's is a little too high. The figures themselves have no ε.",
        "## Train on synthetic, test on real people",
        "Balanced accuracy of a logistic regression; a constant answer has 0.50.",
        _table(
            ("", "task", "a window", "six windows", "macro-F1", "constant"), _taught(comparison)
        ),
        "## Fidelity",
        "Beside real rows of people it never met. *copying* hands out real rows of others: as like "
        "as people are among themselves.",
        _table(
            ("", "Wasserstein", "KS", "worst KS", "correlations", "MMD", "told apart (AUC)"),
            (
                (
                    one.name,
                    one.fidelity.wasserstein,
                    one.fidelity.ks,
                    f"{one.fidelity.worst_ks:.2f}",
                    one.fidelity.correlation,
                    one.fidelity.mmd,
                    one.fidelity.propensity,
                )
                for one in comparison.figures
            ),
        ),
        "## Leakage",
        "Members against held-out people. *copying* is a planted leak: attacks that miss it would "
        "be worth nothing."
        + (
            " The body learnt from the members too: what it tells of them counts here as well."
            if told.level is Level.EMBEDDING
            else ""
        ),
        _table(("", "attack", "members", "control", "excess"), _attacked(comparison.figures)),
        _table(
            ("", "membership", "AUC", "before a false alarm", "windows at 1 %", "at 0.1 %"),
            _suspected(comparison.figures),
        ),
        _table(
            ("", "nearest-record ratio", "of strangers", "told by"),
            (
                (
                    one.name,
                    one.leakage.ratio,
                    f"{one.leakage.strangers:.2f}",
                    ", ".join(one.leakage.told_by) or "nobody",
                )
                for one in comparison.figures
            ),
        ),
        "People are too few for a true-positive rate of *people* at 1 % or 0.1 % false positives; "
        "those columns are of single windows.",
        "## Licence",
        f"{told.licence}. {told.notice}",
    ]
    return "\n\n".join(parts) + "\n"


def as_json(comparison: Comparison, won: Figures | None, told: Told) -> str:
    """The same, for programs."""
    methods = []
    for one in comparison.figures:
        told_by = list(one.leakage.told_by)
        methods.append({**asdict(one), "told_by": told_by, "wins": one is won})
    page = {
        "format": 1,
        "verdict": verdict(won, told),
        **asdict(told),
        **asdict(comparison),
        "figures": methods,
    }
    return json.dumps(page, indent=1, ensure_ascii=False) + "\n"


def _taught(comparison: Comparison) -> Iterator[Sequence[object]]:
    named: list[tuple[str, Sequence[Utility]]] = [
        ("real rows", comparison.real),
        ("real rows, shuffled labels", comparison.shuffled),
        *((one.name, one.utility) for one in comparison.figures),
    ]
    for name, utilities in named:
        for one in utilities:
            yield (
                name,
                one.task,
                one.balanced_accuracy,
                one.six or "too few windows",
                one.macro_f1,
                f"{one.constant_macro_f1:.2f}",
            )


def _attacked(figures: Sequence[Figures]) -> Iterator[Sequence[object]]:
    for one in figures:
        for attack in one.leakage.attacks:
            members, control = f"{attack.members:.3f}", f"{attack.control:.3f}"
            yield one.name, attack.attack, members, control, _fine(attack.excess)


def _suspected(figures: Sequence[Figures]) -> Iterator[Sequence[object]]:
    for one in figures:
        for guess in one.leakage.membership:
            rates = ("too few" if rate is None else f"{rate:.3f}" for rate in guess.windows_caught)
            yield one.name, guess.score, guess.auc, f"{guess.caught:.2f}", *rates


def _fine(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} ({estimate.low:+.3f} to {estimate.high:+.3f})"


def _table(
    head: Sequence[str], rows: Iterator[Sequence[object]] | Sequence[Sequence[object]]
) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in lines)
