"""ISO 8601 dates and timestamps as days and microseconds since 1970-01-01 (UTC)."""

from typing import Any

from pipeline.decode.layout import Code
from pipeline.decode.machine import load8
from pipeline.decode.memory import inlined, kernel

DAY_US = 86_400_000_000
MIN_DAY, MAX_DAY = -719_162, 2_932_896
MIN_US, MAX_US = MIN_DAY * DAY_US, (MAX_DAY + 1) * DAY_US - 1

_TEXT, _RANGE = int(Code.TIME_TEXT), int(Code.TIME_RANGE)
_FRACTION, _LEAP = int(Code.TIME_FRACTION), int(Code.LEAP_SECOND)


@inlined
def _two(text: Any, at: int) -> int:
    """Two digits as a number, or something far beyond 99."""
    tens, ones = load8(text, at) - 48, load8(text, at + 1) - 48
    if tens < 0 or tens > 9 or ones < 0 or ones > 9:
        return 1_000_000
    return tens * 10 + ones


@kernel
def parse_date(text: Any, at: int, end: int) -> Any:
    """(code, days) of ``YYYY-MM-DD`` at the start of ``text[at:end]``; what follows is not looked at."""
    if end - at < 10 or load8(text, at + 4) != 45 or load8(text, at + 7) != 45:
        return _TEXT, 0
    year = _two(text, at) * 100 + _two(text, at + 2)
    month, day = _two(text, at + 5), _two(text, at + 8)
    if year > 9999 or month < 1 or month > 12 or day < 1 or day > 31:
        return _TEXT, 0
    if day > 28:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        longest = 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31
        if month == 2:
            longest = 29 if leap else 28
        if day > longest:
            return _TEXT, 0
    if year < 1:
        return _RANGE, 0
    # Days of the proleptic Gregorian calendar, years beginning in March (Hinnant, "chrono-compatible").
    if month <= 2:
        year -= 1
        month += 12
    return 0, year * 365 + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719_469


@kernel
def parse_timestamp(text: Any, at: int, end: int) -> Any:
    """(code, microseconds) of an ISO 8601 timestamp or date that is the whole of ``text[at:end]``.

    With no offset it is UTC. The offset may lead out of the years 1 to 9999: the caller checks. The code
    of digits beyond microseconds comes with the microseconds before them.
    """
    code, days = parse_date(text, at, end)
    if code != 0 or end - at == 10:
        return code, days * DAY_US
    mark = load8(text, at + 10)
    if (mark != 84 and mark != 116 and mark != 32) or end - at < 16 or load8(text, at + 13) != 58:
        return _TEXT, 0
    hour, minute, second, micros = _two(text, at + 11), _two(text, at + 14), 0, 0
    precision = 0
    at += 16
    if at + 3 <= end and load8(text, at) == 58:
        second = _two(text, at + 1)
        at += 3
        if at < end and load8(text, at) == 46:
            precision, at, micros = _fraction(text, at + 1, end)
            if precision == _TEXT:
                return _TEXT, 0
    code, shift = _offset(text, at, end)
    if hour > 23 or minute > 59 or second > 60:
        return _TEXT, 0
    if code == 0 and second == 60:
        code = _LEAP
    if code == 0:
        code = precision
    return code, days * DAY_US + ((hour * 60 + minute - shift) * 60 + second) * 1_000_000 + micros


@inlined
def _fraction(text: Any, at: int, end: int) -> Any:
    micros, unit, first = 0, 100_000, at
    lost = False
    while at < end:
        digit = load8(text, at) - 48
        if digit < 0 or digit > 9:
            break
        micros += digit * unit
        lost = lost or (unit == 0 and digit != 0)
        unit //= 10
        at += 1
    if at == first:
        return _TEXT, at, 0
    return (_FRACTION if lost else 0), at, micros


@inlined
def _offset(text: Any, at: int, end: int) -> Any:
    """(code, minutes east of UTC) of the rest of a timestamp: nothing, Z, ±hh, ±hh:mm or ±hhmm."""
    size = end - at
    if size == 0:
        return 0, 0
    mark = load8(text, at)
    if size == 1 and (mark == 90 or mark == 122):
        return 0, 0
    if mark != 43 and mark != 45:
        return _TEXT, 0
    if size != 3 and size != 5 and not (size == 6 and load8(text, at + 3) == 58):
        return _TEXT, 0
    hours, minutes = _two(text, at + 1), 0
    if size > 3:
        minutes = _two(text, end - 2)
    if hours > 23 or minutes > 59:
        return _TEXT, 0
    return 0, (44 - mark) * (hours * 60 + minutes)
