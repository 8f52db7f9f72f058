"""Frames of changes, one key group's each: what `decode` sends to `apply`, and what the logs of changes hold.

A frame has a head, then its changes one after the other, each in as few bytes as it takes. The key's hash,
the key and the value stand together: what repeats of an earlier change of the key does so in one piece,
which zstd finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np

from pipeline.decode.batch import Batch
from pipeline.decode.memory import copy
from pipeline.flink.frames import writable
from pipeline.source.block import PADDING
from pipeline.temporal.change import NONE_GIVEN, Changes, starts_of
from pipeline.temporal.jit import i64, inner, kernel, load64, store64
from pipeline.temporal.keys import Keys, add, find
from pipeline.temporal.store import Bytes, Ints

_HEAD = 56
"""Bytes of the head: the key by which Flink sends the frame (4, big-endian), then int64: the partition,
the changes, their children, and the bytes of values, of children's keys and of their values."""

# The first byte of a change: its operation, and what follows.
_OPERATION, _HAS_TO, _HAS_GIVEN, _HAS_CHILDREN = 7, 8, 16, 32
_ALL_GIVEN = -1
_LOW_57 = (1 << 57) - 1
_MOST, _MOST_CHILD = 80, 24
"""Bytes of a change, and of a child, at most, beside those of keys and values."""

# Columns of `_join`'s output.
_FROM, _TO, _AT, _CLOCK, _GIVEN = range(5)
_FIELDS = 5


@inner
def _put_number(out: Bytes, at: int, value: int) -> int:
    """Write a whole number, seven bits a byte, its sign in the lowest one; where it ends."""
    left = (value << 1) ^ (value >> 63)
    while (left & ~127) != 0:
        out[at] = (left & 127) | 128
        left = (left >> 7) & _LOW_57
        at += 1
    out[at] = left
    return at + 1


@inner
def _number(data: Bytes, at: int) -> tuple[int, int]:
    """Read what `_put_number` wrote; and where it ends."""
    value, shift = i64(0), i64(0)
    while data[at] > 127:
        value |= i64(data[at] & 127) << shift
        shift += 7
        at += 1
    value |= i64(data[at]) << shift
    return ((value >> 1) & ((1 << 63) - 1)) ^ -(value & 1), at + 1


@inner
def _put_bytes(data: Bytes, start: int, end: int, out: Bytes, at: int) -> int:
    copy(data, start, end - start, out, at)
    return at + end - start


@kernel
def _sizes(skip: Bytes, group: Ints, n: int, starts: Any, sizes: Ints) -> None:
    """Per group: changes, children, and bytes of the four kinds: values, children's keys and values, keys."""
    key_start, value_start, child_first, child_key_start, child_value_start = starts
    for i in range(n):
        if skip[i]:
            continue
        row = sizes[group[i]]
        first, last = child_first[i], child_first[i + 1]
        row[0] += 1
        row[1] += last - first
        row[2] += value_start[i + 1] - value_start[i]
        row[3] += child_key_start[last] - child_key_start[first]
        row[4] += child_value_start[last] - child_value_start[first]
        row[5] += key_start[i + 1] - key_start[i]


