"""One change on its way through the kernel, a batch of them, and the version rows that they leave."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.temporal.jit import borrow, inner, spliced
from pipeline.temporal.store import (
    END,
    META_BITS,
    OFFSET,
    SEGMENT_FIELDS,
    SHARED,
    START,
    SYSTEM,
    TAG,
    VALUE,
    Bytes,
    Ints,
    Lists,
)

PUT, PATCH, DELETE, TERMINATE, RETRACT = range(5)
OPERATIONS = ("put", "patch", "delete", "terminate", "retract")
NONE_GIVEN = -(2**63)

# Fields of a version row: columns of `Rows.fields`. R_TO is when it closed, or OPEN.
(R_TABLE, R_KEY, R_VALUE, R_START, R_END, R_SYSTEM, R_TO, R_OFFSET, R_META, R_BY_OFFSET, R_BY_META) = range(
    11
)
ROW_FIELDS = 11
OPEN = NONE_GIVEN

OPERATION_BITS = 3
"""META is the operation, and the partition, counted from -1, shifted left by this; META_BITS in all."""


class Changes(NamedTuple):
    """n changes and the m children they list, in record order; see `pipeline.decode` for the bytes.

    `system` is int64[n], microseconds: the partition's clock at each record until `apply` makes it the
    change's system time. `outcome` is uint8[n]: 0 no-op, 1 change, 2 not applied (`skip` is set: a dead
    letter).
    """

    skip: npt.NDArray[np.uint8]
    key: Ints
    operation: npt.NDArray[np.uint8]
    valid_from: Ints
    valid_to: Ints
    offset: Ints
    values: Bytes
    value_start: Ints
    given: Ints
    child_first: Ints
    child_table: Bytes
    child_keys: Bytes
    child_key_start: Ints
    child_key_hash: Ints
    child_values: Bytes
    child_value_start: Ints
    system: Ints
    outcome: npt.NDArray[np.uint8]


class Change(NamedTuple):
    """One change: [start, end) in valid time, its system time, and where it came from."""

    key: int
    start: int
    end: int
    system: int
    offset: int
    meta: int


class Rows(NamedTuple):
    """Version rows, and the values that only closed ones of them refer to.

    Attributes:
        fields: int64[room, ROW_FIELDS].
        filled: int64[1], how many rows there are.
        gone: int64[room], references to the values; they may be given back once the rows are written.
        gone_filled: int64[1], how many.
    """

    fields: Ints
    filled: Ints
    gone: Ints
    gone_filled: Ints


def starts_of(sizes: Ints) -> Ints:
    """Where n parts of these sizes start, one after the other, and where the last one ends; int64[n + 1]."""
    starts = np.zeros(sizes.size + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


@inner
def meta_at(lists: Lists, slot: int) -> int:
    """A segment's META."""
    return lists.segments[slot * SEGMENT_FIELDS + TAG] & ((1 << META_BITS) - 1)


@inner
def emit_closed(rows: Rows, lists: Lists, slot: int, table: int, change: Change) -> None:
    """The closed row of the segment at `slot`, superseded by `change`."""
    i = rows.filled[0]
    rows.filled[0] = i + 1
    fields, segments = rows.fields, lists.segments
    fields[i * ROW_FIELDS + R_TABLE], fields[i * ROW_FIELDS + R_KEY], fields[i * ROW_FIELDS + R_VALUE] = (
        table,
        change.key,
        segments[slot * SEGMENT_FIELDS + VALUE],
    )
    fields[i * ROW_FIELDS + R_START], fields[i * ROW_FIELDS + R_END] = (
        segments[slot * SEGMENT_FIELDS + START],
        segments[slot * SEGMENT_FIELDS + END],
    )
    fields[i * ROW_FIELDS + R_SYSTEM], fields[i * ROW_FIELDS + R_TO] = (
        segments[slot * SEGMENT_FIELDS + SYSTEM],
        change.system,
    )
    fields[i * ROW_FIELDS + R_OFFSET], fields[i * ROW_FIELDS + R_META] = (
        segments[slot * SEGMENT_FIELDS + OFFSET],
        meta_at(lists, slot),
    )
    fields[i * ROW_FIELDS + R_BY_OFFSET], fields[i * ROW_FIELDS + R_BY_META] = change.offset, change.meta


@inner
def emit_open(rows: Rows, table: int, value: int, start: int, end: int, change: Change) -> None:
    """The open row of a segment that `change` makes."""
    i = rows.filled[0]
    rows.filled[0] = i + 1
    fields = rows.fields
    fields[i * ROW_FIELDS + R_TABLE], fields[i * ROW_FIELDS + R_KEY], fields[i * ROW_FIELDS + R_VALUE] = (
        table,
        change.key,
        value,
    )
    fields[i * ROW_FIELDS + R_START], fields[i * ROW_FIELDS + R_END] = start, end
    fields[i * ROW_FIELDS + R_SYSTEM], fields[i * ROW_FIELDS + R_TO] = change.system, OPEN
    fields[i * ROW_FIELDS + R_OFFSET], fields[i * ROW_FIELDS + R_META] = change.offset, change.meta


@inner
def shorten_open(rows: Rows, first: int, start: int, end: int) -> None:
    """End the parent's open row from `first` on that starts at `start` at `end`; there is one."""
    fields, i = rows.fields, rows.filled[0] - 1
    while i >= first:
        row = i * ROW_FIELDS
        if fields[row + R_TABLE] == 0 and fields[row + R_TO] == OPEN and fields[row + R_START] == start:
            fields[row + R_END] = end
            return
        i -= 1


@inner
def claim_segment(lists: Lists, slot: int, change: Change) -> None:
    """Mark the segment at `slot` as believed from `change` on."""
    lists.segments[slot * SEGMENT_FIELDS + SYSTEM] = change.system
    lists.segments[slot * SEGMENT_FIELDS + OFFSET] = change.offset
    tag = lists.segments[slot * SEGMENT_FIELDS + TAG]
    lists.segments[slot * SEGMENT_FIELDS + TAG] = tag >> META_BITS << META_BITS | change.meta


@inner
def share(lists: Lists, slot: int) -> None:
    """Mark the segment at `slot` as one of several with its value."""
    lists.segments[slot * SEGMENT_FIELDS + TAG] |= SHARED


@inner
def let_go(rows: Rows, lists: Lists, slot: int) -> None:
    """Note that the segment at `slot`, whose closed row is there, is about to leave its value."""
    if lists.segments[slot * SEGMENT_FIELDS + TAG] & SHARED == 0:
        rows.gone[rows.gone_filled[0]] = lists.segments[slot * SEGMENT_FIELDS + VALUE]
        rows.gone_filled[0] += 1


@spliced
def borrow_rows(rows: Rows) -> Rows:
    """The same rows, without owning them."""
    return Rows(borrow(rows.fields), borrow(rows.filled), borrow(rows.gone), borrow(rows.gone_filled))


@spliced
def borrow_changes(changes: Changes) -> Changes:
    """The same changes, without owning them."""
    return Changes(
        borrow(changes.skip),
        borrow(changes.key),
        borrow(changes.operation),
        borrow(changes.valid_from),
        borrow(changes.valid_to),
        borrow(changes.offset),
        borrow(changes.values),
        borrow(changes.value_start),
        borrow(changes.given),
        borrow(changes.child_first),
        borrow(changes.child_table),
        borrow(changes.child_keys),
        borrow(changes.child_key_start),
        borrow(changes.child_key_hash),
        borrow(changes.child_values),
        borrow(changes.child_value_start),
        borrow(changes.system),
        borrow(changes.outcome),
    )
