"""Kernels that decompress record batches and find the parts of their records."""

from typing import Any

from pipeline.decode.machine import load8
from pipeline.decode.memory import copy, signed, spliced
from pipeline.source.kafka.batches import (
    B_ATTRIBUTES,
    B_BASE,
    B_COUNT,
    B_FIRST_MS,
    B_FROM,
    B_KEEP,
    B_LAST,
    B_MAX_MS,
    B_TO,
    CODEC,
    LOG_APPEND,
    LZ4,
    NONE,
    SNAPPY,
    Trouble,
    varint,
)
from pipeline.source.kafka.block import NO_TIMESTAMP
from pipeline.source.kafka.compiled import entry_point, inlined
from pipeline.source.kafka.unpack import FULL, lz4, snappy

LEAST_RECORD = 7
"""Bytes of the smallest record."""
_LAST_MS = (2**63 - 1) // 1000
_RECORD = int(Trouble.RECORD)


@inlined
def _small(data: Any, at: int, end: int) -> tuple[int, int]:
    """As `_varint`, which most often is one byte."""
    if at < end:
        byte = load8(data, at)
        if byte < 128:
            return at + 1, byte >> 1 ^ -(byte & 1)
    return varint(data, at, end)


@inlined
def _put(data: Any, at: int, end: int, out: Any, to: int, limit: int) -> int:
    if end - at > limit - to:
        return FULL
    copy(data, at, end - at, out, to)
    return to + end - at


@entry_point
def unpack(data: Any, batches: Any, first: int, out: Any, to: Any, limit: int) -> int:
    """Put the records of batches into `out`, decompressed; their `B_FROM` and `B_TO` then are places there.

    Args:
        first: the batch to begin at.
        out: uint8, with `SLACK` bytes beyond `limit`.
        to: int64[2]; the first is where to write next, and is moved on. The second tells why it stopped:
            0 at the end, `FULL` for want of room, `BROKEN`, or the number of a codec not known here.

    Returns:
        The batch it stopped before.
    """
    to[1] = 0
    for index in range(first, len(batches)):
        row = batches[index]
        if not row[B_KEEP]:
            continue
        codec = row[B_ATTRIBUTES] & CODEC
        if codec == LZ4:
            stop = lz4(data, row[B_FROM], row[B_TO], out, to[0], limit)
        elif codec == SNAPPY:
            stop = snappy(data, row[B_FROM], row[B_TO], out, to[0], limit)
        elif codec == NONE:
            stop = _put(data, row[B_FROM], row[B_TO], out, to[0], limit)
        else:
            to[1] = codec
            return index
        if stop < 0:
            to[1] = stop
            return index
        row[B_FROM] = to[0]
        row[B_TO] = stop
        to[0] = stop
    return len(batches)


@inlined
def _headers_end(data: Any, at: int, end: int) -> int:
    """Where the headers end that begin at `at` with their count, or -1."""
    at, left = _small(data, at, end)
    if left < 0:
        return -1
    while at >= 0 and left > 0:
        at, size = varint(data, at, end)
        if at < 0 or size < 0 or size > end - at:
            return -1
        at, size = varint(data, at + size, end)
        if at < 0 or size < -1 or size > end - at:
            return -1
        at += max(size, 0)
        left -= 1
    return at


@inlined
def _bytes(data: Any, at: int, end: int) -> tuple[int, int, int]:
    """Bytes after their length: where they begin (-1: null) and end, and where to go on, or -1 if broken."""
    at, size = _small(data, at, end)
    if at < 0 or size < -1 or size > end - at:
        return -1, -1, -1
    if size < 0:
        return -1, -1, at
    return at, at + size, at + size


@inlined
def _micros(milliseconds: int) -> int:
    if milliseconds < 0:
        return NO_TIMESTAMP if milliseconds == -1 else max(milliseconds, -_LAST_MS) * 1000
    return min(milliseconds, _LAST_MS) * 1000


@spliced
def _batch(data: Any, row: Any, position: int, columns: Any, found: int) -> int:
    """Find the parts of a batch's records; gives the number found so far, or -1."""
    at, end, last = row[B_FROM], row[B_TO], signed(-1)
    span = row[B_LAST] - row[B_BASE]
    stamped = row[B_ATTRIBUTES] & LOG_APPEND
    for _ in range(row[B_COUNT]):
        at, size = _small(data, at, end)
        if at < 0 or size < LEAST_RECORD - 1 or size > end - at:
            return -1
        stop = at + size
        at, later = varint(data, at + 1, stop)
        if at < 0:
            return -1
        at, delta = varint(data, at, stop)
        if at < 0 or delta <= last or delta > span:
            return -1
        last = delta
        key, key_end, at = _bytes(data, at, stop)
        if at < 0:
            return -1
        value, value_end, at = _bytes(data, at, stop)
        if at < 0 or _headers_end(data, at, stop) != stop:
            return -1
        if row[B_BASE] + delta >= position:
            columns[0, found] = value
            columns[1, found] = value_end
            columns[2, found] = key
            columns[3, found] = key_end
            columns[4, found] = at
            columns[5, found] = stop
            columns[6, found] = row[B_BASE] + delta
            columns[7, found] = _micros(row[B_MAX_MS] if stamped else row[B_FIRST_MS] + later)
            found += 1
        at = stop
    return found if at == end else -1


@entry_point
def count(batches: Any) -> int:
    """How many records the kept batches have; -1 less the batch's number where they can't be so many."""
    total = 0
    for index in range(len(batches)):
        row = batches[index]
        if row[B_KEEP]:
            if row[B_COUNT] > (row[B_TO] - row[B_FROM]) // LEAST_RECORD:
                return -1 - index
            total += row[B_COUNT]
    return total


@entry_point
def walk(data: Any, batches: Any, position: int, columns: Any, broken: Any) -> int:
    """Find the parts of all records in batches that are kept, from a position on.

    Args:
        data: the decompressed bytes.
        columns: int64[8, n] to fill: the arrays of `Records` in their order; n is `count`'s number.
        broken: int64[1], set to the batch that is, if one is.

    Returns:
        How many records, or `Trouble.RECORD`.
    """
    found = 0
    for index in range(len(batches)):
        if batches[index, B_KEEP]:
            found = _batch(data, batches[index], position, columns, found)
            if found < 0:
                broken[0] = index
                return _RECORD
    return found
