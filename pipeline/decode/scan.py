"""One record's JSON, walked once along the dataset's paths."""

from typing import Any

from pipeline.decode.layout import (
    C_KIND,
    C_LABEL,
    C_LOOSE,
    E_ACTION,
    E_ACTIONS,
    E_NODE,
    E_REFUSED,
    E_TABLE,
    F_ENTRY,
    F_INDEX,
    F_KIND,
    F_LAST,
    F_NODE,
    F_ROW,
    F_STAMP,
    F_START,
    N_BELOW,
    N_BELOWS,
    N_HEAD,
    N_MASK,
    N_OPEN,
    NEW_DEAD_LETTER,
    NEW_EVOLVE,
    NULL,
    R_CLOCK,
    R_CONTENT,
    R_KEY_ENTRY,
    R_MASK,
    R_MAX_DEPTH,
    R_NEW,
    R_ON_NEW,
    R_ROWS,
    T_BARE,
    T_ELEMENT,
    T_MASK,
    T_POSITION,
    Code,
)
from pipeline.decode.machine import load8
from pipeline.decode.memory import inlined, kernel, peek, spliced
from pipeline.decode.names import read_name
from pipeline.decode.numeric import scan_number
from pipeline.decode.rows import end_row, start_row
from pipeline.decode.skip import scan_literal, skip_value, unexpected
from pipeline.decode.slots import (
    fail,
    is_absent,
    is_text,
    keep,
    keep_boolean,
    keep_escaped,
    keep_number,
    keep_span,
    keep_text,
    misfit,
)
from pipeline.decode.text import broken, scan_text, skip_space
from pipeline.schema import Kind

_STRING = int(Kind.STRING)
_WRONG_TYPE, _TOO_DEEP, _DUPLICATE = int(Code.WRONG_TYPE), int(Code.TOO_DEEP), int(Code.DUPLICATE)
_NULL_ELEMENT, _UNKNOWN_FIELD = int(Code.NULL_ELEMENT), int(Code.UNKNOWN_FIELD)

_TOP, _OBJECT, _ARRAY = 0, 123, 91


@kernel
def _null(
    entry: int, entries: Any, actions: Any, nodes: Any, below: Any, tables: Any, slots: Any, registers: Any
) -> None:
    """A null: for its columns, for all below it where an object is known, for an array's children."""
    first = entries[entry, E_ACTION]
    for k in range(first, first + entries[entry, E_ACTIONS]):
        slots[actions[k], 0] = NULL
    node, table = entries[entry, E_NODE], entries[entry, E_TABLE]
    if node >= 0:
        start = nodes[node, N_BELOW]
        for k in range(start, start + nodes[node, N_BELOWS]):
            if is_absent(slots, below[k]):
                slots[below[k], 0] = NULL
        registers[R_MASK] |= nodes[node, N_MASK]
    if table >= 0:
        registers[R_MASK] |= tables[table, T_MASK]


@kernel
def _new_field(at: int, registers: Any) -> None:
    """A value with content that no column takes."""
    if registers[R_ON_NEW] == NEW_EVOLVE:
        registers[R_NEW] = 1
    elif registers[R_ON_NEW] == NEW_DEAD_LETTER:
        fail(registers, False, _UNKNOWN_FIELD, -1, at)


@kernel
def _keep_json(
    buffer: Any,
    at: int,
    end: int,
    entry: int,
    entries: Any,
    actions: Any,
    columns: Any,
    slots: Any,
    registers: Any,
) -> None:
    """An object or array, complete, for the columns that want it as it stands."""
    first = entries[entry, E_ACTION]
    for k in range(first, first + entries[entry, E_ACTIONS]):
        keep_span(buffer, at, end, actions[k], columns, slots, registers)


