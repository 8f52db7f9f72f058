"""From the kernel's version rows of an epoch to Arrow tables: per table, open rows and closed rows.

Rows are ordered by key inside each table, so that files compress well and their statistics prune. They are
made a chunk at a time, when they are asked for: a whole epoch would go through memory, not the cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.schema import END_OF_TIME_US, PROVENANCE, DatasetSchema, TableSchema
from pipeline.temporal.change import (
    OPEN,
    OPERATION_BITS,
    OPERATIONS,
    R_BY_META,
    R_BY_OFFSET,
    R_END,
    R_KEY,
    R_META,
    R_OFFSET,
    R_START,
    R_SYSTEM,
    R_TABLE,
    R_TO,
    R_VALUE,
    ROW_FIELDS,
)
from pipeline.temporal.jit import borrow, inner, kernel, prefetch
from pipeline.temporal.keys import REFERENCE, Keys
from pipeline.temporal.store import Bytes, Ints, Store
from pipeline.temporal.values import CHILD_HEADER, place_of, read_u32
from pipeline.versions.columns import AHEAD, Decoded, days, instants, key_arrays, value_arrays
from pipeline.versions.ranks import Ranks, places, rank_keys


@dataclass(frozen=True)
class TableVersions:
    """The rows of one table in an epoch, in chunks like `TableSchema.arrow`, but text may be dictionaries."""

    schema: TableSchema
    open: Iterator[pa.Table]
    closed: Iterator[pa.Table]


CHUNK = 65_536
"""Rows that are gathered at a time, and a row group of a file: few enough that statistics prune."""


@inner
def place_in_order(fields: Ints, i: int, rank: Ints, ranks: int) -> int:
    """Which of the counters of `order_rows` is a row's."""
    row = i * ROW_FIELDS
    part = 2 * fields[row + R_TABLE] + (0 if fields[row + R_TO] == OPEN else 1)
    return part * ranks + rank[fields[row + R_KEY]]


@inner
def fetch_order(fields: Ints, i: int, rank: Ints, ranks: int, starts: Ints, last: int) -> None:
    """Have the counters of the next rows fetched: they lie anywhere."""
    if i + 2 * AHEAD < last:
        prefetch(rank, fields[(i + 2 * AHEAD) * ROW_FIELDS + R_KEY])
    if i + AHEAD < last:
        prefetch(starts, place_in_order(fields, i + AHEAD, rank, ranks))


@kernel
def order_rows(fields: Ints, rank: Ints, ranks: int, starts: Ints, order: Ints) -> None:
    """Sort rows by table, open before closed, and rank of their key; stable, by counting.

    Args:
        fields: int64[rows, ROW_FIELDS].
        rank: int64[keys], of the parent keys that rows are of.
        ranks: how many there are.
        starts: int64[2 * tables * ranks + 1], zeros; afterwards where the rows of each (part, rank) end, the
            part being twice the table, plus one for closed rows.
        order: int64[rows], the rows in order.
    """
    last, size = order.size, starts.size
    rows, ranked, counts = borrow(fields), borrow(rank), borrow(starts)
    for i in range(last):
        fetch_order(rows, i, ranked, ranks, counts, last)
        counts[place_in_order(rows, i, ranked, ranks) + 1] += 1
    for r in range(size - 1):
        counts[r + 1] += counts[r]
    for i in range(last):
        fetch_order(rows, i, ranked, ranks, counts, last)
        at = place_in_order(rows, i, ranked, ranks)
        order[counts[at]] = i
        counts[at] += 1


@kernel
def take_fields(fields: Ints, rows: Ints, out: Ints) -> None:
    """Turn chosen rows into columns: int64[ROW_FIELDS, rows]."""
    flat = borrow(fields)
    for i in range(rows.size):
        if i + AHEAD < rows.size:
            prefetch(flat, rows[i + AHEAD] * ROW_FIELDS)
            prefetch(flat, rows[i + AHEAD] * ROW_FIELDS + ROW_FIELDS - 1)
        for f in range(ROW_FIELDS):
            out[f, i] = fields[rows[i], f]


@kernel
def child_places(arena: Bytes, values: Ints, keys_at: Ints, values_at: Ints) -> None:
    """Where the key and the values of each child in the arena start."""
    bytes_ = borrow(arena)
    for i in range(values.size):
        if i + AHEAD < values.size:
            prefetch(bytes_, place_of(values[i + AHEAD]))
        at = place_of(values[i])
        keys_at[i] = at + CHILD_HEADER
        values_at[i] = at + CHILD_HEADER + read_u32(bytes_, at + 2)


