"""Operations on the parent's timeline: disjoint segments in order.

What looks something up several times is given `here`: the position of the first segment that ends after an
instant.
"""

from pipeline.temporal.change import (
    Change,
    Rows,
    claim_segment,
    emit_closed,
    emit_open,
    let_go,
    share,
    shorten_open,
)
from pipeline.temporal.jit import inner
from pipeline.temporal.pages import find_page, insert, lower_bound, remove, set_end, set_start, slot_of
from pipeline.temporal.store import (
    COUNT,
    END,
    KEY_FIELDS,
    PAGE_FIELDS,
    PARENT_PAGES,
    PARENTS,
    SEGMENT_FIELDS,
    SHARED,
    START,
    SYSTEM,
    TAG,
    VALUE,
    Bytes,
    Ints,
    Lists,
    Store,
)
from pipeline.temporal.values import equal_values, equals, merge, release_last

NOWHERE = (-1, 0)
Position = tuple[int, int]


@inner
def settle(lists: Lists, keys: Ints, key: int, page: int, place: int) -> tuple[int, int]:
    """The position, moved to the next page where it is past its page's end; NOWHERE past the last."""
    if page < keys[key * KEY_FIELDS + PARENT_PAGES]:
        if place < lists.pages[(keys[key * KEY_FIELDS + PARENTS] + page) * PAGE_FIELDS + COUNT]:
            return page, place
        if page + 1 < keys[key * KEY_FIELDS + PARENT_PAGES]:
            return page + 1, 0
    return NOWHERE


@inner
def first_ending_after(lists: Lists, keys: Ints, key: int, instant: int) -> tuple[int, int]:
    """The position of the first segment that ends after `instant`."""
    if keys[key * KEY_FIELDS + PARENT_PAGES] == 0:
        return NOWHERE
    page = find_page(lists, keys, key, PARENTS, instant, 0)
    place = lower_bound(lists, keys[key * KEY_FIELDS + PARENTS] + page, instant, 0)
    if (
        place > 0
        and lists.segments[(slot_of(lists, keys, key, PARENTS, page, place - 1)) * SEGMENT_FIELDS + END]
        > instant
    ):
        return page, place - 1
    return settle(lists, keys, key, page, place)


@inner
def before(lists: Lists, keys: Ints, key: int, here: Position) -> Position:
    """The position of the segment before `here`, the last one before NOWHERE."""
    page, place = here
    if page < 0:
        page, place = keys[key * KEY_FIELDS + PARENT_PAGES], 0
    if place > 0:
        return page, place - 1
    if page > 0:
        return page - 1, lists.pages[(keys[key * KEY_FIELDS + PARENTS] + page - 1) * PAGE_FIELDS + COUNT] - 1
    return NOWHERE


@inner
def bounds(store: Store, key: int, here: Position, instant: int) -> bool:
    """Whether a segment starts or ends at `instant`."""
    lists, keys = store.parents, store.keys
    page, place = here
    if (
        page >= 0
        and lists.segments[slot_of(lists, keys, key, PARENTS, page, place) * SEGMENT_FIELDS + START]
        == instant
    ):
        return True
    page, place = before(lists, keys, key, here)
    return page >= 0 and bool(
        lists.segments[slot_of(lists, keys, key, PARENTS, page, place) * SEGMENT_FIELDS + END] == instant
    )


@inner
def holding(
    store: Store, key: int, here: Position, start: int, end: int, payload: Bytes, at: int, length: int
) -> int:
    """How many segments, all of these values, cover [start, end) without a gap; 0 where none do."""
    lists, keys = store.parents, store.keys
    page, place = here
    reached, count = start, 0
    while page >= 0 and reached < end:
        slot = slot_of(lists, keys, key, PARENTS, page, place)
        if lists.segments[slot * SEGMENT_FIELDS + START] > reached or not equals(
            store, lists.segments[slot * SEGMENT_FIELDS + VALUE], payload, at, length
        ):
            return 0
        reached = lists.segments[slot * SEGMENT_FIELDS + END]
        count += 1
        page, place = settle(lists, keys, key, page, place + 1)
    return count if reached >= end else 0


