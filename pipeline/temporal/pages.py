"""A list of segments: a directory of pages. Positions are (page in the directory, segment in the page)."""

from pipeline.temporal.jit import inner, spliced
from pipeline.temporal.store import (
    AUX_SHIFT,
    BASE,
    CLASS,
    COUNT,
    END,
    FIRST,
    FIRST_AUX,
    FREE_PAGES,
    FREE_SEGMENTS,
    KEY_FIELDS,
    LARGEST_CHILD_CLASS,
    LARGEST_CLASS,
    LATEST,
    NEXT_PAGE,
    NEXT_SEGMENT,
    OFFSET,
    PAGE_FIELDS,
    PARENTS,
    SEGMENT_FIELDS,
    SMALLEST_PAGE,
    START,
    SYSTEM,
    TAG,
    VALUE,
    Ints,
    Lists,
)


@inner
def new_page(lists: Lists, size_class: int) -> int:
    """The first slot of an unused page."""
    head = lists.counters[FREE_SEGMENTS + size_class]
    if head >= 0:
        lists.counters[FREE_SEGMENTS + size_class] = lists.segments[head * SEGMENT_FIELDS + START]
        return head
    base = lists.counters[NEXT_SEGMENT]
    lists.counters[NEXT_SEGMENT] = base + (SMALLEST_PAGE << size_class)
    return base


@inner
def free_page(lists: Lists, base: int, size_class: int) -> None:
    """Give a page back."""
    lists.segments[base * SEGMENT_FIELDS + START] = lists.counters[FREE_SEGMENTS + size_class]
    lists.counters[FREE_SEGMENTS + size_class] = base


@inner
def new_directory(lists: Lists, size_class: int) -> int:
    """The first row of an unused directory of ``1 << size_class`` pages."""
    head = lists.counters[FREE_PAGES + size_class]
    if head >= 0:
        lists.counters[FREE_PAGES + size_class] = lists.pages[head * PAGE_FIELDS + FIRST]
        return head
    base = lists.counters[NEXT_PAGE]
    lists.counters[NEXT_PAGE] = base + (1 << size_class)
    return base


@inner
def free_directory(lists: Lists, base: int, size_class: int) -> None:
    """Give a directory back."""
    lists.pages[base * PAGE_FIELDS + FIRST] = lists.counters[FREE_PAGES + size_class]
    lists.counters[FREE_PAGES + size_class] = base


@inner
def copy_segments(lists: Lists, source: int, target: int, count: int) -> None:
    """Copy `count` segments between slots; the ranges may overlap."""
    if source > target:
        for i in range(count):
            for f in range(SEGMENT_FIELDS):
                lists.segments[(target + i) * SEGMENT_FIELDS + f] = lists.segments[
                    (source + i) * SEGMENT_FIELDS + f
                ]
    else:
        for i in range(count - 1, -1, -1):
            for f in range(SEGMENT_FIELDS):
                lists.segments[(target + i) * SEGMENT_FIELDS + f] = lists.segments[
                    (source + i) * SEGMENT_FIELDS + f
                ]


@spliced
def insert_page(lists: Lists, keys: Ints, key: int, level: int, at: int) -> int:
    """Make room for a page at `at` in the key's directory; the row to fill."""
    base, used, size_class = (
        keys[key * KEY_FIELDS + level],
        keys[key * KEY_FIELDS + level + 1],
        keys[key * KEY_FIELDS + level + 2],
    )
    if used == 0:
        base, size_class = new_directory(lists, 0), 0
    elif used == 1 << size_class:
        larger = new_directory(lists, size_class + 1)
        for i in range(used):
            for f in range(PAGE_FIELDS):
                lists.pages[(larger + i) * PAGE_FIELDS + f] = lists.pages[(base + i) * PAGE_FIELDS + f]
        free_directory(lists, base, size_class)
        base, size_class = larger, size_class + 1
    for i in range(used, at, -1):
        for f in range(PAGE_FIELDS):
            lists.pages[(base + i) * PAGE_FIELDS + f] = lists.pages[(base + i - 1) * PAGE_FIELDS + f]
    keys[key * KEY_FIELDS + level], keys[key * KEY_FIELDS + level + 1], keys[key * KEY_FIELDS + level + 2] = (
        base,
        used + 1,
        size_class,
    )
    return base + at


@spliced
def remove_page(lists: Lists, keys: Ints, key: int, level: int, at: int) -> None:
    """Drop an empty page from the key's directory."""
    base, used = keys[key * KEY_FIELDS + level], keys[key * KEY_FIELDS + level + 1]
    free_page(
        lists, lists.pages[(base + at) * PAGE_FIELDS + BASE], lists.pages[(base + at) * PAGE_FIELDS + CLASS]
    )
    for i in range(at, used - 1):
        for f in range(PAGE_FIELDS):
            lists.pages[(base + i) * PAGE_FIELDS + f] = lists.pages[(base + i + 1) * PAGE_FIELDS + f]
    keys[key * KEY_FIELDS + level + 1] = used - 1
    if used == 1:
        free_directory(lists, base, keys[key * KEY_FIELDS + level + 2])


