"""Rows as frames of Arrow record batches, for `bitlake.Rows` to read in Java."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

AT, DEAD, STOP = 255, 254, 253
"""What frames begin with that are no version rows; those begin with twice their table's number, plus one if
closed. One of `STOP` ends the job for good."""


FRAME_BYTES = 4 << 20
"""About the most that a frame has, but for a larger row: beyond 5 MB Flink sends it by way of the disk."""


def framed(number: int, chunks: Iterable[pa.Table]) -> Iterator[bytes]:
    """Rows after a number (one byte), in the types that Flink's reader of Arrow knows."""
    for chunk in chunks:
        rows = _in_plain_types(chunk)
        step = max(1, FRAME_BYTES * len(rows) // max(rows.nbytes, FRAME_BYTES))
        for first in range(0, len(rows), step):
            yield _frame(number, rows.slice(first, step))


def _frame(number: int, rows: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    out.write(bytes((number,)))
    with pa.ipc.new_stream(out, rows.schema) as stream:
        stream.write_table(rows)
    return out.getvalue().to_pybytes()


def stopping(why: str) -> bytes:
    """A frame that ends the job for good: an exception in Python would have Flink start it again."""
    return bytes((STOP,)) + why.encode()


def _in_plain_types(rows: pa.Table) -> pa.Table:
    schema = pa.schema([pa.field(field.name, _plain(field.type)) for field in rows.schema])
    columns = [_as(column, field.type) for column, field in zip(rows.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema).combine_chunks()


def _plain(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return _plain(type_.value_type)
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us")
    return pa.binary(16) if isinstance(type_, pa.UuidType) else type_


def _as(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if isinstance(column.type, pa.UuidType):
        return pa.chunked_array([chunk.storage for chunk in column.chunks], type_)
    return column if column.type == type_ else column.cast(type_)
