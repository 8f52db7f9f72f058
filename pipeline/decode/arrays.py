"""The arrays a block is decoded into: made for its size, grown when a record needs more."""

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.batch import Batch, Label
from pipeline.decode.layout import (
    FULL_KEYS,
    FULL_ROW_KEYS,
    FULL_ROW_VALUES,
    FULL_ROWS,
    FULL_VALUES,
    R_KEYS,
    R_ROW_KEYS,
    R_ROW_VALUES,
    R_ROWS,
    R_VALUES,
    X_FIELDS,
    X_KEY,
    X_TABLE,
    X_VALUE_END,
)
from pipeline.decode.structures import Output

_GROWS = {
    FULL_KEYS: ("keys",),
    FULL_VALUES: ("values",),
    FULL_ROWS: ("rows", "row_hash"),
    FULL_ROW_KEYS: ("row_keys",),
    FULL_ROW_VALUES: ("row_values",),
}


def new_output(records: int, size: int, *, children: bool) -> Output:
    """Arrays for so many records of so many bytes together."""
    per_child = size if children else 0
    return Output(
        status=np.zeros(records, np.uint8),
        error_column=np.full(records, -1, np.int32),
        error_at=np.full(records, -1, np.int64),
        operation=np.zeros(records, np.uint8),
        tombstone=np.zeros(records, np.bool_),
        valid_from=np.full(records, -(2**63), np.int64),
        valid_to=np.full(records, -(2**63), np.int64),
        timestamp=np.full(records, -(2**63), np.int64),
        given=np.zeros(records, np.uint64),
        key_start=np.zeros(records + 1, np.int64),
        key_hash=np.zeros(records, np.uint64),
        value_start=np.zeros(records + 1, np.int64),
        child_first=np.zeros(records + 1, np.int64),
        keys=np.empty(size // 4 + 1024, np.uint8),
        values=np.empty(size + 1024, np.uint8),
        rows=np.empty((per_child // 64 + 16, X_FIELDS), np.int64),
        row_hash=np.empty(per_child // 64 + 16, np.uint64),
        row_keys=np.empty(per_child // 4 + 1024, np.uint8),
        row_values=np.empty(per_child // 2 + 1024, np.uint8),
    )


def doubled(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """A copy with room for twice as much."""
    bigger = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    bigger[: len(array)] = array
    return bigger


def grown(output: Output, full: int) -> Output:
    """The arrays with more room in those that were full."""
    return output._replace(**{name: doubled(getattr(output, name)) for name in _GROWS[full]})


def to_batch(
    output: Output,
    registers: NDArray[np.int64],
    ahead: NDArray[np.bool_],
    columns: tuple[Label, ...],
    fields: dict[int, str],
) -> Batch:
    """The filled parts of the arrays."""
    records = {name: getattr(output, name) for name in Output._fields[:13]}
    count = int(registers[R_ROWS])
    rows = output.rows[:count]
    key_end = int(registers[R_ROW_KEYS])
    return Batch(
        **records,
        ahead=ahead,
        keys=output.keys[: registers[R_KEYS]],
        values=output.values[: registers[R_VALUES]],
        child_table=rows[:, X_TABLE].astype(np.uint8),
        child_keys=output.row_keys[:key_end],
        child_key_start=np.append(rows[:, X_KEY], key_end),
        child_key_hash=output.row_hash[:count],
        child_values=output.row_values[: registers[R_ROW_VALUES]],
        child_value_start=np.concatenate((np.zeros(1, np.int64), rows[:, X_VALUE_END])),
        columns=columns,
        fields=fields,
    )
