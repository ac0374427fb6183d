"""The card's statement: which bundle a model card is about, in its first lines, for machines.

Rules it upholds: figures belong to the files that they were measured with, so a card names the hash
of each of them, and a bundle whose card speaks of other files, another name, version or licence
does not load. A card without a statement is one from before cards had it and is taken as it is: a
bundle that is in the field stays usable. Nobody gains by leaving it out, because the manifest
covers the card and the study's signature covers the manifest.

It is an HTML comment around JSON, which readers of Markdown don't show:

    <!-- sottovoce-card {"format":1,"name":"affect-1", …} -->

Place in the life of a bundle: verified files → head, population → **card** → golden vectors → use.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from edge_models.errors import BundleError
from edge_models.manifest import BODY, FRONT_END, MOMENTS, POPULATION, Manifest

MEASURED: Final = (*FRONT_END, *BODY, "head.json", POPULATION, MOMENTS)
"""What a card's figures depend on: its statement has the hash of each that the bundle has."""

_OPENING: Final = b"<!-- sottovoce-card "
_CLOSING: Final = b" -->"
_LONGEST_BYTES: Final = 64 * 1024
_REMEDY: Final = "Install the bundle again, or write its card anew from the files that are there."

Short = Annotated[str, Field(min_length=1, max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Figure(_Frozen):
    """One of the card's headline figures: what was measured, and the value with its interval."""

    of: Short
    value: Short


class Statement(_Frozen):
    """What a card is about: `files` has the SHA-256 of each of `MEASURED` that it has (only moments
    may be missing), `figures` the headline.

    It is written without `>`, so that nothing in it ends the comment.
    """

    format: Literal[1] = 1
    name: Short
    version: Short
    licence: Annotated[str, Field(min_length=1, max_length=1_000)]
    files: dict[str, Sha256]
    figures: Annotated[tuple[Figure, ...], Field(max_length=128)] = ()

    @field_validator("files")
    @classmethod
    def _of_what_was_measured(cls, files: dict[str, str]) -> dict[str, str]:
        if set(files) | {MOMENTS} != set(MEASURED):
            raise ValueError("a card states the hash of each file that its figures depend on")
        return files

    def over(self, text: str) -> str:
        """A card's text under this statement, in place of the one that it may have."""
        said = self.model_dump_json().replace(">", "\\u003e")
        return f"{_OPENING.decode()}{said}{_CLOSING.decode()}\n\n{text_of(text)}"

    def must_be_of(self, manifest: Manifest) -> None:
        """Compare with the manifest that lies beside the card.

        Raises:
            BundleError: the card is about another bundle; the cause says in what.
        """
        for what in ("name", "version", "licence"):
            said, is_ = getattr(self, what), getattr(manifest, what)
            if said != is_:
                raise BundleError(
                    f"The bundle's card is of the {what} {said[:80]!a} and its manifest of "
                    f"{is_[:80]!a}.",
                    _REMEDY,
                )
        self.must_fit({one.name: one.sha256 for one in manifest.files if one.name in MEASURED})

    def must_fit(self, hashes: Mapping[str, str]) -> None:
        """Compare with the hashes of the files that are there.

        Raises:
            BundleError: the card's figures were measured with another file, or without one that is
                there; the cause names it.
        """
        for name in MEASURED:
            if self.files.get(name) != hashes.get(name):
                raise BundleError(f"The bundle's card speaks of another '{name}'.", _REMEDY)


def statement_of(card: bytes) -> Statement | None:
    """The statement of a card; None: it has none.

    Raises:
        BundleError: the card begins like one with a statement, and can't be understood.
    """
    if not card.startswith(_OPENING):
        return None
    end = card.find(_CLOSING, 0, _LONGEST_BYTES)
    if end < 0:
        raise BundleError("The statement of the bundle's card has no end.", _REMEDY)
    try:
        return Statement.model_validate_json(card[len(_OPENING) : end])
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])[:80] or "its form"
        raise BundleError(
            f"The statement of the bundle's card is not valid ({place!a}: {first['msg']!a}).",
            _REMEDY,
        ) from fault


def text_of(card: str) -> str:
    """What people read of a card: all of it but the statement."""
    if not card.startswith(_OPENING.decode()):
        return card
    return card.partition(_CLOSING.decode())[2].lstrip("\n")
