"""Datasets, rows and catalogs for tests of the sink."""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.schema import END_OF_TIME_US, Column, ColumnType, DatasetSchema, TableSchema
from pipeline.sink import DEAD_LETTERS, Epoch, LakeSink, Position, TableRows

DEAD = "bitlake.dead_letters"

EVERY_TYPE: dict[str, list[Any]] = {
    "string": ["Österreich", ""],
    "boolean": [True, False],
    "int": [2**31 - 1, -(2**31)],
    "long": [2**63 - 1, -(2**63)],
    "float": [1.5, -0.25],
    "double": [0.1, -1e300],
    "decimal(9,2)": [Decimal("1234567.89"), Decimal("-0.01")],
    "decimal(18,6)": [Decimal("123456789012.345678"), Decimal(0)],
    "decimal(38,10)": [Decimal("1234567890123456789012345678.0123456789"), Decimal("-1")],
    "date": [dt.date(1999, 1, 4), dt.date(9999, 12, 31)],
    "timestamp": [
        dt.datetime(2024, 3, 31, 1, 2, 3, 456789, tzinfo=dt.UTC),
        dt.datetime(1815, 6, 18, tzinfo=dt.UTC),
    ],
    "uuid": [uuid.UUID(int=7), uuid.UUID(int=2**127 + 1)],
    "binary": [b"\x00\xff", b""],
    "json": ['{"a": [1, 2]}', "[]"],
}


def sqlite_config(folder: Path) -> dict[str, str]:
    return {
        "name": "lake",
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalog.db",
        "warehouse": str(folder / "warehouse"),
    }


def sqlite_sink(folder: Path) -> LakeSink:
    return LakeSink.at(sqlite_config(folder), DEAD)


def column(name: str, type_: str = "string", *, declared: bool = True, path: tuple[str, ...] = ()) -> Column:
    return Column(name, path or (name,), ColumnType.parse(type_), declared)


def table(name: str = "bonds", *values: Column, namespace: str = "ref", dated: bool = False) -> TableSchema:
    return TableSchema(name, f"{namespace}.{name}", (), (), (column("isin"),), values, dated)


def dataset(name: str = "bonds", *values: Column, namespace: str = "ref") -> DatasetSchema:
    return DatasetSchema(name, (table(name, *values, namespace=namespace),))


def with_child(parent: DatasetSchema) -> DatasetSchema:
    one = parent.parent
    name = f"{one.name}__calls"
    child = TableSchema(
        name, f"{one.identifier}__calls", (("calls",),), one.key, (column("call_date", "date"),), ()
    )
    return DatasetSchema(parent.name, (one, child))


def rows(schema: TableSchema, *given: Mapping[str, Any]) -> pa.Table:
    """Rows with the given columns; open and from system time 1 where nothing else is said."""
    instant = {"valid_from": 0, "valid_to": END_OF_TIME_US, "system_from": 1, "system_to": END_OF_TIME_US}
    arrays = []
    for field in schema.arrow:
        values = [row.get(field.name, instant.get(field.name)) for row in given]
        if pa.types.is_timestamp(field.type) and all(isinstance(v, int) for v in values):
            arrays.append(pa.array(values, pa.int64()).cast(field.type))
        elif isinstance(field.type, pa.UuidType):
            plain = pa.array([None if v is None else v.bytes for v in values], pa.binary(16))
            arrays.append(pa.ExtensionArray.from_storage(field.type, plain))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema.arrow)


def epoch(
    schema: DatasetSchema,
    number: int,
    opened: Sequence[Mapping[str, Any]] = (),
    closed: Sequence[Mapping[str, Any]] = (),
    dead: pa.Table | None = None,
) -> Epoch:
    """An epoch whose rows are the parent's; the other tables get none."""
    parts = tuple(
        TableRows(
            t,
            [rows(t, *(opened if t is schema.parent else ()))],
            [rows(t, *(closed if t is schema.parent else ()))],
        )
        for t in schema.tables
    )
    return Epoch(schema, position(number), parts, dead)


def position(number: int) -> Position:
    return Position(
        number, {0: number * 10, 1: 7}, {0: number * 1000}, number * 1000 - 1, {"a.jsonl": number}
    )


def keys(schema: TableSchema, count: int, prefix: str = "K") -> list[dict[str, Any]]:
    return [{name.name: f"{prefix}{number:05d}" for name in schema.key} for number in range(count)]


def dead_letters(name: str, epoch_number: int, count: int) -> pa.Table:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    given = [
        {
            "id": f"{name}/t/0/{number}/{epoch_number}",
            "dataset": name,
            "epoch": epoch_number,
            "value": b"\xff{",
            "stage": "decode",
            "reason": "not JSON",
            "system_time": now,
            "status": "dead",
        }
        for number in range(count)
    ]
    return pa.Table.from_pylist(given, schema=DEAD_LETTERS)


def read(sink: LakeSink, schema: TableSchema) -> list[dict[str, Any]]:
    return [row for batch in sink.scan_versions(schema) for row in batch.to_pylist()]


def isins(sink: LakeSink, schema: TableSchema) -> list[str]:
    return sorted(row["isin"] for row in read(sink, schema))
