"""Column types and the tables of a dataset, as every stage shares them.

A dataset has one parent table and a child table per declared array, arrays in arrays included. All of
them are keyed by the parent's key first. `Column.path` leads from the table's own JSON object (the
record's value for the parent, the array's element for a child) to the value.
"""

import re
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

import pyarrow as pa

from pipeline.errors import BadConfiguration

END_OF_TIME_US = 253_402_214_400_000_000
"""9999-12-31T00:00:00Z in microseconds: "no end" in the tables."""
END_OF_TIME_DAY = 2_932_896
"""9999-12-31 in days since 1970-01-01: "no end" where valid time is a date."""

VALID_COLUMNS = ("valid_from", "valid_to")
SYSTEM_COLUMNS = ("system_from", "system_to")
PROVENANCE = {
    "operation": pa.string(),
    "source_topic": pa.string(),
    "source_partition": pa.int32(),
    "source_offset": pa.int64(),
    "closed_by_operation": pa.string(),
    "closed_by_partition": pa.int32(),
    "closed_by_offset": pa.int64(),
}
RESERVED = frozenset((*VALID_COLUMNS, *SYSTEM_COLUMNS, *PROVENANCE))
"""Names that a dataset's own columns can't have (in any case: Trino ignores case)."""

INSTANT = pa.timestamp("us", tz="UTC")


class Kind(IntEnum):
    """What a column holds; the numbers are stored in payloads' plans, never in tables."""

    UNKNOWN = 0
    STRING = 1
    BOOLEAN = 2
    INT = 3
    LONG = 4
    FLOAT = 5
    DOUBLE = 6
    DECIMAL = 7
    DATE = 8
    TIMESTAMP = 9
    UUID = 10
    BINARY = 11
    JSON = 12


_ARROW: dict[Kind, pa.DataType] = {
    Kind.STRING: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.INT: pa.int32(),
    Kind.LONG: pa.int64(),
    Kind.FLOAT: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: INSTANT,
    Kind.UUID: pa.uuid(),
    Kind.BINARY: pa.binary(),
    Kind.JSON: pa.string(),
}
_VARYING = frozenset((Kind.STRING, Kind.BINARY, Kind.JSON, Kind.UNKNOWN))
_MOST_DIGITS = 18
"""Of a decimal whose unscaled value has room in 64 bits."""
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")


@dataclass(frozen=True)
class ColumnType:
    """A declared or inferred type; precision and scale are 0 but for decimals."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    @staticmethod
    def parse(text: str) -> "ColumnType":
        """Read a type as lake.yaml spells it: ``long``, ``decimal(12,6)``, ``json``."""
        name = text.strip().lower()
        if match := _DECIMAL.fullmatch(name):
            precision, scale = int(match[1]), int(match[2])
            if 1 <= precision <= 38 and scale <= precision:
                return ColumnType(Kind.DECIMAL, precision, scale)
        elif name.upper() in Kind.__members__ and name not in ("unknown", "decimal"):
            return ColumnType(Kind[name.upper()])
        raise BadConfiguration(
            f"'{text}' is not a column type",
            next_step="use string, boolean, int, long, float, double, decimal(p,s) with p up to 38,"
            " date, timestamp, uuid, binary or json",
        )

    def __str__(self) -> str:
        if self.kind is Kind.DECIMAL:
            return f"decimal({self.precision},{self.scale})"
        return self.kind.name.lower()

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that a column of this type has in tables and answers."""
        if self.kind is Kind.DECIMAL:
            return pa.decimal128(self.precision, self.scale)
        return _ARROW[self.kind]

    @property
    def width(self) -> int:
        """Bytes of a value in canonical bytes, 8 or 16; 0 where they vary."""
        if self.kind in _VARYING:
            return 0
        wide = self.kind is Kind.UUID or (self.kind is Kind.DECIMAL and self.precision > _MOST_DIGITS)
        return 16 if wide else 8


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: in the table.
        path: of its value.
        type: its type.
        declared: in lake.yaml, or inferred.
        retired: another column, or an array, is declared at its path now, above it or below it: it keeps
            what it has, and gets no more values.
    """

    name: str
    path: tuple[str, ...]
    type: ColumnType
    declared: bool = True
    retired: bool = False


POSITION = Column("position", (), ColumnType(Kind.LONG))
"""The key of an array's elements where the dataset declares none: their position, from 0."""


@dataclass(frozen=True)
class TableSchema:
    """One table of a dataset.

    Attributes:
        name: what commands call it: the dataset's name, or ``<dataset>__<array>``.
        identifier: the Iceberg identifier, e.g. ``ref.bonds__calls``.
        arrays: paths of the arrays from the record's value to this table's elements; empty for the parent.
        inherited: the key columns of the tables above, outermost first (none for the parent).
        own_key: this table's own key columns; for a child without a key, ``(POSITION,)``.
        values: the other columns: declared ones in the dataset's order, then the table's others in theirs.
        dated: valid time is a date (days), not a timestamp (microseconds).
        scalars: the array's elements are scalars, held in the column ``value`` (path ``()``).
    """

    name: str
    identifier: str
    arrays: tuple[tuple[str, ...], ...]
    inherited: tuple[Column, ...]
    own_key: tuple[Column, ...]
    values: tuple[Column, ...]
    dated: bool = False
    scalars: bool = False

    @property
    def key(self) -> tuple[Column, ...]:
        """All key columns, the parents' first."""
        return self.inherited + self.own_key

    @property
    def columns(self) -> tuple[Column, ...]:
        """The dataset's columns in table order: key, then values."""
        return self.key + self.values

    @property
    def by_position(self) -> bool:
        """Whether the elements have no key but their position (named ``<array>__position`` below another)."""
        if len(self.own_key) != 1:
            return False
        column = self.own_key[0]
        return (
            column.name.split("__")[-1] == POSITION.name and replace(column, name=POSITION.name) == POSITION
        )

    @cached_property
    def arrow(self) -> pa.Schema:
        """The table's full row: columns, valid time, system time, provenance."""
        valid = pa.date32() if self.dated else INSTANT
        required = [pa.field(c.name, c.type.arrow, nullable=False) for c in self.key]
        optional = [pa.field(c.name, c.type.arrow) for c in self.values if c.type.kind is not Kind.UNKNOWN]
        times = [pa.field(n, valid, nullable=False) for n in VALID_COLUMNS]
        times += [pa.field(n, INSTANT, nullable=False) for n in SYSTEM_COLUMNS]
        return pa.schema(required + optional + times + [pa.field(n, t) for n, t in PROVENANCE.items()])

    def with_values(self, added: tuple[Column, ...]) -> "TableSchema":
        """This table with more value columns at the end."""
        return replace(self, values=self.values + added)


@dataclass(frozen=True)
class DatasetSchema:
    """A dataset's tables: the parent first, then children in the order declared, depth first."""

    name: str
    tables: tuple[TableSchema, ...]

    @property
    def parent(self) -> TableSchema:
        """The dataset's own table."""
        return self.tables[0]
