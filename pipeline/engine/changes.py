"""A decoded batch as the kernel's changes, and changes as bytes for the log and back."""

import struct

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.batch import Batch
from pipeline.temporal.change import Changes

_LOGGED: tuple[tuple[str, str], ...] = (
    ("operation", "u1"),
    ("valid_from", "<i8"),
    ("valid_to", "<i8"),
    ("offset", "<i8"),
    ("system", "<i8"),
    ("values", "u1"),
    ("value_start", "<i8"),
    ("given", "<i8"),
    ("child_first", "<i8"),
    ("child_table", "u1"),
    ("child_keys", "u1"),
    ("child_key_start", "<i8"),
    ("child_key_hash", "<i8"),
    ("child_values", "u1"),
    ("child_value_start", "<i8"),
)
"""The arrays of a log entry after its keys, in order; hashes hold under the state's own seed."""


def changes_of(batch: Batch, offsets: NDArray[np.int64], timestamps: NDArray[np.int64]) -> Changes:
    """A batch as changes that have no key numbers yet; `offsets` and `timestamps` are int64[n]."""
    n = len(batch)
    return Changes(
        skip=(batch.status != 0).view(np.uint8),
        key=np.empty(n, np.int64),
        operation=batch.operation,
        valid_from=batch.valid_from,
        valid_to=batch.valid_to,
        offset=offsets,
        timestamp=timestamps,
        values=batch.values,
        value_start=batch.value_start,
        given=batch.given.view(np.int64),
        child_first=batch.child_first,
        child_table=batch.child_table,
        child_keys=batch.child_keys,
        child_key_start=batch.child_key_start,
        child_key_hash=batch.child_key_hash.view(np.int64),
        child_values=batch.child_values,
        child_value_start=batch.child_value_start,
        system=np.zeros(n, np.int64),
        outcome=np.zeros(n, np.uint8),
    )


def to_log(batch: Batch, changes: Changes, done: slice, partition: int) -> bytes:
    """A log entry: what `replay` needs of the records `done`; the others, and dead letters, are skipped."""
    skip = np.ones_like(changes.skip)
    skip[done] = changes.skip[done]
    arrays = [skip, batch.keys, batch.key_start, batch.key_hash]
    arrays += [getattr(changes, name) for name, _ in _LOGGED]
    sizes = struct.pack(f"<q{len(arrays)}q", partition, *(a.size for a in arrays))
    return b"".join((sizes, *(np.ascontiguousarray(a).data for a in arrays)))


def from_log(
    entry: bytes,
) -> tuple[int, NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], Changes]:
    """The partition, the canonical keys with their starts and hashes, and the changes of a log entry."""
    kinds = ["u1", "u1", "<i8", "<i8", *(kind for _, kind in _LOGGED)]
    partition, *sizes = struct.unpack_from(f"<q{len(kinds)}q", entry)
    at, arrays = 8 * (1 + len(kinds)), []
    for kind, size in zip(kinds, sizes, strict=True):
        array = np.frombuffer(entry, kind, size, at)
        # Log entries are not aligned; the kernel's loads are.
        arrays.append(array.copy())
        at += array.nbytes
    skip, keys, key_start, key_hash, *rest = arrays
    fields = dict(zip((name for name, _ in _LOGGED), rest, strict=True))
    n = skip.size
    numbers, outcome = np.empty(n, np.int64), np.zeros(n, np.uint8)
    timestamps = np.zeros(n, np.int64)
    changes = Changes(skip=skip, key=numbers, timestamp=timestamps, outcome=outcome, **fields)
    return partition, keys, key_start, key_hash, changes
