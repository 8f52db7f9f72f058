"""The table of records that could not become changes; all datasets of a catalog share it."""

from collections.abc import Mapping

import pyarrow as pa

from pipeline.schema import INSTANT

DEAD_LETTERS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("file", pa.string()),
        pa.field("line", pa.int64()),
        pa.field("timestamp", INSTANT),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("advice", pa.string()),
        pa.field("system_time", INSTANT, nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("dismissed_reason", pa.string()),
        pa.field("dismissed_by", pa.string()),
    ]
)
"""One row per dead letter, and one more for each thing that happened to it since: rows are only appended.

``id`` is ``<dataset>/<topic>/<partition>/<offset>/<epoch>``; ``value`` holds the original bytes. Later rows
have the same id and neither key nor value. ``status`` tells rows apart:

- ``dead``: the letter. ``system_time`` is the clock of its partition.
- ``refused``: a replay refused it again. ``stage``, ``reason`` and ``advice`` are those of that replay,
  ``epoch`` and ``system_time`` the replay's.
- ``replayed``: a replay applied it. ``epoch`` and ``system_time`` are the replay's.
- ``dismissed``: a person dismissed it. That belongs to no epoch: ``epoch`` is the letter's, ``system_time``
  is when.
"""

DEAD, REFUSED, REPLAYED, DISMISSED = "dead", "refused", "replayed", "dismissed"

ADDED = {"file": "offset", "line": "file", "dismissed_reason": "status", "dismissed_by": "dismissed_reason"}
"""Columns that tables made by earlier versions lack, and the column that each one follows."""

STAGES = (
    "json",
    "envelope",
    "key",
    "valid time",
    "operation",
    "column",
    "children",
    "new field",
    "system time",
)
"""The steps that refuse records, as ``stage`` names them."""

DOCS = {
    "id": "<dataset>/<topic>/<partition>/<offset>/<epoch>",
    "epoch": "the epoch that added the row; of a dismissal, the letter's",
    "file": "the file that the record was loaded from, as it was named then; null for Kafka and Lake.load",
    "line": "the record's line in the file, or its number among the records given to Lake.load; from 1",
    "key": "the record's key, byte for byte",
    "value": "the record's value, byte for byte",
    "headers": "the record's headers as JSON",
    "stage": "the step that refused the record",
    "advice": "what to do about it",
    "status": "dead; in later rows with the same id: refused (again, by a replay), replayed or dismissed",
    "dismissed_reason": "why it was dismissed",
    "dismissed_by": "who dismissed it: user@host",
}


def later_rows(letters: pa.Table, changed: Mapping[str, pa.Array]) -> pa.Table:
    """Rows that tell what happened to letters; bytes stay in the first rows.

    Args:
        letters: with all columns of `DEAD_LETTERS` but perhaps key and value.
        changed: the columns that differ from theirs.
    """
    known = {name: letters[name] for name in letters.column_names if name not in ("key", "value")}
    return as_rows({**known, **changed}, len(letters))


def as_rows(known: Mapping[str, pa.Array | pa.ChunkedArray], n: int) -> pa.Table:
    """N rows of the table from its columns; those that are not known are null."""
    columns = [known[f.name] if f.name in known else pa.nulls(n, f.type) for f in DEAD_LETTERS]
    return pa.Table.from_arrays(columns, schema=DEAD_LETTERS)


def repeated(n: int, **values: str | int | None) -> dict[str, pa.Array]:
    """Columns whose n values are all the same."""
    return {
        name: pa.repeat(pa.scalar(value, DEAD_LETTERS.field(name).type), n) for name, value in values.items()
    }
