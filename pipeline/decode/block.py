"""A block of records to arrays: the decoder's kernel."""

from typing import Any

import numpy as np

from pipeline.decode.hashing import hash_bytes
from pipeline.decode.layout import (
    ABSENT,
    BODY,
    C_KIND,
    C_LABEL,
    DELETE,
    DONE,
    ENVELOPE_KEY,
    FULL_KEYS,
    FULL_NONE,
    FULL_VALUES,
    GIVEN,
    NONE_GIVEN,
    NULL,
    OPERATION,
    PATCH,
    R_ARENA,
    R_AT,
    R_CODE,
    R_DATED,
    R_END,
    R_END_AT,
    R_ENVELOPE,
    R_FIRM,
    R_FIRM_AT,
    R_FIRM_LABEL,
    R_FULL,
    R_KEY_ENTRY,
    R_KEYS,
    R_LABEL,
    R_MARKS,
    R_MASK,
    R_NESTED,
    R_NEW,
    R_NEXT,
    R_ROOT,
    R_ROW_KEYS,
    R_ROW_VALUES,
    R_ROWS,
    R_SOFT,
    R_SOFT_AT,
    R_SOFT_LABEL,
    R_VALUES,
    STAMP,
    STOP_FULL,
    STOP_NEW,
    T_END,
    T_KEY,
    T_VALUE,
    TERMINATE,
    VALID_FROM,
    VALID_TO,
    Code,
)
from pipeline.decode.memory import entry_point, inlined, kernel, peek, signed
from pipeline.decode.rows import equal_keys, put_given, put_key, put_values, whole_keys
from pipeline.decode.scan import scan_record
from pipeline.decode.slots import keep, keep_text, valid_instant
from pipeline.decode.structures import Output, Plan, Scratch
from pipeline.decode.text import is_utf8, skip_space
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US, Kind

_EMPTY, _BOM, _NULL_RECORD = int(Code.EMPTY), int(Code.BOM), int(Code.NULL_RECORD)
_NOT_OBJECT, _TRAILING, _NO_VALUE = int(Code.NOT_OBJECT), int(Code.TRAILING), int(Code.NO_VALUE)
_NOT_JSON, _TRUNCATED, _CONTROL = int(Code.NOT_JSON), int(Code.TRUNCATED), int(Code.CONTROL)
_NO_TIMESTAMP, _TIME_MISSING = int(Code.NO_TIMESTAMP), int(Code.TIME_MISSING)
_FROM_END, _EMPTY_RANGE = int(Code.VALID_FROM_END), int(Code.EMPTY_RANGE)
_KEY_MISSING, _KEY_TOO_LONG, _KEY_EQUAL = (
    int(Code.KEY_MISSING),
    int(Code.KEY_TOO_LONG),
    int(Code.CHILD_KEY_EQUAL),
)
_BAD_UTF8 = int(Code.BAD_UTF8)
_STRING, _BINARY = int(Kind.STRING), int(Kind.BINARY)
_END_US, _END_DAY = END_OF_TIME_US, END_OF_TIME_DAY
_ALL, _NO_BITS = np.uint64(2**64 - 1), np.uint64(0)


@kernel
def _head(buffer: Any, at: int, end: int, registers: Any) -> int:
    """A reason why a line can't be a record, seen at its first byte, or 0."""
    mark = peek(buffer, at, end)
    registers[R_AT] = at
    if at == end:
        return _EMPTY
    if mark == 0xEF and peek(buffer, at + 1, end) == 0xBB and peek(buffer, at + 2, end) == 0xBF:
        return _BOM
    return 0


@kernel
def _not_object(mark: int) -> int:
    if mark == 110:
        return _NULL_RECORD
    return 0 if mark == 123 else _NOT_OBJECT


@kernel
def _fault(code: int, label: int, at: int, registers: Any) -> int:
    registers[R_LABEL] = label
    registers[R_AT] = at
    return code


