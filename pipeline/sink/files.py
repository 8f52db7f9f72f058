"""Data files: rows to Parquet, with the statistics by which readers skip files."""

import logging
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from pipeline.faults import reach
from pipeline.sink.durable import sync
from pipeline.sink.partitions import LONGEST_PATH, Partition, split

log = logging.getLogger(__name__)

ROW_GROUP_ROWS = 65_536
"""Small enough that statistics of sorted rows prune, large enough that compression does not suffer."""

_SAMPLE_ROWS = 4096
_ZSTD_LEVEL = -1
"""A tenth less time than 1, for a twentieth more bytes; readers don't see a difference."""
_BATCH_ROWS = 16_384
"""Rows that Arrow encodes at a time."""
_RISING = frozenset(("system_from", "system_to", "source_offset", "closed_by_offset"))
_FIELD_ID = b"PARQUET:field_id"
_FIRST_SURROGATE, _LAST_SURROGATE = 0xD800, 0xDFFF


@dataclass(frozen=True)
class FileName:
    """What the names of an epoch's data files in one table tell."""

    dataset: str
    epoch: int
    attempt: str

    def path(self, kind: str, number: int) -> str:
        """A file name that no other epoch, attempt or kind of row has."""
        return f"{self.dataset}-{self.epoch:010d}-{kind}-{self.attempt}-{number:05d}.parquet"


def new_attempt() -> str:
    """A part of file names by which the same epoch, tried twice, never meets its own orphans."""
    return uuid.uuid4().hex[:16]


def write_rows(table: Table, chunks: Iterable[pa.Table], name: FileName, kind: str) -> Iterator[DataFile]:
    """Write rows to one data file per partition; nothing for no rows.

    Args:
        table: the Iceberg table; every column of the rows is in its schema.
        chunks: the rows; optional columns of the table may be missing, text may be dictionaries. A chunk is a
            row group, or several if it is large. They are asked for one by one where there are no partitions.
        name: the epoch's part of the file names.
        kind: what the rows are (open, closed ...), also in the file names: kinds never share a file.

    Yields:
        Each file once it is complete, and on disk where it is local.
    """
    schema, filled = table.schema(), (chunk for chunk in chunks if len(chunk))
    first = next(filled, None)
    if first is None:
        return
    ids = {field.name: field.field_id for field in schema.fields}
    numbered = (_with_field_ids(chunk, ids) for chunk in chain([first], filled))
    for number, (key, part) in enumerate(_split(numbered, table)):
        location = _location(table, name.path(kind, number), key)
        reach("before-data-file")
        yield write_file(table, part, location, key)
        reach("after-data-file")


def _location(table: Table, name: str, key: Partition | None) -> str:
    """Where a file goes: in folders that tell its partition, if that does not make a path too long.

    Readers take partitions from manifests, never from paths.
    """
    provider: Any = table.location_provider()
    short = key is None or len(key.to_path()) <= LONGEST_PATH
    return str(provider.new_data_location(name, key if short else None))


def _split(chunks: Iterator[pa.Table], table: Table) -> Iterator[tuple[Partition | None, Iterator[pa.Table]]]:
    if table.spec().is_unpartitioned():
        yield None, chunks
        return
    for key, part in split(whole(chunks), table.spec(), table.schema()):
        yield key, iter([part])


def whole(chunks: Iterable[pa.Table]) -> pa.Table:
    """All chunks as one table without dictionaries."""
    return pa.concat_tables([_plain(chunk) for chunk in chunks])


def _plain(rows: pa.Table) -> pa.Table:
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in rows.schema
    ]
    return rows.cast(pa.schema(fields)) if fields != list(rows.schema) else rows


def write_file(table: Table, chunks: Iterator[pa.Table], location: str, key: Partition | None) -> DataFile:
    """Write one Parquet file and describe it with the statistics of its footer; at least one chunk."""
    footers: list[pq.FileMetaData] = []
    first = next(chunks)
    repeating, encoded = _encodings(first)
    output = table.io.new_output(location)
    with output.create(overwrite=True) as stream:
        with pq.ParquetWriter(
            stream,
            first.schema,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            store_decimal_as_integer=True,
            store_schema=False,
            use_dictionary=repeating,
            column_encoding=encoded,
            write_batch_size=_BATCH_ROWS,
            metadata_collector=footers,
        ) as writer:
            for rows in chain([first], chunks):
                writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        size = stream.tell()
    sync(location)
    return _describe(table, footers[0], location, size, key)


