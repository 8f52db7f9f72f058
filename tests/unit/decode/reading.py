"""Schemas in a few words, and canonical bytes read back as Python values."""

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from pipeline.decode import Batch, DecodeOptions, Decoder
from pipeline.decode.layout import Code
from pipeline.schema import Column, ColumnType, DatasetSchema, Kind, TableSchema

NOTHING: dict[str, Any] = {}


def column(name: str, kind: str = "string", path: str | None = None, *, declared: bool = True) -> Column:
    where = name if path is None else path
    return Column(name, tuple(where.split(".")) if where else (), ColumnType.parse(kind), declared)


def dataset(
    *values: Column,
    key: Sequence[Column] = (column("k", declared=False),),
    children: Sequence[TableSchema] = (),
) -> DatasetSchema:
    return DatasetSchema("d", (TableSchema("d", "x.d", (), (), tuple(key), values), *children))


def child(
    arrays: Sequence[str], key: Sequence[Column], *values: Column, above: Sequence[Column] = ()
) -> TableSchema:
    name = "__".join(("d", *arrays))
    paths = tuple(tuple(array.split(".")) for array in arrays)
    inherited = (column("k", declared=False), *above)
    return TableSchema(name, f"x.{name}", paths, inherited, tuple(key), values)


def options(**changes: Any) -> DecodeOptions:
    return DecodeOptions(**{"valid_from": ("v",), "valid_to": ("to",), "operation": ("op",), **changes})


def spans(lines: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = np.array([len(line) + 1 for line in lines], np.int64)
    ends = np.cumsum(sizes) - 1
    return np.frombuffer(b"\n".join(lines) + b"\n", np.uint8), ends - sizes + 1, ends


def decode(decoder: Decoder, *lines: bytes | str) -> Batch:
    return decoder.decode(*spans([x.encode() if isinstance(x, str) else x for x in lines]))


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """A length in a payload, and where the bytes are."""
    return (data[at], at + 1) if data[at] < 255 else (struct.unpack_from("<I", data, at + 1)[0], at + 5)


def _value(data: bytes, at: int, kind: ColumnType, *, short: bool) -> tuple[Any, int]:
    if kind.kind in (Kind.STRING, Kind.JSON, Kind.BINARY, Kind.UNKNOWN):
        size, at = read_length(data, at) if short else (struct.unpack_from("<I", data, at)[0], at + 4)
        raw = data[at : at + size]
        return (raw if kind.kind is Kind.BINARY else raw.decode()), at + size
    if kind.kind is Kind.DECIMAL:
        end = at + (8 if kind.precision <= 18 else 16)
        unscaled = int.from_bytes(data[at:end], "little", signed=True)
        return Decimal((int(unscaled < 0), tuple(map(int, str(abs(unscaled)))), -kind.scale)), end
    if kind.kind is Kind.UUID:
        return str(uuid.UUID(bytes=data[at : at + 16])), at + 16
    if kind.kind in (Kind.FLOAT, Kind.DOUBLE):
        return struct.unpack_from("<d", data, at)[0], at + 8
    number = struct.unpack_from("<q", data, at)[0]
    return (bool(number) if kind.kind is Kind.BOOLEAN else number), at + 8


def read_key(data: bytes, columns: Sequence[Column]) -> tuple[Any, ...]:
    at, values = 0, []
    for each in columns:
        value, at = _value(data, at, each.type, short=False)
        values.append(value)
    assert at == len(data)
    return tuple(values)


def _bitmap(data: bytes, at: int) -> tuple[int, int]:
    size = struct.unpack_from("<H", data, at)[0]
    bits = int.from_bytes(data[at + 2 : at + 2 + size], "little")
    assert size == 0 or data[at + 1 + size] != 0, "trailing zero bytes are trimmed"
    return bits, at + 2 + size


def read_payload(data: bytes, columns: Sequence[Column], at: int = 0) -> dict[str, Any]:
    bits, at = _bitmap(data, at)
    values = {}
    for index, each in enumerate(columns):
        if bits >> index & 1:
            values[each.name], at = _value(data, at, each.type, short=True)
    assert at == len(data)
    return values


def read_patch(data: bytes, columns: Sequence[Column]) -> dict[str, Any]:
    """The given columns; None where null was given."""
    bits, at = _bitmap(data, 0)
    values = read_payload(data, columns, at)
    return {c.name: values.get(c.name) for i, c in enumerate(columns) if bits >> i & 1}


@dataclass
class Record:
    """One record of a batch, as Python values."""

    code: Code
    column: str | None
    operation: int
    valid: tuple[int, int]
    key: tuple[Any, ...]
    values: dict[str, Any]
    children: dict[str, dict[tuple[Any, ...], dict[str, Any]]]
    given: int


def records(batch: Batch, schema: DatasetSchema) -> list[Record]:
    return [_record(batch, schema, index) for index in range(len(batch))]


def _record(batch: Batch, schema: DatasetSchema, i: int) -> Record:
    code, operation = Code(int(batch.status[i])), int(batch.operation[i])
    key: tuple[Any, ...] = ()
    values, children = {}, {}
    if code is Code.OK:
        key = read_key(_slice(batch.keys, batch.key_start, i), schema.parent.own_key)
        data = _slice(batch.values, batch.value_start, i)
        if operation <= 1:
            values = (read_payload, read_patch)[operation](data, schema.parent.values)
        else:
            assert data == b""
        children = _children(batch, schema, i)
    elif code is not Code.AHEAD:
        assert batch.key_start[i] == batch.key_start[i + 1]
        assert batch.value_start[i] == batch.value_start[i + 1]
        assert batch.child_first[i] == batch.child_first[i + 1]
    at = int(batch.error_column[i])
    return Record(
        code,
        batch.columns[at].name if at >= 0 else None,
        operation,
        (int(batch.valid_from[i]), int(batch.valid_to[i])),
        key,
        values,
        children,
        int(batch.given[i]),
    )


def _children(
    batch: Batch, schema: DatasetSchema, i: int
) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for row in range(int(batch.child_first[i]), int(batch.child_first[i + 1])):
        table = schema.tables[int(batch.child_table[row])]
        key = read_key(
            _slice(batch.child_keys, batch.child_key_start, row),
            table.key[len(schema.parent.own_key) :],
        )
        values = read_payload(_slice(batch.child_values, batch.child_value_start, row), table.values)
        rows = found.setdefault(table.name, {})
        assert key not in rows
        rows[key] = values
    return found


def _slice(data: np.ndarray, starts: np.ndarray, index: int) -> bytes:
    return bytes(data[starts[index] : starts[index + 1]].tobytes())
