"""A run's record, `threats.json`: who was attacked, what every attack found, which bugs it noticed.

Rules it upholds: what is read back is checked as a whole, verdicts too, before anything is told of
it; a record of a newer schema is refused rather than guessed at; it holds no path and no person.
"""

import json
from pathlib import Path
from typing import Any, Final, Self

from pydantic import AwareDatetime, ValidationError, model_validator

from edge_models.errors import ModelError
from edge_models.threats.result import SCHEMA_VERSION, Point, Result
from edge_models.training.coevaluation.figure import Finite, Frozen
from edge_models.training.coevaluation.schema import Corpus
from edge_models.training.whole import written_whole

NAME: Final = "threats.json"
_MOST_BYTES: Final = 64 * 2**20
_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_AGAIN: Final = "Run `sottovoce threats run` again."


class RecordError(ModelError):
    """The user's input: a record that can't be read, or two that can't be compared."""

    exit_code = 2


class Detected(Frozen):
    """A row of the detection matrix: a planted bug, and what noticed it.

    `caught`: the attack `caught_by` broke a promise with the bug in. `clean`: the same attack broke
    none without the bug. `caught_also` names the other attacks that noticed. `not_run` says why the
    attack could not be run, so that nothing is known.
    """

    bug: str
    what: str
    caught_by: str
    caught: bool
    caught_also: tuple[str, ...] = ()
    clean: bool = True
    not_run: str = ""

    @model_validator(mode="after")
    def _caught_by_something_that_ran(self) -> Self:
        if self.caught and self.not_run:
            raise ValueError("an attack that did not run has caught nothing")
        return self


class Record(Frozen):
    """`threats.json`.

    `program` is the version that ran, `recordings` the sets that were attacked, without any path.
    `detection` is empty where no bug was planted. `seconds` is wall-clock time and `peak_mib` the
    most memory that one process held; but for them and `made`, one seed gives one record.
    """

    schema_version: int
    made: AwareDatetime
    program: str
    effort: str
    seed: int
    recordings: tuple[Corpus, ...]
    results: tuple[Result, ...]
    detection: tuple[Detected, ...] = ()
    seconds: Finite
    peak_mib: Finite

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"this is schema {SCHEMA_VERSION}")
        for names in (
            [result.attack for result in self.results],
            [row.bug for row in self.detection],
            [corpus.name for corpus in self.recordings],
        ):
            if len(set(names)) < len(names):
                raise ValueError("each attack, bug and set is told of once")
        return self

    @property
    def points(self) -> tuple[Point, ...]:
        """Every way of describing people that was put on the plane of privacy and utility."""
        return tuple(point for result in self.results for point in result.points)


def read_record(path: Path) -> Record:
    """Read `threats.json`, or the one in a folder.

    Raises:
        RecordError: there is none, it is damaged, or another version of this program wrote it.
    """
    place = path / NAME if path.is_dir() else path
    try:
        with place.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as fault:
        raise RecordError(
            f"'{place}' can't be read: {fault.strerror}.",
            "Name a folder that `sottovoce threats run` wrote, or its threats.json.",
        ) from fault
    return _parsed(raw, place)


def write(path: Path, record: Record) -> None:
    """Write the record as JSON, whole or not at all."""
    with written_whole(path) as part:
        part.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def json_schema() -> dict[str, Any]:
    """The JSON schema of a record: what another program needs to read one."""
    return {
        "$schema": _SCHEMA_DIALECT,
        "title": f"Sotto voce, record of a threat run, schema {SCHEMA_VERSION}",
        **{
            key: value
            for key, value in Record.model_json_schema(mode="serialization").items()
            if key != "title"
        },
    }


def _parsed(raw: bytes, place: Path) -> Record:
    if len(raw) > _MOST_BYTES:
        raise RecordError(f"'{place}' is too large to be a record of a threat run.", _AGAIN)
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as fault:
        raise RecordError(f"'{place}' is damaged: it is no complete JSON.", _AGAIN) from fault
    version = told.get("schema_version") if isinstance(told, dict) else None
    if type(version) is not int:
        raise RecordError(f"'{place}' is no record of a threat run.", _AGAIN)
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"'{place}' is of schema {version}, newer than {SCHEMA_VERSION}, which is known here.",
            "Read it with the version of sottovoce that wrote it, or a later one.",
        )
    try:
        return Record.model_validate_json(raw)
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise RecordError(f"'{place}' is damaged at {where}: {first['msg']}.", _AGAIN) from fault
