"""Kernels that find the record batches in a fetch response.

The format is that of https://kafka.apache.org/documentation/#recordbatch (magic 2).
Nothing is trusted: a checksum proves that the bytes are those the producer sent, not that they are sound.
"""

from enum import IntEnum
from typing import Any

import numpy as np

from pipeline.decode.machine import load8, load64
from pipeline.decode.memory import signed
from pipeline.source.kafka.compiled import crc_step, entry_point, inlined
from pipeline.source.kafka.unpack import big32

HEADER = 61
"""Bytes of a batch before its records."""
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
_HEADER = int(Trouble.HEADER)


@inlined
def _signed32(data: Any, at: int) -> int:
    value = big32(data, at)
    return value - (1 << 32) if value >> 31 else value


@inlined
def _big64(data: Any, at: int) -> int:
    return _signed32(data, at) << 32 | big32(data, at + 4)


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
def varint(data: Any, at: int, end: int) -> tuple[int, int]:
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
def _is_abort(data: Any, at: int, end: int) -> bool:
    """Whether a control batch aborts: its record's key is a version and a type of two bytes each."""
    at, _ = varint(data, at, end)
    at += 1 if at >= 0 else 0
    for _ in range(3):
        if at >= 0:
            at, _ = varint(data, at, end)
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
