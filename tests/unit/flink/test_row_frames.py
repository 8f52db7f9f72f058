"""Rows on their way to Java: frames below the size that Flink would put on disk."""

import pyarrow as pa
import pytest

from pipeline.flink.rows import FRAME_BYTES, framed


def read(frame: bytes) -> pa.Table:
    return pa.ipc.open_stream(frame[1:]).read_all()


@pytest.mark.parametrize(("width", "least"), [(10, 1), (1000, 5), (FRAME_BYTES, 20)])
def test_frames_are_not_large_but_for_single_rows(width: int, least: int) -> None:
    count = 20 if width == FRAME_BYTES else 20_000
    text = pa.array([str(i).ljust(width, "x") for i in range(count)])
    rows = pa.table({"n": pa.chunked_array([range(count)], pa.int64()), "text": text.dictionary_encode()})
    frames = list(framed(7, [rows.slice(0, 3), rows.slice(3), rows.slice(0, 0)]))
    assert all(frame[0] == 7 for frame in frames)
    assert len(frames) >= least
    assert max(len(frame) for frame in frames) < FRAME_BYTES + (256 << 10)
    whole = pa.concat_tables([read(frame) for frame in frames])
    assert whole["n"].to_pylist() == list(range(count))
    assert whole["text"].to_pylist() == text.to_pylist()


def test_each_frame_is_one_batch() -> None:
    rows = pa.concat_tables([pa.table({"n": [1, 2]}), pa.table({"n": [3]})])
    (frame,) = framed(0, [rows])
    assert [batch.num_rows for batch in pa.ipc.open_stream(frame[1:])] == [3]
