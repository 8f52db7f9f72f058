"""JSON strings: finding their end, checking every byte, undoing escapes."""

from typing import Any

import numpy as np

from pipeline.decode.layout import R_AT, R_CODE, Code
from pipeline.decode.machine import load8, load64, store8, trailing_zeros
from pipeline.decode.memory import inlined, kernel, peek

_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _SLASHES = np.uint64(0x2222222222222222), np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_NONE = np.uint64(0)

_NOT_JSON, _TRUNCATED, _BAD_UTF8 = int(Code.NOT_JSON), int(Code.TRUNCATED), int(Code.BAD_UTF8)
_LONE, _CONTROL = int(Code.LONE_SURROGATE), int(Code.CONTROL)


@inlined
def broken(registers: Any, code: int, at: int) -> int:
    """Note that the record is not JSON here; -1 for the caller to return."""
    registers[R_CODE] = code
    registers[R_AT] = at
    return -1


@inlined
def skip_space(buffer: Any, at: int, end: int) -> int:
    """The first position from ``at`` that is not JSON white space."""
    while at < end:
        byte = load8(buffer, at)
        if byte > 32 or not (byte == 32 or byte == 10 or byte == 13 or byte == 9):
            break
        at += 1
    return at


@inlined
def scan_text(buffer: Any, at: int, end: int, registers: Any) -> int:
    """Check a string from behind its opening quote.

    Returns:
        Twice the position behind the closing quote, plus 1 if there are escapes; -1 if it is broken.
    """
    escaped = 0
    while True:
        while at + 8 <= end:
            word = load64(buffer, at)
            quote = word ^ _QUOTES
            slash = word ^ _SLASHES
            odd = ((quote - _ONES) & ~quote) | ((slash - _ONES) & ~slash) | ((word - _SPACES) & ~word) | word
            odd = odd & _HIGH
            if odd != _NONE:
                at += trailing_zeros(odd) >> 3
                break
            at += 8
        if at >= end:
            return broken(registers, _TRUNCATED, at)
        byte = load8(buffer, at)
        if byte == 34:
            return (at + 1) * 2 + escaped
        if byte >= 32 and byte < 128 and byte != 92:
            at += 1
            continue
        if byte == 92:
            escaped = 1
        at = _scan_odd(buffer, at, end, registers)
        if at < 0:
            return -1


@kernel
def _scan_odd(buffer: Any, at: int, end: int, registers: Any) -> int:
    """Check an escape, a control character, or as many characters beyond ASCII as follow."""
    byte = load8(buffer, at)
    if byte < 32:
        return broken(registers, _CONTROL, at)
    if byte == 92:
        return _scan_escape(buffer, at, end, registers)
    while byte >= 128:
        size = _character(buffer, at, end)
        if size == 0:
            return broken(registers, _BAD_UTF8, at)
        at += size
        byte = peek(buffer, at, end)
    return at


@inlined
def _tail(buffer: Any, at: int, end: int) -> bool:
    return at < end and load8(buffer, at) & 0xC0 == 0x80


@kernel
def _character(buffer: Any, at: int, end: int) -> int:
    """The length of the UTF-8 character beyond ASCII at ``at``; 0 if it is not one (RFC 3629)."""
    first = load8(buffer, at)
    second = peek(buffer, at + 1, end)
    if second & 0xC0 != 0x80:
        return 0
    if first < 0xE0:
        return 2 if first >= 0xC2 else 0
    if not _tail(buffer, at + 2, end):
        return 0
    if first < 0xF0:
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
            return 0
        return 3
    if not _tail(buffer, at + 3, end) or first > 0xF4:
        return 0
    if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return 0
    return 4


@kernel
def is_utf8(buffer: Any, at: int, end: int) -> bool:
    """Whether bytes are UTF-8."""
    while at < end:
        size = _character(buffer, at, end) if load8(buffer, at) >= 128 else 1
        if size == 0:
            return False
        at += size
    return True


@inlined
def hex_digit(byte: int) -> int:
    """The value of a hexadecimal digit, or -1."""
    if byte >= 48 and byte <= 57:
        return byte - 48
    byte = byte | 32
    if byte >= 97 and byte <= 102:
        return byte - 87
    return -1


@kernel
def _unit(buffer: Any, at: int, end: int) -> int:
    """The UTF-16 unit of the four hexadecimal digits at ``at``, or -1."""
    if at + 4 > end:
        return -1
    unit = 0
    for k in range(4):
        digit = hex_digit(load8(buffer, at + k))
        if digit < 0:
            return -1
        unit = unit * 16 + digit
    return unit


@kernel
def _scan_escape(buffer: Any, at: int, end: int, registers: Any) -> int:
    byte = peek(buffer, at + 1, end)
    if byte == 34 or byte == 92 or byte == 47 or byte == 98 or byte == 102:
        return at + 2
    if byte == 110 or byte == 114 or byte == 116:
        return at + 2
    if at + 1 >= end or (byte == 117 and at + 6 > end):
        return broken(registers, _TRUNCATED, end)
    if byte != 117:
        return broken(registers, _NOT_JSON, at)
    unit = _unit(buffer, at + 2, end)
    if unit < 0:
        return broken(registers, _NOT_JSON, at)
    if unit < 0xD800 or unit > 0xDFFF:
        return at + 6
    if unit > 0xDBFF or peek(buffer, at + 6, end) != 92 or peek(buffer, at + 7, end) != 117:
        return broken(registers, _LONE, at)
    low = _unit(buffer, at + 8, end)
    if low < 0xDC00 or low > 0xDFFF:
        return broken(registers, _LONE, at)
    return at + 12


@kernel
def _put_character(point: int, target: Any, to: int) -> int:
    if point < 0x80:
        store8(target, to, point)
        return to + 1
    if point < 0x800:
        store8(target, to, 0xC0 | (point >> 6))
        store8(target, to + 1, 0x80 | (point & 63))
        return to + 2
    if point < 0x10000:
        store8(target, to, 0xE0 | (point >> 12))
        store8(target, to + 1, 0x80 | ((point >> 6) & 63))
        store8(target, to + 2, 0x80 | (point & 63))
        return to + 3
    store8(target, to, 0xF0 | (point >> 18))
    store8(target, to + 1, 0x80 | ((point >> 12) & 63))
    store8(target, to + 2, 0x80 | ((point >> 6) & 63))
    store8(target, to + 3, 0x80 | (point & 63))
    return to + 4


@kernel
def unescape(buffer: Any, at: int, end: int, target: Any, to: int) -> int:
    """Write a checked string without its escapes to ``target`` from ``to``; returns its end there."""
    while at < end:
        byte = load8(buffer, at)
        if byte != 92:
            store8(target, to, byte)
            to += 1
            at += 1
            continue
        byte = load8(buffer, at + 1)
        at += 2
        if byte == 117:
            point = _unit(buffer, at, end)
            at += 4
            if point >= 0xD800 and point <= 0xDBFF:
                point = 0x10000 + ((point - 0xD800) << 10) + (_unit(buffer, at + 2, end) - 0xDC00)
                at += 6
            to = _put_character(point, target, to)
            continue
        if byte == 98:
            byte = 8
        elif byte == 102:
            byte = 12
        elif byte == 110:
            byte = 10
        elif byte == 114:
            byte = 13
        elif byte == 116:
            byte = 9
        store8(target, to, byte)
        to += 1
    return to
