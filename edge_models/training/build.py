"""Makes a bundle from a folder of parts: graphs, head, population, golden vectors, card, texts.

Rules it upholds: what is built passes every check of `bundle_checks` before it replaces anything,
and replaces it whole; a model never forgets that it is for non-commercial use; a version is given
to one content only, and never goes down; the card's figures stay with the files that they were
measured with.

Place in the life of a bundle: parts → **built** → signed.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edge_models.bundle_checks import Check, Reader, checks
from edge_models.bundle_files import read_manifest, read_plain
from edge_models.card_statement import Statement, statement_of
from edge_models.errors import BundleError
from edge_models.licences import must_stay_restricted
from edge_models.manifest import LARGEST_BUNDLE_BYTES, MANIFEST_NAME, NEEDED, OPTIONAL, Manifest
from edge_models.training.assemble import Said, entries_of, restate_card, write_manifest

_CARD: Final = "CARD.md"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What whoever builds says of the bundle; None: as the parts say themselves."""

    version: str
    name: str | None = None
    licence: str | None = None
    notice: str | None = None
    consent_version: int | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """What lies in the folder now; `new` is False where the same lay there before."""

    manifest: Manifest
    new: bool


def build(
    parts: Path,
    out: Path,
    wanted: Wanted,
    others: Mapping[str, Reader],
    note: Callable[[Check], object] = lambda _: None,
) -> Built:
    """Make a bundle of `parts`, check it, and put it in place of what is in `out`.

    A manifest among the parts says what `wanted` leaves open, and thresholds, runtimes and purpose;
    its hashes are made anew. `others` are as in `checks`; `note` hears of each check.

    Raises:
        BundleError: parts are missing, unknown or disagree, or `out` must not be replaced by them;
            `out` is as it was.
    """
    out = out.resolve()
    _must_lie_apart(parts.resolve(), out)
    _must_be_parts(parts)
    earlier = read_manifest(parts) if (parts / MANIFEST_NAME).exists() else None
    statement = statement_of((parts / _CARD).read_bytes())
    before = _before(out)
    if statement is not None:
        statement.must_fit({one.name: one.sha256 for one in entries_of(parts)})
    _must_keep_terms(parts, wanted, earlier, statement, before)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
        folder = Path(beside) / "new"
        made = _sealed(parts, folder, wanted, earlier, statement)
        if made == before:
            return Built(made, new=False)
        if before is not None:
            _must_follow(made, before)
        _must_pass(folder, others, note)
        _swap(out, folder, Path(beside) / "old")
    return Built(made, new=True)


def _must_lie_apart(parts: Path, out: Path) -> None:
    if parts == out or parts in out.parents or out in parts.parents:
        raise BundleError(
            "The parts and the bundle lie in one another.", "Give another folder as --out."
        )


def _must_be_parts(parts: Path) -> None:
    if not parts.is_dir():
        raise BundleError(f"There is no folder '{parts}'.", "Give the folder that holds the parts.")
    names = {path.name for path in parts.iterdir()}
    if missing := sorted(NEEDED - names):
        raise BundleError(
            f"Of a bundle's parts there is no {', '.join(missing)}.", f"Put them into '{parts}'."
        )
    if unknown := sorted(names - NEEDED - OPTIONAL - {MANIFEST_NAME}):
        raise BundleError(
            f"No bundle has a file {', '.join(f'{name[:64]!a}' for name in unknown[:5])}.",
            "Take it out of the parts' folder.",
        )
    for name in sorted(names):
        if not read_plain(parts, name, LARGEST_BUNDLE_BYTES):
            raise BundleError(f"The part '{name}' is empty.", "Make it anew.")


