"""Frames: many records as one message between the job's operators, and back as arrays.

Four kinds go from operator to operator, all of them bytes:

- *raw*: records of one partition as Kafka gave them, gathered in Java (`bitlake.Gather`);
- *changes*: decoded changes of one key group, with their partition's clock, by `split`; `joined` reads many;
- *marks*: what comes before each checkpoint's barrier, made in Java (`bitlake.Mark`);
- *ends*: where a partition ended at a time, asked for in Java (`bitlake.Ends`).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.batch import Batch
from pipeline.decode.memory import copy
from pipeline.source.block import PADDING
from pipeline.source.kafka import NO_TIMESTAMP, KafkaBlock
from pipeline.temporal.change import Changes, starts_of
from pipeline.temporal.jit import i64, inner, kernel
from pipeline.temporal.keys import Keys, add, find
from pipeline.temporal.store import Bytes, Ints

END = 2**63 - 1
"""In the place of a checkpoint's number in a mark: the end of the input."""
_MARK, _END = struct.Struct(">iiq"), struct.Struct(">iiqq")

# Columns of a raw record: where its parts are in the frame, and what Kafka tells of it.
_VALUE, _VALUE_END, _KEY, _KEY_END, _HEADERS, _HEADERS_END, _OFFSET, _STAMP, _APPENDED = range(9)
_RAW_FIELDS = 9

# Columns of a change in a frame, and of a child.
_OPERATION, _FROM, _TO, _AT, _CLOCK, _GIVEN, _HASH, _KEY_SIZE, _VALUE_SIZE, _CHILDREN = range(10)
_FIELDS, _CHILD_FIELDS = 10, 4
_HEAD = 64
"""Bytes before the changes: the key by which Flink sends the frame (4, big-endian), then int64:
the partition, the changes, their children, and the bytes of keys, values, children's keys and values."""


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
    data = _writable(frame)
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


def _writable(frame: bytes) -> NDArray[np.uint8]:
    """The frame's bytes as an array of the type that kernels are compiled for; nobody writes to it."""
    return np.frombuffer(bytearray(frame), np.uint8)


@kernel
def _sizes(skip: Bytes, group: Ints, n: int, starts: Any, sizes: Ints) -> None:
    """Per group: changes, children, and bytes of the four kinds."""
    key_start, value_start, child_first, child_key_start, child_value_start = starts
    for i in range(n):
        if skip[i]:
            continue
        row = sizes[group[i]]
        first, last = child_first[i], child_first[i + 1]
        row[0] += 1
        row[1] += last - first
        row[2] += key_start[i + 1] - key_start[i]
        row[3] += value_start[i + 1] - value_start[i]
        row[4] += child_key_start[last] - child_key_start[first]
        row[5] += child_value_start[last] - child_value_start[first]


@inner
def _put(data: Bytes, start: int, end: int, out: Bytes, to: int) -> int:
    copy(data, start, end - start, out, to)
    return to + end - start


@kernel
def _fill(
    skip: Bytes, group: Ints, n: int, starts: Any, numbers: Any, data: Any, at: Ints, ints: Ints, out: Bytes
) -> None:
    """Write each group's changes; `at` is int64[groups, 6]: where the next go (in int64s, then bytes)."""
    key_start, value_start, child_first, child_key_start, child_value_start = starts
    operation, valid_from, valid_to, offset, clock, given, key_hash, child_table, child_hash = numbers
    keys, values, child_keys, child_values = data
    for i in range(n):
        if skip[i]:
            continue
        place = at[group[i]]
        row = place[0]
        place[0] += _FIELDS
        first, last = child_first[i], child_first[i + 1]
        ints[row + _OPERATION] = operation[i]
        ints[row + _FROM], ints[row + _TO] = valid_from[i], valid_to[i]
        ints[row + _AT], ints[row + _CLOCK] = offset[i], clock[i]
        ints[row + _GIVEN], ints[row + _HASH] = given[i], key_hash[i]
        ints[row + _KEY_SIZE] = key_start[i + 1] - key_start[i]
        ints[row + _VALUE_SIZE] = value_start[i + 1] - value_start[i]
        ints[row + _CHILDREN] = last - first
        place[2] = _put(keys, key_start[i], key_start[i + 1], out, place[2])
        place[3] = _put(values, value_start[i], value_start[i + 1], out, place[3])
        for c in range(first, last):
            row = place[1]
            place[1] += _CHILD_FIELDS
            ints[row], ints[row + 1] = child_table[c], child_hash[c]
            ints[row + 2] = child_key_start[c + 1] - child_key_start[c]
            ints[row + 3] = child_value_start[c + 1] - child_value_start[c]
        place[4] = _put(child_keys, child_key_start[first], child_key_start[last], out, place[4])
        place[5] = _put(child_values, child_value_start[first], child_value_start[last], out, place[5])


