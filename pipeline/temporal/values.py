"""Values as bytes: kept in the arena, compared, and merged by a patch.

A payload is ``u16 n``, n bytes of bitmap (trailing zeros trimmed), then the present columns in order: 8 or
16 bytes, or a length and bytes. A length is a byte; from LONG on it is LONG and a u32. A patch has one more
bitmap in front: columns given. Little-endian.
"""

from pipeline.temporal.jit import i64, inner, load64, store64
from pipeline.temporal.store import FREE_SIZES, LENGTH_BITS, Bytes, Ints, Store

LONG = 255
"""The least length in a payload that takes more than a byte."""
CHILD_HEADER = 6
"""Bytes before a child's key: its table (2), the length of its key (4)."""


@inner
def place_of(value: int) -> int:
    """Where a value starts in the arena."""
    return (value >> LENGTH_BITS) << 3


@inner
def length_of(value: int) -> int:
    """The length of a value in bytes."""
    return value & ((1 << LENGTH_BITS) - 1)


@inner
def claim(store: Store, length: int) -> int:
    """Take room in the arena, some that was given back if there is any; the reference to it."""
    size = (length + 7) >> 3
    if size < FREE_SIZES and store.free[size] > 0:
        word = store.free[size] - 1
        store.free[size] = i64(load64(store.arena, word << 3))
        return (word << LENGTH_BITS) | length
    return claim_end(store, length)


@inner
def give_back(store: Store, value: int) -> None:
    """Leave a value's room to others of its size; nothing refers to it any more."""
    word, size = value >> LENGTH_BITS, (length_of(value) + 7) >> 3
    if 0 < size < FREE_SIZES:
        store64(store.arena, word << 3, store.free[size])
        store.free[size] = word + 1


@inner
def claim_end(store: Store, length: int) -> int:
    """Take room at the end of the arena; the reference to it."""
    place = store.used[0]
    store.used[0] = (place + length + 7) & ~7
    return ((place >> 3) << LENGTH_BITS) | length


@inner
def copy_bytes(source: Bytes, at: int, target: Bytes, to: int, length: int) -> None:
    """Copy bytes between stretches that don't overlap."""
    if length < 8:
        for i in range(length):
            target[to + i] = source[at + i]
        return
    for i in range(0, length - 7, 8):
        store64(target, to + i, load64(source, at + i))
    store64(target, to + length - 8, load64(source, at + length - 8))


@inner
def same_bytes(left: Bytes, at: int, right: Bytes, to: int, length: int) -> bool:
    """Whether two stretches are equal."""
    if length >= 8:
        for i in range(0, length - 7, 8):
            if load64(left, at + i) != load64(right, to + i):
                return False
        return load64(left, at + length - 8) == load64(right, to + length - 8)
    for i in range(length):
        if left[at + i] != right[to + i]:
            return False
    return True


@inner
def equals(store: Store, value: int, payload: Bytes, start: int, length: int) -> bool:
    """Whether a value in the arena is these bytes."""
    return length_of(value) == length and same_bytes(store.arena, place_of(value), payload, start, length)


@inner
def equal_values(store: Store, left: int, right: int) -> bool:
    """Whether two values in the arena are equal."""
    return left == right or equals(store, left, store.arena, place_of(right), length_of(right))


@inner
def keep(store: Store, payload: Bytes, start: int, length: int) -> int:
    """Copy a parent's values into the arena."""
    value = claim(store, length)
    copy_bytes(payload, start, store.arena, place_of(value), length)
    return value


@inner
def keep_child(
    store: Store, table: int, key: Bytes, key_at: int, key_length: int, payload: Bytes, at: int, length: int
) -> int:
    """Copy a child's table, key and values into the arena."""
    value = claim(store, CHILD_HEADER + key_length + length)
    to = place_of(value)
    store.arena[to], store.arena[to + 1] = table & 255, table >> 8
    for i in range(4):
        store.arena[to + 2 + i] = (key_length >> (8 * i)) & 255
    copy_bytes(key, key_at, store.arena, to + CHILD_HEADER, key_length)
    copy_bytes(payload, at, store.arena, to + CHILD_HEADER + key_length, length)
    return value


