"""Operations on children: each child's own segments, all of a key's in one list by (start, child).

A change first collects the segments that it may touch, matches them with the children that its record
lists, and only then edits the list; the collected copies keep their place by (start, aux, value).
"""

from pipeline.temporal.change import (
    Change,
    Changes,
    Rows,
    claim_segment,
    emit_closed,
    emit_open,
)
from pipeline.temporal.jit import inner, spliced
from pipeline.temporal.matching import (
    F_AUX,
    F_END,
    F_MATCH,
    F_NEXT,
    F_START,
    F_VALUE,
    FOUND_FIELDS,
    L_COVERED,
    L_DIFFERS,
    L_HEAD,
    L_TAIL,
    LISTED_FIELDS,
    Scratch,
    aux_of,
    collect,
    holds,
    match,
    table_of,
)
from pipeline.temporal.pages import find_page, insert, lower_bound, remove, set_end, slot_of
from pipeline.temporal.store import (
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
    Store,
)
from pipeline.temporal.values import keep_child


@inner
def locate(store: Store, key: int, start: int, aux: int, value: int) -> tuple[int, int]:
    """The position of a segment that is known to be there."""
    lists, keys = store.children, store.keys
    page = find_page(lists, keys, key, CHILDREN, start, aux)
    place = lower_bound(lists, keys[key * KEY_FIELDS + CHILDREN] + page, start, aux)
    # Equal (start, aux) may stand in the pages before: hashes collide, and a split can part them.
    while place == 0 and page > 0:
        page -= 1
        place = lower_bound(lists, keys[key * KEY_FIELDS + CHILDREN] + page, start, aux)
    while True:
        if place >= lists.pages[(keys[key * KEY_FIELDS + CHILDREN] + page) * PAGE_FIELDS + COUNT]:
            page, place = page + 1, 0
        if (
            lists.segments[(slot_of(lists, keys, key, CHILDREN, page, place)) * SEGMENT_FIELDS + VALUE]
            == value
        ):
            return page, place
        place += 1


@inner
def add(store: Store, rows: Rows, change: Change, start: int, end: int, aux: int, value: int) -> None:
    """A new segment of a child, and its open row."""
    insert(
        store.children,
        store.keys,
        change.key,
        CHILDREN,
        start,
        aux,
        end,
        change.system,
        change.offset,
        change.meta,
        value,
    )
    emit_open(rows, table_of(store, value), value, start, end, change)


@inner
def take_out(
    store: Store, rows: Rows, change: Change, scratch: Scratch, i: int, start: int, end: int
) -> None:
    """Cut [start, end) out of a collected segment: its closed row, and open rows for what remains."""
    lists, keys, key, found = store.children, store.keys, change.key, scratch.found
    from_, to, aux, value = (
        found[i * FOUND_FIELDS + F_START],
        found[i * FOUND_FIELDS + F_END],
        found[i * FOUND_FIELDS + F_AUX],
        found[i * FOUND_FIELDS + F_VALUE],
    )
    page, place = locate(store, key, from_, aux, value)
    slot = slot_of(lists, keys, key, CHILDREN, page, place)
    table = table_of(store, value)
    emit_closed(rows, lists, slot, table, change)
    if from_ < start:
        set_end(lists, keys, key, CHILDREN, page, place, start)
        claim_segment(lists, slot, change)
        emit_open(rows, table, value, from_, start, change)
    else:
        remove(lists, keys, key, CHILDREN, page, place)
    if to > end:
        add(store, rows, change, end, to, aux, value)


@inner
def keep_listed(store: Store, changes: Changes, child: int) -> int:
    """Copy a listed child into the arena."""
    key, value = changes.child_key_start, changes.child_value_start
    return keep_child(
        store,
        changes.child_table[child],
        changes.child_keys,
        key[child],
        key[child + 1] - key[child],
        changes.child_values,
        value[child],
        value[child + 1] - value[child],
    )


@spliced
def put_listed(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, change: Change, first: int, j: int
) -> None:
    """Make a listed child hold on the change's whole range."""
    i = scratch.listed[j * LISTED_FIELDS + L_HEAD]
    while i >= 0:
        take_out(store, rows, change, scratch, i, change.start, change.end)
        i = scratch.found[i * FOUND_FIELDS + F_NEXT]
    aux = aux_of(changes.child_key_hash[first + j], changes.child_table[first + j])
    add(store, rows, change, change.start, change.end, aux, keep_listed(store, changes, first + j))


@spliced
def patch_listed(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, change: Change, first: int, j: int
) -> None:
    """Replace a listed child's segments that differ, each on its overlap, and fill its gaps."""
    found = scratch.found
    aux = aux_of(changes.child_key_hash[first + j], changes.child_table[first + j])
    value = keep_listed(store, changes, first + j)
    reached = change.start
    i = scratch.listed[j * LISTED_FIELDS + L_HEAD]
    while i >= 0:
        if found[i * FOUND_FIELDS + F_START] > reached:
            add(store, rows, change, reached, found[i * FOUND_FIELDS + F_START], aux, value)
        reached = min(found[i * FOUND_FIELDS + F_END], change.end)
        if not holds(store, changes, first + j, found[i * FOUND_FIELDS + F_VALUE]):
            from_ = max(found[i * FOUND_FIELDS + F_START], change.start)
            take_out(store, rows, change, scratch, i, from_, reached)
            add(store, rows, change, from_, reached, aux, value)
        i = found[i * FOUND_FIELDS + F_NEXT]
    if reached < change.end:
        add(store, rows, change, reached, change.end, aux, value)


