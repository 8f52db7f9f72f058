"""Iceberg tables for a dataset: creating them, reading their columns back, evolving them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import NestedField
from sqlalchemy.exc import IntegrityError

from pipeline.errors import Refused
from pipeline.schema import RESERVED, Column, Kind, TableSchema
from pipeline.sink.catalog import until_made, while_busy
from pipeline.sink.commit import persistent
from pipeline.sink.conventions import DATASET, JSON, KEY, MODE, TABLE
from pipeline.sink.dead_letter_table import ADDED, DEAD_LETTERS, DOCS
from pipeline.sink.flink_positions import POSITIONS
from pipeline.sink.partitions import partition_spec, path_properties, same_partitions
from pipeline.sink.types import arrow_to_iceberg, doc_of, from_iceberg, path_of, to_iceberg, widens

Mode = Literal["append", "upsert"]
Path = tuple[str, ...]

_UNSET = {JSON: "[]"}
_ELSEWHERE = "load the data as another dataset: one with another name and table in lake.yaml"
BASE_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "1",
    "write.parquet.dict-size-bytes": str(64 * 1024),
    "write.parquet.page-size-bytes": str(256 * 1024),
    "commit.retry.num-retries": "20",
    "commit.retry.max-wait-ms": "2000",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "50",
    "commit.manifest.target-size-bytes": str(1024 * 1024),
}
"""Old metadata files go, and manifests are merged (up to 1 MB), so that a commit stays cheap for years.
Large dictionaries, such as of keys, cost Iceberg's own writers a cache miss a row (decision 0017); each of
those writers holds a page's bytes, without rows too, and pages end at 20,000 rows anyway. TaskManagers and
jobs that share a table try again as often as it takes."""


@dataclass(frozen=True)
class TableOptions:
    """What lake.yaml says of a dataset's tables beside their columns."""

    dataset: str
    mode: Mode
    partition_by: Sequence[str]


def iceberg_schema(table: TableSchema) -> Schema:
    """The Iceberg schema of a table: fields in row order, each with its column's path as its doc."""
    docs = {column.name: doc_of(column.path) for column in table.columns}
    return Schema(
        *(
            NestedField(
                number, field.name, arrow_to_iceberg(field.type), not field.nullable, docs.get(field.name)
            )
            for number, field in enumerate(table.arrow, start=1)
        )
    )


@while_busy
def load_table(catalog: Catalog, identifier: str) -> Table:
    """A table as it is now."""
    return catalog.load_table(identifier)


def create_table(catalog: Catalog, table: TableSchema, options: TableOptions) -> Table:
    """Create a table and its namespace; one that another process creates meanwhile is taken as it is."""
    schema = iceberg_schema(table)
    spec = _spec(table, schema, options)
    properties = BASE_PROPERTIES | {
        DATASET: options.dataset,
        TABLE: table.name,
        MODE: options.mode,
        KEY: json.dumps([column.name for column in table.key]),
        JSON: _json_columns(table),
        **path_properties(spec, schema),
    }
    return _create(catalog, table.identifier, schema, spec, properties)


def open_dead_letters(catalog: Catalog, identifier: str) -> Table:
    """The table of dead letters, created if it is missing, with the columns that an earlier version lacks."""
    try:
        return _widened(load_table(catalog, identifier))
    except NoSuchTableError:
        schema = Schema(
            *(
                NestedField(number, f.name, arrow_to_iceberg(f.type), not f.nullable, DOCS.get(f.name))
                for number, f in enumerate(DEAD_LETTERS, start=1)
            )
        )
        return _create(catalog, identifier, schema, PartitionSpec(), BASE_PROPERTIES)


def _widened(letters: Table) -> Table:
    """Add missing columns to the table of dead letters, whoever else does so at the same time."""
    for attempt in persistent():
        with attempt:
            if attempt.retry_state.attempt_number > 1:
                letters.refresh()
            if missing := [name for name in ADDED if name not in letters.schema().column_names]:
                with letters.update_schema() as update:
                    for name in missing:
                        type_ = arrow_to_iceberg(DEAD_LETTERS.field(name).type)
                        update.add_column((name,), type_, doc=DOCS.get(name))
                        update.move_after((name,), (ADDED[name],))
    return letters


def open_positions(catalog: Catalog, identifier: str) -> Table:
    """The table of Flink jobs' positions, created if it is missing."""
    try:
        return load_table(catalog, identifier)
    except NoSuchTableError:
        fields = (
            NestedField(number, f.name, arrow_to_iceberg(f.type), not f.nullable)
            for number, f in enumerate(POSITIONS, start=1)
        )
        return _create(catalog, identifier, Schema(*fields), PartitionSpec(), BASE_PROPERTIES)


