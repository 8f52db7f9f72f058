"""Record batches as they are fetched in, arrays of records out."""

import zlib
from dataclasses import dataclass

import numpy as np
import zstandard

from pipeline.source.block import PADDING
from pipeline.source.kafka.batches import (
    B_ATTRIBUTES,
    B_BASE,
    B_FIELDS,
    B_FROM,
    B_KEEP,
    B_LAST,
    B_TO,
    GZIP,
    HEADER,
    LOG_APPEND,
    ZSTD,
    Trouble,
    drop,
    scan,
)
from pipeline.source.kafka.block import Bytes, Numbers, Records
from pipeline.source.kafka.compiled import CRC_TABLE
from pipeline.source.kafka.legacy import read_old_batches
from pipeline.source.kafka.unpack import BROKEN, FULL, SLACK
from pipeline.source.kafka.walk import count, unpack, walk

MOST_UNPACKED = 1 << 30
"""A fetch's records of one partition are no more bytes when decompressed, or they are refused as broken."""

_SMALL = 4 << 10
_SMALL_UNPACKED = 64 << 10

_WORDS = {
    Trouble.CHECKSUM: "its checksum does not fit its bytes",
    Trouble.NEW_FORMAT: "it has a format that is newer than this program",
    Trouble.HEADER: "its header makes no sense",
    Trouble.RECORD: "its records make no sense",
    Trouble.CODEC: "it is compressed by a method that is newer than this program",
    Trouble.COMPRESSION: "its records can't be decompressed",
    Trouble.SIZE: f"its records are more than {MOST_UNPACKED >> 20} MiB when decompressed",
}


class BrokenBatch(Exception):
    """A record batch that can't be read.

    Attributes:
        offset: the first one in it.
        reason: what is wrong with it.
    """

    def __init__(self, offset: int, trouble: Trouble) -> None:
        super().__init__(_WORDS[trouble])
        self.offset = offset
        self.reason = _WORDS[trouble]


@dataclass(frozen=True, slots=True)
class Scanned:
    """The whole batches found in a fetch response.

    Attributes:
        data: the response, or a copy of a small part of it: blocks must not keep much more than themselves.
        begin: where in it the batches begin.
        batches: int64[n, B_FIELDS].
        old: batches of formats before Kafka 0.11, which then are all there is.
        next_offset: where to fetch from next.
        offset: the first one.
        trouble: of the first batch; a later one's is found by the next fetch.
    """

    data: Bytes
    begin: int
    batches: Numbers
    old: bytes
    next_offset: int
    offset: int
    trouble: Trouble | None


