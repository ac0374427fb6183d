"""The tables of the report, as words: one source for Markdown and HTML."""

from collections.abc import Sequence

from edge_models.training.coevaluation.figure import Figure
from edge_models.training.coevaluation.schema import Evaluation, Setting
from edge_models.training.coevaluation.sheet import Sheet
from edge_models.training.coevaluation.story import aims
from edge_models.training.levels import EMBEDDING


def aims_sheet(evaluation: Evaluation) -> Sheet:
    """Aims and whether they were reached."""
    return Sheet(
        "Aims of this project at level 3; the value decides, its interval stands beside it",
        ("aim", "measured", "reached"),
        tuple(
            (aim.text, _exactly(aim.measured), "yes" if aim.reached else "no")
            for aim in aims(evaluation)
        ),
    )


def identity_sheet(setting: Setting, windows: int) -> Sheet:
    """Who was it, from questions of so many windows, level by level."""
    rows = []
    for level in setting.levels:
        told = level.identity_of(windows)
        rows.append(
            (
                level.level,
                str(level.columns),
                str(told.people),
                str(told.top1),
                f"{told.chance} (1/n {told.one_in_n:.2f})",
                _or_dash(told.reduction),
                _or_dash(told.reduction_of_one_in_n),
                str(told.equal_error_rate),
                str(told.accepted_at_1_percent),
                str(told.accepted_at_01_percent),
                f"{told.worst_decile:.2f} (chance {told.worst_decile_chance:.2f})",
                ", ".join(f"{name} {count}×" for name, count in list(told.chosen.items())[:3]),
            )
        )
    return Sheet(
        f"Identity from {_windows(windows)}: {setting.name}",
        (
            *("level", "numbers", "people", "top-1", "chance", "R", "R if chance were 1/n", "EER"),
            *("TPR at 1 % FPR", "TPR at 0.1 % FPR", "worst decile", "attackers chosen most"),
        ),
        tuple(rows),
    )


def members_sheet(setting: Setting, windows: int) -> Sheet:
    """Each attacker's own top-1, level by level."""
    names = tuple(setting.levels[0].identity_of(windows).members)
    return Sheet(
        f"Each attacker's own top-1 from {_windows(windows)}: {setting.name} (their maximum beats "
        "chance by luck; the figures above are of the one chosen beforehand)",
        ("level", *names),
        tuple(
            (level.level, *(f"{level.identity_of(windows).members[name]:.2f}" for name in names))
            for level in setting.levels
        ),
    )


def affect_sheet(setting: Setting) -> Sheet:
    """Affect over sessions, level by level, task by task and set by set."""
    rows = [
        (
            level.level,
            told.task,
            told.dataset,
            str(told.people),
            str(told.balanced_accuracy),
            str(told.one_window),
            str(told.macro_f1),
            str(told.auroc),
            str(told.calibration_error),
            f"0.50 / {told.constant_macro_f1:.2f}",
            "–" if told.shuffled is None else f"{told.shuffled:.2f}",
        )
        for level in setting.levels
        for told in level.affect
    ]
    return Sheet(
        f"Affect over six windows: {setting.name}",
        (
            *("level", "task", "set", "people", "balanced accuracy", "of one window", "macro-F1"),
            *("AUROC", "calibration error", "a constant answer (BA / F1)", "shuffled labels (BA)"),
        ),
        tuple(rows),
    )


def abstention_sheet(setting: Setting) -> Sheet:
    """No answer rather than a wrong one, at level 3."""
    level = setting.level(EMBEDDING)
    told = [one for one in level.affect if one.error_rate is not None] if level else []
    return Sheet(
        f"Abstention at level 3, both error rates promised: {setting.name}",
        ("task", "set", "promised", "missed", "false alarms", "no answer"),
        tuple(
            (
                one.task,
                one.dataset,
                f"{one.error_rate:.2f}",
                _or_dash(one.missed),
                _or_dash(one.false_alarms),
                _or_dash(one.abstained),
            )
            for one in told
        ),
    )


def attributes_sheet(setting: Setting) -> Sheet:
    """What else is recognised, level by level."""
    rows = [
        (
            level.level,
            one.name.replace("_", " "),
            ", ".join(one.values),
            str(one.windows),
            str(one.people),
            str(one.balanced_accuracy),
            f"{one.chance:.2f}",
        )
        for level in setting.levels
        for one in level.attributes
    ]
    return Sheet(
        f"Attributes of people never met: {setting.name}",
        ("level", "attribute", "values", "windows", "people", "balanced accuracy", "chance"),
        tuple(rows),
    )


def gaps_sheet(setting: Setting) -> Sheet:
    """Gaps between groups at level 3."""
    level = setting.level(EMBEDDING)
    rows = [
        (
            one.task,
            gap.attribute.replace("_", " "),
            f"{gap.lowest} to {gap.highest}",
            str(gap.largest),
            f"{gap.by_chance_95:.2f}",
            "yes" if gap.confounded else "no",
        )
        for one in (level.affect if level else ())
        for gap in one.gaps
    ]
    return Sheet(
        f"Gaps of balanced accuracy between groups at level 3: {setting.name}",
        (
            "task",
            "groups by",
            "lowest to highest",
            "gap",
            "95 % of gaps by chance",
            "groups are sets themselves",
        ),
        tuple(rows),
    )


def corpora_sheet(evaluation: Evaluation) -> Sheet:
    """What was heard."""
    return Sheet(
        "Recordings",
        ("set", "people", "windows", "licence"),
        tuple(
            (one.name, str(one.people), str(one.windows), one.licence) for one in evaluation.corpora
        ),
    )


def sheets_of(setting: Setting) -> Sequence[Sheet]:
    """All tables of a setting that have rows, the most telling first."""
    made = [
        identity_sheet(setting, 6),
        affect_sheet(setting),
        attributes_sheet(setting),
        abstention_sheet(setting),
        gaps_sheet(setting),
        identity_sheet(setting, 1),
        members_sheet(setting, 6),
        members_sheet(setting, 1),
    ]
    return [sheet for sheet in made if sheet.rows]


def _or_dash(figure: Figure | None) -> str:
    return "–" if figure is None else str(figure)


def _windows(windows: int) -> str:
    return "one window" if windows == 1 else f"{windows} windows"


def _exactly(figure: Figure) -> str:
    """Three places, so that a narrow miss does not look like a hit."""
    return f"{figure.value:.3f} ({figure.low:.2f} to {figure.high:.2f})"