def group_of(hashes: Ints, groups: int) -> Ints:
    """The key group of keys by their hashes."""
    high = (hashes.view(np.uint64) >> np.uint64(32)) * np.uint64(groups)
    return (high >> np.uint64(32)).view(np.int64)


def split(batch: Batch, changes: Changes, partition: int, groups: Ints) -> list[tuple[int, bytes]]:
    """A batch's changes as frames, one per key group that has any.

    Args:
        batch, changes: decoded records of one partition.
        partition: its number.
        groups: int64[key groups]: the key by which Flink sends frames of each.

    Returns:
        Key groups with their frames; neighbours in the list are for other subtasks, if there are some.
    """
    n = len(batch)
    group = group_of(batch.key_hash.view(np.int64), groups.size)
    starts = (
        batch.key_start,
        batch.value_start,
        batch.child_first,
        batch.child_key_start,
        batch.child_value_start,
    )
    sizes = np.zeros((groups.size, 6), np.int64)
    _sizes(changes.skip, group, n, starts, sizes)
    ints = sizes[:, 0] * _FIELDS + sizes[:, 1] * _CHILD_FIELDS
    lengths = _HEAD + 8 * ints + _up(sizes[:, 2:].sum(axis=1)) + PADDING
    edges = starts_of(lengths)
    begins = edges[:-1]
    at = np.empty((groups.size, 6), np.int64)
    at[:, 0] = (begins + _HEAD) // 8
    at[:, 1] = at[:, 0] + sizes[:, 0] * _FIELDS
    at[:, 2] = begins + _HEAD + 8 * ints
    at[:, 3:] = at[:, 2:3] + np.cumsum(sizes[:, 2:5], axis=1)
    out = np.zeros(int(edges[-1]), np.uint8)
    words = out.view(np.int64)
    heads = begins // 8
    words[heads] = groups.astype(">i4").view(np.uint32)
    words[heads + 1] = partition
    for field in range(6):
        words[heads + 2 + field] = sizes[:, field]
    numbers = (
        changes.operation,
        changes.valid_from,
        changes.valid_to,
        changes.offset,
        changes.system,
        changes.given,
        batch.key_hash.view(np.int64),
        changes.child_table,
        changes.child_key_hash,
    )
    data = (batch.keys, batch.values, batch.child_keys, batch.child_values)
    _fill(changes.skip, group, n, starts, numbers, data, at, words, out)
    spread = _spread(groups.size)
    return [
        (number, out[edges[number] : edges[number + 1]].tobytes())
        for number in spread[sizes[spread, 0] > 0].tolist()
    ]


def _spread(groups: int) -> Ints:
    """All key groups, neighbours far from each other.

    A subtask has a range of them: it would wait while the frames of another one's range are sent.
    """
    step = max(1, round(groups * 0.618))  # the golden section
    while gcd(step, groups) > 1:
        step += 1
    return np.arange(groups) * step % groups


def _up(sizes: Ints) -> Ints:
    return np.asarray((sizes + 7) & ~7)


