"""Applying changes in record order: system time, the five operations, no-ops."""

from typing import NamedTuple

from pipeline.temporal import children, parent
from pipeline.temporal.change import (
    DELETE,
    META_PARTITION,
    NONE_GIVEN,
    PATCH,
    PUT,
    RETRACT,
    TERMINATE,
    Change,
    Changes,
    Rows,
    borrow_changes,
    borrow_rows,
)
from pipeline.temporal.jit import borrow, i64, inner, kernel, prefetch, spliced
from pipeline.temporal.matching import Scratch, borrow_scratch
from pipeline.temporal.store import (
    BASE,
    CHILD_PAGES,
    CHILDREN,
    COUNT,
    DIRTY,
    FLAGS,
    HOME_MASK,
    HOME_SHIFT,
    KEY_FIELDS,
    LAST,
    NEVER,
    PAGE_FIELDS,
    PARENTS,
    SEGMENT_FIELDS,
    STRAYED,
    USED_SHIFT,
    VALUE,
    Ints,
    Lists,
    Store,
    borrow_store,
)
from pipeline.temporal.values import gives_nothing, keep, place_of

NO_OP, CHANGED, SKIPPED = range(3)


class Rules(NamedTuple):
    """What a dataset decides.

    Attributes:
        end_of_time: "no end" in the unit of valid time.
        next_change: a change without an end holds until the next boundary, else forever.
        widths: int64[columns], bytes of a value of each value column of the parent, 0 where they vary.
        generation: a number that grows from batch to batch, to tell which keys were used lately.
    """

    end_of_time: int
    next_change: bool
    widths: Ints
    generation: int


@spliced
def borrow_rules(rules: Rules) -> Rules:
    """The same rules, without owning their arrays."""
    return Rules(rules.end_of_time, rules.next_change, borrow(rules.widths), rules.generation)


@inner
def nearest_boundary(store: Store, key: int, instant: int, end_of_time: int) -> int:
    """The nearest boundary of the timeline after `instant`, in any table."""
    boundary = parent.next_boundary(store, key, instant, end_of_time)
    return children.next_boundary(store, key, instant, boundary)


@inner
def is_boundary(store: Store, key: int, instant: int) -> bool:
    """Whether a segment of any table starts or ends at `instant`."""
    return (
        parent.starts_at(store, key, instant)[0] >= 0
        or parent.ends_at(store, key, instant)[0] >= 0
        or children.bounds(store, key, instant)
    )


@inner
def keep_boundary(store: Store, rows: Rows, change: Change, instant: int, rules: Rules) -> None:
    """Cut the parent at a change point of before that no table has any more.

    In a feed of change points a boundary is itself information, and taking children away can lose one.
    """
    if (
        rules.next_change
        and instant < rules.end_of_time
        and parent.spans(store, change.key, instant)
        and not is_boundary(store, change.key, instant)
    ):
        parent.cut(store, rows, change, instant)


@spliced
def put(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, i: int, change: Change, rules: Rules
) -> None:
    """The values hold on the change's range; a new change point stays one even where nothing differs."""
    key, start, end = change.key, change.start, change.end
    at = changes.value_start[i]
    length = changes.value_start[i + 1] - at
    ended_there = has_children(store, key) and is_boundary(store, key, end)
    moved = children.assert_listed(store, rows, scratch, changes, i, change, -1)
    if not parent.holds_throughout(store, key, start, end, changes.values, at, length) or (
        rules.next_change and not is_boundary(store, key, start)
    ):
        parent.put(store, rows, change, keep(store, changes.values, at, length))
    elif moved and ended_there:
        keep_boundary(store, rows, change, end, rules)


@spliced
def patch(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, i: int, change: Change, rules: Rules
) -> None:
    """The given fields and arrays replace those on the change's range."""
    at = changes.value_start[i]
    if gives_nothing(changes.values, at) and changes.given[i] == 0:
        return
    ended_there = has_children(store, change.key) and is_boundary(store, change.key, change.end)
    parent.patch(store, rows, change, changes.values, at, rules.widths)
    if changes.given[i] != 0:
        children.assert_listed(store, rows, scratch, changes, i, change, changes.given[i])
        if ended_there:
            keep_boundary(store, rows, change, change.end, rules)


@inner
def has_children(store: Store, key: int) -> bool:
    """Whether any child of the key is known."""
    return bool(store.keys[key * KEY_FIELDS + CHILD_PAGES] > 0)


@spliced
def delete(store: Store, rows: Rows, scratch: Scratch, change: Change) -> None:
    """Nothing is known on the change's range."""
    children.remove_all(store, rows, scratch, change)
    if parent.overlaps(store, change.key, change.start, change.end):
        parent.put(store, rows, change, -1)


@spliced
def retract(store: Store, rows: Rows, scratch: Scratch, change: Change, rules: Rules) -> None:
    """The change at exactly the change's start never happened."""
    key, next_ = change.key, change.end
    if not is_boundary(store, key, change.start):
        return
    before = rows.filled[0]
    parent.retract(store, rows, change)
    parent_moved = rows.filled[0] > before
    children.retract(store, rows, scratch, change)
    if not parent_moved:
        keep_boundary(store, rows, change, next_, rules)