@inner
def compare(store: Store, scratch: Scratch, changes: Changes, record: int, change: Change, given: int) -> int:
    """Match what is known on the change's range, of the tables given, with the record's children.

    Returns:
        How many segments were collected.
    """
    count = 0
    if store.keys[(change.key) * KEY_FIELDS + CHILD_PAGES] > 0:
        count = collect(store, scratch, change.key, change.start, change.end, given)
    if count > 0 or changes.child_first[record + 1] > changes.child_first[record]:
        match(store, scratch, changes, record, count, change.start, change.end)
    return count


@inner
def holds_throughout(scratch: Scratch, change: Change, j: int) -> bool:
    """Whether a compared child has its values on the change's whole range."""
    covered = scratch.listed[j * LISTED_FIELDS + L_COVERED] == change.end - change.start
    return covered and bool(scratch.listed[j * LISTED_FIELDS + L_DIFFERS] == 0)


@inner
def differ(scratch: Scratch, change: Change, count: int, listing: int) -> bool:
    """Whether others than the compared children, or other values of them, hold on the change's range."""
    for i in range(count):
        if scratch.found[i * FOUND_FIELDS + F_MATCH] < 0:
            return True
    for j in range(listing):
        if not holds_throughout(scratch, change, j):
            return True
    return False


@inner
def take_out_others(store: Store, rows: Rows, scratch: Scratch, change: Change, count: int) -> None:
    """Cut the change's range out of the compared segments whose children are not listed."""
    for i in range(count):
        if scratch.found[i * FOUND_FIELDS + F_MATCH] < 0:
            take_out(store, rows, change, scratch, i, change.start, change.end)


@inner
def put(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, record: int, change: Change, count: int
) -> bool:
    """Make the compared children, and no others, hold on the change's range, each in one segment.

    Returns:
        Whether one of them has a new segment, which shows both ends of the range.
    """
    first, shown = changes.child_first[record], False
    take_out_others(store, rows, scratch, change, count)
    for j in range(changes.child_first[record + 1] - first):
        listed = j * LISTED_FIELDS
        one = scratch.listed[listed + L_HEAD] == scratch.listed[listed + L_TAIL]
        if not one or not holds_throughout(scratch, change, j):
            put_listed(store, rows, scratch, changes, change, first, j)
            shown = True
    return shown


@inner
def patch(
    store: Store, rows: Rows, scratch: Scratch, changes: Changes, record: int, change: Change, given: int
) -> None:
    """Make the record's children, and no others of the tables given, hold on the change's range."""
    first = changes.child_first[record]
    count = compare(store, scratch, changes, record, change, given)
    take_out_others(store, rows, scratch, change, count)
    for j in range(changes.child_first[record + 1] - first):
        if not holds_throughout(scratch, change, j):
            patch_listed(store, rows, scratch, changes, change, first, j)


@inner
def remove_all(store: Store, rows: Rows, scratch: Scratch, change: Change) -> bool:
    """Make no child hold on the change's range."""
    if store.keys[(change.key) * KEY_FIELDS + CHILD_PAGES] == 0:
        return False
    count = collect(store, scratch, change.key, change.start, change.end, -1)
    for i in range(count):
        take_out(store, rows, change, scratch, i, change.start, change.end)
    return count > 0


@inner
def next_boundary(store: Store, key: int, instant: int, end_of_time: int) -> int:
    """The nearest boundary of any child's timeline after `instant`."""
    lists, keys, nearest = store.children, store.keys, end_of_time
    base = keys[key * KEY_FIELDS + CHILDREN]
    for row in range(base, base + keys[key * KEY_FIELDS + CHILD_PAGES]):
        if lists.pages[row * PAGE_FIELDS + FIRST] >= nearest:
            break
        if lists.pages[row * PAGE_FIELDS + LATEST] <= instant:
            continue
        for slot in range(
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + BASE] + lists.pages[row * PAGE_FIELDS + COUNT],
        ):
            start, end = (
                lists.segments[slot * SEGMENT_FIELDS + START],
                lists.segments[slot * SEGMENT_FIELDS + END],
            )
            if start > instant:
                nearest = min(nearest, start)
                break
            if end > instant:
                nearest = min(nearest, end)
    return nearest


@inner
def bounds(store: Store, key: int, instant: int) -> bool:
    """Whether any child's segment starts or ends at `instant`."""
    lists, keys = store.children, store.keys
    base = keys[key * KEY_FIELDS + CHILDREN]
    for row in range(base, base + keys[key * KEY_FIELDS + CHILD_PAGES]):
        if lists.pages[row * PAGE_FIELDS + FIRST] > instant:
            break
        if lists.pages[row * PAGE_FIELDS + LATEST] < instant:
            continue
        for slot in range(
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + BASE] + lists.pages[row * PAGE_FIELDS + COUNT],
        ):
            if (
                lists.segments[slot * SEGMENT_FIELDS + START] == instant
                or lists.segments[slot * SEGMENT_FIELDS + END] == instant
            ):
                return True
    return False


@spliced
def retract(store: Store, rows: Rows, scratch: Scratch, change: Change) -> None:
    """Let the children that hold just before the change's start hold on its range, and no others."""
    if store.keys[(change.key) * KEY_FIELDS + CHILD_PAGES] == 0:
        return
    found, at = scratch.found, change.start
    count = collect(store, scratch, change.key, at - 1, at + 1, -1)
    for i in range(count):
        if found[i * FOUND_FIELDS + F_START] == at:
            take_out(store, rows, change, scratch, i, at, change.end)
    for i in range(count):
        if found[i * FOUND_FIELDS + F_END] == at:
            take_out(store, rows, change, scratch, i, found[i * FOUND_FIELDS + F_START], at)
            add(
                store,
                rows,
                change,
                found[i * FOUND_FIELDS + F_START],
                change.end,
                found[i * FOUND_FIELDS + F_AUX],
                found[i * FOUND_FIELDS + F_VALUE],
            )
