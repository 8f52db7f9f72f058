"""Kernels that decompress LZ4 and Snappy.

Calling a library for every record batch costs more than decompressing a small one.

Both formats are copies of literals and of earlier output. Every length and distance is checked against the
input's and the output's end before bytes are moved. Wide copies write up to `SLACK` bytes beyond what they
mean to, so the output has that much more room than its limit.
"""

from typing import Any

import numpy as np

from pipeline.decode.machine import load8, load64, store8, store64
from pipeline.decode.memory import signed
from pipeline.source.kafka.compiled import inlined, kernel

SLACK = 32
FULL = -1
"""The output has no room for it."""
BROKEN = -2
"""These bytes are not what they should be."""

_LZ4_MAGIC = 0x184D2204
_LZ4_SKIPPABLE = 0x184D2A5
_XERIAL = 0x595050414E5382
_XERIAL_HEADER = 16


@inlined
def little32(data: Any, at: int) -> int:
    """The four bytes at `at`, least first, as a positive number."""
    return signed(load64(data, at) & np.uint64(0xFFFFFFFF))


@inlined
def big32(data: Any, at: int) -> int:
    """The four bytes at `at`, greatest first, as a positive number."""
    return load8(data, at) << 24 | load8(data, at + 1) << 16 | load8(data, at + 2) << 8 | load8(data, at + 3)


@inlined
def _copy(source: Any, at: int, target: Any, to: int, length: int) -> None:
    """Copy, sixteen bytes at a time; up to 15 more are read and written than asked for."""
    done = 0
    while done < length:
        store64(target, to + done, signed(load64(source, at + done)))
        store64(target, to + done + 8, signed(load64(source, at + done + 8)))
        done += 16


@inlined
def _repeat(out: Any, to: int, distance: int, length: int) -> None:
    """Append what came `distance` bytes before; where they overlap, the pattern repeats."""
    done = 0
    if distance >= 16:
        _copy(out, to - distance, out, to, length)
    elif distance >= 8:
        while done < length:
            store64(out, to + done, signed(load64(out, to + done - distance)))
            done += 8
    else:
        while done < length:
            store8(out, to + done, load8(out, to + done - distance))
            done += 1


@inlined
def _extended(data: Any, at: int, end: int, length: int) -> tuple[int, int]:
    """A length of 15 goes on in bytes of their own, up to one that is not 255; gives where, or -1, and it."""
    if length == 15:
        more = 255
        while more == 255:
            if at >= end:
                return -1, length
            more = load8(data, at)
            at += 1
            length += more
    return at, length


@kernel
def _lz4_block(data: Any, at: int, end: int, out: Any, to: int, first: int, limit: int) -> int:
    """Decompress a block; gives where the output ends. Matches reach back to `first`."""
    while at < end:
        token = load8(data, at)
        at, length = _extended(data, at + 1, end, token >> 4)
        if at < 0 or length > end - at:
            return BROKEN
        if length > limit - to:
            return FULL
        _copy(data, at, out, to, length)
        at += length
        to += length
        if at == end:
            return to
        if end - at < 2:
            return BROKEN
        distance = load8(data, at) | load8(data, at + 1) << 8
        at, length = _extended(data, at + 2, end, token & 15)
        length += 4
        if at < 0 or distance == 0 or distance > to - first:
            return BROKEN
        if length > limit - to:
            return FULL
        _repeat(out, to, distance, length)
        to += length
    return BROKEN


