"""Scalars into slots: one value per column, in the column's type, until the row is complete.

A slot is (state, a, b): numbers and times in a, 128-bit values in a and b; texts as start a and length b in
the record's buffer, or start -1 - a in the arena if they had to be rewritten.
"""

from typing import Any

from pipeline.decode.encoded import decode_base64, parse_uuid
from pipeline.decode.layout import (
    ABSENT,
    C_FIRM,
    C_KIND,
    C_LABEL,
    C_LEAST,
    C_LEAST_HIGH,
    C_LOOSE,
    C_PRECISION,
    C_SCALE,
    C_TRUNCATE,
    GIVEN,
    KIND_BODY,
    KIND_OPERATION,
    KIND_SPAN,
    KIND_STAMP,
    KIND_VALID,
    R_ARENA,
    R_DATED,
    R_END,
    R_END_AT,
    R_FIRM,
    R_FIRM_AT,
    R_FIRM_LABEL,
    R_NEW,
    R_SOFT,
    R_SOFT_AT,
    R_SOFT_LABEL,
    R_UNIT,
    UNIT_NONE,
    UNIT_NS,
    VALID_TO,
    Code,
)
from pipeline.decode.machine import load8
from pipeline.decode.memory import inlined, kernel
from pipeline.decode.numeric import decimal, double, integer, scan_number, single
from pipeline.decode.text import unescape
from pipeline.decode.times import DAY_US, MAX_US, MIN_US, parse_date, parse_timestamp
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US, Kind

_UNKNOWN, _STRING, _BOOLEAN, _INT = int(Kind.UNKNOWN), int(Kind.STRING), int(Kind.BOOLEAN), int(Kind.INT)
_LONG, _FLOAT, _DOUBLE, _DECIMAL = int(Kind.LONG), int(Kind.FLOAT), int(Kind.DOUBLE), int(Kind.DECIMAL)
_DATE, _TIMESTAMP, _UUID = int(Kind.DATE), int(Kind.TIMESTAMP), int(Kind.UUID)
_BINARY, _JSON = int(Kind.BINARY), int(Kind.JSON)

_WRONG_TYPE, _OUT, _RANGE = int(Code.WRONG_TYPE), int(Code.OUT_OF_RANGE), int(Code.TIME_RANGE)
_NOT_OBJECT, _NO_UNIT, _FRACTION = int(Code.NOT_OBJECT), int(Code.NO_UNIT), int(Code.TIME_FRACTION)
_OPERATION, _BAD_UUID, _BAD_BASE64 = int(Code.OPERATION), int(Code.BAD_UUID), int(Code.BAD_BASE64)
_BAD_NUMBER, _BAD_DATE, _TIME_TEXT = int(Code.BAD_NUMBER), int(Code.BAD_DATE), int(Code.TIME_TEXT)
_FROM_END, _UNPARTITIONED = int(Code.VALID_FROM_END), int(Code.UNPARTITIONED)
_END_US, _END_DAY = END_OF_TIME_US, END_OF_TIME_DAY
_MAX, _MIN = 2**63 - 1, -(2**63)


@kernel
def fail(registers: Any, firm: bool, code: int, label: int, at: int) -> None:
    """Note the first thing wrong with a record that is valid JSON; firm: whatever its operation."""
    if firm:
        if registers[R_FIRM] == 0:
            registers[R_FIRM] = code
            registers[R_FIRM_LABEL] = label
            registers[R_FIRM_AT] = at
    elif registers[R_SOFT] == 0:
        registers[R_SOFT] = code
        registers[R_SOFT_LABEL] = label
        registers[R_SOFT_AT] = at


@kernel
def misfit(registers: Any, columns: Any, slot: int, code: int, at: int) -> None:
    """Note that a value does not fit its slot."""
    if slot == VALID_TO:
        registers[R_END] = code
        registers[R_END_AT] = at
        return
    fail(registers, columns[slot, C_FIRM] != 0, code, columns[slot, C_LABEL], at)


@inlined
def keep(slots: Any, slot: int, a: int, b: int) -> None:
    """Fill a slot."""
    slots[slot, 0] = GIVEN
    slots[slot, 1] = a
    slots[slot, 2] = b