@inner
def put(store: Store, rows: Rows, change: Change, value: int, shared: int) -> None:
    """Make `value` (-1: nothing) hold on the change's range; rows for what it supersedes and leaves.

    `shared` is SHARED if other segments have, or may get, this value, else 0.
    """
    here = first_ending_after(store.parents, store.keys, change.key, change.start)
    put_here(store, rows, change, value, shared, here)


@inner
def put_here(store: Store, rows: Rows, change: Change, value: int, shared: int, here: Position) -> None:
    """See `put`."""
    lists, keys, key = store.parents, store.keys, change.key
    start, end = change.start, change.end
    placed = value < 0
    page, place = here
    while page >= 0:
        slot = slot_of(lists, keys, key, PARENTS, page, place)
        from_, to, old = (
            lists.segments[slot * SEGMENT_FIELDS + START],
            lists.segments[slot * SEGMENT_FIELDS + END],
            lists.segments[slot * SEGMENT_FIELDS + VALUE],
        )
        if from_ >= end:
            break
        emit_closed(rows, lists, slot, 0, change)
        if from_ < start:
            set_end(lists, keys, key, PARENTS, page, place, start)
            claim_segment(lists, slot, change)
            emit_open(rows, 0, old, from_, start, change)
            if to > end:
                share(lists, slot)
                add(store, rows, change, end, to, old, SHARED)
                break
            page, place = settle(lists, keys, key, page, place + 1)
        elif to > end:
            set_start(lists, keys, key, PARENTS, page, place, end)
            claim_segment(lists, slot, change)
            emit_open(rows, 0, old, end, to, change)
            break
        elif not placed:
            let_go(rows, lists, slot)
            set_start(lists, keys, key, PARENTS, page, place, start)
            set_end(lists, keys, key, PARENTS, page, place, end)
            lists.segments[slot * SEGMENT_FIELDS + VALUE] = value
            lists.segments[slot * SEGMENT_FIELDS + TAG] = shared
            claim_segment(lists, slot, change)
            emit_open(rows, 0, value, start, end, change)
            placed = True
            page, place = settle(lists, keys, key, page, place + 1)
        else:
            let_go(rows, lists, slot)
            page, place = drop(lists, keys, key, page, place)
    if not placed:
        add(store, rows, change, start, end, value, shared)


@inner
def drop(lists: Lists, keys: Ints, key: int, page: int, place: int) -> tuple[int, int]:
    """Remove the segment at a position; the position of the next one."""
    pages = keys[key * KEY_FIELDS + PARENT_PAGES]
    remove(lists, keys, key, PARENTS, page, place)
    if keys[key * KEY_FIELDS + PARENT_PAGES] < pages:
        return settle(lists, keys, key, page, 0)
    return settle(lists, keys, key, page, place)


@inner
def add(store: Store, rows: Rows, change: Change, start: int, end: int, value: int, shared: int) -> None:
    """A new segment, and its open row; for `shared` see `put`."""
    insert(
        store.parents,
        store.keys,
        change.key,
        PARENTS,
        start,
        0,
        end,
        change.system,
        change.offset,
        shared | change.meta,
        value,
    )
    emit_open(rows, 0, value, start, end, change)


@inner
def overlaps(store: Store, key: int, start: int, end: int) -> bool:
    """Whether anything is known on [start, end)."""
    page, place = first_ending_after(store.parents, store.keys, key, start)
    if page < 0:
        return False
    return bool(
        store.parents.segments[
            (slot_of(store.parents, store.keys, key, PARENTS, page, place)) * SEGMENT_FIELDS + START
        ]
        < end
    )


@inner
def patch(store: Store, rows: Rows, change: Change, payload: Bytes, at: int, widths: Ints) -> None:
    """Replace the given fields in every overlapped segment whose values change; fill the gaps with them."""
    lists, keys, key = store.parents, store.keys, change.key
    reached, filling = change.start, -1
    while reached < change.end:
        page, place = first_ending_after(lists, keys, key, reached)
        from_, to, old = change.end, change.end, -1
        if page >= 0:
            slot = slot_of(lists, keys, key, PARENTS, page, place)
            from_, to, old = (
                lists.segments[slot * SEGMENT_FIELDS + START],
                lists.segments[slot * SEGMENT_FIELDS + END],
                lists.segments[slot * SEGMENT_FIELDS + VALUE],
            )
        if from_ > reached:
            if filling < 0:
                filling = merge(store, -1, payload, at, widths)
            to = min(from_, change.end)
            piece = Change(key, reached, to, change.system, change.offset, change.meta)
            put(store, rows, piece, filling, SHARED)
        else:
            to = min(to, change.end)
            value = merge(store, old, payload, at, widths)
            if equal_values(store, value, old):
                release_last(store, value)
            else:
                piece = Change(key, reached, to, change.system, change.offset, change.meta)
                put(store, rows, piece, value, 0)
        reached = to


