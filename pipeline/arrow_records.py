"""The rows of an Arrow table as Python's records, every value exactly, or `BadInput`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from pipeline.errors import BadInput

_ROWS = 10_000
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SMALLEST, _LARGEST = -62_135_596_800, 253_402_300_799
"""The seconds of the years 1 to 9999."""


def rows_of(table: pa.Table | pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """A table's rows as dicts of values that `pipeline.json_lines.to_json` writes.

    Raises:
        BadInput: two columns have one name, or a column's values are none of JSON.
    """
    table = pa.table(table)
    _check_names(table.schema, "the table")
    for field in table.schema:
        _check_type(field.type, field.name)
    return _rows(table)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    names = table.schema.names
    for batch in table.to_batches(max_chunksize=_ROWS):
        if not names:
            yield from ({} for _ in range(batch.num_rows))
        columns = (_column(name, array) for name, array in zip(names, batch.columns, strict=True))
        yield from (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _column(name: str, array: pa.Array) -> Sequence[Any]:
    try:
        return _values(array)
    except (pa.ArrowException, ValueError, OverflowError, TypeError) as error:
        raise BadInput(
            f"the column '{name}' of type {array.type} has a value that can't be read: {error}",
            next_step="correct it, or cast the column to a string first",
        ) from error


def _check_names(fields: pa.Schema | Sequence[pa.Field], where: str) -> None:
    name, times = Counter(field.name for field in fields).most_common(1)[0] if len(fields) else ("", 0)
    if times > 1:
        raise BadInput(
            f"{where} has {times} columns of the name '{name}'",
            next_step="give each its own name, such as by Table.rename_columns",
        )


def _check_type(type_: pa.DataType, where: str) -> None:
    """Refuse what no value of JSON stands for, and names that are there twice, however deep."""
    if kinds.is_duration(type_) or kinds.is_interval(type_) or kinds.is_union(type_):
        raise BadInput(
            f"the column '{where}' is of type {type_}, which JSON has no value for",
            next_step="cast it first, such as a duration to int64, or leave it out",
        )
    if isinstance(type_, pa.BaseExtensionType):
        _check_type(type_.storage_type, where)
    elif kinds.is_dictionary(type_) or kinds.is_run_end_encoded(type_):
        _check_type(type_.value_type, where)
    elif kinds.is_struct(type_):
        fields = [type_.field(i) for i in range(type_.num_fields)]
        _check_names(fields, f"the column '{where}'")
        for field in fields:
            _check_type(field.type, f"{where}.{field.name}")
    elif kinds.is_nested(type_):
        for i in range(type_.num_fields):
            _check_type(type_.field(i).type, where)


def _values(array: pa.Array) -> list[Any]:
    """An array's values, those in it too; times finer than Python's as text."""
    type_ = array.type
    if isinstance(array, pa.ExtensionArray):
        plain = isinstance(type_, pa.UuidType | pa.Bool8Type)
        return array.to_pylist() if plain else _values(array.storage)
    if kinds.is_dictionary(type_):
        return _values(array.dictionary_decode())
    if kinds.is_run_end_encoded(type_):
        return _values(pc.run_end_decode(array))
    if kinds.is_timestamp(type_):
        return _instants(array)
    if kinds.is_date(type_):
        return [None if v is None else _day(v, type_) for v in array.view(_integer(type_)).to_pylist()]
    if kinds.is_time(type_):
        seconds = _PER_SECOND[type_.unit]
        return [None if v is None else _time(v, seconds) for v in array.view(_integer(type_)).to_pylist()]
    if kinds.is_struct(type_):
        names = [type_.field(i).name for i in range(type_.num_fields)]
        members = [_values(field) for field in array.flatten()]
        rows = zip(*members, strict=True) if members else iter([()] * len(array))
        valid = array.is_valid().to_pylist()
        return [
            dict(zip(names, row, strict=True)) if ok else None for row, ok in zip(rows, valid, strict=True)
        ]
    if kinds.is_map(type_):
        pairs = [list(pair) for pair in zip(_values(array.keys), _values(array.items), strict=True)]
        valid, at = array.is_valid().to_pylist(), array.offsets.to_pylist()
        return [pairs[at[i] : at[i + 1]] if ok else None for i, ok in enumerate(valid)]
    if kinds.is_nested(type_):
        inside, at = iter(_values(pc.list_flatten(array))), pc.list_value_length(array).to_pylist()
        return [None if size is None else [next(inside) for _ in range(size)] for size in at]
    if kinds.is_float16(type_):
        return array.cast(pa.float32()).to_pylist()
    return array.to_pylist()


def _integer(type_: pa.DataType) -> pa.DataType:
    return pa.int32() if type_.bit_width == 32 else pa.int64()


def _instants(array: pa.Array) -> list[Any]:
    try:
        plain = array.cast(pa.timestamp("us", array.type.tz)) if array.type.unit == "ns" else array
        return plain.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        seconds = _PER_SECOND[array.type.unit]
        return [None if v is None else _instant(v, seconds) for v in array.cast(pa.int64()).to_pylist()]


def _instant(value: int, per_second: int) -> datetime | str:
    """An instant; as text where it is finer than a microsecond or beyond Python's years."""
    seconds, rest = divmod(value, per_second)
    if not _SMALLEST <= seconds <= _LARGEST:
        return f"{value} (beyond the years 1 to 9999)"
    at = _EPOCH + timedelta(seconds=seconds)
    micros, finer = divmod(rest * 1_000_000, per_second)
    if finer:
        return f"{at:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
    return at + timedelta(microseconds=micros)


def _day(value: int, type_: pa.DataType) -> Any:
    if kinds.is_date64(type_):
        value, rest = divmod(value, _DAY_MS)
        if rest:
            return _instant(value * _DAY_MS + rest, 1_000)
    day = _instant(value * 86_400, 1)
    return day.date() if isinstance(day, datetime) else f"{value} (days, beyond the years 1 to 9999)"


def _time(value: int, per_second: int) -> str:
    seconds, rest = divmod(value, per_second)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    digits = len(str(per_second)) - 1
    fraction = f"{rest:0{digits}}".ljust(6, "0") if rest else ""
    return f"{text}.{fraction}" if rest else text
