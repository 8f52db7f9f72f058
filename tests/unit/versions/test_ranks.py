"""Keys in the order of their columns."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.schema import Column, TableSchema
from pipeline.temporal.change import R_KEY, ROW_FIELDS
from pipeline.temporal.keys import new_keys, number_all, with_room
from pipeline.versions.ranks import Ranks, rank_keys
from pipeline.versions.scatter import encode
from tests.unit.decode.reading import column


def _ranked(columns: list[Column], arrays: list[pa.Array]) -> tuple[Ranks, np.ndarray]:
    """The ranks of all rows of the arrays, and each row's."""
    batch = pa.RecordBatch.from_arrays(arrays, names=[c.name for c in columns])
    data, starts = encode(columns, batch, payload=False)
    n = batch.num_rows
    keys, numbers = with_room(new_keys(1 << 20), n), np.empty(n, np.int64)
    number_all(keys, np.zeros(n, np.uint8), np.arange(n) * 7919, data, starts, numbers)
    fields = np.zeros((n, ROW_FIELDS), np.int64)
    fields[:, R_KEY] = numbers
    ranks = rank_keys(TableSchema("t", "n.t", (), (), tuple(columns), ()), keys, fields)
    return ranks, ranks.of[numbers]


@pytest.mark.parametrize(
    "texts",
    [
        ["b"],
        [""],
        ["XS0000000017", "XS0000000002", "XS0000000100"],
        ["abc", "ab", "", "a", "abcd"],
        ["common", "common\0", "common\0\0", "common\1"],
        ["a longer common prefix, then z", "a longer common prefix, then \u20ac", "a longer common prefix"],
        ["same for more than eight bytes: 1 2", "same for more than eight bytes: 1 1", "z"],
        ["\U0001f600", "\uffff", "z", "\u00e9"],
    ],
)
def test_texts_are_in_the_order_of_their_bytes(texts: list[str]) -> None:
    ranks, of = _ranked([column("k", "string")], [pa.array(texts)])
    expected = sorted(texts, key=str.encode)
    assert ranks.columns[0].to_pylist() == expected
    assert [expected[rank] for rank in of] == texts


def test_many_texts() -> None:
    random = np.random.default_rng(7)
    texts = [f"K{n:07}" for n in random.permutation(20_000)]
    ranks, _ = _ranked([column("k", "string")], [pa.array(texts)])
    assert ranks.columns[0].to_pylist() == sorted(texts)


def test_several_columns() -> None:
    columns = [column("a", "string"), column("b", "long")]
    ranks, _ = _ranked(columns, [pa.array(["x", "y", "x", "w"]), pa.array([2, -1, -3, 9])])
    rows = list(zip(*(c.to_pylist() for c in ranks.columns), strict=True))
    assert rows == [("w", 9), ("x", -3), ("x", 2), ("y", -1)]
