"""Entries of key files, and the index of where each key's newest one is: kernels.

An entry is four words and, each padded to whole words, its key and its value: the checksum of all that
follows, the hash of the key, the lengths, and the place of the entry whose place it takes. Numbers are
little-endian. The index is a hash table of (hash, place) with linear probing, in the order of hashes.
"""

# ruff: noqa: ARG001
# Numba passes to a code generator what it may need.

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pipeline.temporal.jit import borrow, i64, inner, kernel, prefetch
from pipeline.temporal.store import Bytes, Ints

CHECKSUM, HASH, LENGTHS, BEFORE = range(4)
HEADER_WORDS = 4
KEY_BITS = 28
LEFT = 1 << KEY_BITS
"""In the lengths: the key was left to the tables. The length of the key is below, the value's above."""
VALUE_SHIFT = KEY_BITS + 1

# A place: the number of its file, where in it the entry is, its size; both in words.
FILE_SHIFT, AT_SHIFT, SIZE_MASK = 44, 16, 0xFFFF
AT_MASK = (1 << (FILE_SHIFT - AT_SHIFT)) - 1
LARGE = SIZE_MASK
"""In the place of a size: it is as large or larger, see its lengths."""
NOWHERE = 0
FURTHEST = AT_MASK << 3
"""No entry begins behind this many bytes of a file."""

_PREFETCHED = 12


@intrinsic
def _address(context: Any, array: Any, at: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = target.make_array(signature.args[0])(target, builder, args[0]).data
        return builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())

    return types.voidptr(array, types.intp), generate


_pread = types.ExternalFunction("pread", types.intp(types.int32, types.voidptr, types.uintp, types.int64))


def words_in(lengths: Ints) -> Ints:
    """The sizes of entries in words, by their lengths."""
    key, value = lengths & (LEFT - 1), lengths >> VALUE_SHIFT
    return HEADER_WORDS + ((key + 7) >> 3) + ((value + 7) >> 3)


@inner
def words_of(lengths: int) -> int:
    """The size of an entry."""
    key, value = lengths & (LEFT - 1), lengths >> VALUE_SHIFT
    return HEADER_WORDS + ((key + 7) >> 3) + ((value + 7) >> 3)


@inner
def checksum(words: Ints, start: int, end: int) -> int:
    """Of words [start, end): each moves every bit after it."""
    found = i64(end - start)
    for i in range(start, end):
        found = (found ^ words[i]) * i64(-7046029254386353131)
        found ^= (found >> 32) & i64(0xFFFFFFFF)
    return found


@inner
def _home(hash_: int, size: int) -> int:
    return (((hash_ >> 32) & i64(0xFFFFFFFF)) * size) >> 32


@kernel
def look_up(slots: Ints, hashes: Ints, passed: Ints, places: Ints) -> None:
    """The place of the entry of each hash; the next one where `passed` ones were of other keys."""
    size, table, coming = slots.shape[0], borrow(slots), borrow(hashes)
    for i in range(hashes.size):
        if i + _PREFETCHED < hashes.size:
            prefetch(table, 2 * _home(coming[i + _PREFETCHED], size))
        at, seen = _home(coming[i], size), 0
        places[i] = NOWHERE
        while table[2 * at + 1] != NOWHERE:
            if table[2 * at] == coming[i]:
                if seen == passed[i]:
                    places[i] = table[2 * at + 1]
                    break
                seen += 1
            at = at + 1 if at + 1 < size else 0


@kernel
def point(slots: Ints, hashes: Ints, befores: Ints, places: Ints, replaced: Ints, unsure: Bytes) -> int:
    """Point the index to new places, in the place of those before; how many it has more.

    `replaced` gets the places that it pointed to. Where entries of the same hash are known, but none at the
    place before, nothing is done: `unsure`.
    """
    size, table, coming, added = slots.shape[0], borrow(slots), borrow(hashes), 0
    for i in range(hashes.size):
        if i + _PREFETCHED < hashes.size:
            prefetch(table, 2 * _home(coming[i + _PREFETCHED], size))
        at, met, found = _home(coming[i], size), False, False
        while table[2 * at + 1] != NOWHERE:
            if table[2 * at] == coming[i]:
                met = True
                if table[2 * at + 1] == befores[i]:
                    found = True
                    break
            at = at + 1 if at + 1 < size else 0
        unsure[i], replaced[i] = met and not found, befores[i] if found else NOWHERE
        if not unsure[i]:
            added += not found
            table[2 * at], table[2 * at + 1] = coming[i], places[i]
    return added


