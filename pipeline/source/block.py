"""The unit that a source hands on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = 64
"""Bytes that may be read beyond a block's last line, so that a scanner need not look where it ends."""


@dataclass(frozen=True, slots=True)
class Block:
    r"""Some whole records, one per line. Several blocks may share a buffer; nobody writes to it again.

    Attributes:
        buffer: uint8; at least `PADDING` bytes follow the last line: a newline, other lines, zeros.
        starts: int64[n], where each line begins in the buffer.
        ends: int64[n], where each ends, without its ``\n``; a ``\r`` before it belongs to the line.
        first_line: how many lines of the source come before this block.
        bytes_done: how far the source is read, in bytes as stored (compressed ones if they are).
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    first_line: int
    bytes_done: int

    def __len__(self) -> int:
        return len(self.starts)

    def line(self, index: int) -> bytes:
        """One line's bytes: for a dead letter or a message, not for the way of every record."""
        return self.buffer[self.starts[index] : self.ends[index]].tobytes()
