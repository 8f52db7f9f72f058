"""What a block of records becomes."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Label:
    """What dead letters call a column.

    Attributes:
        name: with its table: ``bonds.terms__coupon``.
        path: in the record, where the name does not tell: ``terms.coupon``.
        declared: in lake.yaml, or inferred.
        key: part of the table's key.
    """

    name: str
    path: str = ""
    declared: bool = True
    key: bool = False


@dataclass
class Batch:
    """A block of n records as arrays, with m rows of children.

    Attributes:
        status: uint8[n], 0 or the `Code` of what is wrong with the record; of such a record nothing counts
            in the other arrays but its timestamp.
        error_column: int32[n], which of `columns` is at fault, or -1.
        error_at: int64[n], the byte position in the record, without one in the message's key, or -1.
        operation: uint8[n], put 0, patch 1, delete 2, terminate 3, retract 4.
        tombstone: bool[n], the record's value was null.
        valid_from, valid_to: int64[n], microseconds or days; -2**63: none given.
        timestamp: int64[n], the envelope's (or the given) timestamp in microseconds, or -2**63.
        ahead: bool[n], the timestamp is too far ahead of now to move the clock, whatever else is wrong.
        given: uint64[n], bit t: child table t is listed by the record; a put lists all of them.
        keys, key_start, key_hash: uint8[], int64[n+1], uint64[n]: canonical key bytes and their hash.
        values, value_start: uint8[], int64[n+1]: canonical payloads; a patch has its bitmap before.
        child_first: int64[n+1], record i has the rows child_first[i] to child_first[i+1] - 1.
        child_table: uint8[m], each row's table; rows of one record are in no particular order of tables.
        child_keys, child_key_start, child_key_hash: canonical keys without the record's own.
        child_values, child_value_start: canonical payloads.
        columns: what error_column counts, times and operation first.
        fields: paths of what is no column and was refused, by record.
    """

    status: NDArray[np.uint8]
    error_column: NDArray[np.int32]
    error_at: NDArray[np.int64]
    operation: NDArray[np.uint8]
    tombstone: NDArray[np.bool_]
    valid_from: NDArray[np.int64]
    valid_to: NDArray[np.int64]
    timestamp: NDArray[np.int64]
    ahead: NDArray[np.bool_]
    given: NDArray[np.uint64]
    keys: NDArray[np.uint8]
    key_start: NDArray[np.int64]
    key_hash: NDArray[np.uint64]
    values: NDArray[np.uint8]
    value_start: NDArray[np.int64]
    child_first: NDArray[np.int64]
    child_table: NDArray[np.uint8]
    child_keys: NDArray[np.uint8]
    child_key_start: NDArray[np.int64]
    child_key_hash: NDArray[np.uint64]
    child_values: NDArray[np.uint8]
    child_value_start: NDArray[np.int64]
    columns: tuple[Label, ...]
    fields: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.status)
