"""The double nearest to a decimal number.

Up to 19 digits by Eisel and Lemire's product with a 128-bit power of five ("Number parsing at a gigabyte
per second", 2021; no fallback needed: Mushtak and Lemire, 2023). Longer numbers lie between two
19-digit ones; where those round apart, all digits are compared with the half-way point.
"""

from typing import Any

import numpy as np

from pipeline.decode.layout import BIG_LIMBS, R_BIG, Code
from pipeline.decode.machine import float_bits, leading_zeros, load8, multiply_high
from pipeline.decode.memory import inlined, kernel, signed

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_THREE, _FIVE = np.uint64(3), np.uint64(5)
_MASK = np.uint64(2**64 - 1 >> 55)
_HIDDEN = np.uint64(1 << 52)
_INFINITY = 0x7FF0000000000000
_SIGNIFICANT = 800
_OUT = int(Code.OUT_OF_RANGE)


def _power_of_five(exponent: int) -> int:
    """The leading 128 bits of 5**exponent, as the method's proof wants them rounded."""
    if exponent >= 0:
        power = 5**exponent
        shift = power.bit_length() - 128
        return power >> shift if shift > 0 else power << -shift
    power = 5**-exponent
    ceiling = (power - 1).bit_length()
    if exponent >= -27:
        return (1 << ceiling + 127) // power + 1
    reciprocal = (1 << 2 * ceiling + 128) // power + 1
    return reciprocal >> reciprocal.bit_length() - 128


_FIVES = [_power_of_five(q) for q in range(-342, 309)]
_FIVES_HIGH = np.array([five >> 64 for five in _FIVES], dtype=np.uint64)
_FIVES_LOW = np.array([five & (2**64 - 1) for five in _FIVES], dtype=np.uint64)


@kernel
def _nearest(mantissa: Any, exponent: int) -> int:
    """The bits of the double nearest to mantissa · 10**exponent (mantissa not 0)."""
    if exponent < -342:
        return 0
    if exponent > 308:
        return _INFINITY
    zeros = leading_zeros(mantissa)
    word = mantissa << np.uint64(zeros)
    high = multiply_high(word, _FIVES_HIGH[exponent + 342])
    low = word * _FIVES_HIGH[exponent + 342]
    if high & _MASK == _MASK:
        more = multiply_high(word, _FIVES_LOW[exponent + 342])
        low = low + more
        if more > low:
            high = high + _ONE
    upper = signed(high >> np.uint64(63))
    shift = np.uint64(upper + 9)
    result = high >> shift
    power = ((152170 + 65536) * exponent >> 16) + 63 + upper - zeros + 1023
    if power <= 0:
        if 1 - power >= 64:
            return 0
        result = result >> np.uint64(1 - power)
        result = (result + (result & _ONE)) >> _ONE
        return signed(result)
    tie = low <= _ONE and exponent >= -4 and exponent <= 23 and result & _THREE == _ONE
    if tie and result << shift == high:
        result = result & ~_ONE
    result = (result + (result & _ONE)) >> _ONE
    if result >= _HIDDEN << _ONE:
        result = _HIDDEN
        power += 1
    if power >= 0x7FF:
        return _INFINITY
    return signed(result & ~_HIDDEN) | (power << 52)


@kernel
def double_bits(
    buffer: Any, at: int, end: int, mantissa: Any, exponent: int, dropped: bool, registers: Any
) -> int:
    """The bits of the double nearest to a positive number, which `mantissa` begins.

    Args:
        buffer, at, end: the number's text, read again only if it matters.
        mantissa, exponent: its first 19 digits and their exponent.
        dropped: digits other than 0 follow those.
        registers: the decoder's, for the memory of big numbers in them.
    """
    bits = _nearest(mantissa, exponent)
    if not dropped:
        return bits
    above = _nearest(mantissa + _ONE, exponent)
    if above == bits or bits >= _INFINITY:
        return bits
    fraction, power = _parts(bits)
    order = _compare(buffer, at, end, 2 * fraction + 1, power - 1, registers)
    return above if order > 0 or (order == 0 and fraction & 1 == 1) else bits


