"""A draft that travels: documents that wait for signatures, in one file that people hand on.

Rules it upholds: people sign on their own machines and keys never travel; what is signed is shown
in words before; a signature is added and nothing else changed, so two people may also sign copies
of the same file at the same time. Whom a draft names as its signers is a hint for people: the
repository asks its own root when it publishes.

In the life of a bundle: made by whoever prepares it → **signed by each** → published by the last.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError

from sync.envelope import Message, faults
from sync.errors import PublishingError
from sync.messages import StudyName
from sync.publishing.files import explained, put, read
from sync.publishing.keys import PublicKey, SigningKey, parse_public
from sync.publishing.metadata import Document, parse_document
from sync.publishing.roles import DELEGATED, OFFLINE, Keyholders, RoleName

MOST_BYTES: Final = 16 * 1024 * 1024


class _Signers(Message):
    keys: Annotated[tuple[dict[str, JsonValue], ...], Field(max_length=64)]
    threshold: Annotated[int, Field(ge=1, le=64)]


class _Part(Message):
    role: Annotated[RoleName, Field(strict=False)]
    signers: Annotated[tuple[_Signers, ...], Field(min_length=1, max_length=2)]
    metadata: dict[str, JsonValue]


class _StagedFile(Message):
    version: Literal[1]
    study: StudyName
    act: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    details: Annotated[dict[str, str], Field(max_length=32)]
    parts: Annotated[tuple[_Part, ...], Field(min_length=1, max_length=8)]


@dataclass(frozen=True, slots=True)
class Part:
    """A document, and who has to sign it: all of these groups (a new root has an old one, too)."""

    document: Document
    signers: tuple[Keyholders, ...]

    def signed_by(self, keys: Iterable[SigningKey]) -> Self:
        """The same, signed with those of the keys that may sign it."""
        named = {key.key_id for group in self.signers for key in group.keys}
        own = [key for key in keys if key.key_id in named]
        return type(self)(self.document.signed_by(own), self.signers)

    @property
    def complete(self) -> bool:
        """Whether enough of each group have signed."""
        return all(self.document.is_signed(group) for group in self.signers)

    @property
    def could_sign(self) -> tuple[PublicKey, ...]:
        """Who has not signed and is still needed."""
        found: dict[str, PublicKey] = {}
        for group in self.signers:
            have = self.document.signers(group)
            if len(have) < group.threshold:
                found |= {key.key_id: key for key in group.keys if key not in have}
        return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Staged:
    """Documents to be published together, and what act they are, for the log."""

    study: str
    act: str
    details: Mapping[str, str]
    parts: tuple[Part, ...]

    @property
    def complete(self) -> bool:
        """Whether people have signed all that it needs; online keys sign when it is published."""
        return all(part.complete for part in self._peoples)

    @property
    def documents(self) -> tuple[Document, ...]:
        """What is to be published."""
        return tuple(part.document for part in self.parts)

    @property
    def could_sign(self) -> tuple[str, ...]:
        """Names of those whose signatures would help."""
        return tuple(sorted({key.holder for part in self._peoples for key in part.could_sign}))

    @property
    def signers(self) -> tuple[str, ...]:
        """Who has signed any of it, each with the beginning of their key's id."""
        signed = {
            f"{key.holder} ({key.key_id[:8]})"
            for part in self._peoples
            for group in part.signers
            for key in part.document.signers(group)
        }
        return tuple(sorted(signed))

    @property
    def _peoples(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.document.role in OFFLINE)

    def signed_by(self, keys: Sequence[SigningKey]) -> Self:
        """The same with more signatures."""
        parts = tuple(part.signed_by(keys) for part in self.parts)
        return type(self)(self.study, self.act, self.details, parts)

    def may_sign(self, key: SigningKey) -> bool:
        """Whether a key is one of those that are asked for."""
        return any(
            key.key_id == other.key_id
            for part in self._peoples
            for group in part.signers
            for other in group.keys
        )

    def in_words(self) -> list[str]:
        """What a signature would say: a line for each fact that somebody can check."""
        details = {name: value for name, value in self.details.items() if name != "study"}
        said = f" ({_said(details)})" if details else ""
        lines = [f"Study {self.study}: {self.act}{said}"]
        for part in self.parts:
            document = part.document
            lines.append(f"{document.role}, version {document.version}, until "
                         f"{document.expires:%d %B %Y}:")  # fmt: skip
            lines += [f"  {line}" for line in _content(document)]
        return lines

    def to_bytes(self) -> bytes:
        """The file."""
        return json.dumps(
            {
                "version": 1,
                "study": self.study,
                "act": self.act,
                "details": dict(self.details),
                "parts": [
                    {
                        "role": part.document.role.value,
                        "signers": [_signers(group) for group in part.signers],
                        "metadata": json.loads(part.document.to_bytes()),
                    }
                    for part in self.parts
                ],
            },
            indent=1,
            sort_keys=True,
        ).encode()

    def keep(self, path: Path) -> None:
        """Write the file.

        Raises:
            PublishingError: it can't be written.
        """
        with explained(path):
            put(path, self.to_bytes())


def read_staged(path: Path) -> Staged:
    """The draft in a file.

    Raises:
        PublishingError: it can't be read, or holds none.
    """
    return parse_staged(read(path, MOST_BYTES), str(path))


def parse_staged(raw: bytes, named: str = "the draft") -> Staged:
    """The draft in these bytes.

    Raises:
        PublishingError: there is none.
    """
    try:
        found = _StagedFile.model_validate_json(raw)
    except ValidationError as fault:
        raise PublishingError(
            f"'{named}' is not a staged draft ({faults(fault)}).",
            "Ask whoever prepared it for the file again.",
        ) from None
    parts = tuple(_part(part, named) for part in found.parts)
    if any(part.document.binding.study != found.study for part in parts):
        raise PublishingError(f"'{named}' mixes studies.", "Ask whoever prepared it.")
    return Staged(found.study, found.act, found.details, parts)


def _part(part: _Part, named: str) -> Part:
    groups = []
    for group in part.signers:
        keys = tuple(parse_public(json.dumps(key).encode(), named) for key in group.keys)
        if not 1 <= group.threshold <= len({key.key_id for key in keys}) == len(keys):
            raise PublishingError(f"'{named}' asks for signatures that nobody can give.")
        groups.append(Keyholders(keys, group.threshold))
    document = parse_document(part.role, json.dumps(part.metadata).encode())
    return Part(document, tuple(groups))


def _signers(group: Keyholders) -> dict[str, Any]:
    keys = [json.loads(key.to_bytes()) for key in group.keys]
    return {"keys": keys, "threshold": group.threshold}


def _content(document: Document) -> list[str]:
    if document.role is RoleName.ROOT:
        return [_who(document, role) for role in RoleName if role not in DELEGATED]
    if document.role is RoleName.TARGETS:
        return [_who(document, role) for role in DELEGATED]
    lines = []
    for each in document.listed:
        says = f"{each.offer.says}, " if each.offer else ""
        lines.append(f"{each.path} ({says}{each.length} bytes, SHA-256 {each.sha256})")
    return lines or ["nothing yet"]


def _who(document: Document, role: RoleName) -> str:
    group = document.holders(role)
    names = ", ".join(f"{key.holder} ({key.key_id[:8]})" for key in group.keys)
    return f"{role} is signed by {group.threshold} of: {names}"


def _said(details: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in sorted(details.items()))