def scan_batches(data: Bytes, begin: int, end: int, position: int) -> Scanned:
    """Find the whole batches in a part of a response, without reading their records.

    Args:
        data: with `PADDING` bytes after `end`.
        position: the offset that was asked for.
    """
    if end - begin < len(data) // 2:
        data, begin, end = _copied(data[begin:end])
    used = np.zeros(1, np.int64)
    batches = np.empty(((end - begin) // HEADER, B_FIELDS), np.int64)
    found = scan(data, begin, end, CRC_TABLE, batches, used)
    if found == Trouble.OLD_FORMAT:
        old, last = _old_extent(data[begin:end])
        return Scanned(data, begin, batches[:0], old, max(position, last + 1), position, None)
    if found < 0:
        offset = int.from_bytes(data[begin : begin + 8].tobytes(), "big", signed=True)
        return Scanned(data, begin, batches[:0], b"", position, offset, Trouble(found))
    following = int(batches[found - 1, B_LAST]) + 1 if found else position
    return Scanned(data, begin, batches[:found], b"", max(position, following), position, None)


def _copied(part: Bytes) -> tuple[Bytes, int, int]:
    data = np.zeros(len(part) + PADDING, np.uint8)
    data[: len(part)] = part
    return data, 0, len(part)


def _old_extent(data: Bytes) -> tuple[bytes, int]:
    """The leading batches of old formats, and the last offset in them."""
    at, last, raw = 0, -1, data.tobytes()
    while at + 17 <= len(raw) and raw[at + 16] < 2:
        size = 12 + int.from_bytes(raw[at + 8 : at + 12], "big")
        if at + size > len(raw):
            break
        last = int.from_bytes(raw[at : at + 8], "big", signed=True)
        at += size
    return raw[:at], last


class Unpacker:
    """Reads scanned batches. Not to be used by two threads at once."""

    def __init__(self) -> None:
        self.ratio = 4.0
        """How many bytes lately became of one by decompressing."""
        self._zstd = zstandard.ZstdDecompressor()

    def read(self, scanned: Scanned, position: int, aborted: Numbers) -> tuple[Records, bool]:
        """Decompress and walk.

        Args:
            position: the offset that was asked for; batches may begin before it.
            aborted: int64[n, 3]: producer, first offset, 0; by offset. Transactions to leave out.

        Returns:
            The records, and whether their timestamps are of the broker (log-append time).

        Raises:
            BrokenBatch: a batch can't be read; nothing of the response is given then.
        """
        if scanned.trouble is not None:
            raise BrokenBatch(scanned.offset, scanned.trouble)
        if scanned.old:
            return read_old_batches(scanned.old, position)
        batches = scanned.batches
        data = scanned.data
        if drop(data, batches, position, aborted):
            data = self._unpacked(data, batches)
        expected = count(batches)
        broken = np.full(1, -1 - expected)
        columns = np.empty((8, max(expected, 0)), np.int64)
        found = walk(data, batches, position, columns, broken) if expected >= 0 else expected
        if found < 0:
            raise BrokenBatch(int(batches[broken[0], B_BASE]), Trouble.RECORD)
        log_append = bool((batches[:, B_ATTRIBUTES] & LOG_APPEND).any())
        return Records(data, *columns[:, :found]), log_append

    def _unpacked(self, data: Bytes, batches: Numbers) -> Bytes:
        packed = int((batches[:, B_KEEP] * (batches[:, B_TO] - batches[:, B_FROM])).sum())
        limit = min(int(packed * self.ratio * 1.2) + (64 << 10), MOST_UNPACKED)
        out = np.empty(limit + max(SLACK, PADDING), np.uint8)
        to = np.zeros(2, np.int64)
        at = 0
        while True:
            at = unpack(data, batches, at, out, to, limit)
            if to[1] == 0:
                break
            if to[1] > 0:
                self._by_library(data, batches[at], out, to, limit)
            if to[1] == BROKEN:
                raise BrokenBatch(int(batches[at, B_BASE]), Trouble.COMPRESSION)
            if to[1] == FULL:
                if limit == MOST_UNPACKED:
                    raise BrokenBatch(int(batches[at, B_BASE]), Trouble.SIZE)
                limit = min(2 * limit, MOST_UNPACKED)
                larger = np.empty(limit + max(SLACK, PADDING), np.uint8)
                larger[: to[0]] = out[: to[0]]
                out = larger
            elif to[1] == 0:
                at += 1
        self.ratio = max(to[0] / max(packed, 1), 1.0)
        return out[: int(to[0]) + PADDING]

    def _by_library(self, data: Bytes, batch: Numbers, out: Bytes, to: Numbers, limit: int) -> None:
        """Decompress one batch; `to` is left as `unpack` leaves it."""
        codec = int(to[1])
        packed = data[batch[B_FROM] : batch[B_TO]].data
        room = out[int(to[0]) : limit].data
        if codec == ZSTD:
            size = _unzstd(self._zstd, packed, room)
        elif codec == GZIP:
            size = _gunzip(packed, room)
        else:
            raise BrokenBatch(int(batch[B_BASE]), Trouble.CODEC)
        if size < 0:
            to[1] = size
            return
        batch[B_FROM] = to[0]
        batch[B_TO] = to[0] + size
        to[0] += size
        to[1] = 0


def _unzstd(context: zstandard.ZstdDecompressor, packed: memoryview, room: memoryview) -> int:
    if len(packed) < _SMALL:
        # A stream costs more than a small batch; its size is guessed where the frame does not tell it.
        try:
            most = min(_SMALL_UNPACKED, len(room))
            small = context.decompress(packed, max_output_size=most, allow_extra_data=False)
        except zstandard.ZstdError:
            small = b""
        if small and len(small) <= len(room):
            room[: len(small)] = small
            return len(small)
    try:
        with context.stream_reader(packed, read_across_frames=True) as reader:
            done = 0
            while done < len(room):
                size = reader.readinto(room[done:])
                if not size:
                    return done
                done += size
            return FULL if reader.read(1) else done
    except zstandard.ZstdError:
        return BROKEN


def _gunzip(packed: memoryview, room: memoryview) -> int:
    done = 0
    rest: memoryview | bytes = packed
    try:
        while len(rest):
            member = zlib.decompressobj(wbits=31)
            piece = member.decompress(rest, len(room) - done + 1)
            if len(piece) > len(room) - done:
                return FULL
            if not member.eof:
                return BROKEN
            room[done : done + len(piece)] = piece
            done += len(piece)
            rest = member.unused_data
    except zlib.error:
        return BROKEN
    return done


def warm() -> None:
    """Compile the kernels, into the cache on disk."""
    data, place = np.zeros(PADDING, np.uint8), np.zeros(2, np.int64)
    batches = np.zeros((0, B_FIELDS), np.int64)
    scan(data, 0, 0, CRC_TABLE, batches, place)
    drop(data, batches, 0, np.zeros((0, 3), np.int64))
    unpack(data, batches, 0, data, place, 0)
    count(batches)
    walk(data, batches, 0, np.zeros((8, 0), np.int64), place)