@inlined
def _scalar(  # noqa: C901 - a case per kind of scalar
    buffer: Any,
    at: int,
    end: int,
    first: int,
    count: int,
    actions: Any,
    columns: Any,
    slots: Any,
    arena: Any,
    registers: Any,
) -> int:
    """A string, number, true or false for ``count`` columns; returns the position behind it or -1."""
    mark = load8(buffer, at)
    if mark == 34:
        packed = scan_text(buffer, at + 1, end, registers)
        if packed < 0:
            return -1
        after = packed >> 1
        for k in range(first, first + count):
            slot = actions[k]
            kind = columns[slot, C_KIND]
            if is_text(kind):
                _json_scalar(at, after, slot, columns, slots, registers)
            elif packed & 1:
                keep_escaped(buffer, at + 1, after - 1, slot, columns, slots, arena, registers)
            elif kind == _STRING:
                keep(slots, slot, at + 1, after - at - 2)
            else:
                keep_text(buffer, at + 1, after - 1, at, 0, slot, columns, slots, arena, registers)
        return after
    if mark == 45 or (mark >= 48 and mark <= 57):
        number = scan_number(buffer, at, end)
        after = number[0]
        if after < 0:
            return unexpected(-1 - after, end, registers)
        for k in range(first, first + count):
            slot = actions[k]
            if is_text(columns[slot, C_KIND]):
                _json_scalar(at, after, slot, columns, slots, registers)
            else:
                keep_number(buffer, at, after, number, slot, columns, slots, registers)
        return after
    after = scan_literal(buffer, at, end, registers)
    for k in range(first, first + count):
        if after < 0:
            break
        if is_text(columns[actions[k], C_KIND]):
            _json_scalar(at, after, actions[k], columns, slots, registers)
        else:
            keep_boolean(at, after, actions[k], columns, slots, registers)
    return after


@kernel
def _json_scalar(at: int, end: int, slot: int, columns: Any, slots: Any, registers: Any) -> None:
    if columns[slot, C_LOOSE] != 0:
        misfit(registers, columns, slot, _WRONG_TYPE, at)
    else:
        keep(slots, slot, at, end - at)


@inlined
def _leaf(
    buffer: Any,
    at: int,
    end: int,
    entry: int,
    known: bool,
    bare: bool,
    depth: int,
    entries: Any,
    actions: Any,
    nodes: Any,
    below: Any,
    tables: Any,
    columns: Any,
    slots: Any,
    arena: Any,
    stack: Any,
    registers: Any,
) -> int:
    """A value that is not walked into; returns the position behind it or -1."""
    mark = peek(buffer, at, end)
    if mark == 110:
        after = scan_literal(buffer, at, end, registers)
        if after >= 0 and entry >= 0:
            _null(entry, entries, actions, nodes, below, tables, slots, registers)
        return after
    if entry < 0 or entries[entry, E_REFUSED] != 0:
        after = skip_value(buffer, at, end, depth, stack, registers)
        if after >= 0 and known and registers[R_CONTENT] != 0:
            if entry >= 0:
                fail(registers, False, entries[entry, E_REFUSED], -1, at)
            else:
                _new_field(at, registers)
        return after
    first, count = entries[entry, E_ACTION], entries[entry, E_ACTIONS]
    if mark == 123 or mark == 91:
        after = skip_value(buffer, at, end, depth, stack, registers)
        if after >= 0:
            _keep_json(buffer, at, after, entry, entries, actions, columns, slots, registers)
    elif mark == 34 or mark == 45 or (mark >= 48 and mark <= 57) or mark == 116 or mark == 102:
        after = _scalar(buffer, at, end, first, count, actions, columns, slots, arena, registers)
    else:
        return unexpected(at, end, registers)
    if after >= 0:
        if bare:
            registers[R_NEW] = 1
        elif (entries[entry, E_NODE] >= 0 or entries[entry, E_TABLE] >= 0) and not (
            count > 0
            and is_text(columns[actions[first], C_KIND])
            and (mark == 91 or columns[actions[first], C_LOOSE] == 0)
        ):
            fail(registers, False, _WRONG_TYPE, columns[actions[first], C_LABEL] if count > 0 else -1, at)
    return after


