"""From a key's bytes to its number: a hash table of all keys in memory, numbered from 0 as they appear."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.temporal.jit import borrow, inner, kernel, prefetch
from pipeline.temporal.store import LENGTH_BITS, Bytes, Ints, physical_memory, reserve
from pipeline.temporal.values import copy_bytes, length_of, place_of, same_bytes

# Fields of a key: columns of `known`.
HASH, REFERENCE = range(2)
KNOWN_FIELDS = 2


class Keys(NamedTuple):
    """The keys in memory.

    Attributes:
        known: int64[keys, 2], hash and reference of each key's bytes.
        arena: the bytes of the keys.
        used: int64[2], keys known and bytes of the arena in use.
        table: int32, open addressing with linear probing: number + 1, 0 is empty; its size is a power of two.
    """

    known: Ints
    arena: Bytes
    used: Ints
    table: npt.NDArray[np.int32]


def new_keys(memory: int | None = None) -> Keys:
    """No keys, with room for `memory` bytes of them (default: the machine's memory)."""
    room = memory or physical_memory()
    known, arena = reserve((room // 16, 2), np.int64), reserve((room,), np.uint8)
    return Keys(known, arena, np.zeros(2, np.int64), np.zeros(1 << 12, np.int32))  # type: ignore[arg-type]


def with_room(keys: Keys, more: int) -> Keys:
    """The same keys, in a table that is at most half full with `more` of them."""
    size = keys.table.size
    while size < 2 * (keys.used[0] + more):
        size *= 2
    if size == keys.table.size:
        return keys
    grown = keys._replace(table=np.zeros(size, np.int32))
    fill(grown)
    return grown


@kernel
def fill(keys: Keys) -> None:
    """Put all known keys into an empty table."""
    mask = keys.table.size - 1
    for number in range(keys.used[0]):
        at = keys.known[number, HASH] & mask
        while keys.table[at] != 0:
            at = (at + 1) & mask
        keys.table[at] = number + 1


@inner
def find(keys: Keys, hash_: int, data: Bytes, start: int, length: int) -> int:
    """The number of a key; where it is unknown, -1 minus its place in the table."""
    mask = keys.table.size - 1
    at = hash_ & mask
    while keys.table[at] != 0:
        number = keys.table[at] - 1
        reference = keys.known[number, REFERENCE]
        if (
            keys.known[number, HASH] == hash_
            and length_of(reference) == length
            and same_bytes(keys.arena, place_of(reference), data, start, length)
        ):
            return int(number)
        at = (at + 1) & mask
    return int(-1 - at)


@inner
def add(keys: Keys, hash_: int, data: Bytes, start: int, length: int, at: int) -> int:
    """Give an unknown key the next number."""
    number, place = keys.used[0], keys.used[1]
    copy_bytes(data, start, keys.arena, place, length)
    keys.known[number, HASH] = hash_
    keys.known[number, REFERENCE] = ((place >> 3) << LENGTH_BITS) | length
    keys.used[0], keys.used[1] = number + 1, (place + length + 7) & ~7
    keys.table[at] = number + 1
    return int(number)


@inner
def fetch_ahead(table: Any, known: Any, arena: Any, mask: int, hashes: Any, i: int, count: int) -> None:
    """Have what the next look-ups will touch fetched, a step of the way at a time."""
    if i + 24 < count:
        prefetch(table, hashes[i + 24] & mask)
    if i + 16 < count:
        number = table[hashes[i + 16] & mask] - 1
        if number >= 0:
            prefetch(known, number * KNOWN_FIELDS)
    if i + 8 < count:
        number = table[hashes[i + 8] & mask] - 1
        if number >= 0:
            prefetch(arena, place_of(known[number * KNOWN_FIELDS + REFERENCE]))


@kernel
def number_all(keys: Keys, skip: Bytes, hashes: Ints, data: Bytes, starts: Ints, out: Ints) -> int:
    """Number the keys of a batch, new ones too; those skipped get -1. How many keys were known before."""
    before, count, mask = keys.used[0], hashes.size, keys.table.size - 1
    table, known, arena, coming = borrow(keys.table), borrow(keys.known), borrow(keys.arena), borrow(hashes)
    for i in range(count):
        fetch_ahead(table, known, arena, mask, coming, i, count)
        out[i] = -1
        if skip[i]:
            continue
        length = starts[i + 1] - starts[i]
        number = find(keys, hashes[i], data, starts[i], length)
        if number < 0:
            number = add(keys, hashes[i], data, starts[i], length, -1 - number)
        out[i] = number
    return int(before)


@kernel
def find_all(keys: Keys, others: Keys, numbers: Ints, out: Ints) -> None:
    """The numbers here of keys that have these numbers among others; -1 where they are unknown."""
    for i in range(numbers.size):
        reference = others.known[numbers[i], REFERENCE]
        number = find(
            keys, others.known[numbers[i], HASH], others.arena, place_of(reference), length_of(reference)
        )
        out[i] = max(number, -1)
