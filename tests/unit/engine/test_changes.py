"""Changes as entries of the log, and back."""

import numpy as np
import pytest

from pipeline.decode import Decoder
from pipeline.engine.changes import changes_of, from_log, to_log
from pipeline.temporal.apply import CHANGED, NO_OP, SKIPPED
from tests.unit.decode.reading import child, column, dataset, decode, options

SCHEMA = dataset(column("n", "long"), children=[child(["calls"], [column("on")], column("rate", "double"))])
LINES = (
    '{"k": "A", "v": "2024-01-01", "n": 1}',
    "no record",
    '{"k": "B", "v": "2024-01-01", "to": "2025-01-01", "calls": [{"on": "x", "rate": 0.5}, {"on": "y"}]}',
    '{"k": "A", "v": "2024-02-01", "op": "delete"}',
)


@pytest.mark.parametrize(
    "offsets", [(0, 1, 2, 3), (7, 7, 7, 7), (5, 6, 8, 9), (3, 2, 1, 0)], ids=["range", "one", "gap", "back"]
)
@pytest.mark.parametrize("done", [slice(0, 4), slice(1, 3)], ids=["all", "some"])
def test_changes_there_and_back(offsets: tuple[int, ...], done: slice) -> None:
    batch = decode(Decoder(SCHEMA, options()), *LINES)
    changes = changes_of(batch, np.array(offsets), np.zeros(len(LINES), np.int64))
    changes.system[:], changes.outcome[:] = range(100, 104), (CHANGED, SKIPPED, CHANGED, NO_OP)
    partition, keys, starts, hashes, found = from_log(to_log(batch, changes, done, 3))
    assert partition == 3
    assert keys.tobytes() == batch.keys.tobytes()
    assert starts.tolist() == batch.key_start.tolist()
    assert hashes.tolist() == batch.key_hash.view(np.int64).tolist()
    assert np.flatnonzero(found.skip == 0).tolist() == [i for i in (0, 2) if done.start <= i < done.stop]
    for name in set(changes._fields) - {"skip", "key", "outcome"}:  # made anew
        assert getattr(found, name).tolist() == getattr(changes, name).tolist(), name