@inner
def apply_one(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, i: int, partition: int, rules: Rules
) -> bool:
    """Apply one change at the system time it has; whether it wrote rows."""
    key, start, operation = changes.key[i], changes.valid_from[i], i64(changes.operation[i])
    end = changes.valid_to[i]
    if operation == TERMINATE:
        end = rules.end_of_time
    elif operation == RETRACT:
        end = nearest_boundary(store, key, start, rules.end_of_time)
    elif end == NONE_GIVEN:
        end = (
            nearest_boundary(store, key, start, rules.end_of_time) if rules.next_change else rules.end_of_time
        )
    meta = (partition << META_PARTITION) | operation
    change = Change(key, start, end, changes.system[i], changes.offset[i], meta)
    before = rows.filled[0]
    if operation == PUT:
        put(store, rows, scratch, changes, i, change, rules)
    elif operation == PATCH:
        patch(store, rows, scratch, changes, i, change, rules)
    elif operation == RETRACT:
        retract(store, rows, scratch, change, rules)
    elif operation in (DELETE, TERMINATE):
        delete(store, rows, scratch, change)
    if rows.filled[0] == before:
        return False
    store.keys[key * KEY_FIELDS + LAST] = changes.system[i] - NEVER
    store.keys[key * KEY_FIELDS + FLAGS] |= DIRTY
    return True


@inner
def fetch_page(lists: Lists, keys: Ints, key: int, level: int) -> None:
    """Have the last page's row of a key's directory fetched."""
    at = key * KEY_FIELDS + level
    if keys[at + 1] > 0:
        prefetch(lists.pages, (keys[at] + keys[at + 1] - 1) * PAGE_FIELDS)


@inner
def last_slot(lists: Lists, keys: Ints, key: int, level: int) -> int:
    """The slot of a key's last segment; -1 if it has none."""
    at = key * KEY_FIELDS + level
    if keys[at + 1] == 0:
        return -1
    page = (keys[at] + keys[at + 1] - 1) * PAGE_FIELDS
    return int(lists.pages[page + BASE] + lists.pages[page + COUNT] - 1)


@inner
def fetch_segments(lists: Lists, keys: Ints, key: int, level: int) -> None:
    """Have the last segments of a key fetched, and the room behind them."""
    slot = last_slot(lists, keys, key, level)
    if slot >= 0:
        for near in range(-2, 2):
            prefetch(lists.segments, (slot + near) * SEGMENT_FIELDS)


@inner
def fetch_ahead(store: Store, changes: Changes, i: int, last: int) -> None:
    """Have what the next changes will touch fetched, a step of the way at a time: they lie anywhere."""
    keys, parents, children_ = store.keys, store.parents, store.children
    if i + 24 < last and changes.skip[i + 24] == 0:
        prefetch(keys, changes.key[i + 24] * KEY_FIELDS)
    if i + 16 < last and changes.skip[i + 16] == 0:
        fetch_page(parents, keys, changes.key[i + 16], PARENTS)
        fetch_page(children_, keys, changes.key[i + 16], CHILDREN)
    if i + 8 < last and changes.skip[i + 8] == 0:
        fetch_segments(parents, keys, changes.key[i + 8], PARENTS)
        fetch_segments(children_, keys, changes.key[i + 8], CHILDREN)
    if i + 4 < last and changes.skip[i + 4] == 0:
        slot = last_slot(parents, keys, changes.key[i + 4], PARENTS)
        if slot >= 0:
            prefetch(store.arena, place_of(parents.segments[slot * SEGMENT_FIELDS + VALUE]))
        slot = last_slot(children_, keys, changes.key[i + 4], CHILDREN)
        if slot >= 0:
            prefetch(store.arena, place_of(children_.segments[slot * SEGMENT_FIELDS + VALUE]))


@inner
def note_use(store: Store, key: int, partition: int, generation: int) -> int:
    """Note that a change of a partition uses a key; 1 if it is the first from a second partition."""
    flags = store.keys[key * KEY_FIELDS + FLAGS]
    home, strayed = flags >> HOME_SHIFT & HOME_MASK, flags & STRAYED
    if home == 0:
        home = partition + 1
    elif home != partition + 1 and partition >= 0:
        strayed |= STRAYED
    store.keys[key * KEY_FIELDS + FLAGS] = (
        generation << USED_SHIFT | home << HOME_SHIFT | strayed | flags & DIRTY
    )
    return int(strayed != flags & STRAYED)


@kernel
def apply(
    store: Store,
    rows: Rows,
    scratch: Scratch,
    changes: Changes,
    first: int,
    last: int,
    row_limit: int,
    partition: int,
    clock: int,
    rules: Rules,
    replaying: bool,
) -> tuple[int, int, int]:
    """Apply changes `first` to `last` of one partition, in record order, giving each its system time.

    Where `replaying`, changes keep the system time that they have, those that their key has already are
    passed over, and no rows are left. Partition -1 is that of files beside a topic: keys are at home in both.

    Returns:
        The change to go on from (before `last` where `rows` holds `row_limit` rows or more), the partition's
        clock (microseconds) after the last one done, and how many keys were met in a second partition.
    """
    store, rows, scratch = borrow_store(store), borrow_rows(rows), borrow_scratch(scratch)
    changes, rules = borrow_changes(changes), borrow_rules(rules)
    i, strayed = first, 0
    while i < last and rows.filled[0] < row_limit:
        fetch_ahead(store, changes, i, last)
        clock = max(clock, changes.timestamp[i])
        changes.outcome[i] = SKIPPED
        if changes.skip[i] == 0:
            key = changes.key[i] * KEY_FIELDS
            strayed += note_use(store, changes.key[i], partition, rules.generation)
            before = store.keys[key + LAST] + NEVER
            if not replaying:
                changes.system[i] = max(clock, before + 1)
            if changes.system[i] > before:
                changed = apply_one(store, rows, scratch, changes, i, partition, rules)
                changes.outcome[i] = CHANGED if changed else NO_OP
            if replaying:
                rows.filled[0] = 0
        i += 1
    return i, clock, strayed