@until_made
def _create(
    catalog: Catalog, identifier: str, schema: Schema, spec: PartitionSpec, properties: dict[str, str]
) -> Table:
    namespace = Catalog.namespace_from(identifier)
    if not catalog.namespace_exists(namespace):
        with suppress(NamespaceAlreadyExistsError, IntegrityError):
            catalog.create_namespace(namespace)
    there = False
    try:
        catalog.create_table(identifier, schema, partition_spec=spec, properties=properties)
    except TableAlreadyExistsError:
        there = True
    try:
        # Even if just made: SeaweedFS lets two creators at once both succeed, and keeps the last one's.
        return catalog.load_table(identifier)
    except NoSuchTableError as error:
        if not there:
            raise
        raise Refused(
            f"{identifier} can't be made: something else has its name, perhaps a view",
            next_step="give the dataset another table in lake.yaml, or drop what has the name",
        ) from error


def _spec(table: TableSchema, schema: Schema, options: TableOptions) -> PartitionSpec:
    return partition_spec(
        table, schema, options.partition_by, parent=not table.arrays, upsert=options.mode == "upsert"
    )


def check_table(table: TableSchema, existing: Table, options: TableOptions) -> None:
    """Refuse an existing table that this dataset must not write to.

    Raises:
        Refused: it is another dataset's or not bitlake's, or its key, valid time, mode or partitions differ.
    """
    properties = existing.properties
    owner = properties.get(DATASET)
    if owner != options.dataset:
        who = f"belongs to the dataset '{owner}'" if owner else "was not made by bitlake"
        _refuse(table, f"the table exists and {who}", "give the dataset another table in lake.yaml")
    key = [column.name for column in table.key]
    if json.loads(properties[KEY]) != key:
        _refuse(
            table,
            f"its key is {properties[KEY]}, lake.yaml says {json.dumps(key)}",
            f"a key can't change: put the old key back, or {_ELSEWHERE}",
        )
    if properties.get(MODE) != options.mode:
        _refuse(
            table,
            f"it was made with mode: {properties.get(MODE)}, lake.yaml says {options.mode}",
            f"put the mode back, or {_ELSEWHERE}",
        )
    schema = existing.schema()
    if not same_partitions(existing.spec(), _spec(table, schema, options)):
        _refuse(
            table,
            f"it is partitioned by {existing.spec()}, lake.yaml's partition_by says otherwise",
            f"put partition_by back, or {_ELSEWHERE}",
        )
    valid = arrow_to_iceberg(table.arrow.field("valid_from").type)
    if schema.find_field("valid_from").field_type != valid:
        _refuse(
            table,
            f"its valid time is of type {schema.find_field('valid_from').field_type}, lake.yaml says {valid}",
            f"put valid_time back, or {_ELSEWHERE}",
        )
    for field in schema.fields:
        if field.required and field.name not in table.arrow.names:
            _refuse(table, f"its column '{field.name}' is required and unknown here", "make it optional")


def misfit(table: TableSchema, existing: Table, options: TableOptions) -> str | None:
    """Why an existing table can't take this dataset's rows, if it can't."""
    known = {field.name: field for field in existing.schema().fields}
    try:
        check_table(table, existing, options)
        for column in _written(table):
            if column.name in known and not _can_hold(known[column.name], column):
                _refuse_type(table, column, known[column.name])
    except Refused as refused:
        return refused.message
    return None


def is_empty(existing: Table) -> bool:
    """Whether a table's current snapshot says that it holds no row."""
    current = existing.current_snapshot()
    summary = current.summary if current is not None else None
    return current is None or (
        summary is not None and summary.additional_properties.get("total-records") == "0"
    )


def never_held_rows(existing: Table, dataset: str) -> bool:
    """Whether a table is the dataset's, and no snapshot of it says that it ever had a row."""
    summaries = [snapshot.summary for snapshot in existing.metadata.snapshots]
    return existing.properties.get(DATASET) == dataset and all(
        summary is not None and summary.additional_properties.get("total-records") == "0"
        for summary in summaries
    )


def _refuse(table: TableSchema, what: str, next_step: str) -> None:
    raise Refused(f"{table.identifier}: {what}", next_step=next_step)


