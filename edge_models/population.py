"""Reads and writes `population.json`: what functionals look like among the training's people."""

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_models.acoustic import SUMMARY_NAMES
from edge_models.baseline import Population
from edge_models.errors import BundleError, ContractError

_LONGEST_BYTES: Final = 64 * 1024
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Column = tuple[Finite, ...]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    functionals: tuple[str, ...]
    median: Column
    spread: Column
    mean: Column
    deviation: Column


def written(population: Population, functionals: tuple[str, ...]) -> bytes:
    """The bytes of `population.json`."""
    columns = {
        name: tuple(float(value) for value in getattr(population, name))
        for name in ("median", "spread", "mean", "deviation")
    }
    table = _Table(format=1, functionals=functionals, **columns)
    return table.model_dump_json().encode() + b"\n"


def parse_population(raw: bytes) -> Population:
    """Read `population.json`.

    Raises:
        BundleError: the bytes are not a population, or one of other functionals.
    """
    remedy = "Install the bundle again."
    if len(raw) > _LONGEST_BYTES:
        raise BundleError("The bundle's 'population.json' is too large.", remedy)
    try:
        table = _Table.model_validate_json(raw)
        columns = (table.median, table.spread, table.mean, table.deviation)
        if {len(column) for column in columns} != {len(table.functionals)}:
            raise ContractError("Each functional has one number in every column.")
        if table.functionals != SUMMARY_NAMES:
            raise ContractError("Its functionals are those that a window is described by.")
        return Population(*(np.asarray(column, np.float32) for column in columns))
    except (ValidationError, ContractError) as fault:
        raise BundleError("The bundle's 'population.json' is not valid.", remedy) from fault