@kernel
def insert(slots: Ints, hash_: int, place: int) -> None:
    """Add an entry whose key is not in the index, whatever its hash."""
    size, table = slots.shape[0], borrow(slots)
    at = _home(hash_, size)
    while table[2 * at + 1] != NOWHERE:
        at = at + 1 if at + 1 < size else 0
    table[2 * at], table[2 * at + 1] = hash_, place


@kernel
def fill(slots: Ints, target: Ints) -> None:
    """Put all of an index into an empty one."""
    size, table, into = target.shape[0], borrow(slots), borrow(target)
    for from_ in range(slots.shape[0]):
        if table[2 * from_ + 1] != NOWHERE:
            at = _home(table[2 * from_], size)
            while into[2 * at + 1] != NOWHERE:
                at = at + 1 if at + 1 < size else 0
            into[2 * at], into[2 * at + 1] = table[2 * from_], table[2 * from_ + 1]


@kernel
def pack(
    hashes: Ints,
    keys: Bytes,
    key_at: Ints,
    key_length: Ints,
    values: Bytes,
    value_start: Ints,
    befores: Ints,
    left: int,
    starts: Ints,
    out: Bytes,
    words: Ints,
) -> None:
    """Write entries to `out` (as words: `words`), which is all zeros, each at its start in bytes."""
    from_keys, from_values, to = borrow(keys), borrow(values), borrow(out)
    for i in range(hashes.size):
        at, length = starts[i] >> 3, value_start[i + 1] - value_start[i]
        words[at + HASH], words[at + BEFORE] = hashes[i], befores[i]
        words[at + LENGTHS] = (length << VALUE_SHIFT) | left | key_length[i]
        key_to = starts[i] + 8 * HEADER_WORDS
        for j in range(key_length[i]):
            to[key_to + j] = from_keys[key_at[i] + j]
        value_to = key_to + ((key_length[i] + 7) & ~7)
        for j in range(length):
            to[value_to + j] = from_values[value_start[i] + j]
        words[at] = checksum(words, at + 1, starts[i + 1] >> 3)


@kernel
def sizes(fds: npt.NDArray[np.int32], places: Ints, starts: Ints, room: Ints) -> int:
    """Where entries start that are read one after the other, in bytes; the first whose file ends, or -1."""
    starts[0] = 0
    for i in range(places.size):
        size = places[i] & SIZE_MASK
        if size == LARGE:
            offset = ((places[i] >> AT_SHIFT) & AT_MASK) << 3
            if _pread(fds[places[i] >> FILE_SHIFT], _address(room, 0), 8 * HEADER_WORDS, offset) != (
                8 * HEADER_WORDS
            ):
                return i
            size = words_of(room[LENGTHS])
        starts[i + 1] = starts[i] + 8 * size
    return -1


@kernel
def read(fds: npt.NDArray[np.int32], places: Ints, starts: Ints, out: Bytes, words: Ints) -> int:
    """Read entries to `out` (as words: `words`), each at its start; the first that is damaged, or -1."""
    for i in range(places.size):
        size = starts[i + 1] - starts[i]
        if size == 0:
            continue
        offset = ((places[i] >> AT_SHIFT) & AT_MASK) << 3
        if _pread(fds[places[i] >> FILE_SHIFT], _address(out, starts[i]), size, offset) != size:
            return i
        at = starts[i] >> 3
        if words_of(words[at + LENGTHS]) != size >> 3 or words[at] != checksum(
            words, at + 1, starts[i + 1] >> 3
        ):
            return i
    return -1


