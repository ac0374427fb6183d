"""What a study offers at a path, and which role may offer what.

Rules it upholds: a role signs for its own folder only, and for updates of its own kind; a head
stays as small as a head is, whoever signed it; a path leads nowhere but below its folder.

In the life of a bundle: the first thing that is known of it, before a byte of it is fetched.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sync.updates import offers
from sync.updates.rejected import Reason, UpdateRejected

FOLDER: Final = "targets/"
"""Below it, a source has what the metadata speaks of."""
_PLAIN: Final = frozenset(string.ascii_letters + string.digits + "._-+~")
MOST_BYTES: Final = {
    offers.Kind.BUNDLE.role: offers.MOST_BUNDLE_BYTES,
    offers.Kind.RELEASE.role: offers.MOST_WHEEL_BYTES,
    offers.Kind.HEAD.role: offers.MOST_HEAD_BYTES,
}
"""How long a target of each role may be."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file that the study offers: its path, length and hashes, and which role signed for it.

    `lies_at` is where a source has it; `offer` says what it is (None for a patch or a wheel).
    """

    path: str
    length: int
    hashes: tuple[tuple[str, str], ...]
    role: str
    lies_at: str
    offer: offers.Offer | None = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, 64 hex digits; empty if another hash was signed instead."""
        return dict(self.hashes).get("sha256", "")

    @property
    def file_name(self) -> str:
        """One name, without folders, that no other path has: `bundles%2Faffect-1%2F7.bundle`."""
        return "".join(
            letter if letter in _PLAIN else "".join(f"%{byte:02X}" for byte in letter.encode())
            for letter in self.path
        )


def allowed(
    role: str, path: str, length: int, hashes: Mapping[str, str], custom: Any
) -> offers.Offer | None:
    """The target's offer, if this role may sign for such a target.

    Raises:
        UpdateRejected: NOT_ALLOWED, TOO_LARGE, MALFORMED.
    """
    if path.partition("/")[0] != role or role not in MOST_BYTES:
        raise _not_allowed()
    if length > MOST_BYTES[role]:
        raise UpdateRejected(Reason.TOO_LARGE, "An update is longer than its kind may be.")
    if "sha256" not in hashes:
        raise UpdateRejected(Reason.MALFORMED, "An update has no SHA-256.")
    said = custom or {}
    if not isinstance(said, dict):
        raise UpdateRejected(Reason.MALFORMED, "An update does not say rightly what it is.")
    if offers.OFFER_FIELD not in said:
        return None
    fields = said[offers.OFFER_FIELD]
    try:
        if isinstance(fields, dict) and isinstance(fields.get("kind"), str):
            fields = {**fields, "kind": offers.Kind(fields["kind"])}
        offer = offers.Offer.model_validate(fields)
    except ValueError:  # pydantic's, or a kind that there is not
        raise UpdateRejected(
            Reason.MALFORMED, "An update does not say rightly what it is."
        ) from None
    if offer.kind.role != role:
        raise _not_allowed()
    return offer


def check_path(path: str) -> None:
    """Refuse a path that could lead anywhere but below a repository's folder of targets."""
    odd = any(ord(letter) < 32 or letter in "\\\x7f" for letter in path)
    if odd or any(part in ("", ".", "..") for part in path.split("/")):
        raise UpdateRejected(Reason.BAD_PATH, "An update has a path that leads elsewhere.")


def _not_allowed() -> UpdateRejected:
    return UpdateRejected(
        Reason.NOT_ALLOWED, "A key has signed for an update that it may not sign for."
    )
