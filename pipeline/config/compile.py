"""A dataset's declaration as the tables it makes."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.config.document import Steps
from pipeline.config.models import ChildConfig, DatasetConfig, TimePrecision, ValidTime
from pipeline.config.partitions import PartitionField
from pipeline.schema import POSITION, Column, ColumnType, DatasetSchema, Kind, TableSchema

SCALAR = "value"
"""The column of an array of scalars."""
Path = tuple[str, ...]
_UNDECLARED_KEY = ColumnType(Kind.STRING)


def dataset_schema(config: DatasetConfig) -> DatasetSchema:
    """The tables that a dataset declares: the parent first, then children depth first."""
    dated = config.valid_time is ValidTime.DATE
    own_key, values = _columns(config)
    parent = TableSchema(config.name, config.table, (), (), own_key, values, dated)
    return DatasetSchema(config.name, (parent, *_children(config.children, parent)))


def walk(config: DatasetConfig) -> Iterator[tuple[Steps, DatasetConfig | ChildConfig]]:
    """The declarations of `dataset_schema`'s tables, in its order, with their paths below the dataset."""
    yield (), config
    yield from _walk(config.children, ())


def partition_fields(config: DatasetConfig, table: TableSchema) -> tuple[PartitionField, ...]:
    """The partitioning of one of a dataset's tables: a child has the fields whose columns it inherits."""
    names = {column.name for column in (table.inherited or table.columns)}
    times = {"valid_from", "valid_to", "system_from", "system_to"}
    return tuple(field for field in config.partition_by if field.column in names | times)


def truncated_columns(config: DatasetConfig) -> frozenset[tuple[tuple[Path, ...], Path]]:
    """The columns of times that drop digits beyond microseconds: (arrays of the table, path)."""
    tables = zip(walk(config), dataset_schema(config).tables, strict=True)
    return frozenset(
        (table.arrays, column.path)
        for (_, part), table in tables
        for column in part.columns.values()
        if column.time_precision is TimePrecision.TRUNCATE
    )


def child_column_name(name: str, array: tuple[str, ...], taken: frozenset[str]) -> str:
    """A child's column: named ``<array>__<name>`` when an inherited key column has its name (in any case)."""
    return "__".join((*array, name)) if name.lower() in taken else name


def lower_names(columns: tuple[Column, ...]) -> frozenset[str]:
    """The columns' names as Trino compares them."""
    return frozenset(column.name.lower() for column in columns)


def _walk(children: tuple[ChildConfig, ...], above: Steps) -> Iterator[tuple[Steps, ChildConfig]]:
    for index, child in enumerate(children):
        path = (*above, "children", index)
        yield path, child
        yield from _walk(child.children, path)


def _columns(config: DatasetConfig | ChildConfig) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """The key and the value columns, under their own names."""
    declared = {
        column.path: Column(name.replace(".", "__"), column.path, column.type)
        for name, column in config.columns.items()
    }
    key = tuple(
        declared.get(path) or Column("__".join(path) or SCALAR, path, _UNDECLARED_KEY, declared=False)
        for path in dict.fromkeys(config.key)
    )
    return key, tuple(column for column in declared.values() if column not in key)


def _children(children: tuple[ChildConfig, ...], parent: TableSchema) -> Iterator[TableSchema]:
    for child in children:
        table = _child(child, parent)
        yield table
        yield from _children(child.children, table)


def _child(config: ChildConfig, parent: TableSchema) -> TableSchema:
    suffix = "__".join(config.path)
    key, values = _columns(config)
    taken = lower_names(parent.key)
    own_key = _renamed(key or (POSITION,), config.path, taken)
    if not key:
        taken |= lower_names(own_key)
    return TableSchema(
        name=f"{parent.name}__{suffix}",
        identifier=config.table or f"{parent.identifier}__{suffix}",
        arrays=(*parent.arrays, config.path),
        inherited=parent.key,
        own_key=own_key,
        values=_renamed(values, config.path, taken),
        dated=parent.dated,
        scalars=any(not column.path for column in key + values),
    )


def _renamed(
    columns: tuple[Column, ...], array: tuple[str, ...], taken: frozenset[str]
) -> tuple[Column, ...]:
    return tuple(replace(column, name=child_column_name(column.name, array, taken)) for column in columns)
