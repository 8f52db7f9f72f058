"""Canonical bytes of many rows to Arrow arrays, column by column.

A layout says how a tuple of columns lies in bytes; `decode` walks each row once and leaves every
column's numbers, or the place and length of its bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.decode.machine import load64
from pipeline.decode.memory import copy
from pipeline.schema import INSTANT, Column, ColumnType, Kind
from pipeline.temporal.change import starts_of
from pipeline.temporal.jit import borrow, i64, inner, kernel, prefetch
from pipeline.temporal.store import Bytes, Ints
from pipeline.temporal.values import bit, read_length, read_u16, read_u32

LARGEST_CHUNK = 2**31 - 1
AHEAD = 16
"""Rows by which the memory of the next ones is fetched ahead: they lie anywhere."""


@dataclass(frozen=True)
class Layout:
    """How some columns lie in canonical bytes: their widths."""

    columns: tuple[Column, ...]

    @cached_property
    def widths(self) -> Ints:
        """int64[columns]: bytes of a value, 0 where they vary."""
        return np.array([c.type.width for c in self.columns], np.int64)


@dataclass
class Decoded:
    """n rows of c columns, still as numbers.

    Attributes:
        low, high: int64[c, n]: the value, or its two halves (16 bytes), or its place and length in the bytes.
        present: uint8[c, n].
    """

    low: Ints
    high: Ints
    present: Bytes

    @staticmethod
    def room(columns: int, rows: int) -> "Decoded":
        """Room for so many; everything absent."""
        shape = (columns, rows)
        return Decoded(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.uint8))

    def array(self, c: int, column: Column, data: Bytes, rows: int) -> "pa.Array | pa.ChunkedArray":
        """The first rows of a column as Arrow."""
        return arrow_array(column, data, self.low[c, :rows], self.high[c, :rows], self.present[c, :rows])


@inner
def load64_signed(data: Bytes, at: int) -> int:
    """A signed 64-bit integer, little-endian."""
    return i64(load64(data, at))


@inner
def take_value(data: Bytes, at: int, size: int, short: bool, low: Ints, high: Ints, c: int, i: int) -> int:
    """Note the value of column `c` at `at`, with a `short` length in payloads; the bytes it takes."""
    if size == 8:
        low[c, i] = load64_signed(data, at)
        return 8
    if size == 16:
        low[c, i], high[c, i] = load64_signed(data, at), load64_signed(data, at + 8)
        return 16
    head, length = read_length(data, at) if short else (4, read_u32(data, at))
    low[c, i], high[c, i] = at + head, length
    return head + length


@kernel
def decode_keys(data: Bytes, places: Ints, widths: Ints, low: Ints, high: Ints, present: Bytes) -> None:
    """Decode n keys that start at `places`."""
    bytes_ = borrow(data)
    for i in range(places.size):
        if i + AHEAD < places.size:
            prefetch(bytes_, places[i + AHEAD])
        at = places[i]
        for c in range(widths.size):
            present[c, i] = 1
            at += take_value(data, at, widths[c], False, low, high, c, i)


@kernel
def decode_values(data: Bytes, places: Ints, widths: Ints, low: Ints, high: Ints, present: Bytes) -> None:
    """Decode n payloads that start at `places`."""
    bytes_ = borrow(data)
    for i in range(places.size):
        if i + AHEAD < places.size:
            prefetch(bytes_, places[i + AHEAD])
        at = places[i]
        size = read_u16(data, at)
        bitmap = at + 2
        at = bitmap + size
        for c in range(widths.size):
            if c < 8 * size and bit(data, bitmap, size, c):
                present[c, i] = 1
                at += take_value(data, at, widths[c], True, low, high, c, i)
            else:  # the room may have been used before
                present[c, i], low[c, i], high[c, i] = 0, 0, 0


@kernel
def copy_varying(data: Bytes, places: Ints, starts: Ints, out: Bytes) -> None:
    """Copy n stretches, the i-th to out[starts[i]:starts[i + 1]]."""
    for i in range(places.size):
        copy(data, places[i], starts[i + 1] - starts[i], out, starts[i])


def arrow_array(
    column: Column, data: Bytes, low: Ints, high: Ints, present: Bytes
) -> pa.Array | pa.ChunkedArray:
    """One decoded column as Arrow, in memory of its own."""
    n, kind = low.size, column.type.kind
    nulls = n - int(np.count_nonzero(present))
    valid = pa.py_buffer(np.packbits(present, bitorder="little")) if nulls else None
    if column.type.width == 0:
        return _varying(column.type.arrow, data, low, high, valid, nulls)
    values = _numbers(column.type, low, high)
    if kind is Kind.UUID:
        storage = pa.Array.from_buffers(pa.binary(16), n, [valid, pa.py_buffer(values)], nulls)
        return pa.ExtensionArray.from_storage(pa.uuid(), storage)
    return pa.Array.from_buffers(column.type.arrow, n, [valid, pa.py_buffer(values)], nulls)


def _numbers(type_: ColumnType, low: Ints, high: Ints) -> npt.NDArray[np.generic]:
    kind = type_.kind
    if type_.width == 16:
        return np.stack((low, high), axis=1)
    if kind is Kind.DECIMAL:
        return np.stack((low, low >> 63), axis=1)
    if kind is Kind.BOOLEAN:
        return np.packbits(low.astype(np.uint8), bitorder="little")
    if kind in (Kind.INT, Kind.DATE):
        return low.astype(np.int32)
    if kind is Kind.FLOAT:
        return low.view(np.float64).astype(np.float32)
    return low.copy()


def _varying(
    type_: pa.DataType, data: Bytes, places: Ints, lengths: Ints, valid: pa.Buffer | None, nulls: int
) -> pa.Array | pa.ChunkedArray:
    starts = starts_of(lengths)
    if starts[-1] > LARGEST_CHUNK:
        half = places.size // 2
        if half == 0:
            raise OverflowError("one value of over 2 GiB")
        whole = (
            np.ones(places.size, np.uint8)
            if valid is None
            else np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little", count=places.size)
        )
        parts: list[pa.Array] = []
        for part in (slice(0, half), slice(half, None)):
            bits = whole[part]
            buffer = pa.py_buffer(np.packbits(bits, bitorder="little"))
            array = _varying(type_, data, places[part], lengths[part], buffer, bits.size - int(bits.sum()))
            parts += array.chunks if isinstance(array, pa.ChunkedArray) else [array]
        return pa.chunked_array(parts)
    out = np.empty(int(starts[-1]), np.uint8)
    copy_varying(data, places, starts, out)
    buffers = [valid, pa.py_buffer(starts.astype(np.int32)), pa.py_buffer(out)]
    return pa.Array.from_buffers(type_, places.size, buffers, nulls)


def key_arrays(
    columns: Sequence[Column], data: Bytes, places: Ints, room: Decoded | None = None
) -> list[pa.Array | pa.ChunkedArray]:
    """Key columns of n rows whose canonical key bytes start at `places`; `room` is for as many or more."""
    layout, room = Layout(tuple(columns)), room or Decoded.room(len(columns), places.size)
    decode_keys(data, places, layout.widths, room.low, room.high, room.present)
    return [room.array(i, c, data, places.size) for i, c in enumerate(columns)]


def value_arrays(
    columns: Sequence[Column], data: Bytes, places: Ints, room: Decoded | None = None
) -> list[pa.Array | pa.ChunkedArray | None]:
    """Value columns of n rows whose payloads start at `places`; None for columns without a type yet."""
    layout, room = Layout(tuple(columns)), room or Decoded.room(len(columns), places.size)
    decode_values(data, places, layout.widths, room.low, room.high, room.present)
    return [
        None if c.type.kind is Kind.UNKNOWN else room.array(i, c, data, places.size)
        for i, c in enumerate(columns)
    ]


def instants(values: Ints) -> pa.Array:
    """Microseconds as Arrow timestamps."""
    return pa.Array.from_buffers(INSTANT, values.size, [None, pa.py_buffer(np.ascontiguousarray(values))])


def days(values: Ints) -> pa.Array:
    """Days as Arrow dates."""
    return pa.Array.from_buffers(pa.date32(), values.size, [None, pa.py_buffer(values.astype(np.int32))])
