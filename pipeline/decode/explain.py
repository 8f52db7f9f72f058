"""Why a record is a dead letter, in words: only made for those that are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode.batch import Batch, Label
from pipeline.decode.layout import Code
from pipeline.decode.ready import ROLE_NAMES

_JSON, _ENVELOPE, _KEY, _TIME = "json", "envelope", "key", "valid time"
_COLUMN, _CHILDREN, _NEW = "column", "children", "new field"
_AHEAD = "set its producer's clock right, or raise time.max_ahead; a replay applies it with the replay's time"
_FIX = "correct the record at its source and send it again"
_DECLARE = "declare a type that fits, under a new name where the table holds rows, then replay"
_DECLARE_IT = (
    "declare it under columns, with a type that fits, under a new name where the table has that column"
    " (of an array of plain values: path: .), then replay"
)
_KEY_TYPE = (
    "correct the record at its source and send it again; to give the key another type, load the data as"
    " another dataset: a key can't change"
)
_TIMES = "write ISO 8601, such as 2024-01-31 or 2024-01-31T12:00:00.000000Z"

_SIX_DIGITS = "write at most six fraction digits"
_TRUNCATING = {
    _TIME: "drop the others: set time_precision: truncate in the dataset, then replay",
    _COLUMN: "drop the others: declare the column with time_precision: truncate, then replay",
}
_OPERATIONS = "use put, patch, delete, terminate or retract"
_STAGES = {"valid_from": _TIME, "valid_to": _TIME, "operation": "operation"}
"""What refuses a member of the record's own; the others are an envelope's."""
_NO_NAME = '""'
_TYPES = {"operation": _OPERATIONS, "key": _FIX, "value": _FIX}
_NUMBERS = "write a whole number of valid_unit, in 64 bits, or ISO 8601"

_REASONS: dict[Code, tuple[str, str, str]] = {
    Code.EMPTY: (_JSON, "the line is empty", "leave it out: every line is one record"),
    Code.BOM: (_JSON, "the line begins with a byte order mark", "write the file as UTF-8 without one"),
    Code.NOT_JSON: (_JSON, "not JSON", _FIX),
    Code.TRUNCATED: (_JSON, "the JSON ends too early", "write each record whole, on one line"),
    Code.BAD_UTF8: (_JSON, "not UTF-8", "write the record as UTF-8"),
    Code.LONE_SURROGATE: (_JSON, "half of a surrogate pair is missing", _FIX),
    Code.CONTROL: (_JSON, "a control character in a string", "write it as an escape such as \\n or \\u0000"),
    Code.TOO_DEEP: (_JSON, "nested too deeply", "flatten the record"),
    Code.TRAILING: (_JSON, "something follows the record", "write one record per line"),
    Code.NOT_OBJECT: (_JSON, "the record is not an object", "write each record as {...}"),
    Code.NULL_RECORD: (
        _JSON,
        "the record is null",
        "to end a key, use the operation terminate or an envelope",
    ),
    Code.DUPLICATE: (_JSON, "a member comes twice in an object", "give it once"),
    Code.KEY_MISSING: (
        _KEY,
        "a key column is missing or null",
        "give every record its whole key; if none has it, correct key in lake.yaml",
    ),
    Code.KEY_TOO_LONG: (_KEY, "the key is longer than 64 KiB", "choose a shorter key"),
    Code.TIME_MISSING: (
        _TIME,
        "it is missing or null",
        "give every record the start of its valid range; if none has it, correct valid_from in lake.yaml",
    ),
    Code.TIME_TEXT: (_TIME, "not a date or timestamp", _TIMES),
    Code.TIME_RANGE: (_TIME, "outside the years 1 to 9999", _TIMES),
    Code.TIME_FRACTION: (_TIME, "more precise than a microsecond", _SIX_DIGITS),
    Code.LEAP_SECOND: (
        _TIME,
        "a leap second",
        "write second 59 or the next minute: UTC here has no second 60",
    ),
    Code.NO_UNIT: (_TIME, "an integer", "set the dataset's valid_unit to s, ms, us or ns"),
    Code.VALID_FROM_END: (_TIME, "at or after 9999-12-31, which means no end", "give an earlier time"),
    Code.EMPTY_RANGE: (_TIME, "not after valid_from", "give an end after the start, or none"),
    Code.OPERATION: ("operation", "not an operation", _OPERATIONS),
    Code.WRONG_TYPE: (_COLUMN, "a value of another type", _DECLARE),
    Code.OUT_OF_RANGE: (_COLUMN, "a number out of the type's range", _DECLARE),
    Code.NOT_INTEGRAL: (_COLUMN, "not an integer", _DECLARE),
    Code.SCALE: (_COLUMN, "more decimal places than the column has", _DECLARE),
    Code.PRECISION: (_COLUMN, "more digits than the column has", _DECLARE),
    Code.INEXACT: (
        _COLUMN,
        "a number that would be rounded",
        "declare it as decimal(p,s), under a new name where the table holds rows, then replay",
    ),
    Code.BAD_UUID: (_COLUMN, "not a hyphenated UUID", _DECLARE),
    Code.BAD_BASE64: (_COLUMN, "not standard, padded base64", _FIX),
    Code.BAD_NUMBER: (_COLUMN, "not a number", _FIX),
    Code.BAD_DATE: (
        _COLUMN,
        "not a date",
        "write 2024-01-31, or declare a timestamp, under a new name where the table holds rows, then replay",
    ),
    Code.NULL_ELEMENT: (_CHILDREN, "an element is null", "leave it out"),
    Code.CHILD_KEY_MISSING: (_CHILDREN, "an element's key is missing or null", "give every element its key"),
    Code.UNPARTITIONED: (
        _COLUMN,
        "a number too small to be truncated for its partition",
        "partition by bucket or by the column itself, or declare a wider type, then load the data again",
    ),
    Code.CHILD_KEY_EQUAL: (_CHILDREN, "two elements have the same key", "give every element its own key"),
    Code.UNKNOWN_FIELD: (
        _NEW,
        "a field without a column",
        "declare it, or set on_new_field to evolve or ignore, then replay",
    ),
    Code.NAME_COLLIDES: (_NEW, "its column's name is taken", "declare it under another name, then replay"),
    Code.BIG_NUMBER: (_NEW, "an integer beyond 64 bits", "declare it as decimal(p,0), then replay"),
    Code.TOO_MANY_COLUMNS: (
        _NEW,
        "the dataset would have too many columns",
        "declare an object with many fields as json, or set on_new_field to ignore, then replay",
    ),
    Code.BAD_NAME: (_NEW, "its name can't be a column's", "declare it under another name, then replay"),
    Code.NO_TIMESTAMP: (_ENVELOPE, "the timestamp is missing or null", "give every envelope its timestamp"),
    Code.AHEAD: ("system time", "further ahead of now than time.max_ahead", _AHEAD),
    Code.NO_VALUE: (_ENVELOPE, "the value is missing", "give every envelope its value; null is a tombstone"),
}


@dataclass(frozen=True)
class Refused:
    """Of records that are no changes, what tells why: see `Batch` for what its arrays are.

    Attributes:
        status, error_column, error_at: of each of them.
        columns: what error_column counts.
        fields: paths of what is no column, by their number among them.
    """

    status: NDArray[np.uint8]
    error_column: NDArray[np.int32]
    error_at: NDArray[np.int64]
    columns: tuple[Label, ...]
    fields: dict[int, str]

    @classmethod
    def of(cls, batch: Batch, records: NDArray[np.int64]) -> Self:
        """Those `records` of a batch; copies, since the batch's arrays are used again."""
        numbered = enumerate(records.tolist()) if batch.fields else ()
        fields = {number: batch.fields[record] for number, record in numbered if record in batch.fields}
        return cls(
            batch.status[records],
            batch.error_column[records],
            batch.error_at[records],
            batch.columns,
            fields,
        )

    def __len__(self) -> int:
        return len(self.status)


