"""The state from the tables, of all keys or of some: open segments, and every key's last system time.

An open row stands only if its closed twin is nowhere in the table; the twins are met first, as a set of
hashes of (table, key, system_from, valid_from), compared whole when they meet.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.engine.patience import Patience
from pipeline.engine.timelines import Timelines
from pipeline.faults import reach
from pipeline.schema import END_OF_TIME_US, DatasetSchema, TableSchema
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.scan import storage
from pipeline.temporal import keys as numbering
from pipeline.temporal.change import OPERATION_BITS, OPERATIONS
from pipeline.temporal.marks import Marks
from pipeline.temporal.store import DIRTY, FLAGS, LAST, NEVER, Ints
from pipeline.versions.columns import key_arrays
from pipeline.versions.restore import hash_all, insert_all
from pipeline.versions.scatter import encode

log = logging.getLogger(__name__)

NO_PATIENCE = Patience()
_SEGMENT = ["key", "start", "aux", "system"]
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


def read_back(
    sink: LakeSink,
    dataset: DatasetSchema,
    timelines: Timelines,
    numbers: Ints,
    marks: Marks,
    seed: int,
    patience: Patience = NO_PATIENCE,
) -> None:
    """Bring keys back that the state holds only marks of, from the tables.

    The marks tell which open rows they have: only files that may hold those are read, however many there are.
    Where rows are not found by them, all of the keys' are read, to be told apart as in a rebuild.

    Args:
        numbers: of keys without segments, all of whose changes are committed.
        marks: theirs.
        patience: how long a catalog that is away is waited for.
    """
    own = dataset.parent.key
    current = timelines.current
    places, _ = current.key_bytes(numbers)
    keys = pa.table(key_arrays(own, current.keys.arena, places), [c.name for c in own])

    def rows(opened: Ints | None = None) -> list[list[pa.RecordBatch]]:
        return patience.call_apart(
            lambda: [list(_only(sink, table, keys, opened)) for table in dataset.tables]
        )

    found = rows(np.unique(marks.system)) if marks.whole else []
    if not found or not _take_marked(found, dataset, timelines, numbers, marks, seed):
        for number, part in enumerate(rows()):
            _take_in(partial(iter, part), dataset, number, timelines, seed)
    # Threads that have read files keep the memory that Arrow had there: some 25 MB, with next to none in use.
    pa.default_memory_pool().release_unused()


def _take_marked(
    found: list[list[pa.RecordBatch]],
    dataset: DatasetSchema,
    timelines: Timelines,
    numbers: Ints,
    marks: Marks,
    seed: int,
) -> bool:
    """Take in the open rows that marks tell of, from rows by table; not if some are not there."""
    wanted = pa.table([numbers[marks.key], marks.start, marks.aux, marks.system], _SEGMENT)
    record_key, marked = len(dataset.parent.key), list[tuple[int, pa.RecordBatch]]()
    for number, batches in enumerate(found):
        for batch in batches:
            rows = batch.filter(pc.invert(_is_closed(batch)))
            ours = _segments(timelines, number, dataset.tables[number], record_key, rows, seed)
            ours = ours.join(wanted, _SEGMENT, join_type="left semi")
            marked.append((number, rows.take(ours.column("row").combine_chunks().sort())))
    if sum(rows.num_rows for _, rows in marked) != marks.start.size:
        # Changed since, and the log, which is being replayed, tells how; or rewritten by others.
        log.info("rows of keys that were left to the tables are not as they were: reading all of them")
        return False
    for number, rows in marked:
        if rows.num_rows:
            _insert(timelines, number, dataset.tables[number], record_key, rows, seed)
    timelines.current.store.keys[numbers, LAST] = marks.lasts
    timelines.current.store.keys[numbers, FLAGS] |= DIRTY
    return True


def _segments(
    timelines: Timelines, number: int, table: TableSchema, record_key: int, rows: pa.RecordBatch, seed: int
) -> pa.Table:
    """What marks tell of rows: the key's number, the start, AUX and the system time; and which row it is."""
    own, own_starts = encode(table.key[record_key:], rows, payload=False)
    aux = np.zeros(rows.num_rows, np.int64)
    if number:
        hash_all(own, own_starts, np.uint64(seed), aux)
        aux ^= number
    keys = _numbers(timelines, table, record_key, rows, seed)
    columns = [keys, _int64(rows, "valid_from"), aux, _int64(rows, "system_from")]
    return pa.table([*columns, np.arange(rows.num_rows)], [*_SEGMENT, "row"])


def _only(
    sink: LakeSink, table: TableSchema, keys: pa.Table, opened: Ints | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a table that are of some keys; given times, perhaps only those open since one of them."""
    names = keys.column_names
    wanted = storage(keys, names)
    values = [pc.unique(column) for column in wanted.columns]
    parts = (_with_values(batch, names, values) for batch in sink.scan_versions(table, keys, opened=opened))
    found = [batch for batch in parts if batch.num_rows]
    if len(names) == 1 or not found:
        yield from found
        return
    # Once for all files: a join costs more than reading a small one.
    rows = pa.Table.from_batches(found)
    numbered = storage(rows, names).append_column("row", pa.array(np.arange(rows.num_rows)))
    ours = numbered.join(wanted, names, join_type="left semi")
    yield from rows.take(ours.column("row").combine_chunks().sort()).to_batches()


def _with_values(batch: pa.RecordBatch, names: list[str], values: list[pa.Array]) -> pa.RecordBatch:
    """Those rows that have, column by column, one of these values."""
    plain = storage(pa.Table.from_batches([batch]), names)
    masks = [pc.is_in(plain.column(i), known) for i, known in enumerate(values)]
    return batch.filter(reduce(pc.and_, masks).combine_chunks())


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
    insert_all(
        timelines.current.store,
        number,
        keys,
        times,
        _int64(rows, "source_offset"),
        (partitions + 1) << OPERATION_BITS | operations,
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