@kernel
def _times(operation: int, slots: Any, registers: Any, i: int, valid_from: Any, valid_to: Any) -> int:
    """The valid range of record i; returns a code."""
    if slots[VALID_FROM, 0] != GIVEN:
        return _fault(_TIME_MISSING, VALID_FROM, -1, registers)
    start = slots[VALID_FROM, 1]
    if start >= (_END_DAY if registers[R_DATED] != 0 else _END_US):
        return _fault(_FROM_END, VALID_FROM, -1, registers)
    end = NONE_GIVEN
    if operation <= DELETE and registers[R_END] != 0:
        return _fault(registers[R_END], VALID_TO, registers[R_END_AT], registers)
    if operation <= DELETE and slots[VALID_TO, 0] == GIVEN:
        end = slots[VALID_TO, 1]
        if end <= start:
            return _fault(_EMPTY_RANGE, VALID_TO, -1, registers)
    valid_from[i] = start
    valid_to[i] = end
    return 0


@kernel
def _key(
    buffer: Any,
    i: int,
    tables: Any,
    columns: Any,
    slots: Any,
    arena: Any,
    registers: Any,
    keys: Any,
    key_hash: Any,
    seed: Any,
) -> int:
    """The key of record i; returns a code."""
    first, last = signed(tables[0, T_KEY]), signed(tables[0, T_VALUE])
    start = registers[R_KEYS]
    end = put_key(buffer, arena, columns, slots, first, last, keys, start)
    if end >= 0:
        registers[R_KEYS] = end
        key_hash[i] = hash_bytes(keys, start, end, seed)
        return 0
    if end == -1 - last:
        registers[R_FULL] = FULL_KEYS
        return 0
    if end == -2 - last:
        return _fault(_KEY_TOO_LONG, columns[first, C_LABEL], -1, registers)
    return _fault(_KEY_MISSING, columns[-1 - end, C_LABEL], -1, registers)


@kernel
def _values(
    buffer: Any,
    operation: int,
    tables: Any,
    columns: Any,
    slots: Any,
    arena: Any,
    registers: Any,
    values: Any,
) -> None:
    first, last = signed(tables[0, T_VALUE]), signed(tables[0, T_END])
    to = registers[R_VALUES]
    if operation == PATCH:
        to = put_given(slots, first, last, values, to)
    if to >= 0:
        to = put_values(buffer, arena, columns, slots, first, last, values, to)
    if to < 0:
        registers[R_FULL] = FULL_VALUES
    else:
        registers[R_VALUES] = to


@kernel
def _children(
    first: int,
    registers: Any,
    rows: Any,
    own: Any,
    whole: Any,
    keys: Any,
    hashes: Any,
    places: Any,
    seed: Any,
) -> int:
    last = registers[R_ROWS]
    if registers[R_NESTED] != 0 and not whole_keys(rows, first, last, own, whole, keys, registers):
        return 0
    if equal_keys(rows, first, last, keys, hashes, places, registers, seed):
        return _fault(_KEY_EQUAL, -1, -1, registers)
    return 0


@kernel
def _envelope(slots: Any, registers: Any) -> int:
    """What an envelope lacks, as a code."""
    if registers[R_FIRM] != 0:
        return 0
    if slots[STAMP, 0] != GIVEN:
        return _fault(_NO_TIMESTAMP, STAMP, -1, registers)
    if slots[BODY, 0] == ABSENT:
        return _fault(_NO_VALUE, -1, -1, registers)
    return 0


@inlined
def _clear(slots: Any, last: int, registers: Any) -> None:
    for slot in range(last):
        slots[slot, 0] = ABSENT
    registers[R_ARENA] = 0
    registers[R_FIRM] = 0
    registers[R_SOFT] = 0
    registers[R_END] = 0
    registers[R_NEW] = 0
    registers[R_FULL] = 0
    registers[R_MASK] = 0
    registers[R_LABEL] = -1


@inlined
def _begin(slots: Any, i: int, starts: Any, stamps: Any) -> bool:
    """Whether record i is a message without a value; its timestamp, if the messages' are given."""
    if len(stamps) > 0:
        keep(slots, STAMP, stamps[i], 0)
    return starts[i] < 0


