"""Dead letters as records to be decoded again."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decode import Batch, Decoder
from pipeline.engine.dead_letters import ENVELOPE
from pipeline.source.block import PADDING
from pipeline.temporal.change import NONE_GIVEN

MOST_RECORDS = 32_768
MOST_BYTES = 32 << 20
"""Of the letters that are decoded together; one that is longer is alone."""


@dataclass(frozen=True)
class Letters:
    """Dead letters of one partition that are read alike: rows of their table."""

    rows: pa.Table
    partition: int
    envelope: bool

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where the records were."""
        return np.asarray(self.rows["offset"].to_numpy())

    def decode(self, decoder: Decoder) -> Batch:
        """Decode the records, also messages without a value: their keys and timestamps are at hand."""
        values, (starts, ends) = _spans(self.rows["value"], 0)
        keys, key_spans = _spans(self.rows["key"], values.size)
        buffer = np.concatenate((values, keys, np.zeros(PADDING, np.uint8)))
        if self.envelope:
            return decoder.decode(buffer, starts, ends)
        # A copy: a read-only array is of another type to numba, which would compile the decoder anew.
        stamps = self.rows["timestamp"].cast(pa.int64()).fill_null(NONE_GIVEN).to_numpy().copy()
        return decoder.decode(buffer, starts, ends, key_spans, stamps)


def in_parts(letters: pa.Table) -> Iterator[Letters]:
    """Letters in their order, cut where they are to be read in another way, or are many."""
    partitions = letters["partition"].to_numpy()
    envelopes = pc.equal(letters["headers"], ENVELOPE).fill_null(False).to_numpy()
    new = (np.diff(partitions) != 0) | (np.diff(envelopes.view(np.int8)) != 0)
    cuts = [0, *(np.flatnonzero(new) + 1).tolist(), len(letters)]
    sizes = pc.binary_length(letters["value"]).fill_null(0).to_numpy()
    for first, last in pairwise(cuts):
        for start, end in _in_steps(sizes, first, last):
            yield Letters(letters.slice(start, end - start), int(partitions[start]), bool(envelopes[start]))


def _in_steps(sizes: NDArray[np.int32], first: int, last: int) -> Iterator[tuple[int, int]]:
    total = np.cumsum(sizes[first:last], dtype=np.int64)
    start = first
    while start < last:
        before = int(total[start - first - 1]) if start > first else 0
        fitting = first + int(np.searchsorted(total, before + MOST_BYTES, side="right"))
        end = min(max(fitting, start + 1), start + MOST_RECORDS, last)
        yield start, end
        start = end


def _spans(
    column: pa.ChunkedArray, at: int
) -> tuple[NDArray[np.uint8], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """A column's bytes, and its values' starts and ends where `at` bytes precede them; -1 where null."""
    lengths = pc.binary_length(column).fill_null(0).to_numpy()
    ends = at + np.cumsum(lengths, dtype=np.int64)
    nulls = column.is_null().to_numpy()
    starts = np.where(nulls, -1, ends - lengths)
    chunks = [_bytes(chunk) for chunk in column.chunks]
    return np.concatenate(chunks or [np.empty(0, np.uint8)]), (starts, np.where(nulls, -1, ends))


def _bytes(chunk: pa.Array) -> NDArray[np.uint8]:
    given = chunk.drop_null()
    if len(given) == 0:
        return np.empty(0, np.uint8)
    _, offsets, data = given.buffers()
    places = np.frombuffer(offsets, np.int32)[given.offset : given.offset + len(given) + 1]
    return np.frombuffer(data or b"", np.uint8)[places[0] : places[-1]]
