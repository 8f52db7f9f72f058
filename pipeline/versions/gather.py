"""From the kernel's version rows of an epoch to Arrow tables: per table, open rows and closed rows.

Rows are ordered by key inside each table, so that files compress well and their statistics prune. They are
made a chunk at a time, when they are asked for: a whole epoch would go through memory, not the cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import END_OF_TIME_US, PROVENANCE, DatasetSchema, TableSchema
from pipeline.temporal.change import (
    META_PARTITION,
    OPEN,
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
from pipeline.temporal.jit import borrow, kernel, prefetch
from pipeline.temporal.keys import REFERENCE, Keys
from pipeline.temporal.store import LENGTH_BITS, Bytes, Ints, Store
from pipeline.temporal.values import CHILD_HEADER, read_u32
from pipeline.versions.columns import AHEAD, days, instants, key_arrays, value_arrays


@dataclass(frozen=True)
class TableVersions:
    """The rows of one table in an epoch, in chunks like `TableSchema.arrow`, but text may be dictionaries."""

    schema: TableSchema
    open: Iterator[pa.Table]
    closed: Iterator[pa.Table]


CHUNK = 65_536
"""Rows that are gathered at a time, and a row group of a file: few enough that statistics prune."""


@kernel
def mark_used(fields: Ints, used: Bytes) -> None:
    """Mark the keys that rows are of."""
    for i in range(fields.shape[0]):
        used[fields[i, R_KEY]] = 1


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
    for i in range(fields.shape[0]):
        part = 2 * fields[i, R_TABLE] + (0 if fields[i, R_TO] == OPEN else 1)
        starts[part * ranks + rank[fields[i, R_KEY]] + 1] += 1
    for r in range(starts.size - 1):
        starts[r + 1] += starts[r]
    for i in range(fields.shape[0]):
        part = 2 * fields[i, R_TABLE] + (0 if fields[i, R_TO] == OPEN else 1)
        at = part * ranks + rank[fields[i, R_KEY]]
        order[starts[at]] = i
        starts[at] += 1


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
    for i in range(values.size):
        at = (values[i] >> LENGTH_BITS) << 3
        keys_at[i] = at + CHILD_HEADER
        values_at[i] = at + CHILD_HEADER + read_u32(arena, at + 2)


def places(references: Ints) -> Ints:
    """Where referenced bytes start."""
    return np.asarray((references >> LENGTH_BITS) << 3)


@dataclass(frozen=True)
class Ranks:
    """The parent keys that rows are of, by the order of their columns.

    Attributes:
        of: int64[all keys], the rank of each that rows are of.
        columns: the key columns, in the order of the ranks.
    """

    of: Ints
    columns: list[pa.Array]

    def __len__(self) -> int:
        return len(self.columns[0])


def rank_keys(schema: TableSchema, keys: Keys, fields: Ints) -> Ranks:
    """Rank the parent keys that rows are of."""
    marked = np.zeros(int(keys.used[0]), np.uint8)
    mark_used(fields, marked)
    used = np.flatnonzero(marked)
    columns = key_arrays(schema.key, keys.arena, places(keys.known[used, REFERENCE]))
    names = [str(i) for i in range(len(columns))]
    table = pa.table([_sortable(c) for c in columns], names=names)
    order = pc.sort_indices(table, sort_keys=[(n, "ascending") for n in names])
    rank = np.zeros(marked.size, np.int64)
    rank[used[order.to_numpy()]] = np.arange(used.size)
    return Ranks(rank, [column.take(order) for column in columns])


def _sortable(array: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


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
        for start in range(0, rows.size, CHUNK):
            chosen = rows[start : start + CHUNK]
            fields = np.empty((ROW_FIELDS, chosen.size), np.int64)
            take_fields(self.fields, chosen, fields)
            columns = [self._repeating_key(fields)] if repeating else self._keys(schema, fields)
            yield self._chunk(schema, columns, fields, is_open)

    def _repeating_key(self, fields: Ints) -> pa.DictionaryArray:
        """The parent's key as a dictionary: rows are in the order of the ranks."""
        ranks = self.ranks.of[fields[R_KEY]]
        first, last = int(ranks[0]), int(ranks[-1])
        known = self.ranks.columns[0].slice(first, last - first + 1)
        return pa.DictionaryArray.from_arrays((ranks - first).astype(np.int32), known)

    def _keys(self, schema: TableSchema, fields: Ints) -> list[pa.Array | pa.ChunkedArray]:
        parents = places(self.keys.known[fields[R_KEY], REFERENCE])
        return key_arrays(schema.key[: len(self.ranks.columns)], self.keys.arena, parents)

    def _chunk(
        self, schema: TableSchema, columns: list[pa.Array | pa.ChunkedArray], fields: Ints, is_open: bool
    ) -> pa.Table:
        if not schema.arrays:
            values_at = places(fields[R_VALUE])
        else:
            keys_at, values_at = np.empty_like(fields[R_VALUE]), np.empty_like(fields[R_VALUE])
            child_places(self.store.arena, fields[R_VALUE], keys_at, values_at)
            columns += key_arrays(schema.key[len(self.ranks.columns) :], self.store.arena, keys_at)
        columns += [a for a in value_arrays(schema.values, self.store.arena, values_at) if a is not None]
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
    codes = (meta & ((1 << META_PARTITION) - 1)).astype(np.int8)
    return pa.DictionaryArray.from_arrays(codes, OPERATIONS)


def _partition(meta: Ints) -> pa.Array:
    return pa.array((meta >> META_PARTITION).astype(np.int32))