@kernel
def _next_span(mark: int, slots: Any, registers: Any) -> Any:
    """After a line: (code, whether it is a tombstone, and where its key is, or -1)."""
    code = _not_object(mark)
    if code != 0 or registers[R_ENVELOPE] == 0:
        return code, False, -1, -1
    code = _envelope(slots, registers)
    tombstone = code == 0 and slots[BODY, 0] == NULL
    if not tombstone or slots[ENVELOPE_KEY, 0] != GIVEN:
        return code, tombstone, -1, -1
    at = slots[ENVELOPE_KEY, 1]
    return code, True, at, at + slots[ENVELOPE_KEY, 2]


@kernel
def _firm(code: int, registers: Any) -> int:
    if code == 0 and registers[R_FIRM] != 0:
        return _fault(registers[R_FIRM], registers[R_FIRM_LABEL], registers[R_FIRM_AT], registers)
    return code


@kernel
def _soft(code: int, operation: int, registers: Any) -> int:
    if code == 0 and operation <= PATCH and registers[R_SOFT] != 0:
        return _fault(registers[R_SOFT], registers[R_SOFT_LABEL], registers[R_SOFT_AT], registers)
    return code


@kernel
def _raw_key(
    code: int,
    buffer: Any,
    at: int,
    end: int,
    tables: Any,
    columns: Any,
    slots: Any,
    arena: Any,
    registers: Any,
) -> int:
    """A message's key that is not JSON (``code``), taken as a text where the key is one column."""
    broken = code in (_EMPTY, _BOM, _NOT_JSON, _TRUNCATED, _CONTROL, _TRAILING)
    first = signed(tables[0, T_KEY])
    if not broken or tables[0, T_VALUE] != first + 1 or not is_utf8(buffer, at, end):
        return code
    registers[R_FIRM] = 0
    keep_text(buffer, at, end, at, 0, first, columns, slots, arena, registers)
    return 0


@kernel
def _is_text_key(buffer: Any, at: int, end: int, tables: Any, columns: Any) -> bool:
    """Whether a message's key is a text as it stands: for one column of text, unless it is "..." or {...}."""
    first = signed(tables[0, T_KEY])
    kind = columns[first, C_KIND]
    if tables[0, T_VALUE] != first + 1 or (kind != _STRING and kind != _BINARY):
        return False
    mark = peek(buffer, skip_space(buffer, at, end), end)
    return mark != 34 and mark != 123


@kernel
def _text_key(
    buffer: Any, at: int, end: int, tables: Any, columns: Any, slots: Any, arena: Any, registers: Any
) -> int:
    if not is_utf8(buffer, at, end):
        return _fault(_BAD_UTF8, -1, -1, registers)
    keep_text(buffer, at, end, at, 0, signed(tables[0, T_KEY]), columns, slots, arena, registers)
    return 0


@kernel
def _operation(tombstone: bool, slots: Any, registers: Any) -> int:
    if not tombstone:
        return slots[OPERATION, 1] if slots[OPERATION, 0] == GIVEN else 0
    _, instant = valid_instant(slots[STAMP, 1], registers)
    keep(slots, VALID_FROM, instant, 0)
    return TERMINATE


@kernel
def _given(operation: int, registers: Any) -> Any:
    if operation == PATCH:
        return np.uint64(registers[R_MASK])
    return _ALL if operation < PATCH else _NO_BITS


@inlined
def _mark(registers: Any, marks: Any) -> None:
    """Remember how full the outputs are."""
    for k in range(R_MARKS):
        marks[k] = registers[R_ROWS + k]


@inlined
def _roll_back(registers: Any, marks: Any) -> None:
    """Take back what a record left in the outputs."""
    for k in range(R_MARKS):
        registers[R_ROWS + k] = marks[k]


