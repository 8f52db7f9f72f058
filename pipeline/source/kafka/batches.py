"""Kernels that find the record batches in a fetch response and walk their records.

The format is that of https://kafka.apache.org/documentation/#recordbatch (magic 2).
Nothing is trusted: a checksum proves that the bytes are those the producer sent, not that they are sound.
"""

from enum import IntEnum
from typing import Any

import numpy as np

from pipeline.decode.machine import load8, load64
from pipeline.decode.memory import copy, signed, spliced
from pipeline.source.kafka.compiled import crc_step, entry_point, inlined
from pipeline.source.kafka.unpack import FULL, big32, lz4, snappy

HEADER = 61
"""Bytes of a batch before its records."""
LEAST_RECORD = 7
"""Bytes of the smallest record."""
NO_TIMESTAMP = -(2**63)
_LAST_MS = (2**63 - 1) // 1000
_BEFORE_CRC, _CRC_FROM = 17, 21

# What `scan` tells of each batch.
B_BASE, B_LAST, B_FROM, B_TO, B_ATTRIBUTES, B_FIRST_MS, B_MAX_MS, B_PRODUCER, B_COUNT, B_KEEP = range(10)
B_FIELDS = 10

# Attributes.
CODEC, LOG_APPEND, TRANSACTIONAL, CONTROL = 7, 8, 16, 32
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


class Trouble(IntEnum):
    """Why a kernel stopped; 0 and above is all right."""

    CHECKSUM = -10
    OLD_FORMAT = -11
    NEW_FORMAT = -12
    HEADER = -13
    RECORD = -14
    CODEC = -15
    COMPRESSION = -16
    SIZE = -17


_CHECKSUM, _OLD, _NEW = int(Trouble.CHECKSUM), int(Trouble.OLD_FORMAT), int(Trouble.NEW_FORMAT)
_HEADER, _RECORD = int(Trouble.HEADER), int(Trouble.RECORD)


@inlined
def _big64(data: Any, at: int) -> int:
    return big32(data, at) << 32 | big32(data, at + 4)


@inlined
def _signed32(data: Any, at: int) -> int:
    value = big32(data, at)
    return value - (1 << 32) if value >> 31 else value


@inlined
def _checksum(data: Any, at: int, end: int, table: Any) -> int:
    crc = signed(0xFFFFFFFF)
    while at + 8 <= end:
        crc = crc_step(crc, load64(data, at), table)
        at += 8
    while at < end:
        crc = crc >> 8 ^ table[(crc ^ load8(data, at)) & 255]
        at += 1
    return crc ^ 0xFFFFFFFF


@inlined
def _checked(data: Any, at: int, size: int, table: Any) -> int:
    """1 if a whole batch may be read, else the `Trouble`."""
    if _checksum(data, at + _CRC_FROM, at + size, table) != big32(data, at + _BEFORE_CRC):
        return _CHECKSUM
    count = _signed32(data, at + 57)
    base, delta = _big64(data, at), _signed32(data, at + 23)
    if base < 0 or delta < 0 or base + delta < 0 or count < 0:
        return _HEADER
    return 1


@entry_point
def scan(data: Any, at: int, end: int, table: Any, batches: Any, used: Any) -> int:
    """Tell of the whole batches in ``data[at:end]``; one cut off at the end is left out.

    Args:
        table: `CRC_TABLE`.
        batches: int64[m, B_FIELDS] to fill.
        used: int64[1], set to where the first batch not told of begins.

    Returns:
        How many, perhaps as many as there is room for; or the `Trouble` of the batch at ``used``.
    """
    found = 0
    used[0] = at
    while end - at >= HEADER and found < len(batches):
        size = 12 + _signed32(data, at + 8)
        magic = load8(data, at + 16)
        if magic != 2:
            return found if found else (_OLD if magic < 2 else _NEW)
        if size < HEADER:
            return found if found else _HEADER
        if size > end - at:
            break
        outcome = _checked(data, at, size, table)
        if outcome < 0:
            return found if found else outcome
        row = batches[found]
        row[B_BASE] = _big64(data, at)
        row[B_LAST] = row[B_BASE] + _signed32(data, at + 23)
        row[B_FROM] = at + HEADER
        row[B_TO] = at + size
        row[B_ATTRIBUTES] = load8(data, at + 21) << 8 | load8(data, at + 22)
        row[B_FIRST_MS] = _big64(data, at + 27)
        row[B_MAX_MS] = _big64(data, at + 35)
        row[B_PRODUCER] = _big64(data, at + 43)
        row[B_COUNT] = _signed32(data, at + 57)
        row[B_KEEP] = 1
        found += 1
        at += size
        used[0] = at
    return found


