"""The state from the tables, of all keys or of some: open segments, and every key's last system time.

An open row stands only if its closed twin is nowhere in the table; the twins are met first, as a set of
hashes of (table, key, system_from, valid_from), compared whole when they meet.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.timelines import Timelines
from pipeline.faults import reach
from pipeline.schema import END_OF_TIME_US, DatasetSchema, TableSchema
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.scan import storage
from pipeline.temporal import keys as numbering
from pipeline.temporal.change import META_PARTITION, OPERATIONS
from pipeline.temporal.store import DIRTY, FLAGS, LAST, NEVER, Ints
from pipeline.versions.columns import key_arrays
from pipeline.versions.restore import hash_all, insert_all
from pipeline.versions.scatter import encode

_TIMES = ("valid_from", "valid_to", "system_from", "system_to")


def rebuild(
    sink: LakeSink,
    dataset: DatasetSchema,
    timelines: Timelines,
    seed: int,
    snapshots: Mapping[str, int] | None = None,
) -> None:
    """Fill empty timelines with what the tables believe now, or believed at the snapshots given by table."""
    for number, table in enumerate(dataset.tables):
        snapshot = (snapshots or {}).get(table.identifier)
        _take_in(partial(sink.scan_versions, table, snapshot=snapshot), dataset, number, timelines, seed)
        reach("after-rebuilt-table")


def read_back(sink: LakeSink, dataset: DatasetSchema, timelines: Timelines, numbers: Ints, seed: int) -> None:
    """Bring keys back that the state holds nothing of, from the tables.

    Args:
        numbers: of keys without segments, all of whose changes are committed.
    """
    own = dataset.parent.key
    current = timelines.current
    places, _ = current.key_bytes(numbers)
    keys = pa.table(key_arrays(own, current.keys.arena, places), [c.name for c in own])
    for number, table in enumerate(dataset.tables):
        _take_in(partial(_only, sink, table, keys), dataset, number, timelines, seed)


def _only(sink: LakeSink, table: TableSchema, keys: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of a table that are of some keys."""
    wanted = storage(keys, keys.column_names)
    for batch in sink.scan_versions(table, keys):
        if not batch.num_rows:
            continue
        rows = storage(pa.Table.from_batches([batch]), keys.column_names)
        rows = rows.append_column("row", pa.array(np.arange(batch.num_rows)))
        found = rows.join(wanted, keys.column_names, join_type="left semi")
        yield batch.take(found.column("row").combine_chunks().sort())


def _take_in(
    scan: Callable[[], Iterator[pa.RecordBatch]],
    dataset: DatasetSchema,
    number: int,
    timelines: Timelines,
    seed: int,
) -> None:
    table, record_key = dataset.tables[number], len(dataset.parent.key)
    closed = _closed_twins(scan(), table)
    for batch in scan():
        rows = _without_twins(batch, closed, table)
        _raise_last(timelines, table, record_key, batch, seed)
        if rows.num_rows:
            _insert(timelines, number, table, record_key, rows, seed)


def _identity(table: TableSchema) -> list[str]:
    return [*(c.name for c in table.key), "system_from", "valid_from"]


def _is_closed(batch: pa.RecordBatch) -> pa.Array:
    end = pa.scalar(END_OF_TIME_US, pa.int64())
    return pc.less(batch.column("system_to").cast(pa.int64()), end)


def _closed_twins(rows: Iterator[pa.RecordBatch], table: TableSchema) -> pa.Table | None:
    names = _identity(table)
    parts = [batch.filter(_is_closed(batch)).select(names) for batch in rows if batch.num_rows]
    return storage(pa.Table.from_batches(parts), names) if parts else None


def _without_twins(batch: pa.RecordBatch, closed: pa.Table | None, table: TableSchema) -> pa.RecordBatch:
    rows = batch.filter(pc.invert(_is_closed(batch)))
    if closed is None or not rows.num_rows:
        return rows
    numbered = storage(pa.Table.from_batches([rows]), _identity(table))
    numbered = numbered.append_column("row", pa.array(np.arange(rows.num_rows)))
    left = numbered.join(closed, _identity(table), join_type="left anti")
    return rows.take(left.column("row").combine_chunks().sort())


def _numbers(
    timelines: Timelines, table: TableSchema, record_key: int, batch: pa.RecordBatch, seed: int
) -> Ints:
    data, starts = encode(table.key[:record_key], batch, payload=False)
    current = timelines.current
    current.keys = numbering.with_room(current.keys, batch.num_rows)
    numbers, hashes = np.empty(batch.num_rows, np.int64), np.empty(batch.num_rows, np.int64)
    hash_all(data, starts, np.uint64(seed), hashes)
    numbering.number_all(current.keys, np.zeros(batch.num_rows, np.uint8), hashes, data, starts, numbers)
    return numbers


def _raise_last(
    timelines: Timelines, table: TableSchema, record_key: int, batch: pa.RecordBatch, seed: int
) -> None:
    if not batch.num_rows:
        return
    numbers = _numbers(timelines, table, record_key, batch, seed)
    from_, to = (_int64(batch, name) for name in ("system_from", "system_to"))
    last = np.where(to < END_OF_TIME_US, to, from_)
    np.maximum.at(timelines.current.store.keys[:, LAST], numbers, last - NEVER)
    timelines.current.store.keys[numbers, FLAGS] |= DIRTY


def _insert(
    timelines: Timelines, number: int, table: TableSchema, record_key: int, rows: pa.RecordBatch, seed: int
) -> None:
    keys = _numbers(timelines, table, record_key, rows, seed)
    own, own_starts = encode(table.key[record_key:], rows, payload=False)
    values, value_starts = encode(table.values, rows, payload=True)
    times = np.stack([_int64(rows, name) for name in _TIMES[:3]])
    operations = pc.index_in(rows.column("operation"), pa.array(OPERATIONS)).to_numpy().astype(np.int64)
    partitions = _int64(rows, "source_partition")
    meta = (partitions << META_PARTITION) | operations
    insert_all(
        timelines.current.store,
        number,
        keys,
        times,
        _int64(rows, "source_offset"),
        meta,
        own,
        own_starts,
        values,
        value_starts,
        np.uint64(seed),
    )


def _int64(batch: pa.RecordBatch, name: str) -> Ints:
    column = batch.column(name)
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    return np.asarray(column.cast(pa.int64()).to_numpy())
