"""Record batches built by hand, as Kafka's documentation describes them, apart from the code that reads them."""

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from kafka.record._crc32c import crc as crc32c

from pipeline.source.block import PADDING
from pipeline.source.kafka.block import Records
from pipeline.source.kafka.records import Unpacker, scan_batches

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND, TRANSACTIONAL, CONTROL = 8, 16, 32
Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Record:
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[Header] = ()
    delta: int | None = None
    later: int = 0


@dataclass(frozen=True)
class Batch:
    records: Sequence[Record]
    base: int = 0
    attributes: int = NONE
    first_ms: int = 1_700_000_000_000
    max_ms: int = 1_700_000_009_999
    producer: int = -1
    changed: dict[str, int] = field(default_factory=dict)

    def bytes(self) -> bytes:
        deltas = [i if r.delta is None else r.delta for i, r in enumerate(self.records)]
        body = b"".join(map(record, self.records, deltas))
        return sealed(
            packed(body, self.attributes & 7),
            base=self.base,
            attributes=self.attributes,
            last=self.changed.get("last", max(deltas, default=0)),
            first_ms=self.first_ms,
            max_ms=self.max_ms,
            producer=self.producer,
            count=self.changed.get("count", len(self.records)),
            magic=self.changed.get("magic", 2),
        )


def sealed(
    body: bytes,
    *,
    base: int = 0,
    attributes: int = 0,
    last: int = 0,
    first_ms: int = 0,
    max_ms: int = 0,
    producer: int = -1,
    count: int = 1,
    magic: int = 2,
) -> bytes:
    """A batch with a checksum that fits, whatever its records are."""
    after = struct.pack(">hiqqqhii", attributes, last, first_ms, max_ms, producer, 0, 0, count) + body
    head = struct.pack(">qiibI", base, len(after) + 9, 0, magic, crc32c(after))
    return head + after


def packed(body: bytes, codec: int) -> bytes:
    if codec == GZIP:
        return gzip.compress(body)
    names = {SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}
    return pa.compress(body, codec=names[codec], asbytes=True) if codec in names else body


def xerial(body: bytes, block: int = 50) -> bytes:
    """Snappy as Java's library frames it."""
    pieces = [packed(body[at : at + block], SNAPPY) for at in range(0, len(body), block)]
    framed = b"".join(struct.pack(">i", len(piece)) + piece for piece in pieces)
    return b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + framed


def varint(number: int) -> bytes:
    number = (number << 1 ^ number >> 63) & (2**64 - 1)
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def sized(part: bytes | None) -> bytes:
    return varint(-1) if part is None else varint(len(part)) + part


def record(one: Record, delta: int) -> bytes:
    headers = b"".join(sized(name.encode()) + sized(value) for name, value in one.headers)
    body = b"\0" + varint(one.later) + varint(delta) + sized(one.key) + sized(one.value)
    body += varint(len(one.headers)) + headers
    return varint(len(body)) + body


def aligned(raw: bytes) -> np.ndarray:
    data = np.full(len(raw) + PADDING, 0xEE, np.uint8)
    data[: len(raw)] = np.frombuffer(raw, np.uint8)
    return data


def read(raw: bytes, position: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> tuple[Records, int, bool]:
    """The records, the next offset, and whether the broker stamped them."""
    scanned = scan_batches(aligned(raw), 0, len(raw), position)
    given = np.array([(*one, 0) for one in aborted], np.int64).reshape(-1, 3)
    records, log_append = Unpacker().read(scanned, position, given)
    return records, scanned.next_offset, log_append