def gather(
    dataset: DatasetSchema, topic: str, store: Store, keys: Keys, fields: Ints
) -> tuple[TableVersions, ...]:
    """Build the Arrow tables of an epoch.

    Args:
        dataset: the dataset's tables, as they are at the end of the epoch.
        topic: the records' topic, for provenance.
        store: holds the values that rows refer to.
        keys: the keys that rows refer to.
        fields: int64[rows, ROW_FIELDS], see `pipeline.temporal.change.Rows`.
    """
    ranks = rank_keys(dataset.parent, keys, fields)
    parts = 2 * len(dataset.tables)
    ends, order = np.zeros(parts * len(ranks) + 1, np.int64), np.empty(len(fields), np.int64)
    order_rows(fields, ranks.of, len(ranks), ends, order)
    edges = [0, *(int(ends[(part + 1) * len(ranks) - 1]) if len(ranks) else 0 for part in range(parts))]
    source = Source(topic, ranks, store, keys, fields)
    return tuple(
        TableVersions(
            schema,
            source.chunks(schema, order[edges[part] : edges[part + 1]], is_open=True),
            source.chunks(schema, order[edges[part + 1] : edges[part + 2]], is_open=False),
        )
        for part, schema in zip(range(0, parts, 2), dataset.tables, strict=True)
    )


@dataclass(frozen=True)
class Source:
    """Where rows come from: see `gather`."""

    topic: str
    ranks: Ranks
    store: Store
    keys: Keys
    fields: Ints

    def chunks(self, schema: TableSchema, rows: Ints, *, is_open: bool) -> Iterator[pa.Table]:
        """The rows numbered `rows`, which are all of one table, and all open or all closed."""
        own = self.ranks.columns
        repeating = len(own) == 1 and pa.types.is_string(own[0].type) and 2 * len(own[0]) <= rows.size
        widest = max(len(schema.key), len(schema.values))
        room = Decoded.room(widest, min(CHUNK, rows.size))
        for start in range(0, rows.size, CHUNK):
            chosen = rows[start : start + CHUNK]
            fields = np.empty((ROW_FIELDS, chosen.size), np.int64)
            take_fields(self.fields, chosen, fields)
            columns = [self._repeating_key(fields)] if repeating else self._keys(schema, fields, room)
            yield self._chunk(schema, columns, fields, room, is_open)

    def _repeating_key(self, fields: Ints) -> pa.DictionaryArray:
        """The parent's key as a dictionary: rows are in the order of the ranks."""
        ranks = self.ranks.of[fields[R_KEY]]
        first, last = int(ranks[0]), int(ranks[-1])
        known = self.ranks.columns[0].slice(first, last - first + 1)
        return pa.DictionaryArray.from_arrays((ranks - first).astype(np.int32), known)

    def _keys(self, schema: TableSchema, fields: Ints, room: Decoded) -> list[pa.Array | pa.ChunkedArray]:
        parents = places(self.keys.known[fields[R_KEY], REFERENCE])
        return key_arrays(schema.key[: len(self.ranks.columns)], self.keys.arena, parents, room)

    def _chunk(
        self,
        schema: TableSchema,
        columns: list[pa.Array | pa.ChunkedArray],
        fields: Ints,
        room: Decoded,
        is_open: bool,
    ) -> pa.Table:
        if not schema.arrays:
            values_at = places(fields[R_VALUE])
        else:
            keys_at, values_at = np.empty_like(fields[R_VALUE]), np.empty_like(fields[R_VALUE])
            child_places(self.store.arena, fields[R_VALUE], keys_at, values_at)
            columns += key_arrays(schema.key[len(self.ranks.columns) :], self.store.arena, keys_at, room)
        values = value_arrays(schema.values, self.store.arena, values_at, room)
        columns += [a for a in values if a is not None]
        valid = days if schema.dated else instants
        columns += [valid(fields[R_START]), valid(fields[R_END]), instants(fields[R_SYSTEM])]
        columns.append(instants(np.full(fields.shape[1], END_OF_TIME_US) if is_open else fields[R_TO]))
        columns += _provenance(self.topic, fields, is_open)
        plain = schema.arrow
        return pa.Table.from_arrays(
            columns,
            schema=pa.schema([field.with_type(c.type) for field, c in zip(plain, columns, strict=True)]),
        )


def _provenance(topic: str, fields: Ints, is_open: bool) -> list[pa.Array]:
    n = fields.shape[1]
    same_topic = pa.DictionaryArray.from_arrays(np.zeros(n, np.int8), [topic])
    opened = [_operation(fields[R_META]), same_topic, _partition(fields[R_META])]
    opened.append(pa.array(fields[R_OFFSET]))
    names = list(PROVENANCE)[len(opened) :]
    if is_open:
        return opened + [pa.nulls(n, PROVENANCE[name]) for name in names]
    closed = [_operation(fields[R_BY_META]), _partition(fields[R_BY_META])]
    return opened + closed + [pa.array(fields[R_BY_OFFSET])]


def _operation(meta: Ints) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays((meta & ((1 << OPERATION_BITS) - 1)).astype(np.int8), OPERATIONS)


def _partition(meta: Ints) -> pa.Array:
    return pa.array(((meta >> OPERATION_BITS) - 1).astype(np.int32))
