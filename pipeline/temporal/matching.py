"""What a change may touch of a key's children: collected, and matched with those that its record lists."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.temporal.change import (
    Changes,
)
from pipeline.temporal.jit import borrow, i64, inner, spliced
from pipeline.temporal.pages import aux_at
from pipeline.temporal.store import (
    AUX_BITS,
    BASE,
    CHILD_PAGES,
    CHILDREN,
    COUNT,
    END,
    FIRST,
    KEY_FIELDS,
    LATEST,
    PAGE_FIELDS,
    SEGMENT_FIELDS,
    START,
    VALUE,
    Ints,
    Store,
    reserve,
)
from pipeline.temporal.values import child_equals, child_is, place_of, read_u16

# Fields of a collected segment in `Scratch.found`.
F_START, F_END, F_AUX, F_VALUE, F_MATCH, F_NEXT = range(6)
FOUND_FIELDS = 6
# Fields of a listed child in `Scratch.listed`.
L_COVERED, L_DIFFERS, L_HEAD, L_TAIL = range(4)
LISTED_FIELDS = 4


class Scratch(NamedTuple):
    """Room for one change: collected segments, listed children, and a hash table of the listed."""

    found: Ints
    listed: Ints
    table: npt.NDArray[np.int32]


def new_scratch(room: int = 1 << 26) -> Scratch:
    """Room for `room` segments and children a change; touched only as far as it is used."""
    found, listed = reserve((room, FOUND_FIELDS), np.int64), reserve((room, LISTED_FIELDS), np.int64)
    return Scratch(found, listed, reserve((4 * room,), np.int32))  # type: ignore[arg-type]


@inner
def aux_of(hash_: int, table: int) -> int:
    """How a child is ordered among the segments of one start: by its key's hash."""
    return (hash_ ^ i64(table)) & ((1 << AUX_BITS) - 1)


@inner
def table_of(store: Store, value: int) -> int:
    """The table of a child in the arena."""
    return read_u16(store.arena, place_of(value))


@inner
def collect(store: Store, scratch: Scratch, key: int, start: int, end: int, given: int) -> int:
    """Copy the segments that end after `start` and start before `end`, of the tables given; how many."""
    lists, keys, found, n = store.children, store.keys, scratch.found, 0
    base = keys[key * KEY_FIELDS + CHILDREN]
    for row in range(base, base + keys[key * KEY_FIELDS + CHILD_PAGES]):
        if lists.pages[row * PAGE_FIELDS + FIRST] >= end:
            break
        if lists.pages[row * PAGE_FIELDS + LATEST] <= start:
            continue
        for slot in range(
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + BASE] + lists.pages[row * PAGE_FIELDS + COUNT],
        ):
            if lists.segments[slot * SEGMENT_FIELDS + START] >= end:
                break
            value = lists.segments[slot * SEGMENT_FIELDS + VALUE]
            if (
                lists.segments[slot * SEGMENT_FIELDS + END] > start
                and (given >> table_of(store, value)) & 1 == 1
            ):
                found[n * FOUND_FIELDS + F_START], found[n * FOUND_FIELDS + F_END] = (
                    lists.segments[slot * SEGMENT_FIELDS + START],
                    lists.segments[slot * SEGMENT_FIELDS + END],
                )
                found[n * FOUND_FIELDS + F_AUX], found[n * FOUND_FIELDS + F_VALUE] = (
                    aux_at(lists, slot),
                    value,
                )
                found[n * FOUND_FIELDS + F_MATCH] = -1
                n += 1
    return n


@inner
def holds(store: Store, changes: Changes, child: int, value: int) -> bool:
    """Whether a segment has the values of a listed child."""
    start = changes.child_value_start[child]
    return child_equals(
        store, value, changes.child_values, start, changes.child_value_start[child + 1] - start
    )


@inner
def find_listed(
    store: Store, scratch: Scratch, changes: Changes, record: int, value: int, aux: int, mask: int
) -> int:
    """Which child of the record (from 0) a segment is of; -1 if it lists no such child."""
    first = changes.child_first[record]
    at = aux & mask
    while scratch.table[at] > 0:
        j = scratch.table[at] - 1
        c = first + j
        if aux_of(changes.child_key_hash[c], changes.child_table[c]) == aux and child_is(
            store,
            value,
            changes.child_table[c],
            changes.child_keys,
            changes.child_key_start[c],
            changes.child_key_start[c + 1] - changes.child_key_start[c],
        ):
            return int(j)
        at = (at + 1) & mask
    return -1


@spliced
def index_listed(scratch: Scratch, changes: Changes, record: int) -> int:
    """Put the record's children into the scratch hash table; its mask."""
    first = changes.child_first[record]
    n = changes.child_first[record + 1] - first
    size = 4
    while size < 2 * n:
        size <<= 1
    for i in range(size):
        scratch.table[i] = 0
    for j in range(n):
        at = aux_of(changes.child_key_hash[first + j], changes.child_table[first + j]) & (size - 1)
        while scratch.table[at] > 0:
            at = (at + 1) & (size - 1)
        scratch.table[at] = j + 1
    return size - 1


@spliced
def match(
    store: Store, scratch: Scratch, changes: Changes, record: int, count: int, start: int, end: int
) -> None:
    """Match collected segments with listed children; chain each child's segments in order of time."""
    first = changes.child_first[record]
    found, listed = scratch.found, scratch.listed
    for j in range(changes.child_first[record + 1] - first):
        listed[j * LISTED_FIELDS + L_COVERED], listed[j * LISTED_FIELDS + L_DIFFERS] = 0, 0
        listed[j * LISTED_FIELDS + L_HEAD], listed[j * LISTED_FIELDS + L_TAIL] = -1, -1
    if count == 0:
        return
    mask = index_listed(scratch, changes, record)
    for i in range(count):
        j = find_listed(
            store,
            scratch,
            changes,
            record,
            found[i * FOUND_FIELDS + F_VALUE],
            found[i * FOUND_FIELDS + F_AUX],
            mask,
        )
        found[i * FOUND_FIELDS + F_MATCH], found[i * FOUND_FIELDS + F_NEXT] = j, -1
        if j < 0:
            continue
        if listed[j * LISTED_FIELDS + L_HEAD] < 0:
            listed[j * LISTED_FIELDS + L_HEAD] = i
        else:
            found[(listed[j * LISTED_FIELDS + L_TAIL]) * FOUND_FIELDS + F_NEXT] = i
        listed[j * LISTED_FIELDS + L_TAIL] = i
        listed[j * LISTED_FIELDS + L_COVERED] += min(found[i * FOUND_FIELDS + F_END], end) - max(
            found[i * FOUND_FIELDS + F_START], start
        )
        if not holds(store, changes, first + j, found[i * FOUND_FIELDS + F_VALUE]):
            listed[j * LISTED_FIELDS + L_DIFFERS] = 1


@spliced
def borrow_scratch(scratch: Scratch) -> Scratch:
    """The same scratch room, without owning it."""
    return Scratch(borrow(scratch.found), borrow(scratch.listed), borrow(scratch.table))
