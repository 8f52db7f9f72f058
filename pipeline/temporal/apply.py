"""Applying changes in record order: system time, the five operations, no-ops."""

from typing import NamedTuple

from pipeline.temporal import children, parent
from pipeline.temporal.change import (
    DELETE,
    NONE_GIVEN,
    OPEN,
    OPERATION_BITS,
    PATCH,
    PUT,
    R_END,
    R_START,
    R_TABLE,
    R_TO,
    RETRACT,
    ROW_FIELDS,
    TERMINATE,
    Change,
    Changes,
    Rows,
    borrow_changes,
    borrow_rows,
)
from pipeline.temporal.fetching import fetch_ahead
from pipeline.temporal.jit import borrow, i64, inner, kernel, prefetch, spliced
from pipeline.temporal.matching import Scratch, borrow_scratch
from pipeline.temporal.store import (
    CHILD_PAGES,
    DIRTY,
    FLAGS,
    HOME_MASK,
    HOME_SHIFT,
    KEY_FIELDS,
    LAST,
    NEVER,
    STRAYED,
    Ints,
    Store,
    borrow_store,
)
from pipeline.temporal.values import give_back, gives_nothing, keep, place_of

NO_OP, CHANGED, SKIPPED = range(3)
GONE_AHEAD = 8
"""Values by which the memory of the next ones is fetched ahead."""


class Rules(NamedTuple):
    """What a dataset decides.

    Attributes:
        end_of_time: "no end" in the unit of valid time.
        next_change: a change without an end holds until the next boundary, else forever.
        widths: int64[columns], bytes of a value of each value column of the parent, 0 where they vary.
    """

    end_of_time: int
    next_change: bool
    widths: Ints


@spliced
def borrow_rules(rules: Rules) -> Rules:
    """The same rules, without owning their arrays."""
    return Rules(rules.end_of_time, rules.next_change, borrow(rules.widths))


@inner
def position(store: Store, key: int, instant: int) -> parent.Position:
    """The position of the parent's first segment that ends after `instant`."""
    return parent.first_ending_after(store.parents, store.keys, key, instant)


@inner
def nearest_boundary(store: Store, key: int, here: parent.Position, instant: int, end_of_time: int) -> int:
    """The nearest boundary of the timeline after `instant`, whose position is `here`, in any table."""
    boundary = parent.next_boundary(store, key, here, instant, end_of_time)
    return children.next_boundary(store, key, instant, boundary)


@inner
def is_boundary_here(store: Store, key: int, here: parent.Position, instant: int) -> bool:
    """Whether a segment of any table starts or ends at `instant`, whose position is `here`."""
    return parent.bounds(store, key, here, instant) or children.bounds(store, key, instant)


@inner
def is_boundary(store: Store, key: int, instant: int) -> bool:
    """Whether a segment of any table starts or ends at `instant`."""
    return is_boundary_here(store, key, position(store, key, instant), instant)


@inner
def keep_boundary(store: Store, rows: Rows, change: Change, instant: int, first: int, rules: Rules) -> None:
    """Cut the parent at a change point of before that no table has now; rows of `change` begin at `first`.

    In a feed of change points a boundary is itself information, and taking children away can lose one.
    """
    if (
        rules.next_change
        and instant < rules.end_of_time
        and parent.spans(store, change.key, instant)
        and not is_boundary(store, change.key, instant)
    ):
        parent.cut(store, rows, change, instant, first)


@inner
def keep_boundaries(store: Store, rows: Rows, change: Change, first: int, rules: Rules) -> None:
    """The same for all change points in the change's range: children had them whose rows it closed."""
    fields = rows.fields
    for i in range(first, rows.filled[0]):
        row = i * ROW_FIELDS
        if fields[row + R_TABLE] > 0 and fields[row + R_TO] != OPEN:
            start, end = fields[row + R_START], fields[row + R_END]
            if start >= change.start:
                keep_boundary(store, rows, change, start, first, rules)
            if end <= change.end:
                keep_boundary(store, rows, change, end, first, rules)


@spliced
def put(
    store: Store,
    rows: Rows,
    scratch: Scratch,
    changes: Changes,
    i: int,
    change: Change,
    here: parent.Position,
    rules: Rules,
) -> None:
    """The values hold on the change's range, in one segment of every table that differs or was cut there.

    Where they do already nothing changes; but a new change point stays one.
    """
    key, start, end, first = change.key, change.start, change.end, rows.filled[0]
    at = changes.value_start[i]
    length = changes.value_start[i + 1] - at
    listing = changes.child_first[i + 1] - changes.child_first[i]
    segments = parent.holding(store, key, here, start, end, changes.values, at, length)
    any_children = listing > 0 or has_children(store, key)
    count = children.compare(store, scratch, changes, i, change, -1) if any_children else 0
    if (
        segments == 0
        or (any_children and children.differ(scratch, change, count, listing))
        or (rules.next_change and not is_boundary_here(store, key, here, start))
    ):
        shown = any_children and children.put(store, rows, scratch, changes, i, change, count)
        if segments != 1 or not (shown or is_boundary_here(store, key, here, start)):
            parent.put_here(store, rows, change, keep(store, changes.values, at, length), 0, here)
        elif not (shown or end == rules.end_of_time or is_boundary(store, key, end)):
            parent.cut(store, rows, change, end, first)


