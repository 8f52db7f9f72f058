"""Rows of the tables back into the store."""

import numpy as np

from pipeline.decode.hashing import hash_bytes
from pipeline.temporal.jit import i64, kernel
from pipeline.temporal.matching import aux_of
from pipeline.temporal.pages import insert
from pipeline.temporal.store import CHILDREN, PARENTS, Bytes, Ints, Store, borrow_store
from pipeline.temporal.values import keep, keep_child


@kernel
def hash_all(data: Bytes, starts: Ints, seed: np.uint64, out: Ints) -> None:
    """Hash n stretches as the decoder does."""
    for i in range(out.size):
        out[i] = i64(hash_bytes(data, starts[i], starts[i + 1], seed))


@kernel
def insert_all(
    store: Store,
    table: int,
    keys: Ints,
    times: Ints,
    offsets: Ints,
    meta: Ints,
    own: Bytes,
    own_starts: Ints,
    values: Bytes,
    value_starts: Ints,
    seed: np.uint64,
) -> None:
    """Add open rows of a table as segments."""
    store = borrow_store(store)
    for i in range(keys.size):
        at, length = value_starts[i], value_starts[i + 1] - value_starts[i]
        start, end, system = times[0, i], times[1, i], times[2, i]
        if table == 0:
            value = keep(store, values, at, length)
            insert(
                store.parents, store.keys, keys[i], PARENTS, start, 0, end, system, offsets[i], meta[i], value
            )
            continue
        own_at, own_length = own_starts[i], own_starts[i + 1] - own_starts[i]
        value = keep_child(store, table, own, own_at, own_length, values, at, length)
        aux = aux_of(i64(hash_bytes(own, own_at, own_at + own_length, seed)), table)
        insert(
            store.children, store.keys, keys[i], CHILDREN, start, aux, end, system, offsets[i], meta[i], value
        )
