"""The order of the parent keys that an epoch's rows are of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import Kind, TableSchema
from pipeline.temporal.change import R_KEY
from pipeline.temporal.jit import i64, kernel
from pipeline.temporal.keys import REFERENCE, Keys
from pipeline.temporal.store import LENGTH_BITS, Bytes, Ints
from pipeline.temporal.values import read_u32
from pipeline.versions.columns import key_arrays

_WORD = 8
_TEXT = 4
"""Bytes before a text in canonical bytes: its length."""


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
    starts = places(keys.known[used, REFERENCE])
    columns = key_arrays(schema.key, keys.arena, starts)
    order = _order_of_texts(keys.arena, starts) if _is_text(schema) else None
    if order is None:
        order = _order_of_columns(columns)
    rank = np.zeros(marked.size, np.int64)
    rank[used[order]] = np.arange(used.size)
    return Ranks(rank, [column.take(pa.array(order)) for column in columns])


def places(references: Ints) -> Ints:
    """Where referenced bytes start."""
    return np.asarray((references >> LENGTH_BITS) << 3)


@kernel
def mark_used(fields: Ints, used: Bytes) -> None:
    """Mark the keys that rows are of."""
    for i in range(fields.shape[0]):
        used[fields[i, R_KEY]] = 1


@kernel
def common_prefix(data: Bytes, starts: Ints) -> int:
    """How many bytes all texts begin with alike."""
    first, common = starts[0], read_u32(data, starts[0])
    for i in range(1, starts.size):
        common = min(common, read_u32(data, starts[i]))
        for at in range(common):
            if data[starts[i] + _TEXT + at] != data[first + _TEXT + at]:
                common = at
                break
    return int(common)


@kernel
def words_after(data: Bytes, starts: Ints, skipped: int, words: npt.NDArray[np.uint64]) -> None:
    """Eight bytes of each text, after those skipped, as a number in their order; zeros beyond its end."""
    for i in range(starts.size):
        word, length = i64(0), read_u32(data, starts[i])
        for at in range(skipped, skipped + _WORD):
            word = (word << 8) | (i64(data[starts[i] + _TEXT + at]) if at < length else 0)
        words[i] = np.uint64(word)


def _is_text(schema: TableSchema) -> bool:
    return len(schema.key) == 1 and schema.key[0].type.kind is Kind.STRING


def _order_of_texts(data: Bytes, starts: Ints) -> Ints | None:
    """The order of texts, where the eight bytes after those that all share tell them apart: as numbers."""
    if starts.size == 0:
        return None
    words = np.empty(starts.size, np.uint64)
    words_after(data, starts, common_prefix(data, starts), words)
    order = np.argsort(words)
    ordered = words[order]
    return None if bool((ordered[1:] == ordered[:-1]).any()) else order


def _order_of_columns(columns: list[pa.Array | pa.ChunkedArray]) -> Ints:
    names = [str(i) for i in range(len(columns))]
    table = pa.table([_sortable(c) for c in columns], names=names)
    order = pc.sort_indices(table, sort_keys=[(n, "ascending") for n in names])
    return np.asarray(order.to_numpy()).astype(np.int64)


def _sortable(array: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return array.storage if isinstance(array, pa.ExtensionArray) else array
