"""JSON numbers: scanned to a decimal mantissa and exponent, then fitted exactly into a column's type."""

from typing import Any

import numpy as np

from pipeline.decode.doubles import double_bits, float_bits_of, gives_back
from pipeline.decode.layout import Code
from pipeline.decode.machine import load8, multiply_high
from pipeline.decode.memory import inlined, kernel, peek, signed

_ZERO, _ONE, _TEN = np.uint64(0), np.uint64(1), np.uint64(10)
_LIMIT = np.uint64(2**63)
_POWERS = np.array([10**k for k in range(20)], dtype=np.uint64)
_WIDE_LOW = np.array([10**k & (2**64 - 1) for k in range(39)], dtype=np.uint64)
_WIDE_HIGH = np.array([10**k >> 64 for k in range(39)], dtype=np.uint64)

NEGATIVE = 1
INTEGRAL = 2
LONG = 4
DROPPED = 8

_OUT, _NOT_INTEGRAL = int(Code.OUT_OF_RANGE), int(Code.NOT_INTEGRAL)
_SCALE, _PRECISION, _INEXACT = int(Code.SCALE), int(Code.PRECISION), int(Code.INEXACT)

# The least floats that are not subnormal, and how many digits those always give back: C calls it DBL_DIG.
_NORMAL, _SAFE = 1 << 52, np.uint64(10**15)
_NORMAL_SINGLE, _SAFE_SINGLE = 1023 - 126 << 52, np.uint64(10**6)
_INFINITY = 0x7FF0000000000000


@inlined
def scan_number(  # noqa: C901 - one pass over the digits
    buffer: Any, at: int, end: int
) -> Any:
    """Check a number.

    Returns:
        (position behind it or -1 - position of the error, mantissa as uint64 of up to 19 significant
        digits, decimal exponent, number of significant digits, flags)
    """
    flags = INTEGRAL
    mantissa = _ZERO
    digits = 0
    exponent = 0
    if peek(buffer, at, end) == 45:
        flags |= NEGATIVE
        at += 1
    first = at
    while at < end:
        digit = load8(buffer, at) - 48
        if digit < 0 or digit > 9:
            break
        if digits < 19:
            mantissa = mantissa * _TEN + np.uint64(digit)
            if mantissa != _ZERO:
                digits += 1
        else:
            digits += 1
            exponent += 1
            if digit != 0:
                flags |= DROPPED
        at += 1
    bad = at == first or (at > first + 1 and load8(buffer, first) == 48)
    if bad:
        return -1 - at, mantissa, exponent, digits, flags
    mark = peek(buffer, at, end)
    if mark == 46:
        flags &= ~INTEGRAL
        at += 1
        first = at
        while at < end:
            digit = load8(buffer, at) - 48
            if digit < 0 or digit > 9:
                break
            if digits < 19:
                mantissa = mantissa * _TEN + np.uint64(digit)
                exponent -= 1
                if mantissa != _ZERO:
                    digits += 1
            else:
                digits += 1
                if digit != 0:
                    flags |= DROPPED
            at += 1
        if at == first:
            return -1 - at, mantissa, exponent, digits, flags
        mark = peek(buffer, at, end)
    if mark == 101 or mark == 69:
        flags &= ~INTEGRAL
        at, power = _scan_exponent(buffer, at + 1, end)
        exponent += power
    if digits > 19:
        flags |= LONG
    return at, mantissa, exponent, digits, flags


@kernel
def _scan_exponent(buffer: Any, at: int, end: int) -> Any:
    sign = 1
    mark = peek(buffer, at, end)
    if mark == 45 or mark == 43:
        sign = 44 - mark
        at += 1
    first = at
    power = 0
    while at < end:
        digit = load8(buffer, at) - 48
        if digit < 0 or digit > 9:
            break
        if power < 1_000_000_000_000:
            power = power * 10 + digit
        at += 1
    if at == first:
        return -1 - at, 0
    return at, sign * power


@kernel
def _wide(buffer: Any, at: int, end: int) -> Any:
    """A checked number as (high, low, exponent, digits) without trailing zeros; digits > 38: too long."""
    high, low = _ZERO, _ZERO
    digits, zeros, exponent, point = 0, 0, 0, 0
    while at < end:
        byte = load8(buffer, at)
        at += 1
        if byte == 46:
            point = 1
        elif byte == 101 or byte == 69:
            _, power = _scan_exponent(buffer, at, end)
            return high, low, exponent + power + zeros, digits
        elif byte != 45:
            exponent -= point
            if byte == 48:
                zeros += 1 if digits > 0 else 0
                continue
            digits += zeros + 1
            if digits <= 38:
                for _ in range(zeros + 1):
                    high, low = high * _TEN + multiply_high(low, _TEN), low * _TEN
                more = low + np.uint64(byte - 48)
                if more < low:
                    high = high + _ONE
                low = more
            zeros = 0
    return high, low, exponent + zeros, digits