@inner
def next_boundary(store: Store, key: int, here: Position, instant: int, end_of_time: int) -> int:
    """The nearest boundary of the parent's timeline after `instant`."""
    lists, keys = store.parents, store.keys
    page, place = here
    if page < 0:
        return end_of_time
    slot = slot_of(lists, keys, key, PARENTS, page, place)
    start = lists.segments[slot * SEGMENT_FIELDS + START]
    return start if start > instant else lists.segments[slot * SEGMENT_FIELDS + END]


@inner
def ends_at(store: Store, key: int, instant: int) -> tuple[int, int]:
    """The position of the segment that ends at `instant`."""
    lists, keys = store.parents, store.keys
    page, place = first_ending_after(lists, keys, key, instant - 1)
    if (
        page >= 0
        and lists.segments[(slot_of(lists, keys, key, PARENTS, page, place)) * SEGMENT_FIELDS + END]
        == instant
    ):
        return page, place
    return NOWHERE


@inner
def starts_at(store: Store, key: int, instant: int) -> tuple[int, int]:
    """The position of the segment that starts at `instant`."""
    lists, keys = store.parents, store.keys
    page, place = first_ending_after(lists, keys, key, instant)
    if (
        page >= 0
        and lists.segments[(slot_of(lists, keys, key, PARENTS, page, place)) * SEGMENT_FIELDS + START]
        == instant
    ):
        return page, place
    return NOWHERE


@inner
def spans(store: Store, key: int, instant: int) -> bool:
    """Whether a segment holds both just before and at `instant`."""
    lists, keys = store.parents, store.keys
    page, place = first_ending_after(lists, keys, key, instant)
    return page >= 0 and bool(
        lists.segments[(slot_of(lists, keys, key, PARENTS, page, place)) * SEGMENT_FIELDS + START] < instant
    )


@inner
def cut(store: Store, rows: Rows, change: Change, instant: int, first: int) -> None:
    """Split the segment that holds around `instant` into two of the same values.

    The rows of `change` begin at `first`: one that the segment has among them becomes that of its first half.
    """
    lists, keys, key = store.parents, store.keys, change.key
    page, place = first_ending_after(lists, keys, key, instant)
    slot = slot_of(lists, keys, key, PARENTS, page, place)
    start, end, value = (
        lists.segments[slot * SEGMENT_FIELDS + START],
        lists.segments[slot * SEGMENT_FIELDS + END],
        lists.segments[slot * SEGMENT_FIELDS + VALUE],
    )
    if lists.segments[slot * SEGMENT_FIELDS + SYSTEM] == change.system:
        shorten_open(rows, first, start, instant)
    else:
        emit_closed(rows, lists, slot, 0, change)
        claim_segment(lists, slot, change)
        emit_open(rows, 0, value, start, instant, change)
    set_end(lists, keys, key, PARENTS, page, place, instant)
    share(lists, slot)
    add(store, rows, change, instant, end, value, SHARED)


@inner
def retract(store: Store, rows: Rows, change: Change) -> None:
    """Let the segment before the change's start hold on its range [start, next boundary), or nothing."""
    lists, keys, key = store.parents, store.keys, change.key
    page, place = ends_at(store, key, change.start)
    if page < 0:
        if starts_at(store, key, change.start)[0] >= 0:
            put(store, rows, change, -1, 0)
        return
    slot = slot_of(lists, keys, key, PARENTS, page, place)
    start, value, shared = (
        lists.segments[slot * SEGMENT_FIELDS + START],
        lists.segments[slot * SEGMENT_FIELDS + VALUE],
        lists.segments[slot * SEGMENT_FIELDS + TAG] & SHARED,
    )
    emit_closed(rows, lists, slot, 0, change)
    remove(lists, keys, key, PARENTS, page, place)
    put(store, rows, change, -1, 0)
    add(store, rows, change, start, change.end, value, shared)
