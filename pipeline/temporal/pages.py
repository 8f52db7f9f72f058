"""A list of segments: a directory of pages. Positions are (page in the directory, segment in the page)."""

from pipeline.temporal.jit import kernel
from pipeline.temporal.store import (
    AUX,
    BASE,
    CLASS,
    COUNT,
    END,
    FIRST,
    FIRST_AUX,
    FREE_PAGES,
    FREE_SEGMENTS,
    LARGEST_CLASS,
    LATEST,
    META,
    NEXT_PAGE,
    NEXT_SEGMENT,
    OFFSET,
    PAGE_FIELDS,
    SEGMENT_FIELDS,
    SMALLEST_PAGE,
    START,
    SYSTEM,
    VALUE,
    Ints,
    Lists,
)


@kernel
def new_page(lists: Lists, size_class: int) -> int:
    """The first slot of an unused page."""
    head = lists.counters[FREE_SEGMENTS + size_class]
    if head >= 0:
        lists.counters[FREE_SEGMENTS + size_class] = lists.segments[head, START]
        return head
    base = lists.counters[NEXT_SEGMENT]
    lists.counters[NEXT_SEGMENT] = base + (SMALLEST_PAGE << size_class)
    return base


@kernel
def free_page(lists: Lists, base: int, size_class: int) -> None:
    """Give a page back."""
    lists.segments[base, START] = lists.counters[FREE_SEGMENTS + size_class]
    lists.counters[FREE_SEGMENTS + size_class] = base


@kernel
def new_directory(lists: Lists, size_class: int) -> int:
    """The first row of an unused directory of ``1 << size_class`` pages."""
    head = lists.counters[FREE_PAGES + size_class]
    if head >= 0:
        lists.counters[FREE_PAGES + size_class] = lists.pages[head, FIRST]
        return head
    base = lists.counters[NEXT_PAGE]
    lists.counters[NEXT_PAGE] = base + (1 << size_class)
    return base


@kernel
def free_directory(lists: Lists, base: int, size_class: int) -> None:
    """Give a directory back."""
    lists.pages[base, FIRST] = lists.counters[FREE_PAGES + size_class]
    lists.counters[FREE_PAGES + size_class] = base


@kernel
def copy_segments(lists: Lists, source: int, target: int, count: int) -> None:
    """Copy `count` segments between slots; the ranges may overlap."""
    if source > target:
        for i in range(count):
            for f in range(SEGMENT_FIELDS):
                lists.segments[target + i, f] = lists.segments[source + i, f]
    else:
        for i in range(count - 1, -1, -1):
            for f in range(SEGMENT_FIELDS):
                lists.segments[target + i, f] = lists.segments[source + i, f]


@kernel
def insert_page(lists: Lists, keys: Ints, key: int, level: int, at: int) -> int:
    """Make room for a page at `at` in the key's directory; the row to fill."""
    base, used, size_class = keys[key, level], keys[key, level + 1], keys[key, level + 2]
    if used == 0:
        base, size_class = new_directory(lists, 0), 0
    elif used == 1 << size_class:
        larger = new_directory(lists, size_class + 1)
        for i in range(used):
            for f in range(PAGE_FIELDS):
                lists.pages[larger + i, f] = lists.pages[base + i, f]
        free_directory(lists, base, size_class)
        base, size_class = larger, size_class + 1
    for i in range(used, at, -1):
        for f in range(PAGE_FIELDS):
            lists.pages[base + i, f] = lists.pages[base + i - 1, f]
    keys[key, level], keys[key, level + 1], keys[key, level + 2] = base, used + 1, size_class
    return base + at


@kernel
def remove_page(lists: Lists, keys: Ints, key: int, level: int, at: int) -> None:
    """Drop an empty page from the key's directory."""
    base, used = keys[key, level], keys[key, level + 1]
    free_page(lists, lists.pages[base + at, BASE], lists.pages[base + at, CLASS])
    for i in range(at, used - 1):
        for f in range(PAGE_FIELDS):
            lists.pages[base + i, f] = lists.pages[base + i + 1, f]
    keys[key, level + 1] = used - 1
    if used == 1:
        free_directory(lists, base, keys[key, level + 2])


@kernel
def refresh_latest(lists: Lists, row: int) -> None:
    """Recompute the latest end in a page."""
    base, count = lists.pages[row, BASE], lists.pages[row, COUNT]
    latest = lists.segments[base, END]
    for i in range(base + 1, base + count):
        latest = max(latest, lists.segments[i, END])
    lists.pages[row, LATEST] = latest


