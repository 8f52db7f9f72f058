"""Arrow columns as plain values: what JSON, CSV and terminals can show."""

import base64
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

_AT_ONCE = 10_000
Rule = tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], list[Any]]]


def plain_rows(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows of a table, one tuple each, of values that `json` can write.

    Timestamps are ``2024-01-31T00:00:00.000000Z``, dates ``2024-01-31``, decimals and UUIDs text, binary
    base64, structs objects.
    """
    for batch in rows.to_batches(max_chunksize=_AT_ONCE):
        yield from zip(*(plain(column) for column in batch.columns), strict=True)


def plain(array: pa.Array) -> list[Any]:
    """One column's values."""
    if isinstance(array.type, pa.DictionaryType):
        return plain(array.dictionary_decode())
    for fits, values in _RULES:
        if fits(array.type):
            return values(array)
    return [None if value is None else str(value) for value in array.to_pylist()]


def decimal_text(value: Decimal) -> str:
    """All digits of a decimal, never an exponent."""
    return f"{value:f}"


def _as_is(array: pa.Array) -> list[Any]:
    return array.to_pylist()


def _instants(array: pa.Array) -> list[Any]:
    """By numpy: pyarrow's functions take longer to import than an answer takes to spell."""
    zone = "Z" if array.type.tz else ""
    at = array.to_numpy(zero_copy_only=False)
    texts = np.datetime_as_string(at, unit="us", casting="unsafe").tolist()
    return [None if text == "NaT" else f"{text}{zone}" for text in texts]


def _decimals(array: pa.Array) -> list[Any]:
    return [None if value is None else decimal_text(value) for value in array.to_pylist()]


def _floats(array: pa.Array) -> list[Any]:
    return [_number(value) for value in array.to_pylist()]


def _short_floats(array: pa.Array) -> list[Any]:
    """The shortest decimals that read back as the same 32 bits."""
    return [None if v is None else _number(float(str(np.float32(v)))) for v in array.to_pylist()]


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


def _binary(array: pa.Array) -> list[Any]:
    return [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]


def _structs(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    parts = zip(*(plain(array.field(i)) for i in range(len(names))), strict=True)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if ok else None for row, ok in zip(parts, valid, strict=True)]


def _lists(array: pa.Array) -> list[Any]:
    return [None if not one.is_valid else plain(one.values) for one in array]


def _times(array: pa.Array) -> list[Any]:
    return [None if value is None else value.isoformat() for value in array.to_pylist()]


_RULES: tuple[Rule, ...] = (
    (lambda t: pa.types.is_integer(t) or pa.types.is_boolean(t) or pa.types.is_null(t), _as_is),
    (lambda t: pa.types.is_string(t) or pa.types.is_large_string(t), _as_is),
    (pa.types.is_timestamp, _instants),
    (lambda t: pa.types.is_date(t) or pa.types.is_time(t), _times),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_float32, _short_floats),
    (pa.types.is_floating, _floats),
    (lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t), _binary),
    (pa.types.is_struct, _structs),
    (lambda t: pa.types.is_list(t) or pa.types.is_large_list(t), _lists),
)


def spelled_for_people(text: str) -> str:
    """A moment without the zeros that say nothing: ``2024-01-31``, ``2024-01-31 12:00:05``."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    if at.time() == at.min.time():
        return text[:10]
    return at.replace(tzinfo=None).isoformat(" ", "auto" if at.microsecond else "seconds")
