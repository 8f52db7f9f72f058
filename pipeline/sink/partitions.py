"""Partition specs from lake.yaml's ``partition_by``, and splitting rows by them."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.partitioning import PartitionField, PartitionFieldValue, PartitionKey, PartitionSpec
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

from pipeline.errors import BadConfiguration
from pipeline.schema import TableSchema

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
    """The spec of one table; a child leaves out the parts whose columns it does not have."""
    fields: list[PartitionField] = []
    for text in partition_by:
        source, name, transform = parse_term(text)
        if source not in schema.column_names:
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
            raise BadConfiguration(
                f"'{text}' does not work on the type of '{source}', which is {field.field_type}",
                next_step="use another transform, or declare the column with another type",
            )
        fields.append(
            PartitionField(
                source_id=field.field_id,
                field_id=_FIRST_FIELD_ID + len(fields),
                transform=transform,
                name=name,
            )
        )
    return PartitionSpec(*fields)


def split(
    rows: pa.Table, spec: PartitionSpec, schema: Schema
) -> Iterator[tuple[PartitionKey | None, pa.Table]]:
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
        key = PartitionKey(
            field_values=[
                PartitionFieldValue(field=field, value=column[first].as_py())
                for field, column in zip(spec.fields, values, strict=True)
            ],
            partition_spec=spec,
            schema=schema,
        )
        yield key, rows.slice(start, end - start)


def _partition_codes(rows: pa.Table, spec: PartitionSpec, schema: Schema) -> tuple[list[pa.Array], Any]:
    codes = np.zeros(len(rows), dtype=np.int64)
    values = []
    for field in spec.fields:
        source = schema.find_field(field.source_id)
        column = rows.column(source.name).combine_chunks()
        value = field.transform.pyarrow_transform(source.field_type)(column)
        storage = value.storage if isinstance(value, pa.ExtensionArray) else value
        encoded = pc.dictionary_encode(storage, null_encoding="encode")
        codes = codes * max(1, len(encoded.dictionary)) + encoded.indices.to_numpy(zero_copy_only=False)
        values.append(value)
    return values, codes
