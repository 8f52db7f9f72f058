"""Slots to canonical bytes: keys, payloads, and the rows of children."""

from typing import Any

from pipeline.decode.hashing import hash_bytes
from pipeline.decode.layout import (
    ABSENT,
    C_LABEL,
    C_WIDTH,
    FULL_OWN_KEYS,
    FULL_PLACES,
    FULL_ROW_KEYS,
    FULL_ROW_VALUES,
    FULL_ROWS,
    FULL_WHOLE_KEYS,
    GIVEN,
    LONG,
    MAX_KEY,
    R_EQUAL,
    R_FINAL_KEYS,
    R_FULL,
    R_NESTED,
    R_ROW_KEYS,
    R_ROW_VALUES,
    R_ROWS,
    T_END,
    T_KEY,
    T_POSITION,
    T_VALUE,
    X_KEY,
    X_KEY_END,
    X_PARENT,
    X_TABLE,
    X_VALUE_END,
    Code,
)
from pipeline.decode.machine import load8, store8, store64
from pipeline.decode.memory import copy, inlined, kernel, signed
from pipeline.decode.slots import fail

_CHILD_KEY, _KEY_TOO_LONG = int(Code.CHILD_KEY_MISSING), int(Code.KEY_TOO_LONG)
_SPARE = 16
_NO_PARENT = -1


@inlined
def _put_slot(
    buffer: Any, arena: Any, columns: Any, slots: Any, slot: int, short: bool, target: Any, to: int
) -> int:
    """Write one value's canonical bytes, a length of bytes in one byte if `short`; returns their end."""
    width = columns[slot, C_WIDTH]
    a = slots[slot, 1]
    if width == 8:
        store64(target, to, a)
        return to + 8
    b = slots[slot, 2]
    if width == 16:
        store64(target, to, a)
        store64(target, to + 8, b)
        return to + 16
    if short:
        store8(target, to, min(b, LONG))
        to += 1
    if not short or b >= LONG:
        for k in range(4):
            store8(target, to + k, b >> (8 * k))
        to += 4
    if a >= 0:
        copy(buffer, a, b, target, to)
    else:
        copy(arena, -1 - a, b, target, to)
    return to + b


@kernel
def put_key(
    buffer: Any, arena: Any, columns: Any, slots: Any, first: int, last: int, target: Any, to: int
) -> int:
    """Write the key columns in slots first..last-1 from ``to``.

    Returns:
        The end; or -1 - slot of the first that is missing; or -1 - last if ``target`` is too small;
        or -2 - last if the key is longer than 64 KiB.
    """
    size = 0
    for slot in range(first, last):
        if slots[slot, 0] != GIVEN:
            return -1 - slot
        width = columns[slot, C_WIDTH]
        size += width if width > 0 else 4 + slots[slot, 2]
    if size > MAX_KEY:
        return -2 - last
    if to + size + _SPARE > len(target):
        return -1 - last
    for slot in range(first, last):
        to = _put_slot(buffer, arena, columns, slots, slot, False, target, to)
    return to


@kernel
def put_values(
    buffer: Any, arena: Any, columns: Any, slots: Any, first: int, last: int, target: Any, to: int
) -> int:
    """Write the value payload of slots first..last-1 from ``to``; returns its end, or -1: no room."""
    while last > first and slots[last - 1, 0] != GIVEN:
        last -= 1
    size = (last - first + 7) >> 3
    room = len(target) - _SPARE - 20 * (last - first)
    if to + 2 + size > room:
        return -1
    store8(target, to, size)
    store8(target, to + 1, size >> 8)
    bitmap = to + 2
    to = bitmap + size
    bits = 0
    for slot in range(first, last):
        position = slot - first
        if slots[slot, 0] == GIVEN:
            bits |= 1 << (position & 7)
            if columns[slot, C_WIDTH] == 0 and to + slots[slot, 2] > room:
                return -1
            to = _put_slot(buffer, arena, columns, slots, slot, True, target, to)
        if position & 7 == 7 or slot == last - 1:
            store8(target, bitmap + (position >> 3), bits)
            bits = 0
    return to


@kernel
def put_given(slots: Any, first: int, last: int, target: Any, to: int) -> int:
    """Write the bitmap of given columns before a patch's payload; returns its end, or -1: no room."""
    while last > first and slots[last - 1, 0] == ABSENT:
        last -= 1
    size = (last - first + 7) >> 3
    if to + 2 + size + _SPARE > len(target):
        return -1
    store8(target, to, size)
    store8(target, to + 1, size >> 8)
    for k in range(size):
        bits = 0
        for slot in range(first + 8 * k, min(first + 8 * k + 8, last)):
            if slots[slot, 0] != ABSENT:
                bits |= 1 << (slot - first - 8 * k)
        store8(target, to + 2 + k, bits)
    return to + 2 + size


