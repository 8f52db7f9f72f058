"""Keys out of the store as bytes and back in: what a state backend keeps of a key.

A key is its LAST (i64), then whole numbers of 1 to 10 bytes: where it is at home (bits of FLAGS), how many
parent and child segments it has, and per segment its start (since the end of the one before), AUX, its
duration (0: until FAR), how long before the key's last change it is believed, OFFSET, META, the length of its
value, and its value with zeros in a row as 0 and how many.
"""

from typing import NamedTuple

from pipeline.temporal.change import meta_at
from pipeline.temporal.jit import borrow, i64, inner, kernel, prefetch, spliced
from pipeline.temporal.pages import aux_at, insert
from pipeline.temporal.store import (
    AT_HOME,
    BASE,
    CHILDREN,
    COUNT,
    END,
    FLAGS,
    KEY_FIELDS,
    LAST,
    NEVER,
    OFFSET,
    PAGE_FIELDS,
    PARENTS,
    SEGMENT_FIELDS,
    START,
    SYSTEM,
    VALUE,
    Bytes,
    Ints,
    Lists,
    Store,
    borrow_store,
)
from pipeline.temporal.values import claim, length_of, place_of

FETCHED = 32
"""Values of a list that are fetched before their turn."""
LAST_BYTES = 8
MOST_BYTES = 10
"""Of a whole number."""
FAR = 253_402_214_400_000_000
"""9999-12-31 in microseconds, which is mostly "no end": a short number outside."""


class Written(NamedTuple):
    """A segment as it is written, before its value; `ago` is how long before LAST it is believed."""

    start: int
    aux: int
    end: int
    ago: int
    offset: int
    meta: int
    length: int


@inner
def write_i64(out: Bytes, at: int, value: int) -> None:
    """A signed 64-bit integer, little-endian."""
    for i in range(8):
        out[at + i] = (value >> (8 * i)) & 255


@inner
def read_i64(data: Bytes, at: int) -> int:
    """A signed 64-bit integer, little-endian."""
    value = i64(data[at + 7])
    if value >= 128:
        value -= 256
    for i in range(6, -1, -1):
        value = (value << 8) | i64(data[at + i])
    return value


@inner
def write_u32(out: Bytes, at: int, value: int) -> None:
    """An unsigned 32-bit integer, little-endian."""
    for i in range(4):
        out[at + i] = (value >> (8 * i)) & 255


@inner
def write_number(out: Bytes, at: int, value: int) -> int:
    """A whole number, the nearer to 0 the shorter (zigzag, then base 128); where the next bytes go."""
    left = (value << 1) ^ (value >> 63)
    while left & ~127 != 0:
        out[at] = (left & 127) | 128
        left = (left >> 7) & ((1 << 57) - 1)
        at += 1
    out[at] = left
    return at + 1


@inner
def read_number(data: Bytes, at: int) -> tuple[int, int]:
    """A number that `write_number` wrote, and where the next bytes are."""
    byte = i64(data[at])
    value, shift = byte & 127, 7
    while byte >= 128:
        at += 1
        byte = i64(data[at])
        value |= (byte & 127) << shift
        shift += 7
    return ((value >> 1) & ((1 << 63) - 1)) ^ -(value & 1), at + 1


@inner
def write_value(source: Bytes, start: int, length: int, out: Bytes, at: int) -> int:
    """Bytes without rows of zeros; where the next bytes go, at most twice as many."""
    i = 0
    while i < length:
        byte = source[start + i]
        out[at] = byte
        at, i = at + 1, i + 1
        if byte == 0:
            first = i
            while i < length and i < first + 255 and source[start + i] == 0:
                i += 1
            out[at] = i - first
            at += 1
    return at


@inner
def read_value(data: Bytes, at: int, out: Bytes, to: int, length: int) -> int:
    """Bytes that `write_value` wrote; where they end."""
    end = to + length
    while to < end:
        byte = data[at]
        out[to] = byte
        at, to = at + 1, to + 1
        if byte == 0:
            for _ in range(i64(data[at])):
                out[to] = 0
                to += 1
            at += 1
    return at


@inner
def skip_value(data: Bytes, at: int, length: int) -> int:
    """Where bytes end that `write_value` wrote."""
    done = 0
    while done < length:
        byte = data[at]
        at, done = at + 1, done + 1
        if byte == 0:
            done += i64(data[at])
            at += 1
    return at


@inner
def base_of_next(start: int, end: int) -> int:
    """Where the start of the segment after this one is counted from."""
    return start if end == FAR else end


@spliced
def read_segment(data: Bytes, at: int, base: int) -> tuple[Written, int]:
    """A segment whose start is counted from `base`, and where its value is."""
    since, at = read_number(data, at)
    aux, at = read_number(data, at)
    duration, at = read_number(data, at)
    ago, at = read_number(data, at)
    offset, at = read_number(data, at)
    meta, at = read_number(data, at)
    length, at = read_number(data, at)
    start = base + since
    end = FAR if duration == 0 else start + duration
    return Written(start, aux, end, ago, offset, meta, length), at


@inner
def room_of_list(lists: Lists, keys: Ints, key: int, level: int) -> int:
    """Bytes that a list of segments takes outside at most."""
    size = 0
    for row in range(
        keys[key * KEY_FIELDS + level], keys[key * KEY_FIELDS + level] + keys[key * KEY_FIELDS + level + 1]
    ):
        for slot in range(
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + BASE] + lists.pages[row * PAGE_FIELDS + COUNT],
        ):
            size += 7 * MOST_BYTES + 2 * length_of(lists.segments[slot * SEGMENT_FIELDS + VALUE])
    return size