@entry_point
def decode_block(  # noqa: C901 - the walk of one record must be taken in whole here, for speed
    buffer: Any,
    starts: Any,
    ends: Any,
    key_starts: Any,
    key_ends: Any,
    stamps: Any,
    first: int,
    plan: Plan,
    scratch: Scratch,
    registers: Any,
    out: Output,
    seed: Any,
) -> int:
    """Decode records from ``first`` on; R_NEXT tells the record at which it stopped.

    Returns:
        DONE; or STOP_FULL: an output (R_FULL) is too small; or STOP_NEW: a record has new fields.
    """
    entries, words, lookup, follow, actions, nodes, below, tables, columns = plan
    slots, arena, frames, seen, stack, own_keys, whole, places, marks = scratch
    rows, hashes = out.rows, out.row_hash
    nested = registers[R_NESTED] != 0
    row_keys = own_keys if nested else out.row_keys
    for i in range(first, len(starts)):
        registers[R_NEXT] = i
        _mark(registers, marks)
        _clear(slots, signed(tables[0, T_END]), registers)
        code = 0
        at, end, root = starts[i], ends[i], registers[R_ROOT]
        tombstone = _begin(slots, i, starts, stamps)
        if tombstone:
            at, end, root = key_starts[i], key_ends[i], registers[R_KEY_ENTRY]
            if at >= 0 and _is_text_key(buffer, at, end, tables, columns):
                code = _text_key(buffer, at, end, tables, columns, slots, arena, registers)
                at = -1
        while at >= 0:
            at = skip_space(buffer, at, end)
            mark = peek(buffer, at, end)
            code = _head(buffer, at, end, registers)
            if code != 0:
                break
            after = scan_record(
                buffer,
                at,
                end,
                root,
                entries,
                words,
                lookup,
                follow,
                actions,
                nodes,
                below,
                tables,
                columns,
                slots,
                arena,
                frames,
                seen,
                stack,
                registers,
                rows,
                row_keys,
                out.row_values,
                seed,
            )
            if after < 0:
                code = registers[R_CODE]
            else:
                after = skip_space(buffer, after, end)
                if after != end:
                    code = _fault(_TRAILING, -1, after, registers)
            if code != 0 and not tombstone and len(stamps) == 0:
                slots[STAMP, 0] = ABSENT
            if code != 0 or tombstone:
                break
            code, tombstone, at, end = _next_span(mark, slots, registers)
            root = registers[R_KEY_ENTRY]
        if code != 0 and starts[i] < 0:
            code = _raw_key(
                code, buffer, key_starts[i], key_ends[i], tables, columns, slots, arena, registers
            )
        out.timestamp[i] = slots[STAMP, 1] if slots[STAMP, 0] == GIVEN else NONE_GIVEN
        operation = _operation(tombstone, slots, registers)
        code = _firm(code, registers)
        if code == 0:
            code = _times(operation, slots, registers, i, out.valid_from, out.valid_to)
        if code == 0:
            code = _key(buffer, i, tables, columns, slots, arena, registers, out.keys, out.key_hash, seed)
        code = _soft(code, operation, registers)
        full = code == 0 and operation <= PATCH
        if full and registers[R_FULL] == 0:
            if registers[R_ROWS] > marks[0]:
                code = _children(
                    marks[0], registers, rows, own_keys, whole, out.row_keys, hashes, places, seed
                )
            if code == 0:
                if registers[R_NEW] != 0:
                    registers[R_FULL] = FULL_NONE
                _values(buffer, operation, tables, columns, slots, arena, registers, out.values)
        if registers[R_FULL] != 0:
            _roll_back(registers, marks)
            return STOP_FULL if registers[R_FULL] > 0 else STOP_NEW
        if code != 0:
            _roll_back(registers, marks)
            out.error_column[i] = registers[R_LABEL]
            begin = starts[i] if starts[i] >= 0 else key_starts[i]
            out.error_at[i] = registers[R_AT] - begin if registers[R_AT] >= 0 else -1
        elif not full:
            for k in range(R_ROWS, R_ROW_VALUES + 1):
                registers[k] = marks[k - R_ROWS]
        if nested:
            registers[R_ROW_KEYS] = 0
        out.status[i] = code
        out.operation[i] = operation
        out.tombstone[i] = tombstone
        out.given[i] = _given(operation, registers)
        out.key_start[i + 1] = registers[R_KEYS]
        out.value_start[i + 1] = registers[R_VALUES]
        out.child_first[i + 1] = registers[R_ROWS]
    registers[R_NEXT] = len(starts)
    return DONE