def _before(out: Path) -> Manifest | None:
    """The manifest of what is to be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not out.is_dir() or not (out / MANIFEST_NAME).exists():
        raise BundleError(
            f"'{out}' holds something else than a bundle.", "Give an empty folder as --out."
        )
    return read_manifest(out)


def _must_keep_terms(
    parts: Path,
    wanted: Wanted,
    earlier: Manifest | None,
    statement: Statement | None,
    before: Manifest | None,
) -> None:
    says = {"the parts' card": (parts / _CARD).read_bytes().decode("utf-8", "replace")}
    for who, manifest in (("the parts' manifest", earlier), ("the bundle in --out", before)):
        if manifest is not None:
            says[who] = f"{manifest.licence}\n{manifest.notice}"
    must_stay_restricted(_terms(wanted, earlier, statement), says)


def _terms(
    wanted: Wanted, earlier: Manifest | None, statement: Statement | None
) -> tuple[str, str]:
    stated = None if statement is None else statement.licence
    licence = wanted.licence or (earlier.licence if earlier else stated)
    notice = wanted.notice or (earlier.notice if earlier else None)
    if licence is None or notice is None:
        raise BundleError(
            "Nothing says under which licence the bundle is, or why.",
            "Give --licence and --notice, or the manifest of an earlier bundle among the parts.",
        )
    return licence, notice


def _sealed(
    parts: Path, folder: Path, wanted: Wanted, earlier: Manifest | None, statement: Statement | None
) -> Manifest:
    """Copy the parts, and write the card's statement and the manifest over them."""
    name = wanted.name or (earlier or statement or wanted).name
    if name is None:
        raise BundleError("Nothing says what the bundle is called.", "Give it a --name.")
    folder.mkdir()
    for path in parts.iterdir():
        if path.name != MANIFEST_NAME:
            shutil.copyfile(path, folder / path.name)
    licence = _terms(wanted, earlier, statement)
    try:
        restate_card(folder, name, wanted.version, licence[0])
        write_manifest(
            folder, name, licence, earlier.made_with if earlier else (), _said(wanted, earlier)
        )
    except UnicodeDecodeError as fault:
        raise BundleError(f"'{_CARD}' is not UTF-8 text.", "Write it anew.") from fault
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "files"
        raise BundleError(
            f"A bundle's manifest can't say so ({place}: {first['msg']}).", "Correct it."
        ) from fault
    return read_manifest(folder)


def _said(wanted: Wanted, earlier: Manifest | None) -> Said:
    if earlier is None:
        usual = Said(version=wanted.version)
        consent = wanted.consent_version or usual.consent_version
        return Said(version=wanted.version, consent_version=consent)
    return Said(
        version=wanted.version,
        purpose=earlier.purpose,
        consent_version=wanted.consent_version or earlier.consent_version,
        runtimes=earlier.runtimes,
        thresholds=earlier.thresholds,
    )


def _must_follow(made: Manifest, before: Manifest) -> None:
    """See that devices which have the one may be given the other."""
    if made.name != before.name:
        raise BundleError(
            f"The folder holds '{before.name}', another bundle than '{made.name}'.",
            "Give another folder as --out.",
        )
    if made.order <= before.order:
        raise BundleError(
            f"Version {made.version} is not newer than {before.version}, which lies there with "
            "another content.",
            "Give a higher --version.",
        )
    changed = made.file("consent.md") != before.file("consent.md")
    if changed and made.consent_version <= before.consent_version:
        raise BundleError(
            f"The consent text is another one, and its number is still {made.consent_version}: no "
            "device takes that.",
            f"Give --consent-version {before.consent_version + 1}.",
        )


def _must_pass(folder: Path, others: Mapping[str, Reader], note: Callable[[Check], object]) -> None:
    failed = []
    for check in checks(folder, others):
        note(check)
        if not check.ok:
            failed.append(check)
    if failed:
        raise BundleError(
            f"{failed[0].what} failed: {failed[0].fault}", "Nothing was replaced. Mend the parts."
        )


def _swap(out: Path, folder: Path, old: Path) -> None:
    """Two renames: what lay there is back if the second one fails."""
    if not out.exists():
        folder.rename(out)
        return
    out.rename(old)
    try:
        folder.rename(out)
    except BaseException:
        old.rename(out)
        raise