@inner
def refresh_latest(lists: Lists, row: int, level: int, most: int) -> None:
    """Recompute the latest end in a page, which is no later than `most`.

    Of children only: a parent's segments are disjoint, nobody asks, and it means to read the whole page.
    """
    if level == PARENTS:
        return
    base, at = lists.pages[row * PAGE_FIELDS + BASE], lists.pages[row * PAGE_FIELDS + COUNT] - 1
    latest = lists.segments[(base + at) * SEGMENT_FIELDS + END]
    while at > 0 and latest < most:
        at -= 1
        latest = max(latest, lists.segments[(base + at) * SEGMENT_FIELDS + END])
    lists.pages[row * PAGE_FIELDS + LATEST] = latest


@inner
def aux_at(lists: Lists, slot: int) -> int:
    """A segment's AUX."""
    return lists.segments[slot * SEGMENT_FIELDS + TAG] >> AUX_SHIFT


@inner
def begins_after(lists: Lists, row: int, start: int, aux: int) -> bool:
    """Whether a page's first segment is after (start, aux)."""
    first = lists.pages[row * PAGE_FIELDS + FIRST]
    return first > start or (first == start and lists.pages[row * PAGE_FIELDS + FIRST_AUX] > aux)


@inner
def find_page(lists: Lists, keys: Ints, key: int, level: int, start: int, aux: int) -> int:
    """The last page whose first segment is at or before (start, aux); 0 if there is none."""
    base, low, high = keys[key * KEY_FIELDS + level], 0, keys[key * KEY_FIELDS + level + 1] - 1
    if not begins_after(lists, base + high, start, aux):
        return high
    while low < high:
        middle = (low + high + 1) >> 1
        if begins_after(lists, base + middle, start, aux):
            high = middle - 1
        else:
            low = middle
    return low


@inner
def is_before(lists: Lists, slot: int, start: int, aux: int) -> bool:
    """Whether a segment is before (start, aux)."""
    at = lists.segments[slot * SEGMENT_FIELDS + START]
    return at < start or (at == start and aux_at(lists, slot) < aux)


@inner
def lower_bound(lists: Lists, row: int, start: int, aux: int) -> int:
    """The first place in a page whose segment is not before (start, aux).

    Feeds mostly append: the last segments are looked at first, which `apply` has had fetched. A search
    from the middle is a cache miss a step.
    """
    base, low, high = lists.pages[row * PAGE_FIELDS + BASE], 0, lists.pages[row * PAGE_FIELDS + COUNT]
    for step in range(1, 3):
        if high < step:
            break
        if is_before(lists, base + high - step, start, aux):
            low = high - step + 1
            break
        high -= step
    while low < high:
        middle = (low + high) >> 1
        if is_before(lists, base + middle, start, aux):
            low = middle + 1
        else:
            high = middle
    return low


@inner
def slot_of(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int) -> int:
    """The slot of a position."""
    return lists.pages[(keys[key * KEY_FIELDS + level] + page) * PAGE_FIELDS + BASE] + place


@inner
def largest_class(level: int, directory_class: int) -> int:
    """How large a page may be in a directory of so many pages.

    A page that grows leaves one behind that is of use only to lists as short as it was, and most lists grow
    alike: short ones grow by new pages. Long ones have large pages, to keep their directories small.
    """
    largest = min(1 + (directory_class >> 1), LARGEST_CLASS)
    return largest if level == PARENTS else min(largest, LARGEST_CHILD_CLASS)


@spliced
def make_room(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int) -> tuple[int, int]:
    """Grow or split a full page; the position at which an insertion at (page, place) now belongs."""
    row = keys[key * KEY_FIELDS + level] + page
    base, count, size_class = (
        lists.pages[row * PAGE_FIELDS + BASE],
        lists.pages[row * PAGE_FIELDS + COUNT],
        lists.pages[row * PAGE_FIELDS + CLASS],
    )
    if size_class < largest_class(level, keys[key * KEY_FIELDS + level + 2]):
        larger = new_page(lists, size_class + 1)
        copy_segments(lists, base, larger, count)
        free_page(lists, base, size_class)
        lists.pages[row * PAGE_FIELDS + BASE], lists.pages[row * PAGE_FIELDS + CLASS] = larger, size_class + 1
        return page, place
    # Feeds mostly append: a full last page stays full, and the next one starts with the newcomer.
    appending = place == count and page == keys[key * KEY_FIELDS + level + 1] - 1
    kept = count - 1 if appending else count >> 1
    target_class = 0 if appending else size_class
    target = new_page(lists, target_class)
    copy_segments(lists, base + kept, target, count - kept)
    added = insert_page(lists, keys, key, level, page + 1)
    row = keys[key * KEY_FIELDS + level] + page
    lists.pages[row * PAGE_FIELDS + COUNT] = kept
    lists.pages[added * PAGE_FIELDS + FIRST], lists.pages[added * PAGE_FIELDS + FIRST_AUX] = (
        lists.segments[target * SEGMENT_FIELDS + START],
        aux_at(lists, target),
    )
    lists.pages[added * PAGE_FIELDS + BASE], lists.pages[added * PAGE_FIELDS + COUNT] = target, count - kept
    lists.pages[added * PAGE_FIELDS + CLASS] = target_class
    most = lists.pages[row * PAGE_FIELDS + LATEST]
    refresh_latest(lists, row, level, most)
    refresh_latest(lists, added, level, most)
    if place > kept:
        return page + 1, place - kept
    return page, place


