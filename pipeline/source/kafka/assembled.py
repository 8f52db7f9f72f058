"""Records that come one by one, put together as those of whole batches are."""

import numpy as np

from pipeline.source.block import PADDING
from pipeline.source.kafka.block import NO_TIMESTAMP, Records


class Assembly:
    """Takes records one after the other, and gives them as `Records`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._rows: list[tuple[int, ...]] = []
        self._size = 0

    def add(
        self, value: bytes | None, key: bytes | None, headers: bytes, offset: int, stamp: int | None
    ) -> None:
        """Add a record.

        Args:
            value, key: its bytes; None is null.
            headers: as Kafka writes them.
            offset: its own.
            stamp: milliseconds; None, or a negative number: it has none.
        """
        micros = NO_TIMESTAMP if stamp is None or stamp < 0 else stamp * 1000
        self._rows.append((*self._put(value), *self._put(key), *self._put(headers), offset, micros))

    def records(self) -> Records:
        """All of them."""
        buffer = np.zeros(self._size + PADDING, np.uint8)
        buffer[: self._size] = np.frombuffer(b"".join(self._parts), np.uint8)
        return Records(buffer, *np.array(self._rows, np.int64).reshape(-1, 8).T.copy())

    def _put(self, part: bytes | None) -> tuple[int, int]:
        if part is None:
            return -1, -1
        self._parts.append(part)
        self._size += len(part)
        return self._size - len(part), self._size
