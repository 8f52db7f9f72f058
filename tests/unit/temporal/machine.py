"""The kernel by itself: changes in few characters in, version rows and timelines out."""

import itertools
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.temporal import apply as kernel
from pipeline.temporal import transfer
from pipeline.temporal.change import (
    NONE_GIVEN,
    OPEN,
    OPERATIONS,
    R_BY_OFFSET,
    R_END,
    R_OFFSET,
    R_START,
    R_SYSTEM,
    R_TABLE,
    R_TO,
    R_VALUE,
    ROW_FIELDS,
    Changes,
    Rows,
)
from pipeline.temporal.matching import new_scratch
from pipeline.temporal.store import LENGTH_BITS, NEVER, Store, new_store, reserve
from pipeline.temporal.values import LONG
from tests.unit.decode.reading import read_length

END = 1_000_000
"""No end, in these tests."""
COLUMNS = 2
Payload = str | tuple[str | None, ...] | None
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Do:
    """A change: values are one text per column, e.g. ``"A"`` or ``("A", None)``.

    Attributes:
        children: values by table and key; None: the record says nothing of children.
        given: in a patch, how many columns are given; default: those of the values.
    """

    operation: str
    start: int
    end: int | None = None
    values: Payload = None
    children: dict[int, dict[str, str]] | None = None
    system: int = 0
    key: int = 0
    given: int | None = None

    @property
    def texts(self) -> tuple[str | None, ...]:
        """The values as a tuple."""
        return (self.values,) if isinstance(self.values, str) else self.values or ()


def put(start: int, values: Payload, end: int | None = None, **more: Any) -> Do:
    return Do("put", start, end, values, **more)


def patch(start: int, values: Payload, end: int | None = None, **more: Any) -> Do:
    return Do("patch", start, end, values, **more)


def payload(texts: Sequence[str | None]) -> bytes:
    """Canonical bytes of texts."""
    bits = sum(1 << i for i, text in enumerate(texts) if text is not None)
    size = (bits.bit_length() + 7) // 8
    parts = [_length(len(t.encode())) + t.encode() for t in texts if t is not None]
    return struct.pack("<H", size) + bits.to_bytes(size, "little") + b"".join(parts)


def _length(size: int) -> bytes:
    return bytes([size]) if size < LONG else bytes([LONG]) + struct.pack("<I", size)


def texts_in(data: bytes) -> tuple[str | None, ...]:
    """Canonical bytes back as texts; nulls at the end are not told from absent columns."""
    size = struct.unpack_from("<H", data)[0]
    bits, at, found = int.from_bytes(data[2 : 2 + size], "little"), 2 + size, []
    for i in range(bits.bit_length()):
        text = None
        if bits >> i & 1:
            length, at = read_length(data, at)
            text, at = data[at : at + length].decode(), at + length
        found.append(text)
    assert at == len(data)
    return tuple(found)


def label(data: bytes, table: int) -> str:
    """``A``, ``A.B``, and ``key=A`` for a child."""
    key = ""
    if table:
        size = struct.unpack_from("<I", data, 2)[0]
        key, data = data[6 : 6 + size].decode() + "=", data[6 + size :]
    return key + ".".join(text or "-" for text in texts_in(data))


def arrays(changes: Sequence[Do]) -> Changes:
    """Changes as the decoder gives them."""
    values, keys, child_values = bytearray(), bytearray(), bytearray()
    starts, key_starts, child_starts, firsts = [0], [0], [0], [0]
    tables, hashes, given = [], [], []
    for change in changes:
        if change.operation == "patch":
            bits = (1 << (len(change.texts) if change.given is None else change.given)) - 1
            size = (bits.bit_length() + 7) // 8
            values += struct.pack("<H", size) + bits.to_bytes(size, "little")
        if change.operation in ("put", "patch"):
            values += payload(change.texts)
        starts.append(len(values))
        mask = sum(1 << table for table in change.children or ())
        given.append(-1 if change.operation == "put" else mask)
        for table, rows in (change.children or {}).items():
            for key, text in rows.items():
                keys += key.encode()
                child_values += payload([text])
                tables.append(table)
                hashes.append(zlib.crc32(key.encode()) % 3)
                key_starts.append(len(keys))
                child_starts.append(len(child_values))
        firsts.append(len(tables))
    n = len(changes)

    def ints(items: Sequence[int]) -> Any:
        return np.array(items, np.int64)

    def data(items: bytearray) -> Any:
        return np.frombuffer(bytes(items) or b"\0", np.uint8).copy()

    return Changes(
        skip=np.zeros(n, np.uint8),
        key=ints([c.key for c in changes]),
        operation=np.array([OPERATIONS.index(c.operation) for c in changes], np.uint8),
        valid_from=ints([c.start for c in changes]),
        valid_to=ints([NONE_GIVEN if c.end is None else c.end for c in changes]),
        offset=np.arange(n),
        values=data(values),
        value_start=ints(starts),
        given=ints(given),
        child_first=ints(firsts),
        child_table=np.array(tables, np.uint8),
        child_keys=data(keys),
        child_key_start=ints(key_starts),
        child_key_hash=ints(hashes),
        child_values=data(child_values),
        child_value_start=ints(child_starts),
        system=np.maximum.accumulate(ints([c.system for c in changes])),
        outcome=np.zeros(n, np.uint8),
    )