def still_there(table: Table, locations: Iterable[str]) -> Iterator[DataFile]:
    """Describe files that were written and perhaps never committed; one that is gone is logged."""
    for location in locations:
        try:
            yield describe_file(table, location)
        except FileNotFoundError as error:
            log.warning("data file %s was never committed, and is gone: %s", location, error)


def describe_file(table: Table, location: str) -> DataFile:
    """Describe a file that `write_file` wrote for a table without partitions.

    Raises:
        FileNotFoundError: it is gone.
    """
    written = table.io.new_input(location)
    with written.open() as stream:
        footer = pq.read_metadata(stream)
    return _describe(table, footer, location, len(written), None)


def _encodings(rows: pa.Table) -> tuple[list[str], dict[str, str]]:
    """Columns to write as a dictionary, and encodings of the others; half the time of Arrow's defaults.

    What rises from row to row is written as differences, text as a dictionary where it is one or where the
    first rows repeat. Rows are in the order of their keys: other numbers repeat, which zstd sees if they are
    plain.
    """
    repeating, encoded = [], {}
    for field in rows.schema:
        if field.name in _RISING and _is_whole_number(field.type):
            encoded[field.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_dictionary(field.type):
            repeating.append(field.name)
        elif pa.types.is_string(field.type) or pa.types.is_binary(field.type):
            sample = rows.column(field.name).slice(0, _SAMPLE_ROWS)
            if pc.count_distinct(sample).as_py() * 4 <= len(sample):
                repeating.append(field.name)
    return repeating, encoded


def _is_whole_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_timestamp(type_) or pa.types.is_date(type_)


def _with_field_ids(rows: pa.Table, ids: dict[str, int]) -> pa.Table:
    fields = [field.with_metadata({_FIELD_ID: str(ids[field.name])}) for field in rows.schema]
    return pa.Table.from_arrays(rows.columns, schema=pa.schema(fields))


def _describe(
    table: Table, footer: pq.FileMetaData, location: str, size: int, key: Partition | None
) -> DataFile:
    schema = table.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=footer,
        stats_columns=compute_statistics_plan(schema, table.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    _cut_upper_bounds(statistics.column_aggregates.values())
    fields = statistics.to_serialized_dict()
    for field_id in _unbounded(footer, {field.name: field.field_id for field in schema.fields}):
        fields["lower_bounds"].pop(field_id, None)
        fields["upper_bounds"].pop(field_id, None)
    return data_file(
        table.spec().spec_id,
        file_path=location,
        file_size_in_bytes=size,
        partition=key.partition if key else Record(),
        **fields,
    )


def _cut_upper_bounds(bounds: Iterable[Any]) -> None:
    """Cut the upper bounds of long text, which pyiceberg raises to half a surrogate pair behind U+D7FF."""
    for bound in bounds:
        if isinstance(bound.current_max, str) and bound.trunc_length is not None:
            bound.current_max = upper_text(bound.current_max, bound.trunc_length)


def upper_text(text: str, most: int) -> str | None:
    """The least text of at most so many characters that is not before `text`; None: there is none."""
    if len(text) <= most:
        return text
    for last in range(most - 1, -1, -1):
        following = ord(text[last]) + 1
        if following == _FIRST_SURROGATE:
            following = _LAST_SURROGATE + 1
        if following <= sys.maxunicode:
            return text[:last] + chr(following)
    return None


def _unbounded(footer: pq.FileMetaData, ids: dict[str, int]) -> Iterator[int]:
    """Fields with values that Parquet kept no bounds of: beyond 4 kB it writes none for the row group.

    pyiceberg then takes the other row groups' bounds for the file's, and a scan would skip the rows.
    """
    for group in range(footer.num_row_groups):
        for number in range(footer.num_columns):
            column = footer.row_group(group).column(number)
            statistics = column.statistics
            if statistics is None or (not statistics.has_min_max and statistics.num_values > 0):
                yield ids[column.path_in_schema]


def data_file(spec_id: int, **fields: Any) -> DataFile:
    """A description of a Parquet data file as pyiceberg's manifests want it."""
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_format=FileFormat.PARQUET,
        sort_order_id=None,
        equality_ids=None,
        key_metadata=None,
        **fields,
    )
    file.spec_id = spec_id
    return file
