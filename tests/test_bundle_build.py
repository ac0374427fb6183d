"""`build`: parts become a bundle that passes every check, or nothing is replaced."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_models.bundle import load_bundle, shipped_bundle, shipped_folder
from edge_models.card_statement import statement_of, text_of
from edge_models.errors import BundleError
from edge_models.manifest import MANIFEST_NAME, NEEDED, OPTIONAL
from edge_models.training.build import Wanted, build
from sync.agreement import SIGNATURE_FILE
from sync.bundle_command import policy_said
from sync.publishing.bundles import bundle_addition
from sync.updates.offers import bundle_path
from tests.signing import PEOPLE, founded, keys_of

TERMS = {"licence": "CC BY-NC-SA 4.0", "notice": "Of acted speech: for non-commercial use."}
SHIPPED = shipped_bundle().manifest
READERS = {"policy.json": policy_said}


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The parts of the shipped bundle, as somebody may have them: without a manifest."""
    folder = tmp_path / "parts"
    shutil.copytree(shipped_folder(), folder)
    (folder / MANIFEST_NAME).unlink()
    return folder


def made(parts: Path, out: Path, version: str = "1.0.1", **said: object) -> bool:
    wanted = Wanted(version=version, **(TERMS | said))  # type: ignore[arg-type]
    return build(parts, out, wanted, READERS).new


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def refused(parts: Path, out: Path, **said: object) -> str:
    before, beside = snapshot(out), sorted(path.name for path in out.parent.iterdir())
    with pytest.raises(BundleError) as refusal:
        made(parts, out, **said)  # type: ignore[arg-type]
    assert refusal.value.remedy
    assert snapshot(out) == before
    assert sorted(path.name for path in out.parent.iterdir()) == beside
    return refusal.value.cause


