"""Bytes to JSON, and JSON scalars to typed values: exact, or `Rejected`."""

import base64
import binascii
import datetime as dt
import json
import re
import struct
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .dataset import Column, Rejected, Type

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_DAY_US = 86_400_000_000
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.](\d+))?)?"
    r"(?:[Zz]|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
_DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True)
class Number:
    """A JSON number as it was written: nothing passes through a float unless its column is one."""

    text: str

    @property
    def whole(self) -> bool:
        """Written without fraction and exponent."""
        return not set(self.text) & set(".eE")


@dataclass(frozen=True)
class Doubled:
    """An object with two members of one name."""

    pairs: tuple[tuple[str, Any], ...]


def read_json(data: bytes) -> Any:
    """Parse one JSON document; an object with duplicate members becomes `Doubled`."""
    try:
        text = data.decode("utf-8")
        return json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=_no_constant, object_pairs_hook=_object
        )
    except UnicodeDecodeError:
        raise Rejected("decode", "not UTF-8") from None
    except ValueError:
        raise Rejected("decode", "not JSON") from None
    except RecursionError:
        raise Rejected("decode", "nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _object(pairs: list[tuple[str, Any]]) -> Any:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Doubled(tuple(pairs))


def check(value: Any) -> None:
    """Refuse duplicate members and strings that are not Unicode, at any depth."""
    if isinstance(value, Doubled):
        raise Rejected("decode", "duplicate members")
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise Rejected("decode", "lone surrogate")
    if isinstance(value, dict):
        for name, member in value.items():
            check(name)
            check(member)
    if isinstance(value, list):
        for element in value:
            check(element)


def json_text(value: Any) -> str:
    """Compact JSON text; numbers as they were written."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict | Doubled):
        pairs = value.items() if isinstance(value, dict) else value.pairs
        return "{" + ",".join(f"{json_text(k)}:{json_text(v)}" for k, v in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_text(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def instant(text: str) -> int:
    """Microseconds since 1970 of an ISO-8601 date or timestamp; without an offset it is UTC."""
    if found := _DATE.fullmatch(text):
        return _moment(*(int(g) for g in found.groups()))
    if not (found := _TIMESTAMP.fullmatch(text)):
        raise Rejected("decode", "not an ISO-8601 date or timestamp")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = found.groups()
    fraction = fraction or ""
    if fraction[6:].strip("0"):
        raise Rejected("decode", "finer than a microsecond")
    us = _moment(*(int(g or 0) for g in (year, month, day, hour, minute, second)))
    us += int(fraction[:6].ljust(6, "0"))
    if sign:
        if int(off_hours) > 23 or int(off_minutes or 0) > 59:
            raise Rejected("decode", "no such offset")
        offset = (int(off_hours) * 60 + int(off_minutes or 0)) * 60_000_000
        us += -offset if sign == "+" else offset
    return _in_range(us)


def _moment(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    try:
        return (dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
    except ValueError:
        raise Rejected("decode", "no such time") from None


def _in_range(us: int) -> int:
    low = _moment(1, 1, 1)
    if not low <= us < _moment(9999, 12, 31) + _DAY_US:
        raise Rejected("decode", "outside the years 1 to 9999")
    return us


def valid_time(value: Any, unit: str | None, dated: bool) -> int:
    """A valid_from or valid_to: microseconds, or days where valid time is a date."""
    if isinstance(value, str):
        us = instant(value)
    elif isinstance(value, Number) and value.whole and unit:
        us = _in_range(_integer_time(int(value.text[:40]), unit))
    else:
        raise Rejected("decode", "not a time")
    return us // _DAY_US if dated else us


def _integer_time(count: int, unit: str) -> int:
    if unit != "ns":
        return count * _UNIT_US[unit]
    if count % 1000:
        raise Rejected("decode", "finer than a microsecond")
    return count // 1000


def utc_day(us: int) -> int:
    """The UTC day of an instant."""
    return us // _DAY_US


def key_value(column: Column, value: Any) -> Any:
    """A key column's value; undeclared ones are strings, and 1 and "1" are the same."""
    if value is None:
        raise Rejected("decode", f"no value for the key column {column.name}")
    if isinstance(value, list | dict):
        raise Rejected("decode", f"the key column {column.name} is not a scalar")
    if not column.declared and isinstance(value, Number):
        return value.text
    if not column.declared and isinstance(value, bool):
        return json.dumps(value)
    return convert(column, value)


def infer(value: Any) -> str:
    """The type that an undeclared field takes from its first value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, Number):
        return "long" if value.whole else "double"
    return "string"


def convert(column: Column, value: Any) -> Any:
    """A typed value (None for null), exactly, or `Rejected`."""
    if value is None:
        return None
    if column.type.name == "string" and not column.declared and isinstance(value, list):
        return json_text(value)
    try:
        return _CONVERTERS[column.type.name](column.type, value)
    except _Misfit as error:
        raise Rejected("flatten", f"{column.name}: {error}") from None


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
    if not isinstance(value, Number) or not value.whole:
        raise _Misfit("not an integer")
    limit = 2 ** (31 if kind.name == "int" else 63)
    number = int(value.text[:40])
    if not -limit <= number < limit:
        raise _Misfit("out of range")
    return number


def _floating(kind: Type, value: Any) -> float:
    if not isinstance(value, Number):
        raise _Misfit("not a number")
    number = float(value.text)
    if kind.name == "float" and abs(number) < float("inf"):
        try:
            number = struct.unpack("<f", struct.pack("<f", number))[0]
        except OverflowError:
            raise _Misfit("out of range") from None
    if abs(number) == float("inf"):
        raise _Misfit("out of range")
    if value.whole and number != int(value.text[:400]):
        raise _Misfit("an integer that this type can't hold exactly")
    return number + 0.0


def _decimal(kind: Type, value: Any) -> Decimal:
    text = value.text if isinstance(value, Number) else value
    if not isinstance(text, str) or not (found := _DECIMAL.fullmatch(text)):
        raise _Misfit("not a decimal")
    if len(found[2] or "") > 8:
        raise _Misfit("an exponent beyond reason")
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    significant = "".join(map(str, digits)).lstrip("0")
    if not significant:
        return Decimal(0).scaleb(-kind.scale)
    stripped = significant.rstrip("0")
    exponent += len(significant) - len(stripped)
    if exponent < -kind.scale or len(stripped) + exponent + kind.scale > kind.precision:
        raise _Misfit("does not fit precision and scale")
    unscaled = int(stripped) * 10 ** (exponent + kind.scale)
    return Decimal((sign, tuple(map(int, str(unscaled))), -kind.scale))


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
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise _Misfit("not base64") from None


_CONVERTERS: dict[str, Any] = {
    "string": lambda _, value: _text(value),
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _floating,
    "double": _floating,
    "decimal": _decimal,
    "date": _date,
    "timestamp": lambda _, value: instant(_text(value)),
    "uuid": _uuid,
    "binary": _binary,
    "json": lambda _, value: json_text(value),
}
