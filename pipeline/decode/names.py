"""Member names: the next expected one first, then a keyed hash table."""

from typing import Any

import numpy as np

from pipeline.decode.hashing import hash_bytes
from pipeline.decode.layout import E_LENGTH, E_PARENT, E_WORD, R_ARENA
from pipeline.decode.machine import load8, load64
from pipeline.decode.memory import entry_point, inlined, kernel, signed
from pipeline.decode.text import scan_text, unescape

_EIGHT = np.uint64(8)
_ALL = np.uint64(2**64 - 1)
_ZERO = np.uint64(0)


@inlined
def _is_name(buffer: Any, at: int, length: int, entries: Any, words: Any, entry: int) -> bool:
    """Whether the bytes at ``at`` are an entry's name; at least a word beyond them must be in the buffer."""
    if entries[entry, E_LENGTH] != length:
        return False
    place = entries[entry, E_WORD]
    while length >= 8:
        if load64(buffer, at) != words[place]:
            return False
        at += 8
        place += 1
        length -= 8
    if length == 0:
        return True
    mask = _ALL >> (np.uint64(8 - length) * _EIGHT)
    return (load64(buffer, at) ^ words[place]) & mask == _ZERO


@kernel
def _slow_is_name(text: Any, at: int, length: int, entries: Any, words: Any, entry: int) -> bool:
    if entries[entry, E_LENGTH] != length:
        return False
    place = entries[entry, E_WORD]
    for k in range(length):
        byte = signed(words[place + (k >> 3)] >> np.uint64(8 * (k & 7))) & 0xFF
        if load8(text, at + k) != byte:
            return False
    return True


@inlined
def _place(text: Any, at: int, end: int, node: int, seed: Any, size: int) -> int:
    return (signed(hash_bytes(text, at, end, seed)) + node * 7919) & (size - 1)


@kernel
def _find(text: Any, at: int, end: int, node: int, entries: Any, words: Any, lookup: Any, seed: Any) -> int:
    place = _place(text, at, end, node, seed, len(lookup))
    while lookup[place] >= 0:
        entry = lookup[place]
        if entries[entry, E_PARENT] == node and _slow_is_name(text, at, end - at, entries, words, entry):
            return entry
        place = (place + 1) & (len(lookup) - 1)
    return -1


@entry_point
def fill_lookup(names: Any, starts: Any, entries: Any, lookup: Any, seed: Any) -> None:
    """Enter the entries whose names are ``names[starts[e]:starts[e + 1]]`` into the hash table."""
    for entry in range(len(entries)):
        if entries[entry, E_PARENT] < 0:
            continue
        place = _place(names, starts[entry], starts[entry + 1], entries[entry, E_PARENT], seed, len(lookup))
        while lookup[place] >= 0:
            place = (place + 1) & (len(lookup) - 1)
        lookup[place] = entry


@kernel
def _search(
    buffer: Any,
    at: int,
    end: int,
    node: int,
    last: int,
    entries: Any,
    words: Any,
    lookup: Any,
    follow: Any,
    arena: Any,
    registers: Any,
    seed: Any,
) -> Any:
    packed = scan_text(buffer, at, end, registers)
    if packed < 0:
        return -1, -1
    after = packed >> 1
    if packed & 1:
        to = registers[R_ARENA]
        stop = unescape(buffer, at, after - 1, arena, to)
        entry = _find(arena, to, stop, node, entries, words, lookup, seed)
    else:
        entry = _find(buffer, at, after - 1, node, entries, words, lookup, seed)
    if entry >= 0:
        follow[last] = entry
    return entry, after


@inlined
def read_name(
    buffer: Any,
    at: int,
    end: int,
    node: int,
    last: int,
    entries: Any,
    words: Any,
    lookup: Any,
    follow: Any,
    arena: Any,
    registers: Any,
    seed: Any,
) -> Any:
    """The entry of the member whose name begins at ``at``, behind its quote.

    Args:
        node: the object's node; last: the entry before this one in the object, or the node's head.
        follow: per entry the one that came next last time: learned, for speed only.

    Returns:
        (entry or -1, position behind the closing quote or -1)
    """
    guess = follow[last]
    for _ in range(2):
        if guess < 0:
            break
        length = signed(entries[guess, E_LENGTH])
        stop = at + length
        quoted = stop < end and stop + 8 <= len(buffer) and load8(buffer, stop) == 34
        if quoted and _is_name(buffer, at, length, entries, words, guess):
            return guess, stop + 1
        guess = follow[guess]
    return _search(buffer, at, end, node, last, entries, words, lookup, follow, arena, registers, seed)
