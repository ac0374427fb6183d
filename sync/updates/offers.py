"""What a target is: the signed note beside its hash in TUF's metadata, and where targets lie.

Rules it upholds: kind, name and serial of an update are signed together with its hash; a role's
folder says what it may hold, and nothing else in the metadata does; a serial rises with each
publication, and no device goes back below the one that it has run.

In the life of a bundle: written by `publishing`, read by the device before it fetches anything.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StrictInt

from sync.envelope import Message
from sync.messages import StudyName

OFFER_FIELD: Final = "sottovoce"
"""The key of an `Offer` in a target's `custom` field."""
BINDING_FIELD: Final = "x-sottovoce"
"""The key of a `Binding` beside `_type`, `version` and `expires` in every role's metadata."""
MOST_HEAD_BYTES: Final = 16 * 1024
"""A head target is refused unread when it is longer, whoever signed it."""
MOST_BUNDLE_BYTES: Final = 64 * 1024 * 1024
MOST_WHEEL_BYTES: Final = 512 * 1024 * 1024

Serial = Annotated[StrictInt, Field(ge=1, le=2**31)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TargetPath = Annotated[str, Field(pattern=r"^[a-z]+(/[A-Za-z0-9][A-Za-z0-9._+-]{0,127}){1,3}$")]
Short = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Kind(StrEnum):
    """What can be updated; its value plus an s is the role that signs for it, and its folder."""

    BUNDLE = "bundle"
    RELEASE = "release"
    HEAD = "head"

    @property
    def role(self) -> str:
        """The delegated role, such as `bundles`."""
        return f"{self.value}s"


class Binding(Message):
    """In every role's metadata of ours: whose it is, and when it was signed (seconds since 1970).

    The time pushes the floor of a device's clock forward once the signature has been verified.
    """

    study: StudyName
    signed_at: Annotated[StrictInt, Field(ge=0, le=2**40)]


class Delta(Message):
    """A patch, itself a target of the same role: what it starts from, and where it lies."""

    from_sha256: Sha256
    path: TargetPath


class Offer(Message):
    """What a target is, in its `custom` field under `OFFER_FIELD`.

    `serial` rises with each publication of a kind and name; `says` is how people call it, such as
    a bundle's or release's version; `deltas` are tried before the whole file.
    `policy_signature`: the study authority's signature over the policy inside a bundle (hex),
    empty where no study has signed one.
    """

    kind: Annotated[Kind, Field(strict=False)]
    name: Short
    serial: Serial
    says: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$")]
    deltas: Annotated[tuple[Delta, ...], Field(max_length=8, strict=False)] = ()
    policy_signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""


def bundle_path(name: str, serial: int) -> str:
    """Where a bundle's archive lies: `bundles/affect-1/7.bundle`."""
    return f"{Kind.BUNDLE.role}/{name}/{serial}.bundle"


def delta_path(name: str, serial: int, from_sha256: str) -> str:
    """Where a patch to a bundle lies: `bundles/affect-1/7.from-0123456789ab.zst`."""
    return f"{Kind.BUNDLE.role}/{name}/{serial}.from-{from_sha256[:12]}.zst"


def release_path(serial: int) -> str:
    """Where a release's list of wheels lies: `releases/7.json`."""
    return f"{Kind.RELEASE.role}/{serial}.json"


def wheel_path(file_name: str) -> str:
    """Where a wheel lies; one that several releases use lies there once."""
    return f"{Kind.RELEASE.role}/wheels/{file_name}"


def head_path(bundle: str) -> str:
    """Where a bundle's newest head lies: `heads/affect-1.json`."""
    return f"{Kind.HEAD.role}/{bundle}.json"
