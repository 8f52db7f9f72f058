"""Canonical bytes to Arrow and back: every type, nulls, slices, many columns."""

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.decode import Decoder
from pipeline.schema import Column, ColumnType, Kind
from pipeline.versions.columns import Decoded, key_arrays, value_arrays
from pipeline.versions.scatter import encode
from tests.unit.decode.reading import column, dataset, decode, options, read_payload

UTC = dt.UTC
VALUES: dict[str, list[Any]] = {
    "string": ["", "a", "\u00e9\u20ac\U0001f600", "x" * 254, "x" * 255, "x" * 256, "x" * 70_000, None],
    "boolean": [True, False, None],
    "int": [0, -1, 2**31 - 1, -(2**31), None],
    "long": [0, 2**53 + 1, 2**63 - 1, -(2**63), None],
    "float": [0.0, 0.5, -1.25, float(np.float32(0.1)), float(np.float32(3.4e38)), None],
    "double": [0.0, 0.1, -1e308, 5e-324, None],
    "decimal(1,0)": [Decimal("0"), Decimal("-9"), None],
    "decimal(12,6)": [Decimal("1.500000"), Decimal("-0.000001"), None],
    "decimal(38,10)": [Decimal("9" * 28 + "." + "9" * 10), Decimal("-" + "9" * 28 + "." + "9" * 10), None],
    "date": [dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31), None],
    "timestamp": [dt.datetime(1, 1, 1, tzinfo=UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e"), None],
    "binary": [b"", b"\0\xff", b"x" * 1000, None],
    "json": ["[1, 2]", '{"a":null}', None],
}  # fmt: skip


def _arrow(kind: str, values: list[Any]) -> pa.Array:
    type_ = ColumnType.parse(kind).arrow
    if isinstance(type_, pa.ExtensionType):
        storage = pa.array([None if v is None else v.bytes for v in values], type_.storage_type)
        return pa.ExtensionArray.from_storage(type_, storage)
    return pa.array(values, type_)


def _batch(columns: list[Column], arrays: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in columns])


def _arena(data: np.ndarray) -> np.ndarray:
    """Bytes with a word to spare behind them, as the store's arena has."""
    return np.concatenate((data, np.zeros(16, np.uint8)))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("nulls", ["some", "none", "all"])
def test_payloads_there_and_back(kind: str, nulls: str) -> None:
    values = {"some": VALUES[kind], "none": VALUES[kind][:-1], "all": [None] * 3}[nulls] * 5
    array, columns = _arrow(kind, values), [column("v", kind)]
    data, starts = encode(columns, _batch(columns, [array]), payload=True)
    (found,) = value_arrays(columns, _arena(data), starts[:-1])
    found.validate(full=True)
    assert found.to_pylist() == array.to_pylist()
    assert found.type == array.type


@pytest.mark.parametrize("kind", VALUES)
def test_keys_there_and_back(kind: str) -> None:
    values = VALUES[kind][:-1]
    columns = [column("a", kind), column("b"), column("c", kind)]
    arrays = [_arrow(kind, values), pa.array(["k"] * len(values)), _arrow(kind, values[::-1])]
    data, starts = encode(columns, _batch(columns, arrays), payload=False)
    order = np.argsort(-starts[:-1])
    found = key_arrays(columns, _arena(data), np.ascontiguousarray(starts[:-1][order]))
    assert [f.to_pylist() for f in found] == [a.take(pa.array(order)).to_pylist() for a in arrays]


def test_slices_and_missing_columns() -> None:
    columns = [column(kind, kind) for kind in VALUES]
    arrays = [_arrow(kind, (VALUES[kind] * 9)[:20]) for kind in VALUES]
    sliced = _batch(columns, arrays).slice(7, 9)
    extra = [*columns, column("later", "long")]
    data, starts = encode(extra, sliced, payload=True)
    found = value_arrays(extra, _arena(data), starts[:-1])
    assert [f.to_pylist() for f in found[:-1]] == [a.to_pylist() for a in sliced.columns]
    assert found[-1].null_count == 9
    same, same_starts = encode(columns, sliced, payload=True)
    assert (data.tobytes(), starts.tolist()) == (same.tobytes(), same_starts.tolist())


