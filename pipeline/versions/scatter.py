"""Arrow columns back to canonical bytes: how the state is rebuilt from the tables."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.schema import Column, Kind
from pipeline.temporal.jit import kernel
from pipeline.temporal.store import Bytes, Ints
from pipeline.temporal.transfer import write_i64, write_u32
from pipeline.temporal.values import LONG, copy_bytes
from pipeline.versions.columns import Decoded, Layout


@kernel
def length_size(length: int, payload: bool) -> int:
    """Bytes that a length takes, in a payload or in a key."""
    if not payload:
        return 4
    return 1 if length < LONG else 5


@kernel
def encoded_size(widths: Ints, high: Ints, present: Bytes, payload: bool, i: int) -> int:
    """Bytes of the present values of row `i`."""
    size = 0
    for c in range(widths.size):
        if present[c, i]:
            size += widths[c] if widths[c] > 0 else length_size(high[c, i], payload) + high[c, i]
    return size


@kernel
def bitmap_size(present: Bytes, i: int) -> int:
    """Bytes of row `i`'s bitmap, trailing zeros left out."""
    for c in range(present.shape[0] - 1, -1, -1):
        if present[c, i]:
            return (c >> 3) + 1
    return 0


@kernel
def write_present(
    data: Bytes,
    widths: Ints,
    low: Ints,
    high: Ints,
    present: Bytes,
    payload: bool,
    i: int,
    out: Bytes,
    at: int,
) -> None:
    """Write the present values of row `i`."""
    for c in range(widths.size):
        if not present[c, i]:
            continue
        if widths[c] == 0:
            length = high[c, i]
            if payload:
                out[at] = min(length, LONG)
                at += 1
            if not payload or length >= LONG:
                write_u32(out, at, length)
                at += 4
            copy_bytes(data, low[c, i], out, at, length)
            at += length
        else:
            write_i64(out, at, low[c, i])
            if widths[c] == 16:
                write_i64(out, at + 8, high[c, i])
            at += widths[c]


@kernel
def write_rows(
    data: Bytes, widths: Ints, low: Ints, high: Ints, present: Bytes, payload: bool, starts: Ints, out: Bytes
) -> None:
    """Write all rows, as payloads or as keys (without a bitmap), each at its start."""
    for i in range(starts.size - 1):
        at = starts[i]
        if payload:
            size = bitmap_size(present, i)
            out[at], out[at + 1] = size & 255, size >> 8
            for b in range(size):
                out[at + 2 + b] = 0
            for c in range(min(8 * size, widths.size)):
                if present[c, i]:
                    out[at + 2 + (c >> 3)] |= 1 << (c & 7)
            at += 2 + size
        write_present(data, widths, low, high, present, payload, i, out, at)


@kernel
def measure_rows(widths: Ints, high: Ints, present: Bytes, payload: bool, starts: Ints) -> None:
    """Where each row starts."""
    starts[0] = 0
    for i in range(starts.size - 1):
        head = 2 + bitmap_size(present, i) if payload else 0
        starts[i + 1] = starts[i] + head + encoded_size(widths, high, present, payload, i)


def encode(columns: Sequence[Column], batch: pa.RecordBatch, *, payload: bool) -> tuple[Bytes, Ints]:
    """Canonical bytes of the named columns of a batch.

    Args:
        columns: in order; one that the batch lacks is absent in every row.
        batch: any rows.
        payload: with the bitmap of a value payload, else as keys, which have no nulls.

    Returns:
        The bytes, and int64[rows + 1] where each row's start.
    """
    layout, room = Layout(tuple(columns)), Decoded.room(len(columns), batch.num_rows)
    data: list[Bytes] = []
    length = 0
    for c, column in enumerate(columns):
        if column.name in batch.schema.names:
            part = _numbers(column, batch.column(column.name), room, c, length)
            length += part.size
            data.append(part)
    starts = np.zeros(batch.num_rows + 1, np.int64)
    measure_rows(layout.widths, room.high, room.present, payload, starts)
    out = np.empty(int(starts[-1]), np.uint8)
    joined = np.concatenate(data) if data else np.zeros(0, np.uint8)
    write_rows(joined, layout.widths, room.low, room.high, room.present, payload, starts, out)
    return out, starts


def _numbers(column: Column, array: pa.Array, room: Decoded, c: int, base: int) -> Bytes:
    """Fill in a column's numbers; the bytes they point to, which will lie at `base`."""
    kind = column.type.kind
    room.present[c] = array.is_valid().to_numpy(zero_copy_only=False)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if column.type.width == 0:
        array = array.cast(pa.large_binary() if kind is Kind.BINARY else pa.large_string())
        _, offsets, values = array.buffers()
        at = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        room.low[c], room.high[c] = at[:-1] + base, np.diff(at)
        return np.frombuffer(values, np.uint8) if values is not None else np.zeros(0, np.uint8)
    if kind in (Kind.DECIMAL, Kind.UUID):
        halves = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset :]
        room.low[c], room.high[c] = halves[: 2 * len(array) : 2], halves[1 : 2 * len(array) : 2]
    elif kind is Kind.FLOAT or kind is Kind.DOUBLE:
        numbers = array.cast(pa.float64()).fill_null(0.0).to_numpy()
        room.low[c] = np.ascontiguousarray(numbers).view(np.int64)
    else:
        room.low[c] = _integers(array)
    return np.zeros(0, np.uint8)


def _integers(array: pa.Array) -> Ints:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    elif pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    return np.asarray(array.cast(pa.int64()).fill_null(0).to_numpy())
