"""Reading a table's rows back as bitlake's own row layout."""

from collections.abc import Iterator

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table

from pipeline.sink.types import from_iceberg


def scan_rows(table: Table, layout: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All rows of a table in the columns and types of `layout`; a column the table lacks is null.

    One data file is in memory at a time.
    """
    known = set(table.schema().column_names)
    columns = table.schema().select(*(name for name in layout.names if name in known))
    for task in table.scan().plan_files():
        for batch in _batches(table, task, columns):
            yield as_layout(batch, layout)


def read_task(table: Table, task: FileScanTask, columns: Schema) -> pa.Table:
    """The rows of one data file, less deleted ones, in bitlake's types for these columns."""
    layout = pa.schema(
        pa.field(f.name, from_iceberg(f.field_type).arrow, nullable=not f.required) for f in columns.fields
    )
    return pa.Table.from_batches((as_layout(b, layout) for b in _batches(table, task, columns)), layout)


def _batches(table: Table, task: FileScanTask, columns: Schema) -> Iterator[pa.RecordBatch]:
    yield from ArrowScan(table.metadata, table.io, columns, AlwaysTrue()).to_record_batches([task])


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
