"""Iceberg tables for tests of queries, in a catalog of a temporary folder."""

import json
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from pipeline.query.answers import Answers
from pipeline.query.session import Session
from pipeline.query.stored import StoredTable
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US, Column, ColumnType, TableSchema
from tests.unit.query.belief import NO_END, Version

SECOND = 1_000_000
ZERO_DAY = date(2024, 1, 1)
ZERO_US = 1_704_067_200 * SECOND


def catalog_in(folder: Path) -> Catalog:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace_if_not_exists("ref")
    return catalog


def column(name: str, type_: str) -> Column:
    return Column(name, (name,), ColumnType.parse(type_))


def table_schema(
    key: dict[str, str], values: dict[str, str], *, dated: bool = True, name: str = "bonds"
) -> TableSchema:
    columns = [tuple(column(n, t) for n, t in part.items()) for part in (key, values)]
    return TableSchema(name, f"ref.{name}", (), (), columns[0], columns[1], dated)


def create(catalog: Catalog, schema: TableSchema) -> Table:
    properties = {
        "bitlake.key": json.dumps([c.name for c in schema.key]),
        "bitlake.dataset": schema.name,
        "bitlake.table": schema.name,
    }
    return catalog.create_table(schema.identifier, schema.arrow, properties=properties)


def answers_of(table: Table, session: Session | None = None) -> Answers:
    return Answers(StoredTable.of(table), session or Session())


def system_us(step: int) -> int:
    return END_OF_TIME_US if step >= NO_END else ZERO_US + step * SECOND


def valid_day(day: int) -> int:
    return END_OF_TIME_DAY if day >= NO_END else (ZERO_DAY - date(1970, 1, 1)).days + day


def iso_day(day: int) -> str:
    return (ZERO_DAY + timedelta(days=day)).isoformat()


def rows_of(versions: list[Version], schema: TableSchema) -> pa.Table:
    """Full rows of versions; the schema has the key `isin` and the value `level`, and is dated."""
    count = len(versions)
    columns: dict[str, pa.Array] = {
        "isin": pa.array([v.key for v in versions], pa.string()),
        "level": pa.array([v.value for v in versions], pa.int64()),
        "valid_from": pa.array([valid_day(v.valid_from) for v in versions], pa.int32()).cast(pa.date32()),
        "valid_to": pa.array([valid_day(v.valid_to) for v in versions], pa.int32()).cast(pa.date32()),
        "system_from": pa.array([system_us(v.system_from) for v in versions], pa.int64()),
        "system_to": pa.array([system_us(v.system_to) for v in versions], pa.int64()),
    }
    arrays = [
        columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema.arrow
    ]
    return pa.table(arrays, schema=schema.arrow)


def versions_in(answer: pa.Table) -> list[Version]:
    """Rows of an answer as versions, in its order."""
    found = []
    for row in answer.to_pylist():
        valid_to, system_to = row["valid_to"], row["system_to"]
        found.append(
            Version(
                row["isin"],
                row["level"],
                (row["valid_from"] - ZERO_DAY).days,
                NO_END if valid_to is None else (valid_to - ZERO_DAY).days,
                _step(row["system_from"]),
                NO_END if system_to is None else _step(system_to),
            )
        )
    return found


def _step(at: object) -> int:
    return (int(at.timestamp()) * SECOND - ZERO_US) // SECOND  # type: ignore[attr-defined]
