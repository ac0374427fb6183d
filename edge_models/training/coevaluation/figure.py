"""What every part of `evaluation.json` is made of: frozen parts, and figures with an interval."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from edge_models.training.metrics import Estimate

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Frozen(BaseModel):
    """What `evaluation.json` is made of: nothing unknown is read, nothing is changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Figure(Frozen):
    """A figure with its 95 % interval over people."""

    value: Finite
    low: Finite
    high: Finite

    @classmethod
    def of(cls, estimate: Estimate) -> "Figure":
        """An estimate, as it is written."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high)

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
