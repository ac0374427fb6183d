"""The files that a run leaves: a page, Markdown, the schema of the record, and last the record."""

import json
from pathlib import Path

from edge_models.threats.record import NAME, Record, json_schema, write
from edge_models.training.whole import written_whole


def write_report(out: Path, record: Record) -> None:
    """Write threats.html, threats.md, threats.schema.json and threats.json, each whole.

    The record comes last: where it is, the others are of the same run.

    Raises:
        RecordError: the folder can't be written.
    """
    texts = {"threats.schema.json": json.dumps(json_schema(), indent=1) + "\n"}
    for name, text in texts.items():
        with written_whole(out / name) as part:
            part.write_text(text, encoding="utf-8")
    write(out / NAME, record)
