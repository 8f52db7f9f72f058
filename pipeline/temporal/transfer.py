"""Keys out of the store as bytes and back in: what a state backend keeps of a key.

A key is its LAST (i64), where it is at home (i64, bits of FLAGS), the number of its parent and child
segments (u32 each), then per segment its fields but VALUE (i64 each), the length of its value (u32), and the
value.
"""

from pipeline.temporal.jit import i64, inner, kernel
from pipeline.temporal.pages import insert
from pipeline.temporal.store import (
    AT_HOME,
    AUX,
    BASE,
    CHILDREN,
    COUNT,
    END,
    FLAGS,
    KEY_FIELDS,
    LAST,
    META,
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
from pipeline.temporal.values import claim, copy_bytes, length_of, place_of, read_u32

HEADER = 24
FIXED = 8 * VALUE + 4


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
def size_of_list(lists: Lists, keys: Ints, key: int, level: int) -> int:
    """Bytes that a list of segments takes outside."""
    size = 0
    for row in range(
        keys[key * KEY_FIELDS + level], keys[key * KEY_FIELDS + level] + keys[key * KEY_FIELDS + level + 1]
    ):
        for slot in range(
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + BASE] + lists.pages[row * PAGE_FIELDS + COUNT],
        ):
            size += FIXED + length_of(lists.segments[slot * SEGMENT_FIELDS + VALUE])
    return size


@kernel
def sizes(store: Store, numbers: Ints, starts: Ints) -> None:
    """Where each key's bytes start when they are written one after the other; int64[keys + 1]."""
    store = borrow_store(store)
    starts[0] = 0
    for i in range(numbers.size):
        parents = size_of_list(store.parents, store.keys, numbers[i], PARENTS)
        children = size_of_list(store.children, store.keys, numbers[i], CHILDREN)
        starts[i + 1] = starts[i] + HEADER + parents + children


@inner
def write_list(store: Store, lists: Lists, key: int, level: int, out: Bytes, at: int, count_at: int) -> int:
    """Write a list of segments, and their number at `count_at`; where the next bytes go."""
    keys, count = store.keys, 0
    for row in range(
        keys[key * KEY_FIELDS + level], keys[key * KEY_FIELDS + level] + keys[key * KEY_FIELDS + level + 1]
    ):
        for slot in range(
            lists.pages[row * PAGE_FIELDS + BASE],
            lists.pages[row * PAGE_FIELDS + BASE] + lists.pages[row * PAGE_FIELDS + COUNT],
        ):
            for f in range(VALUE):
                write_i64(out, at + 8 * f, lists.segments[slot * SEGMENT_FIELDS + f])
            value = lists.segments[slot * SEGMENT_FIELDS + VALUE]
            length = length_of(value)
            write_u32(out, at + 8 * VALUE, length)
            copy_bytes(store.arena, place_of(value), out, at + FIXED, length)
            at += FIXED + length
            count += 1
    write_u32(out, count_at, count)
    return at


@kernel
def export(store: Store, numbers: Ints, starts: Ints, out: Bytes) -> None:
    """Write keys to `out`, each at its start (see `sizes`)."""
    store = borrow_store(store)
    for i in range(numbers.size):
        key, at = numbers[i], starts[i]
        last = store.keys[key * KEY_FIELDS + LAST]
        write_i64(out, at, last)
        write_i64(out, at + 8, store.keys[key * KEY_FIELDS + FLAGS] & AT_HOME if last != 0 else 0)
        after = write_list(store, store.parents, key, PARENTS, out, at + HEADER, at + 16)
        write_list(store, store.children, key, CHILDREN, out, after, at + 20)


@inner
def read_list(store: Store, lists: Lists, key: int, level: int, data: Bytes, at: int, count: int) -> int:
    """Add `count` written segments to a list; where they end."""
    for _ in range(count):
        length = read_u32(data, at + 8 * VALUE)
        value = claim(store, length)
        copy_bytes(data, at + FIXED, store.arena, place_of(value), length)
        insert(
            lists,
            store.keys,
            key,
            level,
            read_i64(data, at + 8 * START),
            read_i64(data, at + 8 * AUX),
            read_i64(data, at + 8 * END),
            read_i64(data, at + 8 * SYSTEM),
            read_i64(data, at + 8 * OFFSET),
            read_i64(data, at + 8 * META),
            value,
        )
        at += FIXED + length
    return at


@kernel
def install(store: Store, numbers: Ints, starts: Ints, ends: Ints, data: Bytes) -> None:
    """Bring keys that the store has nothing of back from their bytes; ones without bytes stay empty."""
    store = borrow_store(store)
    for i in range(numbers.size):
        at = starts[i]
        if ends[i] == at:
            continue
        key = numbers[i]
        store.keys[key * KEY_FIELDS + FLAGS] |= read_i64(data, at + 8)
        store.keys[key * KEY_FIELDS + LAST] = read_i64(data, at)
        parents, children = read_u32(data, at + 16), read_u32(data, at + 20)
        after = read_list(store, store.parents, key, PARENTS, data, at + HEADER, parents)
        read_list(store, store.children, key, CHILDREN, data, after, children)