@kernel
def is_exact(buffer: Any, at: int, end: int, bits: int, registers: Any) -> bool:
    """Whether a positive number is the double with these bits."""
    fraction, power = _parts(bits)
    return _compare(buffer, at, end, fraction, power, registers) == 0


@inlined
def _parts(bits: int) -> Any:
    """(fraction, power of 2) of a finite double."""
    fraction = bits & ((1 << 52) - 1)
    exponent = bits >> 52
    if exponent == 0:
        return fraction, -1074
    return fraction | (1 << 52), exponent - 1075


@kernel
def _compare(buffer: Any, at: int, end: int, fraction: int, power: int, big: Any) -> int:
    """Whether a number, all its digits counted, is below (-1), at (0) or above (1) fraction * 2**power."""
    ours, theirs = R_BIG, R_BIG + BIG_LIMBS
    for k in range(2 * BIG_LIMBS):
        big[ours + k] = 0
    decimal = _digits(buffer, at, end, big, ours)
    big[theirs], big[theirs + 1] = fraction & 0xFFFFFFFF, fraction >> 32
    if decimal >= 0:
        _scale(big, ours, 5, decimal)
    else:
        _scale(big, theirs, 5, -decimal)
    power -= decimal
    if power > 0:
        _scale(big, theirs, 2, power)
    else:
        _scale(big, ours, 2, -power)
    for k in range(BIG_LIMBS - 1, -1, -1):
        if big[ours + k] != big[theirs + k]:
            return 1 if big[ours + k] > big[theirs + k] else -1
    return 0


@kernel
def _scale(big: Any, number: int, base: int, times: int) -> None:
    """Multiply a number of 32-bit limbs by base**times, base 2 or 5."""
    step = 28 if base == 2 else 12
    while times > 0:
        take = min(step, times)
        factor = base**take
        carry = 0
        for k in range(number, number + BIG_LIMBS):
            product = big[k] * factor + carry
            big[k] = product & 0xFFFFFFFF
            carry = product >> 32
        times -= take


@kernel
def _digits(buffer: Any, at: int, end: int, big: Any, number: int) -> int:
    """Read a number's digits into 32-bit limbs; returns the decimal exponent of the last.

    Of more than 800 significant digits the rest counts as a trace above 0, which decides the same.
    """
    taken, exponent, point = 0, 0, 0
    trace = False
    while at < end:
        byte = load8(buffer, at)
        at += 1
        if byte == 46:
            point = 1
        elif byte == 101 or byte == 69:
            sign, power = 1, 0
            if load8(buffer, at) == 45 or load8(buffer, at) == 43:
                sign = 44 - load8(buffer, at)
                at += 1
            while at < end:
                power = min(power * 10 + load8(buffer, at) - 48, 1_000_000_000_000)
                at += 1
            exponent += sign * power
        elif byte != 45:
            if taken > 0 or byte != 48:
                taken += 1
            if taken > _SIGNIFICANT:
                trace = trace or byte != 48
                exponent += 1 - point
                continue
            exponent -= point
            _append(big, number, byte - 48)
    if trace:
        _append(big, number, 1)
        exponent -= 1
    return exponent


@inlined
def _append(big: Any, number: int, digit: int) -> None:
    carry = digit
    for k in range(number, number + BIG_LIMBS):
        product = big[k] * 10 + carry
        big[k] = product & 0xFFFFFFFF
        carry = product >> 32


@kernel
def round_float(value: float) -> Any:
    """(bits of the nearest 32-bit float as a double, code): beyond its range, or to 0, is an error."""
    if abs(value) > 3.4028235677973366e38:
        return 0, _OUT
    rounded = np.float64(np.float32(value))
    if rounded == 0.0 or abs(rounded) > 3.5e38:
        return 0, _OUT
    return float_bits(rounded), 0
