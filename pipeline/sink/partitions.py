"""Partition specs from lake.yaml's ``partition_by``, and splitting rows by them."""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    Transform,
    TruncateTransform,
    YearTransform,
)
from pyiceberg.typedef import Record
from pyiceberg.types import BinaryType, StringType

from pipeline.errors import BadConfiguration
from pipeline.schema import RESERVED, SYSTEM_COLUMNS, VALID_COLUMNS, DatasetSchema, TableSchema

_SIZED: dict[str, type[Transform[Any, Any]]] = {"bucket": BucketTransform, "truncate": TruncateTransform}
_TIMED: dict[str, type[Transform[Any, Any]]] = {
    "year": YearTransform,
    "month": MonthTransform,
    "day": DayTransform,
    "hour": HourTransform,
}
_TERM = re.compile(
    r"(?P<sized>bucket|truncate)\(\s*(?P<size>\d+)\s*,\s*(?P<of>[^()]+?)\s*\)"
    r"|(?P<timed>year|month|day|hour)s?\(\s*(?P<in>[^()]+?)\s*\)"
    r"|(?P<plain>[^()]+)",
    re.IGNORECASE,
)
_FIRST_FIELD_ID = 1000

_LONGEST_NAME = 60
_NOT_AVRO = re.compile(r"[^A-Za-z0-9_]")
LONGEST_PATH = 200
"""Bytes of a partition's folders that every store takes: a file's name has 255, a key in S3 1024 in all."""
_BYTES_OF_CHARACTER = 12
"""Of a character in a path: four bytes, each as ``%FF``."""
_BYTES_OF_NUMBER = 45
"""Of any value that is no text in a path: a decimal has 40 characters, a UUID 36."""

SHORT_PATHS = {"write.object-storage.enabled": "true", "write.object-storage.partitioned-paths": "false"}
"""Properties of a table by which every writer (ours, Flink's, Trino, Spark) keeps partitions out of paths."""


@dataclass(frozen=True)
class Partition:
    """The values of one partition, as Iceberg stores them.

    In the place of pyiceberg's ``PartitionKey``, which takes no two fields of one column.
    """

    partition: Record
    spec: PartitionSpec
    schema: Schema

    def to_path(self) -> str:
        """The folders of the partition's files."""
        return self.spec.partition_to_path(self.partition, self.schema)


def parse_term(text: str) -> tuple[str, str, Transform[Any, Any]]:
    """Read one entry of ``partition_by``.

    Returns:
        The source column, the partition field's name, and the transform.
    """
    match = _TERM.fullmatch(text.strip())
    if match is None:
        raise BadConfiguration(
            f"'{text}' is not a partition: lake.yaml, partition_by",
            next_step="write a column, or bucket(8, column), truncate(4, column), year(column),"
            " month(column), day(column) or hour(column)",
        )
    if match["sized"]:
        name, size = match["sized"].lower(), int(match["size"])
        if size < 1:
            raise BadConfiguration(f"'{text}' needs a number above 0", next_step="write e.g. bucket(8, isin)")
        suffix = "bucket" if name == "bucket" else "trunc"
        return match["of"], f"{match['of']}_{suffix}", _SIZED[name](size)
    if match["timed"]:
        name = match["timed"].lower()
        return match["in"], f"{match['in']}_{name}", _TIMED[name]()
    return match["plain"].strip(), match["plain"].strip(), IdentityTransform()


def partition_spec(
    table: TableSchema, schema: Schema, partition_by: Sequence[str], *, parent: bool, upsert: bool
) -> PartitionSpec:
    """The spec of one table; a child leaves out the parts whose columns it does not have.

    Columns that data brought do not count: a child's array may have a field of any name.
    """
    known, taken = _sources(table), {name.lower() for name in schema.column_names}
    fields: list[PartitionField] = []
    for text in partition_by:
        source, plain, transform = parse_term(text)
        if source not in known or source not in schema.column_names:
            if parent:
                raise BadConfiguration(
                    f"partition_by names '{source}', which is no column of {table.identifier}",
                    next_step="declare it under columns, or partition by one of: "
                    + ", ".join(schema.column_names),
                )
            continue
        if upsert and source not in {c.name for c in table.key} | {"valid_from", "system_from"}:
            raise BadConfiguration(
                f"an upsert table can't be partitioned by '{source}': a version's rows must stay together",
                next_step="partition by key columns, valid_from or system_from, or use mode: append",
            )
        field = schema.find_field(source)
        if not transform.can_transform(field.field_type):
            if not parent:
                continue
            raise BadConfiguration(
                f"'{text}' does not work on the type of '{source}', which is {field.field_type}",
                next_step="use another transform, or declare the column with another type",
            )
        if any(f.source_id == field.field_id and _are_times(f.transform, transform) for f in fields):
            raise BadConfiguration(
                f"partition_by cuts '{source}' by time twice, which Iceberg does not allow",
                next_step=f"keep one of year({source}), month({source}), day({source}), hour({source})",
            )
        name = _free_name(plain, source, taken)
        taken.add(name.lower())
        fields.append(PartitionField(field.field_id, _FIRST_FIELD_ID + len(fields), transform, name))
    return PartitionSpec(*fields)