def reason_of(code: Code) -> str:
    """What is wrong, in words."""
    return _REASONS[code][1]


def explain(batch: Batch, index: int) -> tuple[str, str, str]:
    """Why record `index` of a batch is not a change: (stage, reason, what to do)."""
    stage, reason, advice = explain_all([Refused.of(batch, np.array([index]))])
    return stage[0].as_py(), reason[0].as_py(), advice[0].as_py()


def explain_all(refused: Sequence[Refused]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Why records of batches are no changes: stages, reasons, what to do; at least one record."""
    numbers: dict[tuple[Label, ...], int] = {}
    of = [numbers.setdefault(one.columns, len(numbers)) for one in refused]
    columns = list(numbers)
    kinds, kind = np.unique(
        np.stack(
            [
                np.repeat(of, [len(one) for one in refused]),
                np.concatenate([one.status for one in refused]),
                np.concatenate([one.error_column for one in refused]),
            ]
        ),
        axis=1,
        return_inverse=True,
    )
    words = [_about(Code(code), column, columns[number]) for number, code, column in kinds.T.tolist()]
    stage, reason, advice = (pa.array(w, pa.string()).take(pa.array(kind)) for w in zip(*words, strict=True))
    at = np.concatenate([one.error_at for one in refused])
    place = pc.binary_join_element_wise(", at byte ", pa.array(at).cast(pa.string()), "")
    reason = pc.binary_join_element_wise(reason, pc.if_else(pa.array(at >= 0), place, ""), "")
    if any(one.fields for one in refused):
        fields = (one.fields.get(number) for one in refused for number in range(len(one)))
        named = pa.array(["" if field is None else f"{field or _NO_NAME}: " for field in fields], pa.string())
        reason = pc.binary_join_element_wise(named, reason, "")
    return stage, reason, advice


def _about(code: Code, column: int, columns: tuple[Label, ...]) -> tuple[str, str, str]:
    stage, reason, advice = _REASONS[code]
    role = ROLE_NAMES[column] if 0 <= column < len(ROLE_NAMES) else None
    if stage == _TIME and column >= 0 and role is None:
        stage = _COLUMN
    elif role is not None and stage in (_TIME, _COLUMN):
        stage = _STAGES.get(role, _ENVELOPE)
        if code is Code.WRONG_TYPE:
            advice = _TYPES.get(role, _TIMES)
        elif stage == _TIME and code in (Code.OUT_OF_RANGE, Code.NOT_INTEGRAL):
            advice = _NUMBERS
    if column >= 0:
        label = columns[column]
        reason = f"{label.name} ({label.path}): {reason}" if label.path else f"{label.name}: {reason}"
    if code is Code.TIME_FRACTION and stage in _TRUNCATING:
        advice = f"{_SIX_DIGITS}, or {_TRUNCATING[stage]}"
    elif stage == _COLUMN and column >= 0 and columns[column].key and advice is not _FIX:
        advice = _KEY_TYPE
    elif advice is _DECLARE and (column < 0 or not columns[column].declared):
        advice = _DECLARE_IT
    return stage, reason, advice
