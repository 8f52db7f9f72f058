"""The double nearest to a decimal number, and whether it gives the number back (decision 0022).

Up to 19 digits by Eisel and Lemire's product with a 128-bit power of five ("Number parsing at a gigabyte
per second", 2021; no fallback needed: Mushtak and Lemire, 2023). Longer numbers lie between two
19-digit ones; where those round apart, all digits are compared with the half-way point. The same product
leads back from the double to the digits.
"""

from typing import Any

import numpy as np

from pipeline.decode.layout import BIG_LIMBS, R_BIG, Code
from pipeline.decode.machine import bits_float, float_bits, leading_zeros, load8, multiply_high
from pipeline.decode.memory import inlined, kernel, signed

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_THREE, _FIVE = np.uint64(3), np.uint64(5)
_TEN, _HALF, _TOP = np.uint64(10), np.uint64(1 << 63), np.uint64(63)
_MARGIN = np.uint64(8)
"""More than the error of `_near`, in its last bit."""
_FEW = np.uint64(10**6)
_MASK = np.uint64(2**64 - 1 >> 55)
_HIDDEN = np.uint64(1 << 52)
_INFINITY = 0x7FF0000000000000
_SIGNIFICANT = 800
_OUT = int(Code.OUT_OF_RANGE)
_YES, _NO, _UNSURE = 1, 0, -1


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
    order = _compare(buffer, at, end, bits, 1, 0, registers)
    return above if order > 0 or (order == 0 and bits & 1 == 1) else bits