def _are_times(*transforms: Transform[Any, Any]) -> bool:
    return all(isinstance(transform, tuple(_TIMED.values())) for transform in transforms)


def reserved_names(dataset: DatasetSchema, partition_by: Sequence[str]) -> frozenset[str]:
    """Names in lower case that partitions of a dataset's tables have, or had by earlier rules."""
    found = set[str]()
    for table in dataset.tables:
        taken = {column.name.lower() for column in table.columns} | RESERVED
        for text in partition_by:
            source, plain, _ = parse_term(text)
            if source in _sources(table):
                name = _free_name(plain, source, taken).lower()
                taken.add(name)
                found |= {name, plain.lower()}
    return frozenset(found)


def _sources(table: TableSchema) -> set[str]:
    """Names of columns that a table may be partitioned by."""
    own = {c.name for c in table.columns if c.declared} | {c.name for c in table.key}
    return own | {*VALID_COLUMNS, *SYSTEM_COLUMNS}


def _free_name(plain: str, source: str, taken: Collection[str]) -> str:
    """A name that Avro, and so every reader of manifests, takes, and that no other column has."""
    name = safe_name(plain)
    number, free = 1, name
    while free.lower() in taken and not free == plain == source:
        number += 1
        free = f"{name}_{number}"
    return free


def safe_name(plain: str) -> str:
    """A name of ASCII letters, digits and ``_`` that is short enough for a folder's name."""
    name = _NOT_AVRO.sub(lambda found: f"_x{ord(found[0]):X}", plain)
    if name[:1].isdigit():
        name = f"_{name}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 17]}_{hashlib.sha256(plain.encode()).hexdigest()[:16]}"
    return name


def same_partitions(one: PartitionSpec, other: PartitionSpec) -> bool:
    """Whether two specs partition alike; names of fields don't matter."""
    of_one, of_other = (
        [(field.source_id, str(field.transform)) for field in spec.fields] for spec in (one, other)
    )
    return of_one == of_other


def path_properties(spec: PartitionSpec, schema: Schema) -> Mapping[str, str]:
    """Table properties that keep the paths of data files short whatever values are in the partitions."""
    longest = sum(
        len(field.name) * _BYTES_OF_CHARACTER ** (not field.name.isascii())
        + 2
        + _longest_value(field, schema)
        for field in spec.fields
    )
    return SHORT_PATHS if longest > LONGEST_PATH else {}


def _longest_name(field: PartitionField) -> int:
    return len(field.name) * (1 if field.name.isascii() else _BYTES_OF_CHARACTER) + len("=/")


def _longest_value(field: PartitionField, schema: Schema) -> int:
    """The most bytes of a partition's value in a path."""
    source = schema.find_field(field.source_id).field_type
    if isinstance(field.transform, IdentityTransform) and isinstance(source, StringType | BinaryType):
        return LONGEST_PATH
    if isinstance(field.transform, TruncateTransform) and isinstance(source, StringType | BinaryType):
        return field.transform.width * _BYTES_OF_CHARACTER
    return _BYTES_OF_NUMBER


def split(rows: pa.Table, spec: PartitionSpec, schema: Schema) -> Iterator[tuple[Partition | None, pa.Table]]:
    """Split rows by partition, in one sort however many partitions there are; their order stays."""
    if spec.is_unpartitioned():
        yield None, rows
        return
    values, codes = _partition_codes(rows, spec, schema)
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    rows = rows.take(pa.array(order))
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        first = int(order[start])
        partition = Record(*(column[first].as_py() for column in values))
        yield Partition(partition, spec, schema), rows.slice(start, end - start)


def _partition_codes(rows: pa.Table, spec: PartitionSpec, schema: Schema) -> tuple[list[pa.Array], Any]:
    """Per field its values as Iceberg stores them, and per row a number of its partition."""
    codes = np.zeros(len(rows), dtype=np.int64)
    values: list[pa.Array] = []
    for field in spec.fields:
        source = schema.find_field(field.source_id)
        column = rows.column(source.name).combine_chunks()
        value = _stored(field.transform.pyarrow_transform(source.field_type)(column))
        encoded = pc.dictionary_encode(value, null_encoding="encode")
        codes = codes * max(1, len(encoded.dictionary)) + encoded.indices.to_numpy(zero_copy_only=False)
        if values:
            _, codes = np.unique(codes, return_inverse=True)
        values.append(value)
    return values, codes


def _stored(values: pa.Array) -> pa.Array:
    """Times as numbers, UUIDs as bytes."""
    if isinstance(values, pa.ExtensionArray):
        return values.storage
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.int64())
    return values.cast(pa.int32()) if pa.types.is_date(values.type) else values