@dataclass(frozen=True)
class ChangesFrame:
    """A frame of changes that `split` made.

    Attributes:
        partition: where they came from.
        changes, children: how many.
        data: uint8, the frame.
    """

    partition: int
    changes: int
    children: int
    data: Bytes

    @staticmethod
    def of(frame: bytes) -> "ChangesFrame":
        """Read a frame's head."""
        data = _writable(frame)
        partition, changes, children = data[8:32].view(np.int64).tolist()
        return ChangesFrame(partition, changes, children, data)

    def number(self, keys: Keys) -> tuple[int, Ints]:
        """Number its keys, new ones too: how many were known before, then int64[changes]."""
        numbers = np.empty(self.changes, np.int64)
        words = self.data.view(np.int64)
        return _number(keys, words, self.data, self.changes, self.children, numbers), numbers


@kernel
def _number(keys: Keys, words: Ints, data: Bytes, n: int, m: int, out: Ints) -> int:
    """Number the keys of a frame's changes; how many were known before."""
    before, row = keys.used[0], _HEAD // 8
    at = _HEAD + 8 * (n * _FIELDS + m * _CHILD_FIELDS)
    for i in range(n):
        length = words[row + _KEY_SIZE]
        number = find(keys, words[row + _HASH], data, at, length)
        if number < 0:
            number = add(keys, words[row + _HASH], data, at, length, -1 - number)
        out[i] = number
        at += length
        row += _FIELDS
    return int(before)


@kernel
def _join(data: Bytes, words: Ints, heads: Ints, at: Ints, ints: Any, values: Any) -> None:
    """Put the changes of frames, which begin at `heads`, one after another.

    `at` is int64[5], all 0; `ints` are int64[fields, changes] and int64[fields, children]; `values` are the
    bytes of values, of children's keys and of their values.
    """
    records, children = ints
    for head in heads:
        row, n, m = (head + _HEAD) // 8, words[head // 8 + 2], words[head // 8 + 3]
        for i in range(n):
            for field in range(_FIELDS):
                records[field, at[0] + i] = words[row + field]
            row += _FIELDS
        for i in range(m):
            for field in range(_CHILD_FIELDS):
                children[field, at[1] + i] = words[row + field]
            row += _CHILD_FIELDS
        at[0] += n
        at[1] += m
        place = 8 * row + words[head // 8 + 4]
        at[2] = _put(data, place, place + words[head // 8 + 5], values[0], at[2])
        place += words[head // 8 + 5]
        at[3] = _put(data, place, place + words[head // 8 + 6], values[1], at[3])
        place += words[head // 8 + 6]
        at[4] = _put(data, place, place + words[head // 8 + 7], values[2], at[4])


def joined(frames: Sequence[ChangesFrame], keys: Sequence[Ints]) -> Changes:
    """The changes of frames, in order.

    Args:
        frames: at least one.
        keys: for each, its keys' numbers.
    """
    data = np.concatenate([frame.data for frame in frames])
    heads = starts_of(np.array([frame.data.size for frame in frames]))[:-1]
    words = data.view(np.int64)
    sizes = words[heads[:, None] // 8 + np.arange(2, 8)].sum(axis=0)
    records = np.empty((_FIELDS, sizes[0]), np.int64)
    children = np.empty((_CHILD_FIELDS, sizes[1]), np.int64)
    values, child_keys, child_values = (np.empty(size + PADDING, np.uint8) for size in sizes[3:].tolist())
    at = np.zeros(5, np.int64)
    _join(data, words, heads, at, (records, children), (values, child_keys, child_values))
    n = records.shape[1]
    return Changes(
        skip=np.zeros(n, np.uint8),
        key=np.concatenate(keys),
        operation=records[_OPERATION].astype(np.uint8),
        valid_from=records[_FROM],
        valid_to=records[_TO],
        offset=records[_AT],
        values=values,
        value_start=starts_of(records[_VALUE_SIZE]),
        given=records[_GIVEN],
        child_first=starts_of(records[_CHILDREN]),
        child_table=children[0].astype(np.uint8),
        child_keys=child_keys,
        child_key_start=starts_of(children[2]),
        child_key_hash=children[1],
        child_values=child_values,
        child_value_start=starts_of(children[3]),
        system=records[_CLOCK],
        outcome=np.zeros(n, np.uint8),
    )