@kernel
def room_of(store: Store, numbers: Ints) -> int:
    """Bytes that keys take outside at most."""
    store, size = borrow_store(store), 0
    for i in range(numbers.size):
        size += LAST_BYTES + 3 * MOST_BYTES
        size += room_of_list(store.parents, store.keys, numbers[i], PARENTS)
        size += room_of_list(store.children, store.keys, numbers[i], CHILDREN)
    return size


@inner
def count_of_list(lists: Lists, keys: Ints, key: int, level: int) -> int:
    """How many segments a list has."""
    base, count = keys[key * KEY_FIELDS + level], 0
    for row in range(base, base + keys[key * KEY_FIELDS + level + 1]):
        count += lists.pages[row * PAGE_FIELDS + COUNT]
    return count


@inner
def write_list(store: Store, lists: Lists, key: int, level: int, last: int, out: Bytes, at: int) -> int:
    """Write a list of segments; where the next bytes go."""
    keys, base = store.keys, 0
    for row in range(
        keys[key * KEY_FIELDS + level], keys[key * KEY_FIELDS + level] + keys[key * KEY_FIELDS + level + 1]
    ):
        for slot in range(
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + BASE] + lists.pages[row * PAGE_FIELDS + COUNT],
        ):
            segment = slot * SEGMENT_FIELDS
            start, end = lists.segments[segment + START], lists.segments[segment + END]
            at = write_number(out, at, start - base)
            at = write_number(out, at, aux_at(lists, slot))
            at = write_number(out, at, 0 if end == FAR else end - start)
            at = write_number(out, at, last - lists.segments[segment + SYSTEM])
            at = write_number(out, at, lists.segments[segment + OFFSET])
            at = write_number(out, at, meta_at(lists, slot))
            value = lists.segments[segment + VALUE]
            length = length_of(value)
            at = write_number(out, at, length)
            at = write_value(store.arena, place_of(value), length, out, at)
            base = base_of_next(start, end)
    return at


@inner
def fetch_list(store: Store, lists: Lists, key: int, level: int) -> None:
    """Have the first values of a list fetched, no more than the cache holds until they are written."""
    base = store.keys[key * KEY_FIELDS + level]
    if store.keys[key * KEY_FIELDS + level + 1] == 0:
        return
    first = lists.pages[base * PAGE_FIELDS + BASE]
    for slot in range(first, first + min(lists.pages[base * PAGE_FIELDS + COUNT], FETCHED)):
        prefetch(store.arena, place_of(lists.segments[slot * SEGMENT_FIELDS + VALUE]))


@kernel
def export(store: Store, numbers: Ints, starts: Ints, out: Bytes) -> None:
    """Write keys to `out`, which has room for them (`room_of`), one after the other.

    `starts`, int64[keys + 1], gets where each starts.
    """
    store, to, at = borrow_store(store), borrow(out), 0
    for i in range(numbers.size):
        key = numbers[i]
        if i + 1 < numbers.size:
            fetch_list(store, store.parents, numbers[i + 1], PARENTS)
            fetch_list(store, store.children, numbers[i + 1], CHILDREN)
        starts[i] = at
        last = store.keys[key * KEY_FIELDS + LAST]
        write_i64(to, at, last)
        at = write_number(
            to, at + LAST_BYTES, store.keys[key * KEY_FIELDS + FLAGS] & AT_HOME if last != 0 else 0
        )
        at = write_number(to, at, count_of_list(store.parents, store.keys, key, PARENTS))
        at = write_number(to, at, count_of_list(store.children, store.keys, key, CHILDREN))
        at = write_list(store, store.parents, key, PARENTS, last + NEVER, to, at)
        at = write_list(store, store.children, key, CHILDREN, last + NEVER, to, at)
    starts[numbers.size] = at


@inner
def read_list(
    store: Store, lists: Lists, key: int, level: int, last: int, data: Bytes, at: int, count: int
) -> int:
    """Add `count` written segments to a list; where they end."""
    base = 0
    for _ in range(count):
        found, at = read_segment(data, at, base)
        value = claim(store, found.length)
        at = read_value(data, at, store.arena, place_of(value), found.length)
        insert(
            lists,
            store.keys,
            key,
            level,
            found.start,
            found.aux,
            found.end,
            last - found.ago,
            found.offset,
            found.meta,
            value,
        )
        base = base_of_next(found.start, found.end)
    return at


@kernel
def install(store: Store, numbers: Ints, starts: Ints, ends: Ints, data: Bytes) -> None:
    """Bring keys that the store has nothing of back from their bytes; ones without bytes stay empty."""
    store, from_ = borrow_store(store), borrow(data)
    for i in range(numbers.size):
        at = starts[i]
        if ends[i] == at:
            continue
        key = numbers[i]
        last = read_i64(from_, at)
        store.keys[key * KEY_FIELDS + LAST] = last
        home, at = read_number(from_, at + LAST_BYTES)
        parents, at = read_number(from_, at)
        children, at = read_number(from_, at)
        store.keys[key * KEY_FIELDS + FLAGS] |= home
        at = read_list(store, store.parents, key, PARENTS, last + NEVER, from_, at, parents)
        read_list(store, store.children, key, CHILDREN, last + NEVER, from_, at, children)