@inner
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
    """Add a segment in its order; `meta` may hold SHARED."""
    if keys[key * KEY_FIELDS + level + 1] == 0:
        base = new_page(lists, 0)
        page, place = 0, 0
        row = insert_page(lists, keys, key, level, 0)
        (
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + COUNT],
            lists.pages[row * PAGE_FIELDS + CLASS],
        ) = base, 0, 0
        lists.pages[row * PAGE_FIELDS + LATEST] = end
    else:
        page = find_page(lists, keys, key, level, start, aux)
        row = keys[key * KEY_FIELDS + level] + page
        place = lower_bound(lists, row, start, aux)
        if lists.pages[row * PAGE_FIELDS + COUNT] == SMALLEST_PAGE << lists.pages[row * PAGE_FIELDS + CLASS]:
            page, place = make_room(lists, keys, key, level, page, place)
            row = keys[key * KEY_FIELDS + level] + page
    base, count = lists.pages[row * PAGE_FIELDS + BASE], lists.pages[row * PAGE_FIELDS + COUNT]
    slot = base + place
    if place < count:
        copy_segments(lists, slot, slot + 1, count - place)
    segments = lists.segments
    (
        segments[slot * SEGMENT_FIELDS + START],
        segments[slot * SEGMENT_FIELDS + TAG],
        segments[slot * SEGMENT_FIELDS + END],
    ) = start, aux << AUX_SHIFT | meta, end
    segments[slot * SEGMENT_FIELDS + SYSTEM], segments[slot * SEGMENT_FIELDS + OFFSET] = system, offset
    segments[slot * SEGMENT_FIELDS + VALUE] = value
    lists.pages[row * PAGE_FIELDS + COUNT] = count + 1
    if place == 0:
        lists.pages[row * PAGE_FIELDS + FIRST], lists.pages[row * PAGE_FIELDS + FIRST_AUX] = start, aux
    if end > lists.pages[row * PAGE_FIELDS + LATEST]:
        lists.pages[row * PAGE_FIELDS + LATEST] = end


@inner
def remove(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int) -> None:
    """Drop the segment at a position; later positions in the page move down by one."""
    row = keys[key * KEY_FIELDS + level] + page
    base, count = lists.pages[row * PAGE_FIELDS + BASE], lists.pages[row * PAGE_FIELDS + COUNT]
    if count == 1:
        remove_page(lists, keys, key, level, page)
        return
    end = lists.segments[(base + place) * SEGMENT_FIELDS + END]
    copy_segments(lists, base + place + 1, base + place, count - place - 1)
    lists.pages[row * PAGE_FIELDS + COUNT] = count - 1
    if place == 0:
        lists.pages[row * PAGE_FIELDS + FIRST], lists.pages[row * PAGE_FIELDS + FIRST_AUX] = (
            lists.segments[base * SEGMENT_FIELDS + START],
            aux_at(lists, base),
        )
    if end == lists.pages[row * PAGE_FIELDS + LATEST]:
        refresh_latest(lists, row, level, end)


@inner
def set_end(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int, end: int) -> None:
    """Move a segment's end."""
    row = keys[key * KEY_FIELDS + level] + page
    slot = lists.pages[row * PAGE_FIELDS + BASE] + place
    old = lists.segments[slot * SEGMENT_FIELDS + END]
    lists.segments[slot * SEGMENT_FIELDS + END] = end
    if end > lists.pages[row * PAGE_FIELDS + LATEST]:
        lists.pages[row * PAGE_FIELDS + LATEST] = end
    elif old == lists.pages[row * PAGE_FIELDS + LATEST]:
        refresh_latest(lists, row, level, old)


@inner
def set_start(lists: Lists, keys: Ints, key: int, level: int, page: int, place: int, start: int) -> None:
    """Move a segment's start to where it stays in order."""
    row = keys[key * KEY_FIELDS + level] + page
    lists.segments[(lists.pages[row * PAGE_FIELDS + BASE] + place) * SEGMENT_FIELDS + START] = start
    if place == 0:
        lists.pages[row * PAGE_FIELDS + FIRST] = start
