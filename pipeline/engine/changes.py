"""A decoded batch as the kernel's changes, and changes as bytes for the log and back."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.batch import Batch
from pipeline.temporal.apply import CHANGED
from pipeline.temporal.change import Changes, starts_of

_CODEC = "lz4_raw"
_LEAST_BYTES = 256
_RANDOM = frozenset(("key_hash", "child_key_hash"))
_LOGGED = (
    "operation",
    "valid_from",
    "valid_to",
    "offset",
    "system",
    "values",
    "value_start",
    "given",
    "child_first",
    "child_table",
    "child_keys",
    "child_key_start",
    "child_key_hash",
    "child_values",
    "child_value_start",
)
"""The changes' arrays that a log entry holds; hashes hold under the state's own seed."""
_PER_RECORD = frozenset(("skip", "operation", "valid_from", "valid_to", "system", "given"))
_STARTS = frozenset(
    name for name in ("key_start", *_LOGGED) if name.endswith("_start") or name == "child_first"
)


def changes_of(batch: Batch, offsets: NDArray[np.int64], clocks: NDArray[np.int64]) -> Changes:
    """A batch as changes that have no key numbers yet.

    Args:
        batch: n decoded records.
        offsets: int64[n].
        clocks: int64[n], their partition's clock at each, in microseconds.
    """
    n = len(batch)
    # To numba a read-only array is of another type, for which it would compile the kernel anew, for a minute.
    offsets = np.require(offsets, np.int64, ("C", "W"))
    return Changes(
        skip=(batch.status != 0).view(np.uint8),
        key=np.empty(n, np.int64),
        operation=batch.operation,
        valid_from=batch.valid_from,
        valid_to=batch.valid_to,
        offset=offsets,
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
        system=clocks.astype(np.int64),
        outcome=np.zeros(n, np.uint8),
    )


def to_log(batch: Batch, changes: Changes, done: slice, partition: int) -> bytes:
    """A log entry: what `replay` needs of the records `done`; all but changes of these are skipped.

    What was none when it came might be one to a key that holds later changes already.
    """
    skip = np.ones_like(changes.skip)
    skip[done] = changes.outcome[done] != CHANGED
    arrays: dict[str, NDArray[Any]] = {name: getattr(changes, name) for name in _LOGGED}
    arrays |= {"skip": skip, "keys": batch.keys, "key_start": batch.key_start, "key_hash": batch.key_hash}
    columns = {name: _packed(name, array) for name, array in arrays.items()}
    contents = [_squeezed(name, array) for name, array in columns.items()]
    about = [
        [name, array.dtype.str, array.size, len(content)]
        for (name, array), content in zip(columns.items(), contents, strict=True)
    ]
    header = json.dumps([partition, about]).encode()
    return b"".join([len(header).to_bytes(4, "little"), header, *contents])


def from_log(
    entry: bytes,
) -> tuple[int, NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], Changes]:
    """The partition, the canonical keys with their starts and hashes, and the changes of a log entry."""
    data, at = memoryview(entry), 4 + int.from_bytes(entry[:4], "little")
    partition, about = json.loads(bytes(data[4:at]))
    columns = {}
    for name, dtype, size, length in about:
        columns[name] = _let_out(data[at : at + length], np.dtype(dtype), size)
        at += length
    n = columns["key_hash"].size  # of what may be one value for all, the size says nothing
    arrays = {name: _unpacked(name, array, n) for name, array in columns.items()}
    changes = Changes(
        skip=arrays["skip"],
        key=np.empty(n, np.int64),
        outcome=np.zeros(n, np.uint8),
        **{name: arrays[name] for name in _LOGGED},
    )
    hashes = arrays["key_hash"].view(np.int64)
    return partition, arrays["keys"], arrays["key_start"], hashes, changes


def _packed(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Places as lengths, offsets without gaps as the first one, what all records share as one value."""
    if name in _STARTS:
        return np.diff(array).astype(np.uint32)
    if name == "offset" and array.size > 1 and bool((np.diff(array) == 1).all()):
        return array[:1]
    if name in _PER_RECORD and array.size > 1 and bool((array == array[0]).all()):
        array = array[:1]
    return np.ascontiguousarray(array)


def _unpacked(name: str, array: NDArray[Any], n: int) -> NDArray[Any]:
    if name in _STARTS:
        return starts_of(array)
    if name == "offset" and array.size == 1:
        return np.arange(array[0], array[0] + n)
    return np.full(n, array[0]) if name in _PER_RECORD and array.size == 1 else array


def _squeezed(name: str, array: NDArray[Any]) -> Any:
    """The array's bytes, compressed but for hashes, which can't be; as long as before: they are plain."""
    if array.nbytes < _LEAST_BYTES or name in _RANDOM:
        return array.tobytes()
    squeezed = pa.compress(array, _CODEC)
    return squeezed if squeezed.size < array.nbytes else array.tobytes()


def _let_out(content: memoryview, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    """The array again; a copy, for kernels take no read-only ones."""
    nbytes = size * dtype.itemsize
    plain = content if len(content) == nbytes else pa.decompress(content, nbytes, _CODEC)
    return np.frombuffer(plain, dtype).copy()