@kernel
def end_row(
    buffer: Any,
    arena: Any,
    columns: Any,
    slots: Any,
    tables: Any,
    table: int,
    mark: int,
    where: int,
    registers: Any,
    rows: Any,
    row_keys: Any,
    row_values: Any,
) -> None:
    """Make a row of a child's slots; rows from ``mark`` on are its own children."""
    row = registers[R_ROWS]
    if row >= len(rows):
        registers[R_FULL] = FULL_ROWS
        return
    first, middle = tables[table, T_KEY], tables[table, T_VALUE]
    key = registers[R_ROW_KEYS]
    key_end = put_key(buffer, arena, columns, slots, first, middle, row_keys, key)
    if key_end < 0:
        if key_end == -1 - middle:
            registers[R_FULL] = FULL_OWN_KEYS if registers[R_NESTED] != 0 else FULL_ROW_KEYS
        elif key_end == -2 - middle:
            fail(registers, False, _KEY_TOO_LONG, columns[first, C_LABEL], where)
        else:
            fail(registers, False, _CHILD_KEY, columns[-1 - key_end, C_LABEL], where)
        return
    end = put_values(
        buffer, arena, columns, slots, middle, tables[table, T_END], row_values, registers[R_ROW_VALUES]
    )
    if end < 0:
        registers[R_FULL] = FULL_ROW_VALUES
        return
    rows[row, X_TABLE] = table
    rows[row, X_KEY] = key
    rows[row, X_KEY_END] = key_end
    rows[row, X_PARENT] = _NO_PARENT
    rows[row, X_VALUE_END] = end
    for below in range(mark, row):
        if rows[below, X_PARENT] == _NO_PARENT:
            rows[below, X_PARENT] = row
    registers[R_ROWS] = row + 1
    registers[R_ROW_KEYS] = key_end
    registers[R_ROW_VALUES] = end


@inlined
def start_row(tables: Any, table: int, position: int, slots: Any) -> None:
    """Empty a child's slots for the array's next element."""
    first = tables[table, T_KEY]
    for slot in range(first, tables[table, T_END]):
        slots[slot, 0] = ABSENT
    if tables[table, T_POSITION] != 0:
        slots[first, 0] = GIVEN
        slots[first, 1] = position


@kernel
def whole_keys(rows: Any, first: int, last: int, own: Any, whole: Any, target: Any, registers: Any) -> bool:
    """Put the keys of rows behind their parents': from ``own`` by way of ``whole`` to ``target``."""
    to = 0
    for row in range(last - 1, first - 1, -1):
        start, size = rows[row, X_KEY], rows[row, X_KEY_END] - rows[row, X_KEY]
        parent = rows[row, X_PARENT]
        before = rows[parent, X_KEY_END] - rows[parent, X_KEY] if parent >= 0 else 0
        if to + before + size + _SPARE > len(whole):
            registers[R_FULL] = FULL_WHOLE_KEYS
            return False
        if parent >= 0:
            copy(whole, rows[parent, X_KEY], before, whole, to)
        copy(own, start, size, whole, to + before)
        rows[row, X_KEY] = to
        to += before + size
        rows[row, X_KEY_END] = to
    end = registers[R_FINAL_KEYS]
    if end + to + _SPARE > len(target):
        registers[R_FULL] = FULL_ROW_KEYS
        return False
    for row in range(first, last):
        start, size = rows[row, X_KEY], rows[row, X_KEY_END] - rows[row, X_KEY]
        copy(whole, start, size, target, end)
        rows[row, X_KEY] = end
        end += size
        rows[row, X_KEY_END] = end
    registers[R_FINAL_KEYS] = end
    return True


@inlined
def _same(rows: Any, row: int, other: int, hashes: Any, keys: Any) -> bool:
    if hashes[row] != hashes[other] or rows[row, X_TABLE] != rows[other, X_TABLE]:
        return False
    start, size = rows[row, X_KEY], rows[row, X_KEY_END] - rows[row, X_KEY]
    other_start = rows[other, X_KEY]
    if rows[other, X_KEY_END] - other_start != size:
        return False
    for k in range(size):
        if load8(keys, start + k) != load8(keys, other_start + k):
            return False
    return True


@kernel
def equal_keys(
    rows: Any, first: int, last: int, keys: Any, hashes: Any, places: Any, registers: Any, seed: Any
) -> bool:
    """Hash the keys of rows; whether two in one table are equal, of which R_EQUAL is the later one."""
    for row in range(first, last):
        hashes[row] = hash_bytes(keys, rows[row, X_KEY], rows[row, X_KEY_END], seed)
    if last - first <= 8:
        for row in range(first, last):
            for other in range(first, row):
                if _same(rows, row, other, hashes, keys):
                    registers[R_EQUAL] = row
                    return True
        return False
    size = 32
    while size < 2 * (last - first):
        size *= 2
    if size > len(places):
        registers[R_FULL] = FULL_PLACES
        return False
    for place in range(size):
        places[place] = -1
    for row in range(first, last):
        place = signed(hashes[row]) & (size - 1)
        while places[place] >= 0:
            if _same(rows, row, places[place], hashes, keys):
                registers[R_EQUAL] = row
                return True
            place = (place + 1) & (size - 1)
        places[place] = row
    return False
