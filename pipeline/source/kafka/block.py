"""The unit that the Kafka source hands on."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_TIMESTAMP = -(2**63)
"""A record that has none: its producer sent -1, or its format is older than timestamps."""

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Records:
    """Records and where their parts are in a buffer; a start of -1 is a null.

    Attributes:
        buffer: uint8; at least `pipeline.source.block.PADDING` bytes follow the last record.
        starts, ends: int64[n], the values.
        key_starts, key_ends: int64[n], the keys.
        header_starts, header_ends: int64[n], the headers as Kafka writes them; `read_headers` reads them.
        offsets: int64[n], rising, with holes where a topic is compacted.
        timestamps: int64[n], microseconds; log-append time where the topic has it, or `NO_TIMESTAMP`.
    """

    buffer: Bytes
    starts: Numbers
    ends: Numbers
    key_starts: Numbers
    key_ends: Numbers
    header_starts: Numbers
    header_ends: Numbers
    offsets: Numbers
    timestamps: Numbers

    def __len__(self) -> int:
        return len(self.starts)

    def parts(self, first: int, end: int) -> tuple[Any, ...]:
        """The fields with only some of the records, in the same buffer."""
        return (self.buffer, *(getattr(self, name)[first:end] for name in _ARRAYS))

    def value(self, index: int) -> bytes | None:
        """One record's value: for a dead letter or a message, not for the way of every record."""
        return self._bytes(self.starts, self.ends, index)

    def key(self, index: int) -> bytes | None:
        """One record's key."""
        return self._bytes(self.key_starts, self.key_ends, index)

    def headers(self, index: int) -> bytes:
        """One record's headers, as Kafka writes them."""
        return self._bytes(self.header_starts, self.header_ends, index) or b""

    def _bytes(self, starts: Numbers, ends: Numbers, index: int) -> bytes | None:
        return None if starts[index] < 0 else self.buffer[starts[index] : ends[index]].tobytes()


_ARRAYS = [field.name for field in fields(Records)][1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaBlock(Records):
    """Some records of one partition, in order; perhaps none.

    Attributes:
        first_offset: the position before this block.
        next_offset: the position after it: beyond the last record where control batches or holes follow.
        log_append: the timestamps are the broker's, not the producers'.
        high_watermark, last_stable_offset: of the partition when it was fetched.
        fetched_at: microseconds, when the fetch was asked for: all that was appended before is below
            `high_watermark`.
        nbytes: about what it holds of memory.
    """

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    log_append: bool
    high_watermark: int
    last_stable_offset: int
    fetched_at: int
    nbytes: int
