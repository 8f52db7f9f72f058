"""One change on its way through the kernel, a batch of them, and the version rows that they leave."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.temporal.jit import borrow, kernel
from pipeline.temporal.store import END, META, OFFSET, START, SYSTEM, VALUE, Bytes, Ints, Lists

PUT, PATCH, DELETE, TERMINATE, RETRACT = range(5)
OPERATIONS = ("put", "patch", "delete", "terminate", "retract")
NONE_GIVEN = -(2**63)

# Fields of a version row: rows of `Rows.fields`. R_TO is the system time at which it closed, or -1 while open.
(R_TABLE, R_KEY, R_VALUE, R_START, R_END, R_SYSTEM, R_TO, R_OFFSET, R_META, R_BY_OFFSET, R_BY_META) = range(11)
ROW_FIELDS = 11
OPEN = -1

META_PARTITION = 8
"""META is the operation, and the partition shifted left by this."""


class Changes(NamedTuple):
    """n changes and the m children they list, in record order; see `pipeline.decode` for the bytes.

    `system` is int64[n]: written by `apply`, read by `replay`. `outcome` is uint8[n]: 0 no-op, 1 change,
    2 not applied (`skip` is set: a dead letter).
    """

    skip: npt.NDArray[np.uint8]
    key: Ints
    operation: npt.NDArray[np.uint8]
    valid_from: Ints
    valid_to: Ints
    offset: Ints
    timestamp: Ints
    values: Bytes
    value_start: Ints
    given: Ints
    child_first: Ints
    child_table: npt.NDArray[np.uint16]
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
    """Version rows: int64[ROW_FIELDS, room], of which the first `count[0]` are filled."""

    fields: Ints
    count: Ints


@kernel
def emit_closed(rows: Rows, lists: Lists, slot: int, table: int, change: Change) -> None:
    """The closed row of the segment at `slot`, superseded by `change`."""
    i = rows.count[0]
    rows.count[0] = i + 1
    fields, segments = rows.fields, lists.segments
    fields[R_TABLE, i], fields[R_KEY, i], fields[R_VALUE, i] = table, change.key, segments[slot, VALUE]
    fields[R_START, i], fields[R_END, i] = segments[slot, START], segments[slot, END]
    fields[R_SYSTEM, i], fields[R_TO, i] = segments[slot, SYSTEM], change.system
    fields[R_OFFSET, i], fields[R_META, i] = segments[slot, OFFSET], segments[slot, META]
    fields[R_BY_OFFSET, i], fields[R_BY_META, i] = change.offset, change.meta


@kernel
def emit_open(rows: Rows, table: int, value: int, start: int, end: int, change: Change) -> None:
    """The open row of a segment that `change` makes."""
    i = rows.count[0]
    rows.count[0] = i + 1
    fields = rows.fields
    fields[R_TABLE, i], fields[R_KEY, i], fields[R_VALUE, i] = table, change.key, value
    fields[R_START, i], fields[R_END, i] = start, end
    fields[R_SYSTEM, i], fields[R_TO, i] = change.system, OPEN
    fields[R_OFFSET, i], fields[R_META, i] = change.offset, change.meta


@kernel
def claim_segment(lists: Lists, slot: int, change: Change) -> None:
    """Mark the segment at `slot` as believed from `change` on."""
    lists.segments[slot, SYSTEM] = change.system
    lists.segments[slot, OFFSET] = change.offset
    lists.segments[slot, META] = change.meta


@kernel
def borrow_rows(rows: Rows) -> Rows:
    """The same rows, without owning them."""
    return Rows(borrow(rows.fields), borrow(rows.count))


@kernel
def borrow_changes(changes: Changes) -> Changes:
    """The same changes, without owning them."""
    return Changes(
        borrow(changes.skip),
        borrow(changes.key),
        borrow(changes.operation),
        borrow(changes.valid_from),
        borrow(changes.valid_to),
        borrow(changes.offset),
        borrow(changes.timestamp),
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