@spliced
def patch(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, i: int, change: Change, rules: Rules
) -> None:
    """The given fields and arrays replace those on the change's range, segment by segment."""
    at, first = changes.value_start[i], rows.filled[0]
    if gives_nothing(changes.values, at) and changes.given[i] == 0:
        return
    parent.patch(store, rows, change, changes.values, at, rules.widths)
    if changes.given[i] != 0:
        children.patch(store, rows, scratch, changes, i, change, changes.given[i])
        keep_boundaries(store, rows, change, first, rules)


@inner
def has_children(store: Store, key: int) -> bool:
    """Whether any child of the key is known."""
    return bool(store.keys[key * KEY_FIELDS + CHILD_PAGES] > 0)


@spliced
def delete(store: Store, rows: Rows, scratch: Scratch, change: Change) -> None:
    """Nothing is known on the change's range."""
    children.remove_all(store, rows, scratch, change)
    if parent.overlaps(store, change.key, change.start, change.end):
        parent.put(store, rows, change, -1, 0)


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
        keep_boundary(store, rows, change, next_, before, rules)


@inner
def apply_one(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, i: int, partition: int, rules: Rules
) -> bool:
    """Apply one change at the system time it has; whether it wrote rows."""
    key, start, operation = changes.key[i], changes.valid_from[i], i64(changes.operation[i])
    end, here = changes.valid_to[i], position(store, key, start)
    if operation == TERMINATE:
        end = rules.end_of_time
    elif operation == RETRACT:
        end = nearest_boundary(store, key, here, start, rules.end_of_time)
    elif end == NONE_GIVEN:
        end = (
            nearest_boundary(store, key, here, start, rules.end_of_time)
            if rules.next_change
            else rules.end_of_time
        )
    meta = (partition + 1) << OPERATION_BITS | operation
    change = Change(key, start, end, changes.system[i], changes.offset[i], meta)
    before = rows.filled[0]
    if operation == PUT:
        put(store, rows, scratch, changes, i, change, here, rules)
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
def note_use(store: Store, key: int, partition: int) -> int:
    """Note that a change of a partition uses a key; 1 if it is the first from a second partition."""
    flags = store.keys[key * KEY_FIELDS + FLAGS]
    home, strayed = flags >> HOME_SHIFT & HOME_MASK, flags & STRAYED
    if home == 0:
        home = partition + 1
    elif home != partition + 1 and partition >= 0:
        strayed |= STRAYED
    store.keys[key * KEY_FIELDS + FLAGS] = home << HOME_SHIFT | strayed | flags & DIRTY
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
    rules: Rules,
    replaying: bool,
) -> tuple[int, int]:
    """Apply changes `first` to `last` of one partition, each key's in record order.

    A change's system time becomes later than its key's last one. Where `replaying`, it stays, changes that
    their key has already are passed over, and no rows are left. Partition -1 is that of files beside a topic:
    keys are at home in both.

    Returns:
        The change to go on from (before `last` where `rows` holds `row_limit` rows or more), and how many
        keys were met in a second partition.
    """
    store, rows, scratch = borrow_store(store), borrow_rows(rows), borrow_scratch(scratch)
    changes, rules = borrow_changes(changes), borrow_rules(rules)
    i, strayed = first, 0
    while i < last and rows.filled[0] < row_limit:
        fetch_ahead(store, changes, i, last)
        changes.outcome[i] = SKIPPED
        if changes.skip[i] == 0:
            key = changes.key[i] * KEY_FIELDS
            strayed += note_use(store, changes.key[i], partition)
            before = store.keys[key + LAST] + NEVER
            if not replaying:
                changes.system[i] = max(changes.system[i], before + 1)
            if changes.system[i] > before:
                changed = apply_one(store, rows, scratch, changes, i, partition, rules)
                changes.outcome[i] = CHANGED if changed else NO_OP
            if replaying:
                empty_rows(store, rows)
        i += 1
    return i, strayed


@inner
def empty_rows(store: Store, rows: Rows) -> None:
    """See `empty`."""
    for i in range(rows.gone_filled[0]):
        if i + GONE_AHEAD < rows.gone_filled[0]:
            prefetch(store.arena, place_of(rows.gone[i + GONE_AHEAD]))
        give_back(store, rows.gone[i])
    rows.filled[0] = rows.gone_filled[0] = 0


@kernel
def empty(store: Store, rows: Rows) -> None:
    """Have rows be filled anew that were written: values that only they referred to are given back."""
    store, rows = borrow_store(store), borrow_rows(rows)
    empty_rows(store, rows)