@kernel
def valid_instant(micros: int, registers: Any) -> Any:
    """(code, valid time in the dataset's unit) of an instant; no end from 9999-12-31 on."""
    if micros < MIN_US:
        return _RANGE, 0
    if registers[R_DATED] != 0:
        return 0, min(micros // DAY_US, _END_DAY)
    return 0, min(micros, _END_US)


@kernel
def _from_unit(number: int, truncate: bool, registers: Any) -> Any:
    unit = registers[R_UNIT]
    if unit == UNIT_NONE:
        return _NO_UNIT, 0
    if unit == UNIT_NS:
        if number % 1000 != 0 and not truncate:
            return _FRACTION, 0
        return valid_instant(number // 1000, registers)
    factor = 1_000_000 if unit == 1 else 1000 if unit == 2 else 1
    if number > MAX_US // factor:
        return valid_instant(MAX_US, registers)
    if number < MIN_US // factor - 1:
        return _RANGE, 0
    return valid_instant(number * factor, registers)


@kernel
def _operation(text: Any, at: int, end: int) -> int:
    """The operation that a text names, or -1."""
    size = end - at
    if size < 3 or size > 9:
        return -1
    word = 0
    for k in range(min(size, 8)):
        word = (word << 8) | load8(text, at + k)
    if word == 0x707574 and size == 3:
        return 0
    if word == 0x7061746368 and size == 5:
        return 1
    if word == 0x64656C657465 and size == 6:
        return 2
    if word == 0x7465726D696E6174 and size == 9 and load8(text, end - 1) == 101:
        return 3
    if word == 0x72657472616374 and size == 7:
        return 4
    return -1


@kernel
def _time_text(text: Any, at: int, end: int, kind: int, truncate: bool, registers: Any) -> Any:
    if kind == _DATE:
        if end - at != 10:
            return _BAD_DATE, 0
        return parse_date(text, at, end)
    code, micros = parse_timestamp(text, at, end)
    if code != 0 and not (truncate and code == _FRACTION):
        return code, 0
    if kind == KIND_VALID:
        return valid_instant(micros, registers)
    if kind == KIND_STAMP and micros >= _END_US:
        return _FROM_END, 0
    return (_RANGE if micros < MIN_US or micros > MAX_US else 0), micros


@inlined
def _is_less(a: int, b: int, low: int, high: int) -> bool:
    """Whether one of two integers of 128 bits, given by their halves, is less than the other."""
    return b < high or (b == high and a ^ _MIN < low ^ _MIN)


@inlined
def _decimal(buffer: Any, at: int, end: int, number: Any, columns: Any, slot: int) -> Any:
    """(code, low half, high half) of a scanned number in a decimal's slot."""
    _, mantissa, exponent, digits, flags = number
    precision, scale = columns[slot, C_PRECISION], columns[slot, C_SCALE]
    code, a, b = decimal(buffer, at, end, mantissa, exponent, digits, flags, precision, scale)
    if code == 0 and _is_less(a, b, columns[slot, C_LEAST], columns[slot, C_LEAST_HIGH]):
        code = _UNPARTITIONED
    return code, a, b


@inlined
def _integer(buffer: Any, at: int, end: int, number: Any, columns: Any, slot: int) -> Any:
    """(code, value) of a scanned number in an integer's slot."""
    _, mantissa, exponent, _, flags = number
    code, a = integer(buffer, at, end, mantissa, exponent, flags)
    if code == 0 and columns[slot, C_KIND] == _INT and (a > 2**31 - 1 or a < -(2**31)):
        code = _OUT
    if code == 0 and a < columns[slot, C_LEAST]:
        code = _UNPARTITIONED
    return code, a


@kernel
def _decimal_text(text: Any, at: int, end: int, columns: Any, slot: int) -> Any:
    number = scan_number(text, at, end)
    if number[0] != end:
        return _BAD_NUMBER, 0, 0
    return _decimal(text, at, end, number, columns, slot)


@kernel
def keep_text(
    text: Any,
    at: int,
    end: int,
    where: int,
    escaped: int,
    slot: int,
    columns: Any,
    slots: Any,
    arena: Any,
    registers: Any,
) -> None:
    """Fill a slot from a string's bytes, ``text[at:end]``.

    Args:
        text, at, end: the bytes, without escapes; in the arena if ``escaped``.
        where: the string's position in the record, for the reason if it does not fit.
        escaped: 1 if ``text`` is the arena.
        slot, columns, slots, arena, registers: the decoder's.
    """
    kind = columns[slot, C_KIND]
    code, a, b = 0, 0, 0
    if kind == _STRING:
        a, b = (-1 - at if escaped == 1 else at), end - at
    elif kind in (_DATE, _TIMESTAMP, KIND_VALID, KIND_STAMP):
        code, a = _time_text(text, at, end, kind, columns[slot, C_TRUNCATE] != 0, registers)
    elif kind == _DECIMAL:
        code, a, b = _decimal_text(text, at, end, columns, slot)
    elif kind == KIND_OPERATION:
        a = _operation(text, at, end)
        code = _OPERATION if a < 0 else 0
    elif kind == _UUID:
        fits, a, b = parse_uuid(text, at, end)
        code = 0 if fits else _BAD_UUID
    elif kind == _BINARY:
        to = registers[R_ARENA]
        after = decode_base64(text, at, end, arena, to)
        if after < 0:
            code = _BAD_BASE64
        else:
            registers[R_ARENA] = after
            a, b = -1 - to, after - to
    elif kind == _UNKNOWN:
        registers[R_NEW] = 1
        return
    else:
        code = _NOT_OBJECT if kind == KIND_BODY else _WRONG_TYPE
    if code != 0:
        misfit(registers, columns, slot, code, where)
    else:
        keep(slots, slot, a, b)


@kernel
def keep_escaped(
    buffer: Any, at: int, end: int, slot: int, columns: Any, slots: Any, arena: Any, registers: Any
) -> None:
    """Fill a slot from a string with escapes."""
    to = registers[R_ARENA]
    after = unescape(buffer, at, end, arena, to)
    registers[R_ARENA] = after
    keep_text(arena, to, after, at, 1, slot, columns, slots, arena, registers)


@inlined
def keep_number(
    buffer: Any, at: int, end: int, number: Any, slot: int, columns: Any, slots: Any, registers: Any
) -> None:
    """Fill a slot from a scanned number, ``buffer[at:end]``."""
    kind = columns[slot, C_KIND]
    _, mantissa, exponent, digits, flags = number
    code, a, b = 0, 0, 0
    if kind in (_LONG, _INT, KIND_VALID):
        code, a = _integer(buffer, at, end, number, columns, slot)
        if kind == KIND_VALID:
            if code == _OUT and mantissa != 0 and flags & 1 == 0 and registers[R_UNIT] != UNIT_NS:
                code, a = 0, _MAX
            if code == 0:
                code, a = _from_unit(a, columns[slot, C_TRUNCATE] != 0, registers)
    elif kind == _DECIMAL:
        code, a, b = _decimal(buffer, at, end, number, columns, slot)
    elif kind == _DOUBLE:
        code, a = double(buffer, at, end, mantissa, exponent, digits, flags, registers)
    elif kind == _FLOAT:
        code, a = single(buffer, at, end, mantissa, exponent, digits, flags, registers)
    elif kind == _STRING and columns[slot, C_LOOSE] != 0:
        a, b = at, end - at
    elif kind == _UNKNOWN:
        registers[R_NEW] = 1
        return
    else:
        code = _NOT_OBJECT if kind == KIND_BODY else _WRONG_TYPE
    if code != 0:
        misfit(registers, columns, slot, code, at)
    else:
        keep(slots, slot, a, b)


@kernel
def keep_boolean(at: int, end: int, slot: int, columns: Any, slots: Any, registers: Any) -> None:
    """Fill a slot from ``true`` or ``false``."""
    kind = columns[slot, C_KIND]
    if kind == _BOOLEAN:
        keep(slots, slot, 1 if end - at == 4 else 0, 0)
    elif kind == _STRING and columns[slot, C_LOOSE] != 0:
        keep(slots, slot, at, end - at)
    elif kind == _UNKNOWN:
        registers[R_NEW] = 1
    else:
        misfit(registers, columns, slot, _NOT_OBJECT if kind == KIND_BODY else _WRONG_TYPE, at)


@kernel
def keep_span(buffer: Any, at: int, end: int, slot: int, columns: Any, slots: Any, registers: Any) -> None:
    """Fill a slot from an object or an array, ``buffer[at:end]``."""
    kind = columns[slot, C_KIND]
    array = load8(buffer, at) == 91
    whole = kind == KIND_SPAN or (kind == _JSON and (array or columns[slot, C_LOOSE] == 0))
    if whole or (kind == KIND_BODY and not array):
        keep(slots, slot, at, end - at)
    elif kind == _UNKNOWN:
        registers[R_NEW] = 1
    else:
        misfit(registers, columns, slot, _NOT_OBJECT if kind == KIND_BODY else _WRONG_TYPE, at)


@inlined
def is_text(kind: int) -> bool:
    """Whether a slot of this kind takes any scalar's JSON text, as it stands."""
    return kind in (_JSON, KIND_SPAN)


@inlined
def is_absent(slots: Any, slot: int) -> bool:
    """Whether nothing was read for a slot, not even null."""
    return slots[slot, 0] == ABSENT
