"""Cutting bytes into blocks of whole lines."""

from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.source.block import PADDING, Block
from pipeline.source.streams import ByteStream, Unreadable

BLOCK_BYTES = 4 << 20
BLOCK_RECORDS = 32_768
LINE_LIMIT = 1 << 30

_NEWLINE = 10
_PIECE = 512 << 10
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


class LineSource:
    """Blocks of a stream of lines, in order; a line is never split. Iterate once.

    Every line is a record, an empty one too; a last line needs no newline. A UTF-8 byte order mark is
    left out at the very start, and only there.

    Args:
        stream: the bytes, decompressed.
        name: what messages call it.
        block_bytes: how much is read at once; a longer line makes a bigger block.
        block_records: at most this many lines are in a block.
        line_limit: no line is longer, or the source is refused.
    """

    def __init__(
        self,
        stream: ByteStream,
        name: str,
        *,
        block_bytes: int = BLOCK_BYTES,
        block_records: int = BLOCK_RECORDS,
        line_limit: int = LINE_LIMIT,
    ) -> None:
        self.name = name
        self._stream = stream
        self._block_bytes = block_bytes
        self._block_records = block_records
        self._line_limit = line_limit
        self._skip = 0
        self._lines = 0
        self._ended = False
        self._failure: Unreadable | None = None

    def skip(self, lines: int) -> None:
        """Leave out the first lines: they are read and counted, not given. Before iterating only."""
        self._skip = lines

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Block]:
        """Give the blocks.

        Raises:
            BadInput: the source can't be read to its end; every whole line before that was given.
        """
        buffer = _empty(self._block_bytes)
        kept = self._fill(buffer, 0, at_least=4)
        begin = self._byte_order_mark(buffer, kept)
        searched = 0
        while True:
            filled = self._fill(buffer, kept)
            ends = self._ends(buffer, begin, searched, filled)
            if len(ends):
                yield from self._blocks(buffer[: filled + PADDING], begin, ends)
                begin = int(ends[-1]) + 1
            if self._ended:
                break
            buffer, kept = self._next_buffer(buffer, begin, filled)
            begin, searched = 0, kept
        self._finish()

    def _fill(self, buffer: NDArray[np.uint8], filled: int, at_least: int | None = None) -> int:
        """Read until the buffer is full, or the writer of a pipe rests; pad with zeros."""
        room = buffer.data[:-PADDING]
        wanted = len(room) if at_least is None else at_least
        try:
            while not self._ended and filled < wanted:
                done = self._stream.readinto(room[filled:wanted])
                filled += done
                self._ended = done == 0
                if at_least is None and self._stream.idle():
                    break
        except Unreadable as failure:
            self._failure, self._ended = failure, True
        buffer[filled : filled + PADDING] = 0
        return filled

    def _ends(self, buffer: NDArray[np.uint8], begin: int, searched: int, filled: int) -> NDArray[np.int64]:
        # In pieces: the comparison's result for a whole block is so large that each one is mapped afresh,
        # and its page faults double the cost.
        found = [
            np.flatnonzero(buffer[at : min(at + _PIECE, filled)] == _NEWLINE) + at
            for at in range(searched, filled, _PIECE)
        ]
        ends = np.concatenate(found) if found else np.empty(0, np.int64)
        last = int(ends[-1]) + 1 if len(ends) else begin
        if self._ended and not self._failure and last < filled:
            ends = np.append(ends, filled)
        return ends

    def _blocks(self, buffer: NDArray[np.uint8], begin: int, ends: NDArray[np.int64]) -> Iterator[Block]:
        starts = np.empty_like(ends)
        starts[0] = begin
        np.add(ends[:-1], 1, out=starts[1:])
        dropped = min(max(self._skip - self._lines, 0), len(ends))
        self._lines += dropped
        count = len(ends) - dropped
        parts = -(-count // self._block_records)
        for part in range(parts):
            lines = slice(dropped + count * part // parts, dropped + count * (part + 1) // parts)
            yield Block(buffer, starts[lines], ends[lines], self._lines, self._stream.bytes_done)
            self._lines += lines.stop - lines.start

    def _next_buffer(
        self, buffer: NDArray[np.uint8], begin: int, filled: int
    ) -> tuple[NDArray[np.uint8], int]:
        """A buffer that begins with the line that is not whole yet, with room for more of it."""
        rest = filled - begin
        if rest > self._line_limit:
            raise BadInput(
                f"line {self._lines + 1} of {self.name} is longer than {self._line_limit >> 20} MiB",
                next_step="write one JSON record per line; a file that is one big JSON array can be"
                " converted with `jq -c '.[]'`",
            )
        fresh = _empty(max(self._block_bytes, min(2 * rest, self._line_limit + 1)))
        fresh[:rest] = buffer[begin:filled]
        return fresh, rest

    def _byte_order_mark(self, buffer: NDArray[np.uint8], filled: int) -> int:
        head = buffer[: min(filled, 4)].tobytes()
        for mark, encoding in _WIDE_BOMS.items():
            if head.startswith(mark):
                raise BadInput(
                    f"{self.name} is {encoding}, not UTF-8",
                    next_step=f"convert it first, e.g. `iconv -f {encoding} -t UTF-8`",
                )
        return len(_BOM) if head.startswith(_BOM) else 0

    def _finish(self) -> None:
        if self._failure:
            raise BadInput(
                f"{self.name} can't be read beyond line {self._lines}: {self._failure}",
                next_step="get the file whole and load it again: what is loaded already changes nothing",
            ) from self._failure
        if self._lines < self._skip:
            raise BadInput(
                f"{self.name} has {self._lines} lines, but {self._skip} of it were loaded before",
                next_step="load the file that was begun, or give the new one another name",
            )


def _empty(size: int) -> NDArray[np.uint8]:
    return np.empty(size + PADDING, np.uint8)
