"""Having the memory fetched that the next changes touch: a cache miss takes longer than half a change."""

from pipeline.temporal.change import Changes
from pipeline.temporal.jit import inner, prefetch
from pipeline.temporal.store import (
    BASE,
    CHILDREN,
    COUNT,
    KEY_FIELDS,
    LARGEST_CHILD_CLASS,
    PAGE_FIELDS,
    PARENTS,
    SEGMENT_FIELDS,
    SMALLEST_PAGE,
    VALUE,
    Bytes,
    Ints,
    Lists,
    Store,
)
from pipeline.temporal.values import length_of, place_of

LARGEST_CHILD_PAGE = SMALLEST_PAGE << LARGEST_CHILD_CLASS


@inner
def fetch_pages(lists: Lists, keys: Ints, key: int, level: int, most: int) -> None:
    """Have the last rows of a key's directory fetched."""
    at = key * KEY_FIELDS + level
    end = keys[at] + keys[at + 1]
    for row in range(max(keys[at], end - most), end):
        prefetch(lists.pages, row * PAGE_FIELDS)
        prefetch(lists.pages, row * PAGE_FIELDS + COUNT)


@inner
def last_slot(lists: Lists, keys: Ints, key: int, level: int) -> int:
    """The slot of a key's last segment; -1 if it has none."""
    at = key * KEY_FIELDS + level
    if keys[at + 1] == 0:
        return -1
    page = (keys[at] + keys[at + 1] - 1) * PAGE_FIELDS
    return int(lists.pages[page + BASE] + lists.pages[page + COUNT] - 1)


@inner
def fetch_segments(lists: Lists, keys: Ints, key: int, level: int, most: int) -> None:
    """Have the last segments of a key's last page fetched, and the room behind them."""
    slot = last_slot(lists, keys, key, level)
    if slot >= 0:
        at = key * KEY_FIELDS + level
        base = lists.pages[(keys[at] + keys[at + 1] - 1) * PAGE_FIELDS + BASE]
        for near in range(max(base, slot + 1 - most), slot + 2):
            prefetch(lists.segments, near * SEGMENT_FIELDS)


@inner
def fetch_value(arena: Bytes, lists: Lists, keys: Ints, key: int, level: int) -> None:
    """Have the values of a key's last segment fetched."""
    slot = last_slot(lists, keys, key, level)
    if slot >= 0:
        value = lists.segments[slot * SEGMENT_FIELDS + VALUE]
        prefetch(arena, place_of(value))
        prefetch(arena, place_of(value) + length_of(value) - 1)


@inner
def fetch_ahead(store: Store, changes: Changes, i: int, last: int) -> None:
    """Have what the next changes will touch fetched, a step of the way at a time: they lie anywhere.

    Of children the last page is read as a whole.
    """
    keys, parents, children_ = store.keys, store.parents, store.children
    if i + 24 < last and changes.skip[i + 24] == 0:
        prefetch(keys, changes.key[i + 24] * KEY_FIELDS)
    if i + 16 < last and changes.skip[i + 16] == 0:
        fetch_pages(parents, keys, changes.key[i + 16], PARENTS, 2)
        fetch_pages(children_, keys, changes.key[i + 16], CHILDREN, 4)
    if i + 8 < last and changes.skip[i + 8] == 0:
        fetch_segments(parents, keys, changes.key[i + 8], PARENTS, 3)
        fetch_segments(children_, keys, changes.key[i + 8], CHILDREN, LARGEST_CHILD_PAGE)
    if i + 4 < last and changes.skip[i + 4] == 0:
        fetch_value(store.arena, parents, keys, changes.key[i + 4], PARENTS)
        fetch_value(store.arena, children_, keys, changes.key[i + 4], CHILDREN)