@kernel
def match(
    keys: Bytes,
    key_at: Ints,
    key_length: Ints,
    starts: Ints,
    out: Bytes,
    words: Ints,
    value_start: Ints,
    value_end: Ints,
    left: Bytes,
) -> int:
    """Tell of entries read where their values are, and which were left to the tables.

    Returns:
        How many are of another key than asked for: their values end before they start.
    """
    others, wanted, read_ = 0, borrow(keys), borrow(out)
    for i in range(key_at.size):
        value_start[i], value_end[i], left[i] = 0, 0, 0
        if starts[i + 1] == starts[i]:
            continue
        lengths = words[(starts[i] >> 3) + LENGTHS]
        at, length = starts[i] + 8 * HEADER_WORDS, lengths & (LEFT - 1)
        same = length == key_length[i]
        if same:
            for j in range(length):
                if read_[at + j] != wanted[key_at[i] + j]:
                    same = False
                    break
        if not same:
            others += 1
            value_start[i], value_end[i] = 1, 0
            continue
        value_start[i] = at + ((length + 7) & ~7)
        value_end[i] = value_start[i] + (lengths >> VALUE_SHIFT)
        left[i] = (lengths & LEFT) != 0
    return others


@kernel
def walk(
    words: Ints, count: int, file: int, first: int, hashes: Ints, befores: Ints, places: Ints, lasts: Ints
) -> tuple[int, int]:
    """Tell of the entries at the start of a stretch of a file, whose first word is word `first` there.

    `lasts` gets the first word of each value; of a key that was left to the tables, the largest number.

    Returns:
        How many there are, and their words. It ends before an entry that is not whole.
    """
    found, at = 0, 0
    while at + HEADER_WORDS <= count and found < hashes.size:
        lengths = words[at + LENGTHS]
        size = words_of(lengths)
        if lengths < 0 or at + size > count or words[at] != checksum(words, at + 1, at + size):
            break
        hashes[found], befores[found] = words[at + HASH], words[at + BEFORE]
        places[found] = place_at(file, first + at, size)
        value = at + HEADER_WORDS + (((lengths & (LEFT - 1)) + 7) >> 3)
        lasts[found] = words[value] if lengths & LEFT == 0 and value < at + size else np.iinfo(np.int64).max
        found += 1
        at += size
    return found, at


@inner
def place_at(file: int, at: int, size: int) -> int:
    """The place of an entry of `size` words at a word of a file."""
    return (i64(file) << FILE_SHIFT) | (i64(at) << AT_SHIFT) | min(size, LARGE)


@kernel
def place_all(file: int, first: int, starts: Ints, places: Ints) -> None:
    """The places of entries that are written from word `first` of a file on, each at its start in bytes."""
    for i in range(places.size):
        places[i] = place_at(file, first + (starts[i] >> 3), (starts[i + 1] - starts[i]) >> 3)


@kernel
def newest(slots: Ints, hashes: Ints, places: Ints, out: Bytes) -> None:
    """Which entries the index points to."""
    size, table, coming = slots.shape[0], borrow(slots), borrow(hashes)
    for i in range(hashes.size):
        if i + _PREFETCHED < hashes.size:
            prefetch(table, 2 * _home(coming[i + _PREFETCHED], size))
        at = _home(coming[i], size)
        out[i] = 0
        while table[2 * at + 1] != NOWHERE:
            if table[2 * at] == coming[i] and table[2 * at + 1] == places[i]:
                out[i] = 1
                break
            at = at + 1 if at + 1 < size else 0


@kernel
def gather(words: Ints, starts: Ints, befores: Ints, out: Ints) -> int:
    """Copy entries, from each start in words on, one after the other with new places before; the words."""
    at = 0
    for i in range(starts.size):
        size = words_of(words[starts[i] + LENGTHS])
        for j in range(size):
            out[at + j] = words[starts[i] + j]
        out[at + BEFORE] = befores[i]
        out[at] = checksum(out, at + 1, at + size)
        at += size
    return at