def test_columns_added_later_and_columns_without_a_type() -> None:
    old = [column("a", "long"), column("b")]
    data, starts = encode(old, _batch(old, [pa.array([1, None]), pa.array([None, "x"])]), payload=True)
    new = [
        *old,
        *(column(f"c{i}", "double") for i in range(20)),
        Column("u", ("u",), ColumnType(Kind.UNKNOWN)),
    ]
    found = value_arrays(new, _arena(data), starts[:-1])
    assert [f.to_pylist() for f in found[:2]] == [[1, None], [None, "x"]]
    assert all(f.null_count == 2 for f in found[2:-1])
    assert found[-1] is None


def test_no_rows() -> None:
    columns = [column(kind, kind) for kind in VALUES]
    data, starts = encode(columns, _batch(columns, [_arrow(kind, []) for kind in VALUES]), payload=True)
    assert (data.size, starts.tolist()) == (0, [0])
    assert all(len(a) == 0 for a in value_arrays(columns, _arena(data), starts[:-1]))


def test_a_rebuilt_payload_is_the_decoded_one() -> None:
    """Equal values are equal bytes, whether they come from a record or from the table."""
    columns = [column(f"c{i}", kind) for i, kind in enumerate(VALUES)]
    decoder = Decoder(dataset(*columns), options())
    count = max(map(len, VALUES.values()))
    rows = [
        {f"c{i}": _json(kind, values[row % len(values)]) for i, (kind, values) in enumerate(VALUES.items())}
        for row in range(count)
    ]
    lines = [json.dumps({"k": "a", "v": "2024-01-01", **row}) for row in rows]
    for i, text in enumerate(VALUES["json"]):
        lines[i] = lines[i].replace(json.dumps(_json("json", text)), text or "null")
    decoded = decode(decoder, *lines)
    assert decoded.status.tolist() == [0] * count
    arrays = value_arrays(columns, _arena(decoded.values), decoded.value_start[:-1])
    data, starts = encode(columns, _batch(columns, arrays), payload=True)
    for row in range(count):
        mine = decoded.values[decoded.value_start[row] : decoded.value_start[row + 1]].tobytes()
        assert data[starts[row] : starts[row + 1]].tobytes() == mine, read_payload(mine, columns)


def _json(kind: str, value: Any) -> Any:
    if kind == "json" and value is not None:
        return f"JSON{value}"
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    if isinstance(value, dt.date):
        return value.isoformat()
    return float(str(np.float32(value))) if kind == "float" and value is not None else value


def test_room_that_held_other_rows() -> None:
    columns, room = (
        [column("s", "string"), column("d", "decimal(12,6)"), column("n", "long")],
        Decoded.room(3, 4),
    )
    full = [pa.array(["a", "b"]), pa.array([Decimal("1.5")] * 2, pa.decimal128(12, 6)), pa.array([1, 2])]
    sparse = [pa.array([None, "c"]), pa.array([None] * 2, pa.decimal128(12, 6)), pa.array([None, 3])]
    found = []
    for arrays in (full, sparse):
        data, starts = encode(columns, _batch(columns, arrays), payload=True)
        found.append(value_arrays(columns, _arena(data), starts[:-1], room))
    keys, starts = encode(columns[:1], _batch(columns[:1], full[:1]), payload=False)
    assert key_arrays(columns[:1], _arena(keys), starts[:-1], room)[0].to_pylist() == ["a", "b"]
    for expected, arrays in zip((full, sparse), found, strict=True):
        assert [a.to_pylist() for a in arrays if a is not None] == [a.to_pylist() for a in expected]
