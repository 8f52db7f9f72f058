"""Frames: many records as one message between the job's operators, and back as arrays.

Four kinds go from operator to operator, all of them bytes:

- *raw*: records of one partition as Kafka gave them, gathered in Java (`bitlake.Gather`);
- *changes*: decoded changes of one key group, with their partition's clock, by `split`; `joined` reads many;
- *marks*: what comes before each checkpoint's barrier, made in Java (`bitlake.Mark`);
- *ends*: where a partition ended at a time, asked for in Java (`bitlake.Ends`).
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.source.block import PADDING
from pipeline.source.kafka import NO_TIMESTAMP, KafkaBlock
from pipeline.temporal.jit import i64, inner, kernel
from pipeline.temporal.store import Bytes, Ints

END = 2**63 - 1
"""In the place of a checkpoint's number in a mark: the end of the input."""
_MARK, _END = struct.Struct(">iiq"), struct.Struct(">iiqq")

# Columns of a raw record: where its parts are in the frame, and what Kafka tells of it.
_VALUE, _VALUE_END, _KEY, _KEY_END, _HEADERS, _HEADERS_END, _OFFSET, _STAMP, _APPENDED = range(9)
_RAW_FIELDS = 9


@dataclass(frozen=True)
class Mark:
    """What stands before a checkpoint's barrier.

    Attributes:
        of: the partition, or the key group.
        checkpoint: its number, or `END`.
    """

    of: int
    checkpoint: int


def mark_of(frame: bytes) -> Mark | None:
    """The mark that a frame is, if it is one."""
    if len(frame) != _MARK.size or frame[:4] != b"\xff\xff\xff\xff":
        return None
    return Mark(*_MARK.unpack(frame)[1:])


@dataclass(frozen=True)
class End:
    """Where a partition ended.

    Attributes:
        partition: its number.
        offset: after its last record, of those that can be read.
        asked: when that was asked for, in microseconds: all that was there before is before that offset.
    """

    partition: int
    offset: int
    asked: int


def end_of(frame: bytes) -> End | None:
    """The end that a frame tells, if it does."""
    if len(frame) != _END.size or frame[:4] != b"\xff\xff\xff\xfe":
        return None
    return End(*_END.unpack(frame)[1:])


@inner
def _int(data: Bytes, at: int) -> int:
    value = (
        np.int64(data[at]) << 24
        | np.int64(data[at + 1]) << 16
        | np.int64(data[at + 2]) << 8
        | np.int64(data[at + 3])
    )
    return i64(value - (1 << 32)) if value >> 31 else i64(value)


@kernel
def _walk(data: Bytes, end: int, out: Ints) -> int:
    """Find the records of a raw frame; out is int64[_RAW_FIELDS, room]. How many there are."""
    at, count = 0, 0
    while at < end:
        size = _int(data, at)
        head = at + 4
        appended = data[head + 20]
        key, value, headers = _int(data, head + 21), _int(data, head + 25), _int(data, head + 29)
        place = head + 33
        out[_KEY, count], out[_KEY_END, count] = (-1, -1) if key < 0 else (place, place + key)
        place += max(key, 0)
        out[_VALUE, count], out[_VALUE_END, count] = (-1, -1) if value < 0 else (place, place + value)
        place += max(value, 0)
        out[_HEADERS, count], out[_HEADERS_END, count] = place, place + headers
        out[_OFFSET, count] = _int(data, head + 4) << 32 | _int(data, head + 8) & 0xFFFFFFFF
        out[_STAMP, count] = _int(data, head + 12) << 32 | _int(data, head + 16) & 0xFFFFFFFF
        out[_APPENDED, count] = appended
        count += 1
        at = head + size
    return count


def records_of(frame: bytes, topic: str, now: int) -> KafkaBlock:
    """The records of a raw frame, which has `PADDING` bytes at its end.

    Args:
        now: microseconds, for records without a timestamp.
    """
    data = writable(frame)
    end = data.size - PADDING
    out = np.empty((_RAW_FIELDS, end // 37 + 1), np.int64)
    n = _walk(data, end, out)
    parts = [np.ascontiguousarray(out[field, :n]) for field in range(_RAW_FIELDS)]
    stamps = np.where(parts[_STAMP] < 0, NO_TIMESTAMP, np.minimum(parts[_STAMP], (2**63 - 1) // 1000) * 1000)
    offsets = parts[_OFFSET]
    return KafkaBlock(
        data,
        parts[_VALUE],
        parts[_VALUE_END],
        parts[_KEY],
        parts[_KEY_END],
        parts[_HEADERS],
        parts[_HEADERS_END],
        offsets,
        stamps,
        topic=topic,
        partition=int.from_bytes(frame[4:8]),
        first_offset=int(offsets[0]),
        next_offset=int(offsets[-1]) + 1,
        log_append=bool(parts[_APPENDED].all()),
        high_watermark=-1,
        last_stable_offset=-1,
        fetched_at=now,
        nbytes=data.size,
    )


def writable(frame: bytes) -> NDArray[np.uint8]:
    """The frame's bytes as an array of the type that kernels are compiled for; nobody writes to it."""
    return np.frombuffer(bytearray(frame), np.uint8)