@kernel
def _fill(
    skip: Bytes, group: Ints, n: int, starts: Any, numbers: Any, data: Any, at: Ints, last: Ints, out: Bytes
) -> None:
    """Write each group's changes.

    `at` is int64[groups], where the next one goes; `last` is int64[groups, 2], offset and clock of the one
    before.
    """
    key_start, value_start, child_first, child_key_start, child_value_start = starts
    operation, valid_from, valid_to, offset, clock, given, key_hash, child_table, child_hash = numbers
    keys, values, child_keys, child_values = data
    for i in range(n):
        if skip[i]:
            continue
        of = group[i]
        place, first, end = at[of] + 1, child_first[i], child_first[i + 1]
        flags = i64(operation[i])
        store64(out, place, valid_from[i])
        place += 8
        if valid_to[i] != NONE_GIVEN:
            flags |= _HAS_TO
            store64(out, place, valid_to[i])
            place += 8
        if given[i] != _ALL_GIVEN:
            flags |= _HAS_GIVEN
            store64(out, place, given[i])
            place += 8
        place = _put_number(out, place, offset[i] - last[of, 0])
        place = _put_number(out, place, clock[i] - last[of, 1])
        last[of, 0], last[of, 1] = offset[i], clock[i]
        if end > first:
            flags |= _HAS_CHILDREN
            place = _put_number(out, place, end - first)
        out[at[of]] = flags
        place = _put_number(out, place, key_start[i + 1] - key_start[i])
        place = _put_number(out, place, value_start[i + 1] - value_start[i])
        store64(out, place, key_hash[i])
        place = _put_bytes(keys, key_start[i], key_start[i + 1], out, place + 8)
        place = _put_bytes(values, value_start[i], value_start[i + 1], out, place)
        for c in range(first, end):
            out[place] = child_table[c]
            place = _put_number(out, place + 1, child_key_start[c + 1] - child_key_start[c])
            place = _put_number(out, place, child_value_start[c + 1] - child_value_start[c])
            store64(out, place, child_hash[c])
            place = _put_bytes(child_keys, child_key_start[c], child_key_start[c + 1], out, place + 8)
            place = _put_bytes(child_values, child_value_start[c], child_value_start[c + 1], out, place)
        at[of] = place


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
    n, hashes = len(batch), batch.key_hash.view(np.int64)
    group = group_of(hashes, groups.size)
    starts = (
        batch.key_start,
        batch.value_start,
        batch.child_first,
        batch.child_key_start,
        batch.child_value_start,
    )
    sizes = np.zeros((groups.size, 6), np.int64)
    _sizes(changes.skip, group, n, starts, sizes)
    most = _HEAD + sizes[:, 0] * _MOST + sizes[:, 1] * _MOST_CHILD + sizes[:, 2:].sum(axis=1) + PADDING
    begins = starts_of((most + 7) & ~7)
    out = np.empty(int(begins[-1]), np.uint8)
    words, heads = out.view(np.int64), begins[:-1] // 8
    words[heads] = groups.astype(">i4").view(np.uint32)
    words[heads + 1] = partition
    for field in range(5):
        words[heads + 2 + field] = sizes[:, field]
    numbers = (
        changes.operation,
        changes.valid_from,
        changes.valid_to,
        changes.offset,
        changes.system,
        changes.given,
        hashes,
        changes.child_table,
        changes.child_key_hash,
    )
    data = (batch.keys, batch.values, batch.child_keys, batch.child_values)
    ends, last = begins[:-1] + _HEAD, np.zeros((groups.size, 2), np.int64)
    _fill(changes.skip, group, n, starts, numbers, data, ends, last, out)
    spread = _spread(groups.size)
    return [
        (number, out[begins[number] : ends[number] + PADDING].tobytes())
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


@dataclass(frozen=True)
class ChangesFrame:
    """A frame of changes that `split` made.

    Attributes:
        partition: where they came from.
        changes: how many.
        data: uint8, the frame.
    """

    partition: int
    changes: int
    data: Bytes

    @staticmethod
    def of(frame: bytes) -> "ChangesFrame":
        """Read a frame's head."""
        data = writable(frame)
        partition, changes = data[8:24].view(np.int64).tolist()
        return ChangesFrame(partition, changes, data)

    def number(self, keys: Keys) -> tuple[int, Ints]:
        """Number its keys, new ones too: how many were known before, then int64[changes]."""
        numbers = np.empty(self.changes, np.int64)
        return _number_keys(keys, self.data, numbers), numbers


@kernel
def _number_keys(keys: Keys, data: Bytes, out: Ints) -> int:
    """Number the keys of a frame's changes; how many were known before."""
    before, at = keys.used[0], i64(_HEAD)
    for i in range(out.size):
        flags, children = i64(data[at]), i64(0)
        at += 9
        if flags & _HAS_TO:
            at += 8
        if flags & _HAS_GIVEN:
            at += 8
        at = _number(data, at)[1]
        at = _number(data, at)[1]
        if flags & _HAS_CHILDREN:
            children, at = _number(data, at)
        length, at = _number(data, at)
        value, at = _number(data, at)
        hash_ = load64(data, at)
        number = find(keys, hash_, data, at + 8, length)
        if number < 0:
            number = add(keys, hash_, data, at + 8, length, -1 - number)
        out[i] = number
        at += 8 + length + value
        for _ in range(children):
            length, at = _number(data, at + 1)
            value, at = _number(data, at)
            at += 8 + length + value
    return int(before)


@kernel
def _join(data: Bytes, heads: Ints, records: Any, children: Any, values: Any) -> None:
    """Put the changes of frames, which begin at `heads`, one after another.

    `records` are: uint8[changes], their operations; int64[_FIELDS, changes]; int64[changes + 1] twice, where
    their values and their children begin. `children` are: uint8[children], their tables; int64[children],
    their hashes; int64[children + 1] twice, where their keys and values begin. `values` are the bytes of
    values, of children's keys and of their values.
    """
    operation, fields, value_start, child_first = records
    child_table, child_hash, child_key_start, child_value_start = children
    row, child = i64(0), i64(0)
    for head in heads:
        at, offset, clock = head + _HEAD, i64(0), i64(0)
        for _ in range(load64(data, head + 16)):
            flags, listed, step = i64(data[at]), i64(0), i64(0)
            operation[row] = flags & _OPERATION
            fields[_FROM, row], fields[_TO, row], fields[_GIVEN, row] = (
                load64(data, at + 1),
                NONE_GIVEN,
                _ALL_GIVEN,
            )
            at += 9
            if flags & _HAS_TO:
                fields[_TO, row] = load64(data, at)
                at += 8
            if flags & _HAS_GIVEN:
                fields[_GIVEN, row] = load64(data, at)
                at += 8
            step, at = _number(data, at)
            offset += step
            step, at = _number(data, at)
            clock += step
            fields[_AT, row], fields[_CLOCK, row] = offset, clock
            if flags & _HAS_CHILDREN:
                listed, at = _number(data, at)
            key, at = _number(data, at)
            value, at = _number(data, at)
            at += 8 + key
            value_start[row + 1] = _put_bytes(data, at, at + value, values[0], value_start[row])
            at += value
            for _ in range(listed):
                child_table[child] = data[at]
                key, at = _number(data, at + 1)
                value, at = _number(data, at)
                child_hash[child] = load64(data, at)
                at += 8
                child_key_start[child + 1] = _put_bytes(data, at, at + key, values[1], child_key_start[child])
                at += key
                child_value_start[child + 1] = _put_bytes(
                    data, at, at + value, values[2], child_value_start[child]
                )
                at += value
                child += 1
            row += 1
            child_first[row] = child


def joined(frames: Sequence[ChangesFrame], keys: Sequence[Ints]) -> Changes:
    """The changes of frames, in order.

    Args:
        frames: at least one.
        keys: for each, its keys' numbers.
    """
    data = np.concatenate([frame.data for frame in frames])
    heads = starts_of(np.array([frame.data.size for frame in frames]))[:-1]
    sizes = sum(frame.data[16:56].view(np.int64) for frame in frames)
    n, m, *nbytes = np.asarray(sizes).tolist()
    operation, fields = np.empty(n, np.uint8), np.empty((_FIELDS, n), np.int64)
    value_start, child_first = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    child_table, child_hash = np.empty(m, np.uint8), np.empty(m, np.int64)
    child_key_start, child_value_start = np.zeros(m + 1, np.int64), np.zeros(m + 1, np.int64)
    values, child_keys, child_values = (np.empty(size + PADDING, np.uint8) for size in nbytes)
    _join(
        data,
        heads,
        (operation, fields, value_start, child_first),
        (child_table, child_hash, child_key_start, child_value_start),
        (values, child_keys, child_values),
    )
    return Changes(
        skip=np.zeros(n, np.uint8),
        key=np.concatenate(keys),
        operation=operation,
        valid_from=fields[_FROM],
        valid_to=fields[_TO],
        offset=fields[_AT],
        values=values,
        value_start=value_start,
        given=fields[_GIVEN],
        child_first=child_first,
        child_table=child_table,
        child_keys=child_keys,
        child_key_start=child_key_start,
        child_key_hash=child_hash,
        child_values=child_values,
        child_value_start=child_value_start,
        system=fields[_CLOCK],
        outcome=np.zeros(n, np.uint8),
    )