def edited(path: Path, edit: Callable[[str], str]) -> None:
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_parts_become_a_bundle_that_a_study_can_publish(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "bundle"
    assert made(parts, out, version="9.0.0")
    bundle, shipped = load_bundle(out), shipped_bundle()
    assert (bundle.name, bundle.manifest.version) == ("affect-1", "9.0.0")
    assert bundle.manifest.notice == TERMS["notice"]
    assert (bundle.space, bundle.hearing) == (shipped.space, shipped.hearing)
    assert bundle.statement is not None and shipped.statement is not None
    assert bundle.statement.version == "9.0.0"
    assert bundle.statement.figures == shipped.statement.figures
    assert text_of(bundle.card).startswith("# affect-1 9.0.0\n")
    assert sorted(path.name for path in out.parent.iterdir()) == ["bundle"]
    keys = keys_of(tmp_path / "keys", *PEOPLE, "online")
    offer = bundle_addition(founded(tmp_path / "repository", keys), (), out).offer
    assert bundle_path(offer.name, offer.serial) == bundle_path("affect-1", 1)
    assert offer.says == "9.0.0"


def test_the_same_parts_give_the_same_bundle_and_replace_nothing(
    parts: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert made(parts, one) and made(parts, other)
    assert snapshot(one) == snapshot(other)
    inode = (one / MANIFEST_NAME).stat().st_ino
    assert not made(parts, one)
    assert (one / MANIFEST_NAME).stat().st_ino == inode


def test_a_newer_version_replaces_the_older_one_whole(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(parts, out, version="1.9.0")
    (parts / "gate.md").unlink()
    edited(parts / "policy.json", lambda text: json.dumps(json.loads(text) | {"version": 2}))
    assert made(parts, out, version="1.10.0")
    assert "gate.md" not in snapshot(out)
    assert load_bundle(out).manifest.version == "1.10.0"
    assert "is not newer than 1.10.0" in refused(parts, out, version="1.9.1")
    edited(parts / "policy.json", lambda text: text + "\n")
    assert "another content" in refused(parts, out, version="1.10.0")


def test_an_earlier_manifest_says_what_the_options_leave_open(parts: Path, tmp_path: Path) -> None:
    earlier = json.loads((shipped_folder() / MANIFEST_NAME).read_bytes())
    earlier["thresholds"]["high_from"] = 0.7
    earlier["purpose"] = "Research."
    (parts / MANIFEST_NAME).write_text(json.dumps(earlier))
    build(parts, tmp_path / "out", Wanted(version="1.1.0"), READERS)
    manifest = load_bundle(tmp_path / "out").manifest
    assert (manifest.thresholds.high_from, manifest.purpose) == (0.7, "Research.")
    assert manifest.notice == shipped_bundle().manifest.notice
    assert manifest.made_with == shipped_bundle().manifest.made_with


def test_a_changed_consent_text_needs_a_higher_number(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(parts, out)
    edited(parts / "consent.md", lambda text: text + "\nAnd more.\n")
    assert "no device takes that" in refused(parts, out, version="1.0.2")
    assert made(parts, out, version="1.0.2", consent_version=2)
    assert load_bundle(out).manifest.consent_version == 2


@pytest.mark.parametrize("half", ["licence", "notice"])
def test_what_is_for_non_commercial_use_stays_so(parts: Path, tmp_path: Path, half: str) -> None:
    free = {half: "CC BY 4.0: do as you like"}
    assert f"{half} does not say NonCommercial" in refused(parts, tmp_path / "out", **free)


def test_no_card_without_a_statement_and_no_older_bundle_lets_the_terms_go(
    parts: Path, tmp_path: Path
) -> None:
    free = {"licence": "CC BY 4.0", "notice": "Do as you like."}
    edited(parts / "CARD.md", text_of)
    assert "and the parts' card does" in refused(parts, tmp_path / "new", **free)
    made(parts, tmp_path / "out", version=SHIPPED.version, name=SHIPPED.name)
    free["name"] = SHIPPED.name
    edited(parts / "CARD.md", lambda _: "# A card\n")
    asked = refused(parts, tmp_path / "out", version="999.0.0", **free)
    assert "and the bundle in --out does" in asked
    assert made(parts, tmp_path / "new", version="999.0.0", **free)  # nobody says otherwise


def test_terms_may_be_those_of_the_training_data_where_the_notice_names_them(
    parts: Path, tmp_path: Path
) -> None:
    named = {"licence": "As its training data", "notice": "Of a set (CC-BY-NC-4.0)."}
    assert made(parts, tmp_path / "out", **named)
    unnamed = named | {"notice": "Of a set."}
    assert "notice does not say" in refused(parts, tmp_path / "new", **unnamed)


def damaged_golden(parts: Path) -> None:
    table = json.loads((parts / "golden.json").read_bytes())
    table["vectors"][0]["scores"][0] += 0.01
    (parts / "golden.json").write_text(json.dumps(table))


def other_head(parts: Path) -> None:
    edited(parts / "head.json", lambda text: text.replace("0.", "0.1", 1))


def linked(parts: Path) -> None:
    (parts / "head.json").rename(parts.parent / "elsewhere")
    (parts / "head.json").symlink_to(parts.parent / "elsewhere")


def later_card(parts: Path) -> None:
    """One that states nothing, and has the title of another version."""
    edited(parts / "CARD.md", lambda text: text_of(text).replace(SHIPPED.version, "998.0.0", 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda parts: (parts / "head.json").unlink(), "no head.json"),
        (lambda parts: (parts / "notes.txt").write_text("x"), "'notes.txt'"),
        (lambda parts: (parts / "sub").mkdir(), "'sub'"),
        (linked, "not a plain file"),
        (lambda parts: (parts / "gate.md").write_text(""), "'gate.md' is empty"),
        (lambda parts: (parts / "consent.md").write_text("  \n"), "consent failed"),
        (lambda parts: (parts / "CARD.md").write_bytes(b"\xff\xfe"), "not UTF-8"),
        (lambda parts: (parts / "policy.json").write_text("{}"), "policy failed"),
        (damaged_golden, "golden scores failed"),
        (other_head, "card speaks of another 'head.json'"),
        (later_card, "card failed: The card's title is '# affect-1 998.0.0'"),
    ],
)
def test_parts_that_are_no_bundle_are_refused_by_name(
    parts: Path, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    change(parts)
    assert said in refused(parts, tmp_path / "out", name="affect-1")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"licence": None}, "under which licence"),
        ({"notice": None}, "under which licence"),
        ({"name": None}, "what the bundle is called"),
        ({"name": "Affect 1"}, "can't say so (name"),
    ],
)
def test_what_nobody_says_is_asked_for(
    parts: Path, tmp_path: Path, wanted: dict[str, object], said: str
) -> None:
    edited(parts / "CARD.md", text_of)
    assert said in refused(parts, tmp_path / "out", **{"name": "affect-1", **wanted})


def test_a_folder_with_something_else_in_it_is_left_alone(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert "something else than a bundle" in refused(parts, tmp_path / "mine")
    assert "lie in one another" in refused(parts, parts)
    made(parts, tmp_path / "out")
    assert "another bundle than 'affect-2'" in refused(
        parts, tmp_path / "out", version="2.0.0", name="affect-2"
    )


def test_a_build_that_is_cut_short_leaves_what_was_there(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    made(parts, out)
    before, rename = snapshot(out), Path.rename

    def fails_on_the_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_on_the_new)
    with pytest.raises(KeyboardInterrupt):
        made(parts, out, version="1.0.2")
    assert snapshot(out) == before


def test_optional_parts_are_those_that_other_rooms_know() -> None:
    assert SIGNATURE_FILE in OPTIONAL
    assert {path.name for path in shipped_folder().iterdir()} <= NEEDED | OPTIONAL | {MANIFEST_NAME}
    assert statement_of((shipped_folder() / "CARD.md").read_bytes()) is not None
