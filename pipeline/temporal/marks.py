"""Marks: what the state keeps of a key that it left to the tables, by which its open rows are found there.

A mark is the key's LAST (i64), then whole numbers as in `pipeline.temporal.transfer`: how many segments it
has, and of each its start (since the one before), AUX, and how long before the key's last change it is
believed. Nothing changes a key that was left, so its open rows are these and no others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.temporal.jit import borrow, kernel
from pipeline.temporal.store import NEVER, Bytes, Ints
from pipeline.temporal.transfer import (
    LAST_BYTES,
    base_of_next,
    read_i64,
    read_number,
    read_segment,
    skip_value,
    write_i64,
    write_number,
)

_LARGER = 5
"""Times that a mark is as large as the key, at most."""


@dataclass(frozen=True)
class Marks:
    """The marks of n keys, which have m open segments in all.

    Attributes:
        whole: all keys have one; those left by an earlier bitlake don't.
        lasts: int64[n], each key's LAST.
        key, start, aux, system: int64[m], per segment: which of the keys, its start, AUX and system time.
    """

    whole: bool
    lasts: Ints
    key: Ints
    start: Ints
    aux: Ints
    system: Ints


def marks_of(data: Bytes, starts: Ints, ends: Ints) -> tuple[Bytes, Ints]:
    """Marks of n keys, one after the other, and where each starts; int64[n + 1].

    Args:
        data, starts, ends: the keys as `pipeline.temporal.transfer.export` wrote them.
    """
    out = np.empty(_LARGER * int((ends - starts).sum()) + 1, np.uint8)
    out_starts = np.zeros(starts.size + 1, np.int64)
    _mark(data, starts, out, out_starts)
    return out, out_starts


def read_marks(data: Bytes, starts: Ints, ends: Ints) -> Marks:
    """Read n marks, or the places of none, which are empty."""
    whole = bool(np.all(ends > starts))
    lasts = np.zeros(starts.size, np.int64)
    segments = np.empty((4, _count(data, starts, ends)), np.int64)
    _read(data, starts, ends, lasts, segments)
    return Marks(whole, lasts, *segments)


@kernel
def _mark(data: Bytes, starts: Ints, out: Bytes, out_starts: Ints) -> None:
    from_, to, written = borrow(data), borrow(out), 0
    for i in range(starts.size):
        out_starts[i] = written
        write_i64(to, written, read_i64(from_, starts[i]))
        _, at = read_number(from_, starts[i] + LAST_BYTES)
        parents, at = read_number(from_, at)
        children, at = read_number(from_, at)
        written = write_number(to, written + LAST_BYTES, parents + children)
        base, marked = 0, 0
        for j in range(parents + children):
            if j == parents:
                base = 0
            found, at = read_segment(from_, at, base)
            at = skip_value(from_, at, found.length)
            base = base_of_next(found.start, found.end)
            written = write_number(to, written, found.start - marked)
            written = write_number(to, written, found.aux)
            written = write_number(to, written, found.ago)
            marked = found.start
    out_starts[starts.size] = written


@kernel
def _count(data: Bytes, starts: Ints, ends: Ints) -> int:
    from_, total = borrow(data), 0
    for i in range(starts.size):
        if ends[i] > starts[i]:
            count, _ = read_number(from_, starts[i] + LAST_BYTES)
            total += count
    return total


@kernel
def _read(data: Bytes, starts: Ints, ends: Ints, lasts: Ints, segments: npt.NDArray[np.int64]) -> None:
    from_, to = borrow(data), 0
    for i in range(starts.size):
        if ends[i] == starts[i]:
            continue
        lasts[i] = read_i64(from_, starts[i])
        count, at = read_number(from_, starts[i] + LAST_BYTES)
        start = 0
        for _ in range(count):
            since, at = read_number(from_, at)
            aux, at = read_number(from_, at)
            ago, at = read_number(from_, at)
            start += since
            segments[0, to], segments[1, to], segments[2, to] = i, start, aux
            segments[3, to] = lasts[i] + NEVER - ago
            to += 1
