"""From the kernel's version rows of an epoch to Arrow tables: per table, open rows and closed rows.

Rows are ordered by key inside each table, so that files compress well and their statistics prune.
"""

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
)
from pipeline.temporal.jit import kernel
from pipeline.temporal.keys import REFERENCE, Keys
from pipeline.temporal.store import LENGTH_BITS, Bytes, Ints, Store
from pipeline.temporal.values import CHILD_HEADER, read_u32
from pipeline.versions.columns import days, instants, key_arrays, value_arrays


@dataclass(frozen=True)
class TableVersions:
    """The rows of one table in an epoch: tables of `TableSchema.arrow`."""

    schema: TableSchema
    open: pa.Table
    closed: pa.Table


@kernel
def order_by_rank(rows: Ints, fields: Ints, rank: Ints, ranks: int) -> Ints:
    """Rows in order of their keys' ranks, stable: a counting sort."""
    starts = np.zeros(ranks + 1, np.int64)
    for i in rows:
        starts[rank[fields[i, R_KEY]] + 1] += 1
    for r in range(ranks):
        starts[r + 1] += starts[r]
    out = np.empty(rows.size, np.int64)
    for i in rows:
        r = rank[fields[i, R_KEY]]
        out[starts[r]] = i
        starts[r] += 1
    return out


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


def rank_keys(schema: TableSchema, keys: Keys, used: Ints) -> tuple[Ints, int]:
    """int64[all keys]: the rank of each of the parent keys numbered `used`, in order of their columns."""
    columns = key_arrays(schema.key, keys.arena, places(keys.known[used, REFERENCE]))
    names = [str(i) for i in range(len(columns))]
    table = pa.table([_sortable(c) for c in columns], names=names)
    order = pc.sort_indices(table, sort_keys=[(n, "ascending") for n in names]).to_numpy()
    rank = np.zeros(int(used.max(initial=-1)) + 1, np.int64)
    rank[used[order]] = np.arange(used.size)
    return rank, int(used.size)


def _sortable(array: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def gather(dataset: DatasetSchema, topic: str, store: Store, keys: Keys, fields: Ints) -> tuple[TableVersions, ...]:
    """Build the Arrow tables of an epoch.

    Args:
        dataset: the dataset's tables, as they are at the end of the epoch.
        topic: the records' topic, for provenance.
        store: holds the values that rows refer to.
        keys: the keys that rows refer to.
        fields: int64[rows, ROW_FIELDS], see `pipeline.temporal.change.Rows`.
    """
    rank, ranks = rank_keys(dataset.parent, keys, np.unique(fields[:, R_KEY]))
    versions = []
    for number, schema in enumerate(dataset.tables):
        parts = []
        of_table = fields[:, R_TABLE] == number
        for is_open in (True, False):
            chosen = np.flatnonzero(of_table & ((fields[:, R_TO] == OPEN) == is_open))
            ordered = np.ascontiguousarray(fields[order_by_rank(chosen, fields, rank, ranks)].T)
            parts.append(_rows(schema, len(dataset.parent.key), topic, store, keys, ordered, is_open))
        versions.append(TableVersions(schema, *parts))
    return tuple(versions)


def _rows(
    schema: TableSchema, record_key: int, topic: str, store: Store, keys: Keys, fields: Ints, is_open: bool
) -> pa.Table:
    parents = places(keys.known[fields[R_KEY], REFERENCE])
    if not schema.arrays:
        columns = key_arrays(schema.own_key, keys.arena, parents)
        values_at = places(fields[R_VALUE])
    else:
        columns = key_arrays(schema.key[:record_key], keys.arena, parents)
        keys_at, values_at = np.empty_like(parents), np.empty_like(parents)
        child_places(store.arena, np.ascontiguousarray(fields[R_VALUE]), keys_at, values_at)
        columns += key_arrays(schema.key[record_key:], store.arena, keys_at)
    columns += [a for a in value_arrays(schema.values, store.arena, values_at) if a is not None]
    valid = days if schema.dated else instants
    columns += [valid(fields[R_START]), valid(fields[R_END]), instants(fields[R_SYSTEM])]
    ends = np.full(fields.shape[1], END_OF_TIME_US) if is_open else fields[R_TO]
    columns.append(instants(ends))
    columns += _provenance(topic, fields, is_open)
    return pa.Table.from_arrays(columns, schema=schema.arrow)


def _provenance(topic: str, fields: Ints, is_open: bool) -> list[pa.Array]:
    n = fields.shape[1]
    opened = [_operation(fields[R_META]), pa.repeat(topic, n), _partition(fields[R_META])]
    opened.append(pa.array(np.ascontiguousarray(fields[R_OFFSET])))
    names = list(PROVENANCE)[len(opened) :]
    if is_open:
        return opened + [pa.nulls(n, PROVENANCE[name]) for name in names]
    closed = [_operation(fields[R_BY_META]), _partition(fields[R_BY_META])]
    return opened + closed + [pa.array(np.ascontiguousarray(fields[R_BY_OFFSET]))]


def _operation(meta: Ints) -> pa.Array:
    codes = pa.array((meta & ((1 << META_PARTITION) - 1)).astype(np.int8))
    return pa.array(OPERATIONS).take(codes)


def _partition(meta: Ints) -> pa.Array:
    return pa.array((meta >> META_PARTITION).astype(np.int32))


