"""A table's columns by their part in a query, with their names in DuckDB and Arrow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from pipeline.errors import Refused
from pipeline.query.stored import StoredTable
from pipeline.schema import PROVENANCE, RESERVED, SYSTEM_COLUMNS, VALID_COLUMNS, ColumnType, Kind
from pipeline.sink.conventions import KEY, column_type

_DUCKDB = {
    Kind.STRING: "VARCHAR",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INT: "INTEGER",
    Kind.LONG: "BIGINT",
    Kind.FLOAT: "FLOAT",
    Kind.DOUBLE: "DOUBLE",
    Kind.DATE: "DATE",
    Kind.TIMESTAMP: "TIMESTAMPTZ",
    Kind.UUID: "UUID",
    Kind.BINARY: "BLOB",
}


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class Field:
    """A column: its name, its Iceberg field id and its type."""

    name: str
    id: int
    type: ColumnType

    @staticmethod
    def of(field: Mapping[str, Any]) -> "Field":
        """A column of an Iceberg table, as its metadata tells it."""
        return Field(field["name"], field["id"], column_type(field["type"]))

    @property
    def duckdb(self) -> str:
        """The type's name in DuckDB."""
        if self.type.kind is Kind.DECIMAL:
            return f"DECIMAL({self.type.precision},{self.type.scale})"
        return _DUCKDB[self.type.kind]

    @property
    def arrow(self) -> pa.DataType:
        """The type in answers."""
        return self.type.arrow


@dataclass(frozen=True)
class Shape:
    """The columns of a table of versions.

    Attributes:
        key: the key columns, the parents' first.
        values: the other columns of the dataset.
        times: valid_from, valid_to, system_from, system_to.
        provenance: the columns that tell which changes opened and closed a version.
        dated: valid time is a date.
    """

    key: tuple[Field, ...]
    values: tuple[Field, ...]
    times: tuple[Field, ...]
    provenance: tuple[Field, ...]
    dated: bool

    @staticmethod
    def of(table: StoredTable) -> "Shape":
        """The shape of an Iceberg table that bitlake made.

        Raises:
            Refused: bitlake did not make the table.
        """
        fields = {field["name"]: field for field in table.fields}
        times = (*VALID_COLUMNS, *SYSTEM_COLUMNS)
        if KEY not in table.properties or not set(times) <= set(fields):
            raise Refused(
                f"{'.'.join(table.identifier)} is not a table of versions: bitlake did not make it",
                next_step="give the dataset another table in lake.yaml",
            )
        key = json.loads(table.properties[KEY])
        values = [f for name, f in fields.items() if name not in RESERVED and name not in key]
        return Shape(
            key=tuple(Field.of(fields[name]) for name in key),
            values=tuple(Field.of(field) for field in values),
            times=tuple(Field.of(fields[name]) for name in times),
            provenance=tuple(Field.of(fields[name]) for name in PROVENANCE if name in fields),
            dated=fields["valid_from"]["type"] == "date",
        )

    @property
    def columns(self) -> tuple[Field, ...]:
        """The dataset's columns."""
        return self.key + self.values

    @property
    def fields(self) -> tuple[Field, ...]:
        """Every column, in the order of answers."""
        return self.columns + self.times + self.provenance

    @cached_property
    def key_sql(self) -> str:
        """The key columns as an SQL list."""
        return ", ".join(quoted(field.name) for field in self.key)

    @property
    def version_sql(self) -> str:
        """What identifies a version, as an SQL list."""
        return f"{self.key_sql}, system_from, valid_from"

    def answer_fields(self, *, provenance: bool) -> tuple[Field, ...]:
        """The columns of an answer."""
        return self.columns + self.times + (self.provenance if provenance else ())

    def arrow(self, *, provenance: bool) -> pa.Schema:
        """The Arrow schema of an answer; no end is null."""
        return pa.schema([pa.field(f.name, f.arrow) for f in self.answer_fields(provenance=provenance)])
