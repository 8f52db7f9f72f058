"""Bytes to JSON, and JSON scalars to typed values: exact, or `Rejected`."""

import base64
import binascii
import datetime as dt
import re
import struct
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any

from .dataset import END_US, Column, Rejected, Type
from .parse import NUMBER, Json, Number

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_DAY_US = 86_400_000_000
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.](\d+))?)?"
    r"(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
_LOW = -62_135_596_800_000_000
"""0001-01-01."""
_UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


def instant(text: str, *, truncate: bool = False) -> int:
    """Microseconds since 1970 of an ISO-8601 date or timestamp, UTC without an offset; of any year."""
    if found := _DATE.fullmatch(text):
        return _moment(*(int(g) for g in found.groups()))
    if not (found := _TIMESTAMP.fullmatch(text)):
        raise Rejected("decode", "not an ISO-8601 date or timestamp")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = found.groups()
    fraction = fraction or ""
    if fraction[6:].strip("0") and not truncate:
        raise Rejected("decode", "finer than a microsecond")
    us = _moment(*(int(g or 0) for g in (year, month, day, hour, minute, second)))
    us += int(fraction[:6].ljust(6, "0"))
    if sign:
        if int(off_hours) > 23 or int(off_minutes or 0) > 59:
            raise Rejected("decode", "no such offset")
        offset = (int(off_hours) * 60 + int(off_minutes or 0)) * 60_000_000
        us += -offset if sign == "+" else offset
    return us


def _moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    try:
        return (dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
    except ValueError:
        raise Rejected("decode", "no such time") from None


def in_years(us: int) -> int:
    """The instant, if it lies in the years 1 to 9999."""
    if not _LOW <= us < END_US + _DAY_US:
        raise Rejected("decode", "outside the years 1 to 9999")
    return us


def valid_time(given: Json, unit: str | None, dated: bool, truncate: bool) -> int:
    """A valid_from or valid_to: microseconds, or days where valid time is a date; never beyond "no end"."""
    value = given.value
    if isinstance(value, str):
        us = instant(value, truncate=truncate)
    elif isinstance(value, Number) and unit:
        us = _integer_time(value.integer, unit, truncate)
    else:
        raise Rejected("decode", "not a time")
    us = min(us, END_US)
    if us < _LOW:
        raise Rejected("decode", "before the year 1")
    return us // _DAY_US if dated else us


def _integer_time(count: int | None, unit: str, truncate: bool) -> int:
    if count is None:
        raise Rejected("decode", "not an integer")
    if unit != "ns":
        return count * _UNIT_US[unit]
    if (count % 1000 and not truncate) or not -(2**63) <= count < 2**63:
        raise Rejected("decode", "finer than a microsecond, or beyond 64 bits")
    return count // 1000


def utc_day(us: int) -> int:
    """The UTC day of an instant."""
    return us // _DAY_US


def key_value(column: Column, given: Json) -> Any:
    """A key column's value; undeclared ones are strings, and 1 and "1" are the same."""
    if given.value is None:
        raise Rejected("decode", f"no value for the key column {column.name}")
    if not column.declared and isinstance(given.value, bool | Number):
        return given.text
    return convert(column, given)


def infer(value: Any) -> str:
    """The type that an undeclared field takes from its first value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "long" if value.whole else "double"
    return "string" if isinstance(value, str) else "json"


def convert(column: Column, given: Json) -> Any:
    """A typed value (None for null), exactly, or `Rejected`."""
    if given.value is None:
        return None
    if column.type.name == "json":
        if not column.declared and not isinstance(given.value, list):
            raise Rejected("flatten", f"{column.name}: not an array")
        return given.text
    if column.truncate and column.type.name == "timestamp":
        return (
            in_years(instant(given.value, truncate=True)) if isinstance(given.value, str) else _refuse(column)
        )
    try:
        return _CONVERTERS[column.type.name](column.type, given.value)
    except _Misfit as error:
        raise Rejected("flatten", f"{column.name}: {error}") from None


def _refuse(column: Column) -> Any:
    raise Rejected("flatten", f"{column.name}: not a string")


class _Misfit(Exception):
    pass


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Misfit("not a string")
    return value


def _boolean(_: Type, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Misfit("not a boolean")
    return value


def _integer(kind: Type, value: Any) -> int:
    number = value.integer if isinstance(value, Number) else None
    if number is None:
        raise _Misfit("not an integer")
    limit = 2 ** (31 if kind.name == "int" else 63)
    if not -limit <= number < limit:
        raise _Misfit("out of range")
    return number


def _floating(kind: Type, value: Any) -> float:
    """The nearest float, if it gives the number back: printed with as many digits, or shortest, it is the number."""
    if not isinstance(value, Number):
        raise _Misfit("not a number")
    digits, _ = value.significant
    if not digits:
        return 0.0
    number = _nearest_single(value.text) if kind.name == "float" else float(value.text)
    if not number or abs(number) == float("inf"):
        raise _Misfit("out of range")
    if Decimal(value.text) not in (Decimal(f"{number:.{len(digits) - 1}e}"), Decimal(repr(number))):
        raise _Misfit("a number that would be rounded")
    return number


def _nearest_single(text: str) -> float:
    """The 32-bit float nearest to a number: of the floats around the double, since to round twice is not it."""
    double = float(text)
    try:
        (bits,) = struct.unpack("<i", struct.pack("<f", abs(double)))
    except OverflowError:
        return float("inf")
    if not double or abs(double) == float("inf"):
        return double
    exact = abs(Fraction(Decimal(text)))
    around = range(max(bits - 1, 0), min(bits + 2, 0x7F800000))
    floats = {k: struct.unpack("<f", struct.pack("<i", k))[0] for k in around}
    nearest = floats[min(floats, key=lambda k: (abs(Fraction(floats[k]) - exact), k & 1))]
    return -nearest if text.startswith("-") else nearest


def _decimal(kind: Type, value: Any) -> Decimal:
    number = value if isinstance(value, Number) else Number(value) if isinstance(value, str) else None
    if number is None or not NUMBER.fullmatch(number.text):
        raise _Misfit("not a decimal")
    digits, exponent = number.significant
    if not digits:
        return Decimal(0).scaleb(-kind.scale)
    if exponent < -kind.scale or len(digits) + exponent + kind.scale > kind.precision:
        raise _Misfit("does not fit precision and scale")
    unscaled = digits + "0" * (exponent + kind.scale)
    return Decimal((int(number.text.startswith("-")), tuple(map(int, unscaled)), -kind.scale))


def _date(_: Type, value: Any) -> int:
    if not _DATE.fullmatch(_text(value)):
        raise _Misfit("not a date")
    return instant(value) // _DAY_US


def _uuid(_: Type, value: Any) -> uuid.UUID:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", _text(value)):
        raise _Misfit("not a UUID")
    return uuid.UUID(value)


def _binary(_: Type, value: Any) -> bytes:
    try:
        found = base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise _Misfit("not base64") from None
    if base64.b64encode(found).decode("ascii") != value:
        raise _Misfit("not base64")
    return found


_CONVERTERS: dict[str, Any] = {
    "string": lambda _, value: _text(value),
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _floating,
    "double": _floating,
    "decimal": _decimal,
    "date": _date,
    "timestamp": lambda _, value: in_years(instant(_text(value))),
    "uuid": _uuid,
    "binary": _binary,
}