@spliced
def scan_record(  # noqa: C901 - one loop instead of recursion: depth is the input's choice
    buffer: Any,
    at: int,
    end: int,
    root: int,
    entries: Any,
    words: Any,
    lookup: Any,
    follow: Any,
    actions: Any,
    nodes: Any,
    below: Any,
    tables: Any,
    columns: Any,
    slots: Any,
    arena: Any,
    frames: Any,
    seen: Any,
    stack: Any,
    registers: Any,
    rows: Any,
    row_keys: Any,
    row_values: Any,
    seed: Any,
) -> int:
    """Walk the value at ``at`` along the entry ``root``; returns the position behind it, or -1: not JSON."""
    depth = 0
    entry = root
    kind, node, stamp, last, index = _TOP, -1, 0, -1, 0
    while True:
        mark = peek(buffer, at, end)
        fresh = False
        if entry >= 0 and mark == _OBJECT and entries[entry, E_NODE] >= 0:
            inside = entries[entry, E_NODE]
            fresh = True
        elif entry >= 0 and mark == _ARRAY and entries[entry, E_TABLE] >= 0:
            inside = entries[entry, E_TABLE]
            registers[R_MASK] |= tables[inside, T_MASK]
            fresh = True
        if fresh:
            if depth >= registers[R_MAX_DEPTH]:
                return broken(registers, _TOO_DEEP, at)
            frames[depth, F_KIND] = kind
            frames[depth, F_NODE] = node
            frames[depth, F_STAMP] = stamp
            frames[depth, F_LAST] = last
            frames[depth, F_INDEX] = index
            frames[depth, F_ENTRY] = entry
            frames[depth, F_START] = at
            depth += 1
            kind, node, index = mark, inside, 0
            registers[R_CLOCK] += 1
            stamp = registers[R_CLOCK]
            if kind == _OBJECT:
                last = nodes[node, N_HEAD]
            at += 1
        else:
            known = kind != _OBJECT or nodes[node, N_OPEN] != 0
            bare = kind == _ARRAY and tables[node, T_BARE] != 0 and mark != 123
            after = _leaf(
                buffer,
                at,
                end,
                entry,
                known,
                bare,
                depth,
                entries,
                actions,
                nodes,
                below,
                tables,
                columns,
                slots,
                arena,
                stack,
                registers,
            )
            if after < 0:
                return -1
            if kind == _ARRAY and mark == 110 and tables[node, T_POSITION] == 0:
                fail(registers, False, _NULL_ELEMENT, -1, at)
            at = after
        while True:
            if depth == 0:
                return at
            at = skip_space(buffer, at, end)
            if not fresh and kind == _ARRAY:
                end_row(
                    buffer,
                    arena,
                    columns,
                    slots,
                    tables,
                    node,
                    frames[depth, F_ROW],
                    at,
                    registers,
                    rows,
                    row_keys,
                    row_values,
                )
                index += 1
            mark = peek(buffer, at, end)
            if mark == kind + 2:
                at += 1
                fresh = False
                depth -= 1
                entry = frames[depth, F_ENTRY]
                kind, node = frames[depth, F_KIND], frames[depth, F_NODE]
                stamp, last, index = frames[depth, F_STAMP], frames[depth, F_LAST], frames[depth, F_INDEX]
                if entries[entry, E_ACTIONS] > 0 and entry != registers[R_KEY_ENTRY]:
                    start = frames[depth, F_START]
                    _keep_json(buffer, start, at, entry, entries, actions, columns, slots, registers)
                continue
            if not fresh:
                if mark != 44:
                    return unexpected(at, end, registers)
                at = skip_space(buffer, at + 1, end)
            if kind == _ARRAY:
                start_row(tables, node, index, slots)
                frames[depth, F_ROW] = registers[R_ROWS]
                entry = tables[node, T_ELEMENT]
                break
            if peek(buffer, at, end) != 34:
                return unexpected(at, end, registers)
            entry, after = read_name(
                buffer,
                at + 1,
                end,
                node,
                last,
                entries,
                words,
                lookup,
                follow,
                arena,
                registers,
                seed,
            )
            if after < 0:
                return -1
            if entry >= 0:
                if seen[entry] == stamp and entries[entry, E_REFUSED] == 0:
                    first = entries[entry, E_ACTION]
                    label = columns[actions[first], C_LABEL] if entries[entry, E_ACTIONS] > 0 else -1
                    fail(registers, True, _DUPLICATE, label, at)
                seen[entry] = stamp
                last = entry
            at = skip_space(buffer, after, end)
            if peek(buffer, at, end) != 58:
                return unexpected(at, end, registers)
            at = skip_space(buffer, at + 1, end)
            break