@inner
def read_u16(data: Bytes, at: int) -> int:
    """An unsigned 16-bit integer."""
    return i64(data[at]) | (i64(data[at + 1]) << 8)


@inner
def read_u32(data: Bytes, at: int) -> int:
    """An unsigned 32-bit integer."""
    return i64(data[at]) | (i64(data[at + 1]) << 8) | (i64(data[at + 2]) << 16) | (i64(data[at + 3]) << 24)


@inner
def read_length(data: Bytes, at: int) -> tuple[int, int]:
    """How many bytes the length of a value takes, and that length."""
    length = i64(data[at])
    return (1, length) if length < LONG else (5, read_u32(data, at + 1))


@inner
def child_is(store: Store, value: int, table: int, key: Bytes, at: int, length: int) -> bool:
    """Whether a child in the arena has this table and key."""
    start = place_of(value)
    if read_u16(store.arena, start) != table or read_u32(store.arena, start + 2) != length:
        return False
    return same_bytes(store.arena, start + CHILD_HEADER, key, at, length)


@inner
def child_equals(store: Store, value: int, payload: Bytes, at: int, length: int) -> bool:
    """Whether a child in the arena has these values (its key is not looked at)."""
    start = place_of(value)
    skip = CHILD_HEADER + read_u32(store.arena, start + 2)
    return length_of(value) - skip == length and same_bytes(store.arena, start + skip, payload, at, length)


@inner
def bit(data: Bytes, bitmap: int, size: int, column: int) -> bool:
    """Whether a column's bit is set in a bitmap of `size` bytes."""
    return column >> 3 < size and (data[bitmap + (column >> 3)] >> (column & 7)) & 1 == 1


@inner
def width_at(data: Bytes, at: int, width: int) -> int:
    """Bytes taken by the value at `at`: `width`, or its length and itself where that is 0."""
    if width > 0:
        return width
    head, length = read_length(data, at)
    return head + length


@inner
def merge(store: Store, old: int, patch: Bytes, at: int, widths: Ints) -> int:
    """The values `old` (-1: none) with a patch applied, as a new value at the arena's end."""
    arena = store.arena
    given_size = read_u16(patch, at)
    given = at + 2
    new_size = read_u16(patch, given + given_size)
    new = given + given_size + 2
    old_size, before = 0, 0
    if old >= 0:
        old_size, before = read_u16(arena, place_of(old)), place_of(old) + 2
    start = store.used[0]
    to = start + 2
    size = 0
    for i in range(max(old_size, given_size)):
        bits = i64(arena[before + i]) if i < old_size else 0
        if i < given_size:
            bits &= ~i64(patch[given + i]) & 255
        if i < new_size:
            bits |= i64(patch[new + i])
        arena[to + i] = bits
        if bits != 0:
            size = i + 1
    arena[start], arena[start + 1] = size & 255, size >> 8
    from_old, from_new, end = before + old_size, new + new_size, to + size
    for column in range(8 * max(old_size, given_size)):
        width = 0
        if bit(arena, before, old_size, column):
            width = width_at(arena, from_old, widths[column])
            if not bit(patch, given, given_size, column):
                copy_within(arena, from_old, end, width)
                end += width
            from_old += width
        if bit(patch, new, new_size, column):
            width = width_at(patch, from_new, widths[column])
            copy_bytes(patch, from_new, arena, end, width)
            end += width
            from_new += width
    return claim_end(store, end - start)


@inner
def copy_within(data: Bytes, at: int, to: int, length: int) -> None:
    """Copy bytes forward to a later place of the same array."""
    for i in range(length):
        data[to + i] = data[at + i]


@inner
def gives_nothing(patch: Bytes, at: int) -> bool:
    """Whether a patch names no column."""
    return read_u16(patch, at) == 0


@inner
def release_last(store: Store, value: int) -> None:
    """Take back the value claimed last, at the end of the arena."""
    store.used[0] = place_of(value)
