"""How an update went on a device, as the device tells its coordinator.

Rules it upholds: every field is a number or one of a few words, never text; nothing in it was
sensed, and nothing depends on what was; any bytes give a value or `ProtocolError`.

What the coordinator learns from it: that this device was on at that moment; which version it runs;
whether an update fitted, failed or was put back, and why, in one of the words of `Reason`; and
whether a person was asked for a yes, and said no. It learns no score, answer, recording or count of
them. The broker sees the same; a device is known by its certificate, the message is not signed.

In the life of a bundle: after each of the updater's steps → **progress** → `release_protocol` →
the coordinator's `rollouts`, which counts.
"""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, StrictInt, model_validator

from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.messages import Version
from sync.parcels import Kind as ParcelKind
from sync.parcels import Parcel
from sync.updates.offers import Kind, Serial, Short
from sync.updates.rejected import Reason
from sync.updates.rollout import VERSION, Moment

MOST_PROGRESS_BYTES: Final = 512


class Phase(StrEnum):
    """How far an update has come on a device."""

    FETCHED = "fetched"  # whole and verified, in the idle slot
    WAITING = "waiting-for-yes"  # a looser policy or a new consent text: a person decides
    DECLINED = "declined"
    TRYING = "trying"  # it runs, on probation
    COMMITTED = "committed"
    ROLLED_BACK = "rolled-back"  # it ran, and what ran before runs again
    REJECTED = "rejected"  # it never ran


_HAS_REASON: Final = frozenset({Phase.DECLINED, Phase.ROLLED_BACK, Phase.REJECTED})


class Progress(Message):
    """One step of one update on one device.

    Topic: `sottovoce/v1/{study}/up/{pseudonym}`, QoS 1, a PROGRESS parcel.

    Fields: `kind`, `name` and `serial` of the update; `rollout`: the number of the directive that
    asked for it, 0 when a person took it by hand; `phase`, and its `reason` where it did not stay;
    `runs`: the serial that runs now, 0 being what was shipped, and `runs_sha256`, the first 16
    digits of its hash; `moment` in seconds, by the device's trusted time, which never falls.

    Example::

        {"kind":"bundle","moment":1795000000,"name":"affect-1","phase":"rolled-back",\
"reason":"unhealthy","rollout":12,"runs":6,"runs_sha256":"0123456789abcdef","serial":7,"version":1}
    """

    version: Version
    kind: Annotated[Kind, Field(strict=False)]
    name: Short
    serial: Serial
    rollout: Annotated[StrictInt, Field(ge=0, le=2**31)]
    phase: Annotated[Phase, Field(strict=False)]
    reason: Annotated[Reason, Field(strict=False)] | None
    runs: Annotated[StrictInt, Field(ge=0, le=2**31)]
    runs_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    moment: Moment

    @model_validator(mode="after")
    def _says_why_and_only_then(self) -> Self:
        if (self.reason is not None) != (self.phase in _HAS_REASON):
            raise ValueError("a reason is given where an update did not stay, and only there")
        if self.phase is Phase.DECLINED and self.reason is not Reason.DECLINED:
            raise ValueError("what was declined was declined by a person")
        if (self.phase is Phase.TRYING or self.phase is Phase.COMMITTED) and (
            self.runs != self.serial
        ):
            raise ValueError("what is tried or kept is what runs")
        return self

    def to_parcel(self) -> Parcel:
        """The parcel that `sync.release.release_protocol` lets through."""
        return Parcel(ParcelKind.PROGRESS, encoded(self))


def parse_progress(content: bytes) -> Progress:
    """The progress that the content of a PROGRESS parcel holds.

    Raises:
        ProtocolError: it holds none.
    """
    if len(content) > MOST_PROGRESS_BYTES:
        raise ProtocolError(
            f"A device's word on an update is longer than {MOST_PROGRESS_BYTES} bytes.",
            "Check what else publishes to this topic.",
        )
    return decoded(content, Progress)


def progress_of(
    *,
    kind: Kind,
    name: str,
    serial: int,
    rollout: int,
    phase: Phase,
    runs: int,
    runs_sha256: str,
    moment: int,
    reason: Reason | None = None,
) -> Progress:
    """A progress message; `runs_sha256` may be the whole hash (64 digits)."""
    return Progress(
        version=VERSION,
        kind=kind,
        name=name,
        serial=serial,
        rollout=rollout,
        phase=phase,
        reason=reason,
        runs=runs,
        runs_sha256=runs_sha256[:16],
        moment=moment,
    )
