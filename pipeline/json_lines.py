"""Python's records as JSON Lines: what `Lake.load` gives to the runtime."""

import base64
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa

from pipeline.arrow_records import rows_of
from pipeline.errors import BadInput

_PLAIN = 400
"""Decimals of more digits before or behind the point are written with an exponent."""


@contextmanager
def as_file(records: Iterable[Mapping[str, Any]] | pa.Table) -> Iterator[Path]:
    """A pipe that the records come out of, one per line.

    What is wrong with them is raised at the end; the records before it are in the pipe. What JSON has a
    spelling for, but no value, is written as it would be (NaN, half a surrogate pair): those records become
    dead letters, and the others are loaded.

    Raises:
        BadInput: a record is not a mapping, or has a value that JSON can't say.
    """
    rows = _mappings(records)
    reading, writing = os.pipe()
    writer = _Writer(rows, writing)
    writer.start()
    try:
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        writer.join()
    if writer.failure is not None:
        raise writer.failure


class _Writer(threading.Thread):
    def __init__(self, records: Iterable[Mapping[str, Any]], descriptor: int) -> None:
        super().__init__(name="records", daemon=True)
        self._records, self._descriptor = records, descriptor
        self.failure: Exception | None = None

    def run(self) -> None:
        """Write until the records or the reader end; the caller's iterable may raise anything."""
        try:
            with os.fdopen(self._descriptor, "wb") as stream:
                for record in self._records:
                    stream.write(_line(record))
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001
            self.failure = error


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return to_json(record).encode() + b"\n"
    except UnicodeEncodeError:
        # Half a surrogate pair: an escape says it, and the decoder what is wrong with it.
        return to_json(record, ascii_only=True).encode() + b"\n"


def to_json(record: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """One record as a line of JSON.

    Args:
        record: the record.
        ascii_only: write every other character as an escape.

    Raises:
        BadInput: it is not a mapping, or has a value that JSON can't say.
    """
    if not isinstance(record, Mapping):
        raise BadInput(
            f"a record must be a mapping, not {type(record).__name__}",
            next_step="give an iterable of dicts, or a pyarrow.Table",
        )
    try:
        return json.dumps(dict(record), ensure_ascii=ascii_only, default=_value)
    except RecursionError as error:
        raise BadInput(
            "a record can't be written as JSON: it is nested too deeply",
            next_step="flatten it, or give what is deep in it as a string of JSON",
        ) from error
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"a record can't be written as JSON: {error}",
            next_step="give values of JSON, or Decimal, date, datetime, time, UUID and bytes,"
            " in dicts whose names are strings, and integers beyond 4,300 digits as strings",
        ) from error


def _mappings(records: Iterable[Mapping[str, Any]] | pa.Table) -> Iterable[Mapping[str, Any]]:
    if isinstance(records, pa.Table | pa.RecordBatch):
        return rows_of(records)
    if isinstance(records, pa.RecordBatchReader):
        return (row for batch in records for row in rows_of(batch))
    if isinstance(records, Mapping) or not hasattr(records, "__iter__"):
        raise BadInput(
            f"records must be an iterable of mappings, not {type(records).__name__}",
            next_step="give a list or a generator of dicts, or a pyarrow.Table",
        )
    return records


def _value(value: Any) -> Any:
    match value:
        case Decimal():
            return _decimal(value)
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return dict(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not a value of JSON")


def _decimal(value: Decimal) -> str | float:
    if not value.is_finite():
        # No decimal is these: written as floats are, for a dead letter.
        return float("nan") if value.is_nan() else float(value)
    return f"{value:f}" if -_PLAIN < value.adjusted() < _PLAIN else str(value)
