"""`sottovoce synthesise`: what it publishes and what not, in which words, and that it resumes."""

import csv
import json
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge_models.errors import RecordingError
from edge_models.training.corpora import affect_clips
from edge_models.training.metrics import Estimate
from edge_models.training.streams import Windows
from edge_models.training.synthesis import comparison as comparing
from edge_models.training.synthesis import report, synthesise
from edge_models.training.synthesis.background import background_clips
from edge_models.training.synthesis.comparison import Figures, winner
from edge_models.training.synthesis.fidelity import Fidelity
from edge_models.training.synthesis.leakage import Excess, Leakage
from edge_models.training.synthesis.levels import Level, parted
from edge_models.training.synthesis.table import BOUND
from edge_models.training.synthesis.tstr import Utility
from tests.synthetic_windows import synthetic_windows

LICENCE = ("CC BY-NC-SA 4.0", "Trained on made-up people: for non-commercial use.")
NOTHING = Estimate(0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def windows() -> Windows:
    return synthetic_windows(people=12, each=24, functionals=5, seed=1)


@pytest.fixture(scope="module")
def background() -> Windows:
    return synthetic_windows(people=12, each=8, functionals=5, seed=2)


def synthesised(windows: Windows, background: Windows | None, out: Path, **given: object) -> int:
    settings: dict[str, object] = {
        "families": ("resampling", "copula"),
        "epsilon": None,
        "level": Level.SUMMARY,
        "seed": 3,
        "out": out,
        "console": Console(quiet=True),
    }
    return synthesise.synthesised(
        windows,
        background,
        LICENCE,
        **(settings | given),  # type: ignore[arg-type]
    )


def figures(
    name: str, family: str, value: float, *, epsilon: float | None = None, leaks: bool = False
) -> Figures:
    estimate = Estimate(value, value - 0.1, value + 0.1)
    found = Excess("linkability", 0.5, 0.2, Estimate(0.3, 0.1 if leaks else -0.1, 0.5))
    return Figures(
        name=name,
        family=family,
        epsilon=epsilon,
        planted=name == "copying",
        utility=(Utility("distress", estimate, estimate, 0.4, estimate),),
        fidelity=Fidelity(NOTHING, NOTHING, 0.0, NOTHING, NOTHING, NOTHING),
        leakage=Leakage((found,), (), NOTHING, 1.0),
    )


def test_the_best_of_those_that_leak_nothing_wins() -> None:
    field = [
        figures("copying", "copying", 0.95),
        figures("resampling", "resampling", 0.92, leaks=True),
        figures("copula", "copula", 0.80),
        figures("gan", "gan", 0.85),
    ]
    won = winner(field)
    assert won is not None and won.name == "gan"


def test_among_equals_one_with_an_epsilon_then_the_simpler_wins() -> None:
    field = [
        figures("gan", "gan", 0.805),
        figures("copula", "copula", 0.80),
        figures("gan at ε = 8", "gan", 0.797, epsilon=8.0),
    ]
    won = winner(field)
    assert won is not None and won.name == "gan at ε = 8"
    won = winner(field[:2])
    assert won is not None and won.name == "copula"


def test_nobody_wins_who_leaks_teaches_nothing_or_lacks_the_epsilon_asked_for() -> None:
    assert winner([figures("copula", "copula", 0.9, leaks=True)]) is None
    assert winner([figures("copula", "copula", 0.55)]) is None
    assert winner([figures("copula", "copula", 0.9)], with_epsilon=True) is None


def test_a_table_is_never_called_private_for_being_synthetic() -> None:
    assert "no ε" in report.promise(None, 0.0, Level.SUMMARY)
    assert "protects nobody" in report.promise(None, 0.0, Level.SUMMARY)
    said = report.promise(8.0, 1e-4, Level.EMBEDDING)
    assert "the table as a whole has none" in said
    assert "as a whole" not in report.promise(8.0, 1e-4, Level.NORMALISED)


def test_a_run_writes_its_page_and_marks_every_row(
    windows: Windows,
    background: Windows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The winner is decreed here: that a table is written must not hang on made-up luck."""
    monkeypatch.setattr(
        synthesise,
        "winner",
        lambda told, with_epsilon: next(one for one in told if one.epsilon is not None),
    )
    assert synthesised(windows, background, tmp_path, families=("copula",)) == 0
    names = {"comparison.json", "comparison.md", "synthetic.csv", "synthetic.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    page = json.loads((tmp_path / "comparison.json").read_text())
    assert [one["name"] for one in page["figures"]] == ["copying", "copula", "copula at ε = 8"]
    assert "membership by distance" in page["figures"][0]["told_by"]
    text = (tmp_path / "comparison.md").read_text()
    assert "The GAN did not." in text and LICENCE[1] in text and "shuffled labels" in text
    with (tmp_path / "synthetic.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["synthetic"] for row in rows} == {"yes"}
    assert {row["fear"] for row in rows if row["dataset"] == "two"} == {""}
    about = json.loads((tmp_path / "synthetic.json").read_text())
    assert (about["epsilon"], about["licence"]) == (8.0, LICENCE[0])


def test_without_a_winner_an_old_table_goes(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesise, "winner", lambda told, with_epsilon: None)
    (tmp_path / "synthetic.csv").write_text("old")
    synthesised(windows, None, tmp_path, families=())
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "comparison.md"}
    assert "Nobody won; no table is published" in (tmp_path / "comparison.md").read_text()


def test_an_interrupted_run_goes_on_where_it_was(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []
    whole = comparing.drawn

    def counting(part, one, fold, seed, kept):  # type: ignore[no-untyped-def]
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append((one.name, fold))
        return whole(part, one, fold, seed, kept)

    monkeypatch.setattr(comparing, "drawn", counting)
    with pytest.raises(KeyboardInterrupt):
        synthesised(windows, None, tmp_path, families=())
    (kept,) = tmp_path.iterdir()
    assert kept.name.startswith(".unfinished-") and len(list(kept.glob("*.npz"))) == 2
    before = {path: path.stat().st_mtime_ns for path in kept.glob("*.npz")}
    monkeypatch.setattr(comparing, "drawn", whole)
    monkeypatch.setattr(synthesise.shutil, "rmtree", lambda folder: None)
    synthesised(windows, None, tmp_path, families=())
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(kept.glob("*.npz"))) == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epsilon": 4.0}, "no background speakers"),
        ({"epsilon": 4.0, "families": ("resampling",)}, "no background speakers"),
    ],
)
def test_an_epsilon_needs_public_bounds(
    windows: Windows, tmp_path: Path, given: dict[str, object], said: str
) -> None:
    with pytest.raises(RecordingError, match=said):
        synthesised(windows, None, tmp_path, **given)


def test_an_epsilon_that_cant_be_had_is_refused(
    windows: Windows, background: Windows, tmp_path: Path
) -> None:
    for epsilon in (0.0, -1.0, 1e9, float("nan")):
        with pytest.raises(RecordingError, match="outside"):
            synthesised(windows, background, tmp_path, epsilon=epsilon)
    with pytest.raises(RecordingError, match="no variant"):
        synthesised(windows, background, tmp_path, epsilon=4.0, families=("resampling",))


def test_few_people_and_broken_numbers_are_refused(windows: Windows, tmp_path: Path) -> None:
    few = windows.at(np.isin(windows.person, np.unique(windows.person)[:5]))
    with pytest.raises(RecordingError, match="too few"):
        synthesised(few, None, tmp_path)
    broken = windows.summaries.copy()
    broken[0, 0] = np.inf
    with pytest.raises(RecordingError, match="finite"):
        synthesised(replace(windows, summaries=broken), None, tmp_path)


@pytest.mark.parametrize("level", list(Level))
def test_the_frame_comes_from_other_people_alone(
    windows: Windows, background: Windows, level: Level
) -> None:
    """A person who shouts moves nobody else's values; an embedding's body has learnt from them."""
    test = windows.fold == 0
    part = parted(windows, test, background, level, 1)
    assert part.frame.public
    assert set(part.train.person).isdisjoint(part.test.person)
    assert np.abs(part.train.values).max() <= BOUND
    assert len(part.frame.names) == part.train.values.shape[1]
    if level is Level.EMBEDDING:
        return
    loud = windows.summaries.copy()
    shouting = windows.person == "p01"
    loud[shouting] *= 50
    moved = parted(replace(windows, summaries=loud), test, background, level, 1)
    others = part.train.person != "p01"
    alone = parted(windows.at(~shouting), test[~shouting], background, level, 1).train
    assert np.array_equal(part.train.values[others], alone.values)
    assert np.array_equal(part.train.values[others], moved.train.values[others])
    assert not np.array_equal(part.train.values[~others], moved.train.values[~others])


def test_the_command_takes_its_options() -> None:
    parser = ArgumentParser()
    synthesise.add_arguments(parser)
    told = parser.parse_args(["--out", "x", "--method", "gan", "--level", "embedding"])
    assert (told.method, told.level, told.epsilon, told.seed) == ("gan", Level.EMBEDDING, None, 7)


def _manifest(folder: Path, background_people: int) -> None:
    row = "speech/{0}.flac,{1},CC BY 4.0,{2},{3},1.0,"
    rows = [row.format(f"a{n}", "acted", f"a{n}", ("sad", "happy")[n % 2]) for n in range(4)]
    rows += [row.format("a9", "acted", "a9", "reading")]
    for number in range(background_people):
        rows += [row.format(f"b{number}-{turn}", "read", f"b{number}", "") for turn in range(2)]
    rows += [row.format("twice", "read", "a1", "")]
    head = "path,dataset,licence,identity,label,seconds,extra"
    (folder / "MANIFEST.csv").write_text("\n".join([head, *rows]))


def test_background_speakers_are_of_other_sets_and_other_people(tmp_path: Path) -> None:
    _manifest(tmp_path, 12)
    clips = background_clips(tmp_path)
    assert {clip.dataset for clip in clips} == {"read"}
    assert {clip.person for clip in clips} == {f"b{number}" for number in range(12)}
    assert len({clip.person for clip in clips[:12]}) == 12
    _manifest(tmp_path, 9)
    assert background_clips(tmp_path) == ()


def test_the_shared_recordings_have_background_speakers(recordings: Path) -> None:
    outside, affect = background_clips(recordings), affect_clips(recordings)
    assert len({clip.person for clip in outside}) >= 100
    assert {clip.person for clip in outside}.isdisjoint(clip.person for clip in affect)