@kernel
def gives_back(
    buffer: Any,
    at: int,
    end: int,
    mantissa: Any,
    exponent: int,
    dropped: bool,
    bits: int,
    safe: Any,
    spacing: int,
    registers: Any,
) -> bool:
    """Whether a double, printed with as many significant digits as a positive number has, is that number.

    Zeros at either end are not significant. Half a unit of the last digit is printed as the even one, or as
    the one that names the double, where the even one does not.

    Args:
        buffer, at, end, mantissa, exponent, dropped, registers: as in `double_bits`.
        bits: the double, which is the one nearest to the number, or the nearest 32-bit float.
        safe: 10 to the number of digits that the double always gives back; 0 if it is subnormal.
        spacing: between two neighbours' bits: 1, or 2**29 for 32-bit floats.
    """
    if not dropped:
        while mantissa % _TEN == _ZERO:
            mantissa = mantissa // _TEN
            exponent += 1
        if mantissa < safe:
            return True
    if mantissa >= _FEW and exponent >= -308 and exponent <= 342:
        answer = _near(mantissa, exponent, dropped, bits)
        if answer != _UNSURE:
            return answer == _YES
    order = _compare(buffer, at, end, bits, 0, 0, registers)
    if order == 0:
        return True
    beyond = order * _compare(buffer, at, end, bits, 0, -5 * order, registers)
    if beyond != 0 or _last_is_even(buffer, at, end):
        return beyond <= 0
    # Half a unit above a power of two: the shortest text is this one if the even one names the double below.
    if order < 0 or bits & ((1 << 52) - 1) != 0:
        return False
    half_way, halves = (bits - 1, 1) if spacing == 1 else (bits - spacing // 2, 0)
    return _compare(buffer, at, end, half_way, halves, -10, registers) < 0


@kernel
def _near(mantissa: Any, exponent: int, dropped: bool, bits: int) -> int:
    """Whether a double is within half a unit of ``mantissa`` · 10**``exponent``, if 128 bits can tell.

    With digits dropped: no, unless the double's first 19 digits are the mantissa, too.
    """
    fraction, power = _parts(bits)
    zeros = leading_zeros(np.uint64(fraction))
    word = np.uint64(fraction) << np.uint64(zeros)
    high = multiply_high(word, _FIVES_HIGH[342 - exponent])
    low = word * _FIVES_HIGH[342 - exponent]
    more = multiply_high(word, _FIVES_LOW[342 - exponent])
    low = low + more
    if more > low:
        high = high + _ONE
    point = zeros - power + exponent - (152170 * -exponent >> 16) + 63
    if high < _HALF:
        high = high << _ONE | low >> _TOP
        low = low << _ONE
        point += 1
    # The double is (high, low) / 2**point times 10**exponent; below the point, 64 bits are kept.
    shift = np.uint64(point - 64)
    whole = high >> shift
    part = high << (_TOP - shift) << _ONE | low >> shift
    if dropped:
        inside = whole == mantissa or part + _MARGIN < _MARGIN + _MARGIN
        return _UNSURE if inside else _NO
    if whole != mantissa and whole + _ONE != mantissa:
        return _NO
    if part + _MARGIN - _HALF < _MARGIN + _MARGIN:
        return _UNSURE
    return _YES if (part < _HALF) == (whole == mantissa) else _NO


@inlined
def _parts(bits: int) -> Any:
    """(fraction, power of 2) of a finite double."""
    fraction = bits & ((1 << 52) - 1)
    exponent = bits >> 52
    if exponent == 0:
        return fraction, -1074
    return fraction | (1 << 52), exponent - 1075


@kernel
def _compare(buffer: Any, at: int, end: int, bits: int, halves: int, tenths: int, big: Any) -> int:
    """Whether a number, all its digits counted, is below (-1), at (0) or above (1) a double.

    Args:
        buffer, at, end: the number's text.
        bits: the double.
        halves: half units of the double's last bit to add to the double first.
        tenths: tenths of the number's last significant digit to add to the number first.
        big: the registers.
    """
    fraction, power = _parts(bits)
    if halves != 0:
        fraction, power = 2 * fraction + halves, power - 1
    ours, theirs = R_BIG, R_BIG + BIG_LIMBS
    for k in range(2 * BIG_LIMBS):
        big[ours + k] = 0
    decimal, size = _digits(buffer, at, end, big, ours)
    if tenths != 0:
        size = _multiply(big, ours, size, 10, tenths)
        decimal -= 1
    big[theirs], big[theirs + 1] = fraction & 0xFFFFFFFF, fraction >> 32
    power -= decimal
    if decimal >= 0:
        size = _scale(big, ours, size, 5, decimal)
        other = 2
    else:
        other = _scale(big, theirs, 2, 5, -decimal)
    if power > 0:
        other = _scale(big, theirs, other, 2, power)
    else:
        size = _scale(big, ours, size, 2, -power)
    for k in range(max(size, other) - 1, -1, -1):
        if big[ours + k] != big[theirs + k]:
            return 1 if big[ours + k] > big[theirs + k] else -1
    return 0


@kernel
def _scale(big: Any, number: int, size: int, base: int, times: int) -> int:
    """Multiply a number of 32-bit limbs by base**times, base 2 or 5; returns how many limbs it has then."""
    step = 28 if base == 2 else 12
    while times > 0:
        take = min(step, times)
        size = _multiply(big, number, size, base**take, 0)
        times -= take
    return size


@kernel
def _digits(buffer: Any, at: int, end: int, big: Any, number: int) -> Any:
    """Read a number's significant digits into 32-bit limbs: (decimal exponent of the last, limbs).

    Of more than 800 the rest counts as a trace above 0, which decides the same: doubles, and the points
    half-way between them, have at most 768.
    """
    taken, zeros, exponent, point, size = 0, 0, 0, 0, 1
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
            exponent -= point
            trace = trace or (byte != 48 and taken + zeros >= _SIGNIFICANT)
            if byte == 48 or trace:
                zeros += 1 if taken > 0 else 0
                continue
            for _ in range(zeros):
                size = _multiply(big, number, size, 10, 0)
            size = _multiply(big, number, size, 10, byte - 48)
            taken += zeros + 1
            zeros = 0
    exponent += zeros
    if trace:
        for _ in range(_SIGNIFICANT - taken):
            size = _multiply(big, number, size, 10, 0)
        size = _multiply(big, number, size, 10, 1)
        exponent -= _SIGNIFICANT - taken + 1
    return exponent, size


@kernel
def _last_is_even(buffer: Any, at: int, end: int) -> bool:
    """Whether the last digit of a number that is not 0 is even."""
    last = 0
    while at < end:
        byte = load8(buffer, at)
        if byte == 101 or byte == 69:
            break
        if byte > 48:
            last = byte
        at += 1
    return last & 1 == 0


@kernel
def _multiply(big: Any, number: int, size: int, factor: int, carry: int) -> int:
    """Multiply 32-bit limbs and add a carry, which may be negative; returns how many limbs there are then."""
    for k in range(number, number + size):
        product = big[k] * factor + carry
        big[k] = product & 0xFFFFFFFF
        carry = product >> 32
    if carry > 0:
        big[number + size] = carry
        size += 1
    return size


@kernel
def float_bits_of(buffer: Any, at: int, end: int, bits: int, registers: Any) -> int:
    """The bits, as a double, of the 32-bit float nearest to a positive number; 0 or infinity out of range.

    Args:
        buffer, at, end, registers: as in `double_bits`.
        bits: the double nearest to the number.
    """
    value = bits_float(bits)
    if value >= 3.4028235677973366e38:
        return _INFINITY
    rounded = np.float64(np.float32(value))
    other = value + (value - rounded)
    if other != rounded and np.float64(np.float32(other)) == other:
        # The double is half-way between two floats; the number may not be.
        order = _compare(buffer, at, end, bits, 0, 0, registers)
        if order > 0:
            rounded = max(rounded, other)
        elif order < 0:
            rounded = min(rounded, other)
    return float_bits(rounded)