def read_back(table: TableSchema, existing: Table, arrays: Sequence[Path] = ()) -> TableSchema:
    """The table's schema with the columns of earlier runs, inferred or retired, in their order of appearance.

    Retired ones, too: rows are written anew when their belief or validity ends, and keep what they had.

    Args:
        table: as lake.yaml declares it.
        existing: the table that there is.
        arrays: paths of the arrays in it that are child tables.
    """
    json_columns = set(json.loads(existing.properties.get(JSON, "[]")))
    names = {column.name for column in table.columns}
    own = table.values if table.by_position else table.own_key + table.values
    declared = [column.path for column in own]
    earlier = []
    for field in existing.schema().fields:
        path = path_of(field)
        if field.name in names or field.name in RESERVED or path is None:
            continue
        type_ = from_iceberg(field.field_type, json_text=field.name in json_columns)
        # An array of which an earlier run kept the text may be a child table now, too.
        listed = path in arrays and type_.kind is Kind.JSON
        retired = any(_same_value(path, other) for other in (*declared, *(() if listed else arrays)))
        earlier.append(Column(field.name, path, type_, declared=False, retired=retired))
    known = {field.name: field for field in existing.schema().fields}
    values = tuple(
        replace(c, type=from_iceberg(known[c.name].field_type, json_text=c.name in json_columns))
        if c.type.kind is Kind.UNKNOWN and c.name in known
        else c
        for c in table.values
    )
    return replace(table, values=values).with_values(tuple(earlier))


def _same_value(path: Path, other: Path) -> bool:
    """Whether two paths read the same value, or one a part of the other's."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]


def needs_evolution(table: TableSchema, existing: Table) -> bool:
    """Whether columns of the schema are missing, narrower or under another path, or properties are others."""
    schema = existing.schema()
    known = {field.name: field for field in schema.fields}
    return any(
        column.name not in known
        or known[column.name].field_type != to_iceberg(column.type)
        or known[column.name].doc != doc_of(column.path)
        for column in _written(table)
    ) or bool(_new_properties(table, existing))


def evolve(table: TableSchema, existing: Table) -> None:
    """Add the schema's new columns and widen its wider ones, in one commit and without touching data.

    Raises:
        Refused: a column has a type that can't become the schema's.
        CommitFailedException: someone else changed the table meanwhile; refresh and call again.
    """
    known = {field.name: field for field in existing.schema().fields}
    with existing.transaction() as transaction:
        with transaction.update_schema() as update:
            for column in _written(table):
                wanted = to_iceberg(column.type)
                field = known.get(column.name)
                if field is None:
                    _refuse_partition_name(table, column, existing)
                    update.add_column((column.name,), wanted, doc=doc_of(column.path))
                    update.move_before((column.name,), "valid_from")
                    continue
                if not _can_hold(field, column):
                    _refuse_type(table, column, field)
                if field.field_type != wanted or field.doc != doc_of(column.path):
                    update.update_column((column.name,), wanted, doc=doc_of(column.path))
        if properties := _new_properties(table, existing):
            transaction.set_properties(properties)


def _new_properties(table: TableSchema, existing: Table) -> dict[str, str]:
    """Properties of the table that are to be others."""
    wanted = {JSON: _json_columns(table, existing), **path_properties(existing.spec(), existing.schema())}
    return {
        name: value
        for name, value in wanted.items()
        if existing.properties.get(name, _UNSET.get(name)) != value
    }


def _refuse_partition_name(table: TableSchema, column: Column, existing: Table) -> None:
    """Iceberg's Java library can't read a table again of which a column and a partition share a name."""
    names = {field.name.lower() for spec in existing.specs().values() for field in spec.fields}
    if column.name.lower() in names:
        _refuse(
            table,
            f"its partitions have the name of the new column '{column.name}'",
            f"declare the column under another name: {{path: {'.'.join(column.path)}, type: {column.type}}}",
        )


def _can_hold(field: NestedField, column: Column) -> bool:
    wanted = to_iceberg(column.type)
    return field.field_type == wanted or widens(field.field_type, wanted)


def _written(table: TableSchema) -> list[Column]:
    return [column for column in table.columns if column.type.kind is not Kind.UNKNOWN]


def _json_columns(table: TableSchema, existing: Table | None = None) -> str:
    """Names of the JSON columns as JSON, those of columns no longer in the schema included."""
    old = json.loads(existing.properties.get(JSON, "[]")) if existing else []
    current = {column.name: column.type.kind is Kind.JSON for column in table.columns}
    kept = [name for name in old if current.get(name, True)]
    return json.dumps(kept + [name for name, is_json in current.items() if is_json and name not in kept])


def _refuse_type(table: TableSchema, column: Column, field: NestedField) -> None:
    if widens(to_iceberg(column.type), field.field_type):
        advice = f"declare '{column.name}' as {from_iceberg(field.field_type)}: a column never gets narrower"
    else:
        advice = "declare the type that the table has, or give the column another name"
    _refuse(table, f"column '{column.name}' is {field.field_type} and can't become {column.type}", advice)