@kernel
def find_page(lists: Lists, keys: Ints, key: int, level: int, start: int, aux: int) -> int:
    """The last page whose first segment is at or before (start, aux); 0 if there is none."""
    base, low, high = keys[key, level], 0, keys[key, level + 1] - 1
    while low < high:
        middle = (low + high + 1) >> 1
        first = lists.pages[base + middle, FIRST]
        if first < start or (first == start and lists.pages[base + middle, FIRST_AUX] <= aux):
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def lower_bound(lists: Lists, row: int, start: int, aux: int) -> int:
    """The first place in a page whose segment is not before (start, aux)."""
    base, low, high = lists.pages[row, BASE], 0, lists.pages[row, COUNT]
    while low < high:
        middle = (low + high) >> 1
        at = lists.segments[base + middle, START]
        if at < start or (at == start and lists.segments[base + middle, AUX] < aux):
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def slot_of(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int) -> int:
    """The slot of a position."""
    return lists.pages[keys[key, level] + page, BASE] + place


@kernel
def make_room(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int) -> tuple[int, int]:
    """Grow or split a full page; the position at which an insertion at (page, place) now belongs."""
    row = keys[key, level] + page
    base, count, size_class = lists.pages[row, BASE], lists.pages[row, COUNT], lists.pages[row, CLASS]
    if size_class < LARGEST_CLASS:
        larger = new_page(lists, size_class + 1)
        copy_segments(lists, base, larger, count)
        free_page(lists, base, size_class)
        lists.pages[row, BASE], lists.pages[row, CLASS] = larger, size_class + 1
        return page, place
    # Feeds mostly append: a full last page stays full, and the next one starts with the newcomer.
    appending = place == count and page == keys[key, level + 1] - 1
    kept = count - 1 if appending else count >> 1
    target = new_page(lists, LARGEST_CLASS)
    copy_segments(lists, base + kept, target, count - kept)
    added = insert_page(lists, keys, key, level, page + 1)
    row = keys[key, level] + page
    lists.pages[row, COUNT] = kept
    lists.pages[added, FIRST], lists.pages[added, FIRST_AUX] = lists.segments[target, START], lists.segments[target, AUX]
    lists.pages[added, BASE], lists.pages[added, COUNT] = target, count - kept
    lists.pages[added, CLASS] = LARGEST_CLASS
    refresh_latest(lists, row)
    refresh_latest(lists, added)
    if place > kept:
        return page + 1, place - kept
    return page, place


@kernel
def insert(
    lists: Lists,
    keys: Ints,
    key: int,
    level: int,
    start: int,
    aux: int,
    end: int,
    system: int,
    offset: int,
    meta: int,
    value: int,
) -> None:
    """Add a segment in its order."""
    if keys[key, level + 1] == 0:
        base = new_page(lists, 0)
        page, place = 0, 0
        row = insert_page(lists, keys, key, level, 0)
        lists.pages[row, BASE], lists.pages[row, COUNT], lists.pages[row, CLASS] = base, 0, 0
        lists.pages[row, LATEST] = end
    else:
        page = find_page(lists, keys, key, level, start, aux)
        row = keys[key, level] + page
        place = lower_bound(lists, row, start, aux)
        if lists.pages[row, COUNT] == SMALLEST_PAGE << lists.pages[row, CLASS]:
            page, place = make_room(lists, keys, key, level, page, place)
            row = keys[key, level] + page
    base, count = lists.pages[row, BASE], lists.pages[row, COUNT]
    slot = base + place
    if place < count:
        copy_segments(lists, slot, slot + 1, count - place)
    segments = lists.segments
    segments[slot, START], segments[slot, AUX], segments[slot, END] = start, aux, end
    segments[slot, SYSTEM], segments[slot, OFFSET] = system, offset
    segments[slot, META], segments[slot, VALUE] = meta, value
    lists.pages[row, COUNT] = count + 1
    if place == 0:
        lists.pages[row, FIRST], lists.pages[row, FIRST_AUX] = start, aux
    if end > lists.pages[row, LATEST]:
        lists.pages[row, LATEST] = end


@kernel
def remove(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int) -> None:
    """Drop the segment at a position; later positions in the page move down by one."""
    row = keys[key, level] + page
    base, count = lists.pages[row, BASE], lists.pages[row, COUNT]
    if count == 1:
        remove_page(lists, keys, key, level, page)
        return
    end = lists.segments[base + place, END]
    copy_segments(lists, base + place + 1, base + place, count - place - 1)
    lists.pages[row, COUNT] = count - 1
    if place == 0:
        lists.pages[row, FIRST], lists.pages[row, FIRST_AUX] = lists.segments[base, START], lists.segments[base, AUX]
    if end == lists.pages[row, LATEST]:
        refresh_latest(lists, row)


@kernel
def set_end(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int, end: int) -> None:
    """Move a segment's end."""
    row = keys[key, level] + page
    slot = lists.pages[row, BASE] + place
    old = lists.segments[slot, END]
    lists.segments[slot, END] = end
    if end > lists.pages[row, LATEST]:
        lists.pages[row, LATEST] = end
    elif old == lists.pages[row, LATEST]:
        refresh_latest(lists, row)


@kernel
def set_start(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int, start: int) -> None:
    """Move a segment's start to where it stays in order."""
    row = keys[key, level] + page
    lists.segments[lists.pages[row, BASE] + place, START] = start
    if place == 0:
        lists.pages[row, FIRST] = start