@kernel
def _lz4_frame(data: Any, at: int, end: int, out: Any, to: int, limit: int) -> tuple[int, int]:
    """Decompress the blocks of a frame; gives where it ends, or what is wrong, and where the output ends.

    The header's checksum is not looked at: Kafka's own covers it, and old clients got it wrong.
    """
    if end - at < 7 or little32(data, at) != _LZ4_MAGIC or load8(data, at + 4) >> 6 != 1:
        return BROKEN, to
    flags = load8(data, at + 4)
    at += 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
    after_block = 4 if flags & 16 else 0
    first = to
    while end - at >= 4:
        size = little32(data, at) & 0x7FFFFFFF
        stored = load8(data, at + 3) >> 7
        at += 4
        if size == 0:
            at += 4 if flags & 4 else 0
            return (at if at <= end else BROKEN), to
        if size > end - at:
            return BROKEN, to
        if stored:
            if size > limit - to:
                return FULL, to
            _copy(data, at, out, to, size)
            to += size
        else:
            stop = _lz4_block(data, at, at + size, out, to, to if flags & 32 else first, limit)
            if stop < 0:
                return stop, to
            to = stop
        at += size + after_block
    return BROKEN, to


@kernel
def lz4(data: Any, at: int, end: int, out: Any, to: int, limit: int) -> int:
    """Decompress LZ4 frames; gives where the output ends, `FULL` or `BROKEN`."""
    while at < end:
        if end - at >= 8 and little32(data, at) >> 4 == _LZ4_SKIPPABLE:
            at += 8 + little32(data, at + 4)
            if at > end:
                return BROKEN
            continue
        at, to = _lz4_frame(data, at, end, out, to, limit)
        if at < 0:
            return at
    return to


@inlined
def _snappy_size(data: Any, at: int, end: int) -> tuple[int, int]:
    """The size of a block's output, which comes first; gives where it ends, or -1, and it."""
    size = 0
    for shift in range(0, 35, 7):
        if at >= end:
            return -1, 0
        byte = load8(data, at)
        at += 1
        size |= (byte & 127) << shift
        if byte < 128:
            return at, size
    return -1, 0


@inlined
def _snappy_literal(data: Any, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where a literal's bytes begin, or -1, and how many they are."""
    length = (tag >> 2) + 1
    if length <= 60:
        return at, length
    wide = length - 60
    if wide > end - at:
        return -1, 0
    mask = (np.uint64(1) << np.uint64(8 * wide)) - np.uint64(1)
    return at + wide, 1 + signed(load64(data, at) & mask)


@kernel
def _snappy_block(data: Any, at: int, end: int, out: Any, to: int, limit: int) -> int:
    """Decompress a raw block; gives where the output ends."""
    at, size = _snappy_size(data, at, end)
    if at < 0:
        return BROKEN
    if size > limit - to:
        return FULL
    first = to
    stop = to + size
    while at < end:
        tag = load8(data, at)
        kind = tag & 3
        at += 1
        if kind == 0:
            at, length = _snappy_literal(data, at, end, tag)
            if at < 0 or length > end - at or length > stop - to:
                return BROKEN
            _copy(data, at, out, to, length)
            at += length
        else:
            need = 1 << kind >> 1
            if need > end - at:
                return BROKEN
            length = 4 + (tag >> 2 & 7) if kind == 1 else 1 + (tag >> 2)
            distance = little32(data, at) & (0xFF if kind == 1 else 0xFFFF if kind == 2 else 0xFFFFFFFF)
            distance |= tag >> 5 << 8 if kind == 1 else 0
            at += need
            if distance == 0 or distance > to - first or length > stop - to:
                return BROKEN
            _repeat(out, to, distance, length)
        to += length
    return to if to == stop else BROKEN


@kernel
def snappy(data: Any, at: int, end: int, out: Any, to: int, limit: int) -> int:
    """Decompress Snappy, raw or in the blocks that Java's library writes; as `lz4`."""
    if end - at < _XERIAL_HEADER or load64(data, at) != np.uint64(_XERIAL):
        return _snappy_block(data, at, end, out, to, limit)
    at += _XERIAL_HEADER
    while at < end:
        if end - at < 4:
            return BROKEN
        size = big32(data, at)
        at += 4
        if size > end - at:
            return BROKEN
        to = _snappy_block(data, at, at + size, out, to, limit)
        if to < 0:
            return to
        at += size
    return to
