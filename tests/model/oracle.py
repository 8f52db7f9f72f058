"""The naive model of bitlake: records in, rows, counts, dead letters and answers out. Slow and literal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .dataset import Dataset, Rejected
from .decoding import Change, Record, Values, decode, read_envelope
from .timeline import Lines, Place, Segment, apply

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Origin:
    """The change that opened or closed a version."""

    operation: str
    topic: str | None
    partition: int
    offset: int


@dataclass(frozen=True)
class Row:
    """A version as appended; ``system_to`` and ``closed`` are None in open rows."""

    table: str
    key: Key
    values: Values
    valid_from: int
    valid_to: int
    system_from: int
    opened: Origin
    system_to: int | None = None
    closed: Origin | None = None

    @property
    def identity(self) -> tuple[str, Key, int, int]:
        """What tells a version from all others."""
        return self.table, self.key, self.system_from, self.valid_from


@dataclass(frozen=True)
class DeadLetter:
    """A record that could not become a change."""

    partition: int
    offset: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Applied:
    """A change that wrote rows, at its system time; what the dense grid replays."""

    system: int
    change: Change


@dataclass
class Timeline:
    """What is believed about one key, and the system time of its last change that wrote rows."""

    lines: Lines = field(default_factory=dict)
    last: int | None = None


@dataclass(frozen=True)
class Counts:
    """The last line of ``load --output json``, without epochs."""

    records: int
    changes: int
    no_ops: int
    dead_letters: int
    versions: int


class Model:
    """One dataset, from its records to its rows.

    Attributes:
        rows: every row appended, in order: per record its closed rows, then its open rows.
        dead: dead letters, in order.
        decoded: every decoded change with the system time it had (or would have had), in order.
        timelines: the state per key.
    """

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self.dataset = Dataset.of(entry)
        self.rows: list[Row] = []
        self.dead: list[DeadLetter] = []
        self.decoded: list[Applied] = []
        self.timelines: dict[Key, Timeline] = {}
        self.clocks: dict[int, int] = {}
        self.records = self.changes = self.no_ops = 0
        self._open: dict[Segment, Row] = {}

    def run(self, records: Iterable[Record]) -> "Model":
        """Apply records in order."""
        for record in records:
            self.apply(record)
        return self

    def load(
        self, lines: Iterable[bytes], *, started: int, envelope: bool = False, first: int = 0
    ) -> "Model":
        """What ``bitlake load`` does with the lines of a file: partition 0, offsets from ``first``."""
        for offset, line in enumerate(lines, first):
            try:
                record = read_envelope(line, offset) if envelope else Record(line, started, offset=offset)
            except Rejected as error:
                self.records += 1
                if error.timestamp is not None:
                    self.clocks[0] = max(error.timestamp, self.clocks.get(0, error.timestamp))
                self._reject(0, offset, error)
            else:
                self.apply(record)
        return self

    def apply(self, record: Record) -> list[Row]:
        """Apply one record; returns the rows it appended."""
        self.records += 1
        clock = max(record.timestamp, self.clocks.get(record.partition, record.timestamp))
        self.clocks[record.partition] = clock
        try:
            change = decode(self.dataset, record)
        except Rejected as error:
            self._reject(record.partition, record.offset, error)
            return []
        timeline = self.timelines.setdefault(change.key, Timeline())
        system = clock if timeline.last is None else max(clock, timeline.last + 1)
        self.decoded.append(Applied(system, change))
        after = apply(timeline.lines, change, next_change=self.dataset.next_change, end=self.dataset.end)
        origin = Origin(change.operation, record.topic, record.partition, record.offset)
        rows = self._rows(change.key, timeline.lines, after, system, origin)
        if not rows:
            self.no_ops += 1
            return []
        self.changes += 1
        timeline.lines, timeline.last = after, system
        self.rows += rows
        return rows

    def _reject(self, partition: int, offset: int, error: Rejected) -> None:
        self.dead.append(DeadLetter(partition, offset, error.stage, error.reason))

    def _rows(self, key: Key, before: Lines, after: Lines, system: int, origin: Origin) -> list[Row]:
        old, new = ({s: place for place in sorted(lines) for s in lines[place]} for lines in (before, after))
        gone, came = ([s for s in these if s not in those] for these, those in ((old, new), (new, old)))
        closed = [replace(self._open.pop(s), system_to=system, closed=origin) for s in gone]
        opened = {s: self._open_row(key, new[s], s, system, origin) for s in came}
        self._open |= opened
        return [*closed, *opened.values()]

    def _open_row(self, key: Key, place: Place, s: Segment, system: int, origin: Origin) -> Row:
        index, own = place
        table = self.dataset.tables[index].name
        return Row(table, key + own, s.values, s.valid_from, s.valid_to, system, origin)

    @property
    def counts(self) -> Counts:
        """Counts as ``load`` prints them; versions are the open rows of all tables."""
        versions = sum(row.system_to is None for row in self.rows)
        return Counts(self.records, self.changes, self.no_ops, len(self.dead), versions)

    def history(self, table: str | None = None) -> list[Row]:
        """All versions of a table, closed wins; by key, system_from, valid_from."""
        name = table or self.dataset.name
        versions: dict[Any, Row] = {}
        for row in self.rows:
            if row.table == name and (row.identity not in versions or row.system_to is not None):
                versions[row.identity] = row
        return sorted(versions.values(), key=lambda r: (r.key, r.system_from, r.valid_from))

    def timeline(self, system: int, table: str | None = None) -> list[Row]:
        """All segments believed at a system time."""
        rows = (r for r in self.history(table) if r.system_from <= system)
        return [r for r in rows if r.system_to is None or system < r.system_to]

    def asof(self, valid: int, system: int, table: str | None = None) -> list[Row]:
        """What was believed at a system time about a valid time."""
        return [r for r in self.timeline(system, table) if r.valid_from <= valid < r.valid_to]
