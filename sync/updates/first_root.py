"""The first root of a study's updates: how a member knows it without another enrolment.

Rules it upholds: the study's authority (whose key may stay offline, and which each member pinned
when it enrolled) signs once over the name of the study and the whole first root; nothing in a root
is read before that signature has been verified.

In the life of a bundle: `sottovoce study trust-root FILE` writes `root.auth` beside the metadata;
a device fetches both once, checks them here, and pins the root with `Trust.init`.
"""

from typing import Final

from sync.errors import ProtocolError
from sync.identity import SIGNATURE_BYTES, sign, verify
from sync.updates.rejected import Reason, UpdateRejected

AUTH_FILE: Final = "root.auth"
FIRST_ROOT_FILE: Final = "metadata/1.root.json"
MOST_AUTH_BYTES: Final = 2 * SIGNATURE_BYTES + 1
_PURPOSE: Final = "updates-root"


def authorise_root(authority: bytes, *, study: str, root: bytes) -> bytes:
    """What `root.auth` holds: the authority's signature (its private key, 32 bytes) in hex."""
    return sign(authority, _PURPOSE, _body(study, root)).hex().encode() + b"\n"


def pinned_root(root: bytes, auth: bytes, *, study: str, authority: bytes) -> bytes:
    """The root's bytes, once `auth` has shown that this study's authority (public key) means them.

    Raises:
        UpdateRejected: UNSIGNED, or MALFORMED if `auth` is no signature at all.
    """
    try:
        signature = bytes.fromhex(auth.decode("ascii"))
    except ValueError:
        signature = b""
    if len(auth) > MOST_AUTH_BYTES or len(signature) != SIGNATURE_BYTES:
        raise UpdateRejected(
            Reason.MALFORMED, "The study's signature under its first update keys can't be read."
        )
    try:
        verify(authority, _PURPOSE, _body(study, root), signature)
    except ProtocolError:
        raise UpdateRejected(
            Reason.UNSIGNED,
            "The update keys offered to this device are not those that its study signed for.",
            "Nothing is updated from there; tell your study.",
        ) from None
    return root


def _body(study: str, root: bytes) -> bytes:
    name = study.encode()
    return len(name).to_bytes(1, "big") + name + root