@kernel
def integer(buffer: Any, at: int, end: int, mantissa: Any, exponent: int, flags: int) -> Any:
    """A scanned number as (code, int64); 1.0 and 1e3 are integers too."""
    if flags & LONG:
        high, mantissa, exponent, digits = _wide(buffer, at, end)
        if high != _ZERO or digits > 19:
            return (_OUT if exponent >= 0 else _NOT_INTEGRAL), 0
    if mantissa == _ZERO:
        return 0, 0
    while exponent < 0 and mantissa % _TEN == _ZERO:
        mantissa = mantissa // _TEN
        exponent += 1
    if exponent < 0:
        return _NOT_INTEGRAL, 0
    if exponent > 18:
        return _OUT, 0
    if exponent > 0:
        if multiply_high(mantissa, _POWERS[exponent]) != _ZERO:
            return _OUT, 0
        mantissa = mantissa * _POWERS[exponent]
    if flags & NEGATIVE:
        if mantissa > _LIMIT:
            return _OUT, 0
        return 0, signed(~mantissa + _ONE)
    if mantissa >= _LIMIT:
        return _OUT, 0
    return 0, signed(mantissa)


@kernel
def decimal(
    buffer: Any,
    at: int,
    end: int,
    mantissa: Any,
    exponent: int,
    digits: int,
    flags: int,
    precision: int,
    scale: int,
) -> Any:
    """A scanned number as (code, low half, high half) of the unscaled integer that a decimal column keeps."""
    shift = exponent + scale
    high, low = _ZERO, mantissa
    if mantissa == _ZERO:
        return 0, 0, 0
    if shift >= 0 and digits + shift <= 18:
        if digits + shift > precision:
            return _PRECISION, 0, 0
        low = mantissa * _POWERS[shift]
    else:
        high, low, exponent, digits = _wide(buffer, at, end)
        shift = exponent + scale
        if shift < 0:
            return _SCALE, 0, 0
        if digits + shift > precision:
            return _PRECISION, 0, 0
        if shift > 0:
            factor, factor_high = _WIDE_LOW[shift], _WIDE_HIGH[shift]
            high = high * factor + low * factor_high + multiply_high(low, factor)
            low = low * factor
    if flags & NEGATIVE:
        high, low = ~high, ~low + _ONE
        if low == _ZERO:
            high = high + _ONE
    return 0, signed(low), signed(high)


@kernel
def double(
    buffer: Any, at: int, end: int, mantissa: Any, exponent: int, digits: int, flags: int, registers: Any
) -> Any:
    """A scanned number as (code, bits of the nearest double), which must give it back; -0.0 is 0.0."""
    if mantissa == _ZERO:
        return 0, 0
    dropped = flags & DROPPED != 0
    bits = double_bits(buffer, at, end, mantissa, exponent, dropped, registers)
    if bits == 0 or bits >= _INFINITY:
        return _OUT, 0
    if digits > 15 or bits < _NORMAL:
        safe = _SAFE if bits >= _NORMAL else _ZERO
        if not gives_back(buffer, at, end, mantissa, exponent, dropped, bits, safe, 1, registers):
            return _INEXACT, 0
    if flags & NEGATIVE:
        bits = bits | signed(-(2**63))
    return 0, bits


@kernel
def single(
    buffer: Any, at: int, end: int, mantissa: Any, exponent: int, digits: int, flags: int, registers: Any
) -> Any:
    """A scanned number as (code, bits of the nearest 32-bit float as a double), which must give it back."""
    if mantissa == _ZERO:
        return 0, 0
    dropped = flags & DROPPED != 0
    bits = double_bits(buffer, at, end, mantissa, exponent, dropped, registers)
    bits = float_bits_of(buffer, at, end, bits, registers)
    if bits == 0 or bits >= _INFINITY:
        return _OUT, 0
    if digits > 6 or bits < _NORMAL_SINGLE:
        safe = _SAFE_SINGLE if bits >= _NORMAL_SINGLE else _ZERO
        if not gives_back(buffer, at, end, mantissa, exponent, dropped, bits, safe, 1 << 29, registers):
            return _INEXACT, 0
    if flags & NEGATIVE:
        bits = bits | signed(-(2**63))
    return 0, bits
