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

from pipeline.errors import BadInput


@contextmanager
def as_file(records: Iterable[Mapping[str, Any]] | pa.Table) -> Iterator[Path]:
    """A pipe that the records come out of, one per line.

    What is wrong with them is raised at the end; the records before it are in the pipe.

    Raises:
        BadInput: a record is not a mapping, or has a value that JSON can't say.
    """
    reading, writing = os.pipe()
    writer = _Writer(records, writing)
    writer.start()
    try:
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        writer.join()
    if writer.failure is not None:
        raise writer.failure


class _Writer(threading.Thread):
    def __init__(self, records: Iterable[Mapping[str, Any]] | pa.Table, descriptor: int) -> None:
        super().__init__(name="records", daemon=True)
        self._records, self._descriptor = records, descriptor
        self.failure: Exception | None = None

    def run(self) -> None:
        """Write until the records or the reader end; the caller's iterable may raise anything."""
        try:
            with os.fdopen(self._descriptor, "w", encoding="utf-8") as stream:
                for record in _mappings(self._records):
                    stream.write(to_json(record) + "\n")
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001
            self.failure = error


def to_json(record: Mapping[str, Any]) -> str:
    """One record as a line of JSON.

    Raises:
        BadInput: it is not a mapping, or has a value that JSON can't say.
    """
    if not isinstance(record, Mapping):
        raise BadInput(
            f"a record must be a mapping, not {type(record).__name__}",
            next_step="give an iterable of dicts, or a pyarrow.Table",
        )
    try:
        return json.dumps(dict(record), ensure_ascii=False, default=_value)
    except TypeError as error:
        raise BadInput(
            f"a record can't be written as JSON: {error}",
            next_step="give values of JSON, or Decimal, date, datetime, UUID and bytes",
        ) from error


def _mappings(records: Iterable[Mapping[str, Any]] | pa.Table) -> Iterator[Mapping[str, Any]]:
    if isinstance(records, pa.Table | pa.RecordBatch):
        for batch in pa.table(records).to_batches(max_chunksize=10_000):
            yield from batch.to_pylist()
    else:
        yield from records


def _value(value: Any) -> Any:
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case Mapping():
            return dict(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not a value of JSON")