@dataclass
class Machine:
    """A store of timelines and the rows that changes left."""

    next_change: bool = True
    room: int = 1 << 24
    store: Store = field(init=False)
    rows: Rows = field(init=False)
    clock: int = NEVER

    def __post_init__(self) -> None:
        self.store = new_store(self.room)
        fields = reserve((self.room // 64, ROW_FIELDS), np.int64)
        gone = reserve((len(fields),), np.int64)
        self.rows = Rows(fields, np.zeros(1, np.int64), gone, np.zeros(1, np.int64))  # type: ignore[arg-type]
        self._scratch = new_scratch(1 << 12)

    def run(self, *changes: Do, replaying: Changes | None = None) -> Changes:
        """Apply changes, or replay ones that were applied elsewhere; afterwards they have their system times."""
        made, again = replaying or arrays(changes), replaying is not None
        if not again:
            np.maximum(made.system, self.clock, out=made.system)
            self.clock = int(made.system.max(initial=self.clock))
        widths = np.zeros(COLUMNS, np.int64)
        rules = kernel.Rules(END, self.next_change, widths)
        n = made.key.size
        done, _ = kernel.apply(self.store, self.rows, self._scratch, made, 0, n, 1 << 40, 0, rules, again)
        assert done == n
        return made

    def taken(self) -> list[Row]:
        """The rows since the last time: (label, from, to, system from, system to or None).

        Values that were given back are made unreadable: no segment may need them.
        """
        taken = [self._row(fields) for fields in self.rows.fields[: int(self.rows.filled[0])].tolist()]
        gone = self.rows.gone[: int(self.rows.gone_filled[0])].tolist()
        kernel.empty(self.store, self.rows)
        assert len(set(gone)) == len(gone)
        for value in gone:
            at, length = value >> LENGTH_BITS << 3, value & ((1 << LENGTH_BITS) - 1)
            self.store.arena[at + 8 : at + length] = 0xEE
        return taken

    def _row(self, fields: list[int]) -> Row:
        reference, table = fields[R_VALUE], fields[R_TABLE]
        at = (reference >> LENGTH_BITS) << 3
        data = self.store.arena[at : at + (reference & ((1 << LENGTH_BITS) - 1))].tobytes()
        is_open = fields[R_TO] == OPEN
        assert fields[R_OFFSET] >= 0
        assert is_open or fields[R_BY_OFFSET] >= 0
        times = (_end(fields[R_END]), fields[R_SYSTEM], None if is_open else fields[R_TO])
        return (label(data, table), fields[R_START], *times)

    def exported(self, keys: Sequence[int] = (0,)) -> list[bytes]:
        """Keys as a state backend keeps them."""
        numbers, starts = np.array(keys, np.int64), np.zeros(len(keys) + 1, np.int64)
        out = np.empty(transfer.room_of(self.store, numbers), np.uint8)
        transfer.export(self.store, numbers, starts, out)
        return [out[a:b].tobytes() for a, b in itertools.pairwise(starts)]

    def install(self, values: Sequence[bytes]) -> None:
        """Take keys in as they were exported, numbered from 0."""
        starts = np.cumsum([0, *map(len, values)]).astype(np.int64)
        data = np.frombuffer(b"".join(values) or b"\0", np.uint8).copy()
        transfer.install(self.store, np.arange(len(values)), starts[:-1], starts[1:], data)

    def timeline(self, key: int = 0) -> list[Row]:
        """The open segments: (label, from, to), the parent's first."""
        _, _, *lists = told(self.exported([key])[0])
        return [
            (label(value, level), start, _end(start + duration if duration else transfer.FAR))
            for level, segments in enumerate(lists)
            for start, _, duration, _, _, _, value in segments
        ]


Segment = tuple[int, int, int, int, int, int, bytes]


def told(exported: bytes) -> tuple[int, int, list[Segment], list[Segment]]:
    """An exported key: its last system time, its home, its segments as they are written; starts are absolute."""
    numbers, lists = _Numbers(exported, 8), []
    home, counts = numbers.next(), (numbers.next(), numbers.next())
    for count in counts:
        segments, before = [], 0
        for _ in range(count):
            start, aux, duration, ago, offset, meta, length = (numbers.next() for _ in range(7))
            start += before
            before = start + duration
            segments.append((start, aux, duration, ago, offset, meta, numbers.bytes(length)))
        lists.append(segments)
    return struct.unpack_from("<q", exported)[0], home, lists[0], lists[1]


@dataclass
class _Numbers:
    """Reads numbers written zigzag in base 128, and bytes between them."""

    data: bytes
    at: int

    def next(self) -> int:
        value = shift = 0
        while True:
            byte, self.at = self.data[self.at], self.at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value >> 1 if value % 2 == 0 else -(value + 1 >> 1)

    def bytes(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            byte, self.at = self.data[self.at], self.at + 1
            found += bytes([byte])
            if byte == 0:
                found, self.at = found + bytes(self.data[self.at]), self.at + 1
        return found


def _end(instant: int) -> int | None:
    return None if instant == END else instant
