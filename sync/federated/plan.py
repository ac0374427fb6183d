"""The plan of a round about the head: what every device computes, so that all compute the same.

Rules it upholds: signed terms name the plan by its digest (`Terms.subject`), so nobody gets another
one; length and clip of the vector follow from the plan and must be those that the terms price;
the frame follows from the device's own bundle; whatever the bytes are, the answer is a plan or
`ProtocolError`.

In the life of a federated round: terms → **plan** → `contribution` → noise share → secure sum.
"""

import hashlib
from typing import Annotated, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, StrictInt, model_validator

from edge_models.bundle import Bundle
from edge_models.errors import ContractError
from edge_models.frame import Frame
from edge_models.head import Head
from sync.envelope import Message, decoded, encoded
from sync.errors import ProtocolError
from sync.federated import canary
from sync.federated.layout import Layout
from sync.federated.sessions import Sessions
from sync.federated.update import POPULATION_SHARES, Training, to_integers, update_of
from sync.messages import Version
from sync.secure_sum.terms import Terms

Share = Annotated[float, Field(ge=0.001, le=0.999)]

_ANOTHER: Final = "Take no part in this round; the study's coordinator must announce it anew."


class Plan(Message):
    """One round about the head.

    Topic: `sottovoce/v1/{study}/all`, QoS 1, after the `SignedTerms` whose subject is its digest.

    Fields: `purpose` as the terms'; `bundle`: whose embeddings it is for; `along`: whether only the
    bundle's own head's directions move (12 numbers), or everything; `head`: the current one;
    `candidate`: the one that a canary is about; `clip` of an update, L2, in the frame; `steps`,
    `rate` and `shares` as `Training`.
    """

    version: Version
    purpose: Literal["head", "canary"]
    bundle: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    along: bool = True
    head: Head
    candidate: Head | None = None
    clip: Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)] = 1.0
    steps: Annotated[StrictInt, Field(ge=1, le=32)] = 1
    rate: Annotated[float, Field(gt=0, le=10)] = 1.0
    shares: Annotated[tuple[Share, Share, Share], Field(strict=False)] = POPULATION_SHARES

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.purpose == "canary") != (self.candidate is not None):
            raise ValueError("a canary has a candidate, and nothing else has")
        if self.candidate and self.candidate.embedding_size != self.head.embedding_size:
            raise ValueError("both heads are for embeddings of one size")
        return self

    def to_bytes(self) -> bytes:
        """The one encoding."""
        return encoded(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the one encoding, hexadecimal: the terms' subject."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def training(self) -> Training:
        """How every device trains, and weighs classes."""
        return Training(self.steps, self.rate, self.shares)

    @property
    def layout(self) -> Layout:
        """The vector of an update under this plan."""
        directions = 3 if self.along else self.head.embedding_size
        return Layout(3 * (directions + 1))

    @property
    def length(self) -> int:
        """How many numbers are summed."""
        return self.layout.length if self.purpose == "head" else canary.LENGTH

    @property
    def squared_clip(self) -> int:
        """The bound of a person's vector, squared L2, in whole units."""
        return self.layout.squared_clip if self.purpose == "head" else canary.SQUARED_CLIP

    def frame(self, bundle: Bundle) -> Frame:
        """The frame of this plan.

        Raises:
            ProtocolError: the plan is for another bundle.
        """
        if bundle.name != self.bundle or bundle.head.embedding_size != self.head.embedding_size:
            raise ProtocolError("The plan is for another bundle than this device's.", _ANOTHER)
        return bundle.frame.along(bundle.head) if self.along else bundle.frame

    def contribution(self, sessions: Sessions, frame: Frame) -> npt.NDArray[np.int64]:
        """What a person adds, in whole units, int64 (`length`,); zeros without a session.

        Unit, neighbours, sensitivity: as `layout` and `canary` say. The noise is still to come.

        Raises:
            ContractError: sessions, frame and plan don't fit.
        """
        if frame.size != self.layout.numbers:
            raise ContractError("A plan is followed in its own frame.")
        here = frame.point(self.head)
        if self.candidate is not None:
            ahead = frame.point(self.candidate)
            return canary.vote(ahead, here, sessions, frame, self.training)
        update = update_of(here, sessions, frame, self.training)
        return to_integers(update, self.clip, self.layout)


def parse_plan(payload: bytes, terms: Terms) -> Plan:
    """The plan that these bytes hold, if it is the one that the terms price.

    Raises:
        ProtocolError: they hold none, another one, or one of another length or clip.
    """
    plan = decoded(payload, Plan)
    if plan.digest != terms.subject or plan.purpose != terms.purpose:
        raise ProtocolError("The plan is not the one that the terms name.", _ANOTHER)
    if (plan.length, plan.squared_clip) != (terms.length, terms.squared_clip):
        raise ProtocolError("The plan's vector is not the one that the terms price.", _ANOTHER)
    return plan
