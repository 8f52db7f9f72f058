"""Column types of bitlake and of Iceberg, and which may be widened to which."""

import json

import pyarrow as pa
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
    UUIDType,
)

from pipeline.schema import ColumnType, Kind
from pipeline.sink.conventions import column_type

_ICEBERG: dict[Kind, IcebergType] = {
    Kind.STRING: StringType(),
    Kind.BOOLEAN: BooleanType(),
    Kind.INT: IntegerType(),
    Kind.LONG: LongType(),
    Kind.FLOAT: FloatType(),
    Kind.DOUBLE: DoubleType(),
    Kind.DATE: DateType(),
    Kind.TIMESTAMP: TimestamptzType(),
    Kind.UUID: UUIDType(),
    Kind.BINARY: BinaryType(),
    Kind.JSON: StringType(),
}
_ARROW: dict[pa.DataType, IcebergType] = {
    ColumnType(kind).arrow: iceberg for kind, iceberg in _ICEBERG.items() if kind is not Kind.JSON
}


def to_iceberg(type_: ColumnType) -> IcebergType:
    """The Iceberg type that holds a column of this type."""
    if type_.kind is Kind.DECIMAL:
        return DecimalType(type_.precision, type_.scale)
    return _ICEBERG[type_.kind]


def arrow_to_iceberg(type_: pa.DataType) -> IcebergType:
    """The Iceberg type of a column of `TableSchema.arrow`."""
    if pa.types.is_decimal(type_):
        return DecimalType(type_.precision, type_.scale)
    return _ARROW[type_]


def from_iceberg(type_: IcebergType, *, json_text: bool = False) -> ColumnType:
    """The column type that an Iceberg type stands for; `json_text` tells JSON from other strings."""
    return column_type(str(type_), json_text=json_text)


def widens(old: IcebergType, new: IcebergType) -> bool:
    """Whether Iceberg can turn a column from `old` into `new` without rewriting data."""
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        return old.scale == new.scale and old.precision <= new.precision
    return (old, new) in ((IntegerType(), LongType()), (FloatType(), DoubleType()))


def doc_of(path: tuple[str, ...]) -> str:
    """A field's doc: its column's path as a JSON array, by which restarts find it again."""
    return json.dumps(list(path), ensure_ascii=False)


def path_of(field: NestedField) -> tuple[str, ...] | None:
    """The path that a field's doc tells; None for a field that is not bitlake's."""
    try:
        path = json.loads(field.doc or "")
    except ValueError:
        return None
    if isinstance(path, list) and all(isinstance(step, str) for step in path):
        return tuple(path)
    return None