@inlined
def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    """A zigzag varint of up to ten bytes: where it ends, or -1, and it."""
    raw = np.uint64(0)
    for shift in range(0, 70, 7):
        if at >= end:
            return -1, 0
        byte = load8(data, at)
        at += 1
        raw |= np.uint64(byte & 127) << np.uint64(shift)
        if byte < 128:
            return at, signed(raw >> np.uint64(1)) ^ -signed(raw & np.uint64(1))
    return -1, 0


@inlined
def _small(data: Any, at: int, end: int) -> tuple[int, int]:
    """As `_varint`, which most often is one byte."""
    if at < end:
        byte = load8(data, at)
        if byte < 128:
            return at + 1, byte >> 1 ^ -(byte & 1)
    return _varint(data, at, end)


@inlined
def _is_abort(data: Any, at: int, end: int) -> bool:
    """Whether a control batch aborts: its record's key is a version and a type of two bytes each."""
    at, _ = _varint(data, at, end)
    at += 1 if at >= 0 else 0
    for _ in range(3):
        if at >= 0:
            at, _ = _varint(data, at, end)
    return at >= 0 and end - at >= 4 and load8(data, at + 2) == 0 and load8(data, at + 3) == 0


@inlined
def _ended(aborted: Any, over: int, begun: int, producer: int) -> int:
    """A producer's transaction is aborted; gives the first transaction that is not over."""
    for at in range(over, begun):
        if aborted[at, 0] == producer:
            aborted[at, 2] = 1
    while over < begun and aborted[over, 2]:
        over += 1
    return over


@inlined
def _in_aborted(aborted: Any, over: int, begun: int, producer: int) -> bool:
    """Whether a producer's transaction that is under way will be aborted."""
    for at in range(over, begun):
        if aborted[at, 0] == producer and not aborted[at, 2]:
            return True
    return False


@entry_point
def drop(data: Any, batches: Any, position: int, aborted: Any) -> bool:
    """Mark batches that have no records for us: before a position, of aborted transactions, control ones.

    Args:
        batches: from `scan`, in order; `B_KEEP` is set to 0.
        position: the next offset wanted.
        aborted: int64[n, 3]: producer, first offset, 0; sorted by offset. The third is ours to use.

    Returns:
        Whether any batch that is kept is compressed.
    """
    compressed = False
    begun = 0
    over = 0
    for index in range(len(batches)):
        row = batches[index]
        while begun < len(aborted) and aborted[begun, 1] <= row[B_LAST]:
            begun += 1
        if row[B_ATTRIBUTES] & CONTROL:
            row[B_KEEP] = 0
            if _is_abort(data, row[B_FROM], row[B_TO]):
                over = _ended(aborted, over, begun, row[B_PRODUCER])
        elif row[B_LAST] < position or (
            row[B_ATTRIBUTES] & TRANSACTIONAL and _in_aborted(aborted, over, begun, row[B_PRODUCER])
        ):
            row[B_KEEP] = 0
        elif row[B_ATTRIBUTES] & CODEC:
            compressed = True
    return compressed


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
        at, size = _varint(data, at, end)
        if at < 0 or size < 0 or size > end - at:
            return -1
        at, size = _varint(data, at + size, end)
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
        at, later = _varint(data, at + 1, stop)
        if at < 0:
            return -1
        at, delta = _varint(data, at, stop)
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
