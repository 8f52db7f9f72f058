"""Reading a table's rows back as bitlake's own row layout."""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    In,
    LessThanOrEqual,
)
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table

from pipeline.schema import END_OF_TIME_US
from pipeline.sink.planning import data_files
from pipeline.sink.types import from_iceberg

ALWAYS_TRUE = AlwaysTrue()
MOST_LISTED = 200
"""pyiceberg stops pruning by lists longer than this."""
MOST_TOGETHER = 4 << 20
"""Bytes of files that are read at the same time; a larger one is read alone."""


def scan_rows(
    table: Table,
    layout: pa.Schema,
    row_filter: BooleanExpression = ALWAYS_TRUE,
    snapshot: int | None = None,
    opened: NDArray[np.int64] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of a table in the columns and types of `layout`; a column the table lacks is null.

    One data file is in memory at a time, or several small ones. Rows that do not pass the filter may be
    among them; so may, given system times (ascending) in `opened`, rows that are not open since one of them.
    """
    known = set(table.schema().column_names)
    columns = table.schema().select(*(name for name in layout.names if name in known))
    files = data_files(table, row_filter, snapshot)
    if opened is not None:
        bounds = _Bounds(table.schema())
        files = (task for task in files if bounds.may_hold_open(task.file, opened))
    for tasks in _together(files):
        for batch in _batches(table, tasks, columns):
            yield as_layout(batch, layout)


class _Bounds:
    """What files' statistics tell of the system times of their rows."""

    def __init__(self, schema: Schema) -> None:
        self._from, self._to = (schema.find_field(name).field_id for name in ("system_from", "system_to"))

    def may_hold_open(self, file: DataFile, opened: NDArray[np.int64]) -> bool:
        """Whether rows may be in it that are open since one of these times, which ascend."""
        low, high = self._instant(file.lower_bounds, self._from), self._instant(file.upper_bounds, self._from)
        last = self._instant(file.upper_bounds, self._to)
        if last is not None and last < END_OF_TIME_US:
            return False
        at = 0 if low is None else int(np.searchsorted(opened, low))
        return at < opened.size and (high is None or bool(opened[at] <= high))

    @staticmethod
    def _instant(bounds: dict[int, bytes] | None, field: int) -> int | None:
        found = (bounds or {}).get(field)
        return None if found is None else int.from_bytes(found, "little", signed=True)


def _together(tasks: Iterable[FileScanTask]) -> Iterator[list[FileScanTask]]:
    """Small files in groups, for several are read at a time."""
    group, size = list[FileScanTask](), 0
    for task in tasks:
        if group and size + task.file.file_size_in_bytes > MOST_TOGETHER:
            yield group
            group, size = [], 0
        group.append(task)
        size += task.file.file_size_in_bytes
    if group:
        yield group


def may_be_among(name: str, values: pa.ChunkedArray) -> BooleanExpression:
    """A filter on a column by which files without any of these values are ruled out: listed if they are few.

    Args:
        values: without nulls; of a type that Arrow compares, which UUIDs are not: those are 16 bytes.
    """
    distinct = pc.unique(values)
    is_uuid = pa.types.is_fixed_size_binary(distinct.type)
    if len(distinct) <= MOST_LISTED:
        return compare(In, name, [UUID(bytes=v.as_py()) if is_uuid else literal(v) for v in distinct])
    if is_uuid:
        return ALWAYS_TRUE
    ends = pc.min_max(distinct)
    low, high = literal(ends["min"]), literal(ends["max"])
    return And(compare(GreaterThanOrEqual, name, low), compare(LessThanOrEqual, name, high))


def compare(predicate: Any, name: str, value: Any) -> BooleanExpression:
    """A predicate on a column; mypy's pydantic plugin mistakes the constructors of pyiceberg's."""
    return predicate(name, value)


def literal(value: pa.Scalar) -> Any:
    """A value as pyiceberg's predicates take it."""
    plain = value.as_py()
    return plain.isoformat() if isinstance(value, pa.TimestampScalar | pa.Date32Scalar) else plain


def storage(rows: pa.Table, columns: list[str]) -> pa.Table:
    """These columns without extension types, which Arrow's join can't compare."""
    arrays = [rows.column(name) for name in columns]
    plain = [
        pa.chunked_array([chunk.storage for chunk in a.chunks], a.type.storage_type)
        if isinstance(a.type, pa.BaseExtensionType)
        else a
        for a in arrays
    ]
    return pa.Table.from_arrays(plain, names=columns)


def read_task(table: Table, task: FileScanTask, columns: Schema) -> pa.Table:
    """The rows of one data file, less deleted ones, in bitlake's types for these columns."""
    layout = pa.schema(
        pa.field(f.name, from_iceberg(f.field_type).arrow, nullable=not f.required) for f in columns.fields
    )
    return pa.Table.from_batches((as_layout(b, layout) for b in _batches(table, [task], columns)), layout)


def _batches(table: Table, tasks: list[FileScanTask], columns: Schema) -> Iterator[pa.RecordBatch]:
    yield from ArrowScan(table.metadata, table.io, columns, ALWAYS_TRUE).to_record_batches(tasks)


def as_layout(batch: pa.RecordBatch, layout: pa.Schema) -> pa.RecordBatch:
    """A batch with the columns of `layout`, in its order and types."""
    present = set(batch.schema.names)
    columns = [
        _cast(batch.column(field.name), field.type)
        if field.name in present
        else pa.nulls(len(batch), field.type)
        for field in layout
    ]
    return pa.RecordBatch.from_arrays(columns, schema=layout)


def _cast(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if column.type == wanted:
        return column
    if isinstance(wanted, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(wanted, column.cast(wanted.storage_type))
    return column.cast(wanted)
