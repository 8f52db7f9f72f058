"""What must hold of a lake whatever befell it: the rows of docs/invariants.md, each a function.

They look into the tables and the state alone and know nothing of the records (that is the naive model's
part). What a test has checked is noted in `CHECKED`, so that it can be held to what its marker claims.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import Any, ParamSpec

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Snapshot

from pipeline.schema import END_OF_TIME_US, TableSchema
from pipeline.sink.epoch import DATASET, EPOCH, Position
from pipeline.sink.ledger import CLAIM, lineage
from pipeline.sink.scan import read_task

P = ParamSpec("P")
Offset = tuple[int, int]
"""A partition and an offset of it."""

OFFSETS = "every offset in exactly one epoch"
VERSIONS = "no version twice"
DISJOINT = "timelines disjoint"
MONOTONE = "system time monotone"
FINAL = "belief at or below the horizon unchanged"
STATE = "state equals the state rebuilt from the tables"
COUNTS = "in = changes + no-ops + dead letters"
PROGRESS = "progress resumes"
INVARIANTS = (OFFSETS, VERSIONS, DISJOINT, MONOTONE, FINAL, STATE, COUNTS, PROGRESS)
CHECKED: set[str] = set()
"""Those that were checked since a test began."""
LOOKS = 4
"""Old snapshots of a table whose belief is compared with today's."""


def invariant(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Note that a check ran to its end."""

    def noting(check: Callable[P, None]) -> Callable[P, None]:
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            check(*args, **kwargs)
            CHECKED.add(name)

        return checked

    return noting


@dataclass(frozen=True, slots=True)
class Version:
    """A row of a table, its values aside; times in microseconds, or days where valid time is a date."""

    key: tuple[Any, ...]
    valid_from: Any
    valid_to: Any
    system_from: int
    system_to: int | None
    opened: Offset
    closed: Offset | None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells a version from all others."""
        return self.key, self.system_from, self.valid_from

    def believed(self, system: int) -> bool:
        """Whether it is what is known at a system time."""
        return self.system_from <= system and (self.system_to is None or system < self.system_to)


class Written:
    """One table of a dataset as it is now, and as its snapshots tell that it was."""

    def __init__(self, table: Table, schema: TableSchema, dataset: str, *, upsert: bool) -> None:
        self.table, self.schema, self.upsert, self._dataset = table, schema, upsert, dataset
        self._files: dict[str, list[Version]] = {}
        self._snapshots: dict[int, list[tuple[int, list[Version]]]] = {}

    @cached_property
    def epochs(self) -> list[tuple[Snapshot, Position]]:
        """The snapshots that carry the dataset's epochs, the oldest first."""
        found = []
        for snapshot in reversed(list(lineage(self.table.metadata, self._dataset))):
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            if summary.get(DATASET) != self._dataset or EPOCH not in summary:
                continue
            position = Position.from_summary(summary)
            # Who claims a dataset says its position again: that counts where the epoch's snapshot was expired.
            if CLAIM not in summary or all(position != other for _, other in found):
                found.append((snapshot, position))
        return found

    def rows(self, snapshot: Snapshot | None = None) -> list[Version]:
        """All rows of a snapshot, by default the current one; each file is read once."""
        snapshot = snapshot or self.table.current_snapshot()
        return [row for _, rows in self._by_file(snapshot) for row in rows] if snapshot else []

    def history(self, snapshot: Snapshot | None = None) -> list[Version]:
        """All versions of a snapshot: closed wins."""
        rows = self.rows(snapshot)
        closed = {row.identity for row in rows if row.system_to is not None}
        return [row for row in rows if row.system_to is not None or row.identity not in closed]

    def added(self) -> Iterator[tuple[int, list[Version]]]:
        """The rows of each data file, with the snapshot that added it."""
        current = self.table.current_snapshot()
        yield from self._by_file(current) if current else ()

    def _by_file(self, snapshot: Snapshot) -> list[tuple[int, list[Version]]]:
        if snapshot.snapshot_id not in self._snapshots:
            self._snapshots[snapshot.snapshot_id] = list(self._read_all(snapshot))
        return self._snapshots[snapshot.snapshot_id]

    def _read_all(self, snapshot: Snapshot) -> Iterator[tuple[int, list[Version]]]:
        for manifest in snapshot.manifests(self.table.io):
            for entry in manifest.fetch_manifest_entry(self.table.io):
                if entry.status != ManifestEntryStatus.DELETED:
                    path = entry.data_file.file_path
                    if path not in self._files:
                        self._files[path] = self._read(FileScanTask(entry.data_file))
                    assert entry.snapshot_id is not None
                    yield entry.snapshot_id, self._files[path]

    def _read(self, task: FileScanTask) -> list[Version]:
        key = [column.name for column in self.schema.key]
        names = ["valid_from", "valid_to", "system_from", "system_to", "source_partition", "source_offset"]
        names += ["closed_by_partition", "closed_by_offset"]
        rows = read_task(self.table, task, self.table.schema().select(*key, *names))
        systems = [rows.column(name).cast("int64").to_pylist() for name in ("system_from", "system_to")]
        columns = [rows.column(name).to_pylist() for name in (*key, *names[:2])]
        origins = [rows.column(name).to_pylist() for name in names[4:]]
        return [
            Version(
                (plain[:-2]),
                *plain[-2:],
                system_from,
                None if system_to == END_OF_TIME_US else system_to,
                (partition, offset),
                None if by_offset is None else (by_partition, by_offset),
            )
            for plain, system_from, system_to, partition, offset, by_partition, by_offset in zip(
                zip(*columns, strict=True), *systems, *origins, strict=True
            )
        ]


class Evidence:
    """Everything that the checks look at: a dataset's tables and its dead letters, as they are now.

    Args:
        catalog: the lake's.
        dataset: the dataset's name.
        tables: its tables.
        dead_letters: the identifier of the table of dead letters.
        upsert: each version is in the tables once.
    """

    def __init__(
        self,
        catalog: Catalog,
        dataset: str,
        tables: Mapping[str, TableSchema],
        dead_letters: str,
        *,
        upsert: bool = False,
    ) -> None:
        self.tables = [
            Written(catalog.load_table(schema.identifier), schema, dataset, upsert=upsert)
            for schema in tables.values()
        ]
        letters = catalog.load_table(dead_letters).scan(
            selected_fields=("dataset", "epoch", "partition", "offset", "status")
        )
        self.letters = [
            ((row["partition"], row["offset"]), row["epoch"])
            for row in letters.to_arrow().to_pylist()
            if row["dataset"] == dataset and row["status"] == "dead"
        ]

    @property
    def parent(self) -> Written:
        """The dataset's own table."""
        return self.tables[0]

    @property
    def position(self) -> Position:
        """Where the dataset is."""
        return self.parent.epochs[-1][1]

    def changed(self) -> set[Offset]:
        """The offsets of the records that wrote rows."""
        rows = [row for table in self.tables for row in table.rows()]
        return {row.opened for row in rows} | {row.closed for row in rows if row.closed}


def check(evidence: Evidence, *, no_ops: int) -> None:
    """Every invariant that a look at the tables can tell.

    Args:
        evidence: the tables.
        no_ops: how many records were no-ops, by the naive model.
    """
    offsets_once(evidence)
    versions_once(evidence)
    disjoint(evidence)
    monotone(evidence)
    final(evidence)
    adds_up(evidence, no_ops=no_ops)


@invariant(OFFSETS)
def offsets_once(evidence: Evidence) -> None:
    """Epochs follow each other, ranges of offsets too, and every row lies in the epoch of its offset."""
    for table in evidence.tables:
        positions = [position for _, position in table.epochs]
        assert positions[-1] == evidence.position, table.schema.identifier
        for before, after in pairwise(positions):
            assert after.epoch == before.epoch + 1, (table.schema.identifier, before, after)
            assert all(after.offsets[p] >= n for p, n in before.offsets.items()), (before, after)
        _check_ranges(table)
    ranges = _ranges(evidence.parent)
    for offset, epoch in evidence.letters:
        assert epoch not in ranges or _within(offset, *ranges[epoch]), (offset, epoch)
    assert max(Counter(offset for offset, _ in evidence.letters).values(), default=1) == 1


def _ranges(table: Written) -> dict[int, tuple[Position, Position]]:
    """Per epoch, where it began and where it ended; without the oldest that is left, but the first of all."""
    positions = [position for _, position in table.epochs]
    if positions and positions[0].epoch == 1:
        positions.insert(0, Position(0, {}, {}, -1))
    return {after.epoch: (before, after) for before, after in pairwise(positions)}


def _check_ranges(table: Written) -> None:
    ranges = _ranges(table)
    epochs = {snapshot.snapshot_id: position.epoch for snapshot, position in table.epochs}
    for snapshot, rows in table.added():
        if (epoch := epochs.get(snapshot)) not in ranges:
            continue
        before, after = ranges[epoch]
        for row in rows:
            last = row.closed or row.opened
            assert _within(last, Position(0, {}, {}, 0) if table.upsert else before, after), (epoch, row)


def _within(offset: Offset, before: Position, after: Position) -> bool:
    partition, number = offset
    return before.offsets.get(partition, 0) <= number < after.offsets.get(partition, 0)


@invariant(VERSIONS)
def versions_once(evidence: Evidence) -> None:
    """A version is opened by one row and closed by at most one, which agrees with it."""
    for table in evidence.tables:
        rows = table.rows()
        opened = {row.identity: row for row in rows if row.system_to is None}
        closed = {row.identity: row for row in rows if row.system_to is not None}
        if table.upsert:
            assert len(rows) == len({*opened, *closed}), table.schema.identifier
            continue
        assert len(rows) == len(opened) + len(closed), table.schema.identifier
        for identity, row in closed.items():
            twin = opened[identity]
            assert (twin.valid_to, twin.opened) == (row.valid_to, row.opened), (twin, row)


@invariant(DISJOINT)
def disjoint(evidence: Evidence) -> None:
    """No two versions of a key hold at one point of valid and system time."""
    for table in evidence.tables:
        by_key = defaultdict(list)
        for row in table.history():
            assert row.valid_from < row.valid_to, row
            assert row.system_to is None or row.system_from < row.system_to, row
            by_key[row.key].append(row)
        for rows in by_key.values():
            for a, b in combinations(rows, 2):
                apart = a.valid_to <= b.valid_from or b.valid_to <= a.valid_from
                assert apart or not _meet(a, b), (a, b)


def _meet(a: Version, b: Version) -> bool:
    first, second = sorted((a, b), key=lambda row: row.system_from)
    return first.system_to is None or second.system_from < first.system_to


@invariant(MONOTONE)
def monotone(evidence: Evidence) -> None:
    """A change has one system time, a key's changes have rising ones; clocks and horizon never go back."""
    systems: dict[Offset, set[int]] = defaultdict(set)
    changes: dict[tuple[Any, ...], set[Offset]] = defaultdict(set)
    width = len(evidence.parent.schema.key)
    for row in (row for table in evidence.tables for row in table.rows()):
        systems[row.opened].add(row.system_from)
        changes[row.key[:width]].add(row.opened)
        if row.closed is not None and row.system_to is not None:
            systems[row.closed].add(row.system_to)
            changes[row.key[:width]].add(row.closed)
    assert all(len(found) == 1 for found in systems.values()), systems
    for offsets in changes.values():
        times = [(p, min(systems[p, n])) for p, n in sorted(offsets)]
        assert all(a < b for (p, a), (q, b) in pairwise(times) if p == q), times
    for table in evidence.tables:
        for (_, before), (_, after) in pairwise(table.epochs):
            assert after.horizon >= before.horizon, (before, after)
            assert all(after.clocks[p] >= clock for p, clock in before.clocks.items()), (before, after)


@invariant(FINAL)
def final(evidence: Evidence) -> None:
    """What snapshots said at their horizons is what the tables say of those system times today."""
    for table in evidence.tables:
        now = table.history()
        step = max(1, len(table.epochs) // LOOKS)
        for snapshot, position in table.epochs[::-step]:
            then = {_belief(row) for row in table.history(snapshot) if row.believed(position.horizon)}
            today = {_belief(row) for row in now if row.believed(position.horizon)}
            assert then == today, (position, then ^ today)


def _belief(row: Version) -> tuple[Any, ...]:
    return row.identity, row.valid_to, row.opened


@invariant(COUNTS)
def adds_up(evidence: Evidence, *, no_ops: int) -> None:
    """Every record read is a change, a dead letter or a no-op, and only one of them."""
    changed, dead = evidence.changed(), {offset for offset, _ in evidence.letters}
    assert not changed & dead
    assert len(changed) + len(dead) + no_ops == sum(evidence.position.offsets.values())


@invariant(PROGRESS)
def resumed(before: Position | None, after: Position, summary: Mapping[str, int]) -> None:
    """A load that went on read only what was not committed, and committed all that it read."""
    begun = sum(before.offsets.values()) if before else 0
    ended = sum(after.offsets.values())
    assert begun <= ended
    assert summary["records"] <= ended - begun, (before, after, summary)
    assert summary["records"] == summary["changes"] + summary["no_ops"] + summary["dead_letters"]
    assert after.epoch >= (before.epoch if before else 0) + summary["epochs"]


@invariant(STATE)
def same_state(held: Mapping[str, Any], rebuilt: Mapping[str, Any]) -> None:
    """What `tests.faults.runs.describe_state` found in the state, and made from the tables alone."""
    differing = {key: (held.get(key), rebuilt.get(key)) for key in {*held, *rebuilt}}
    assert held == rebuilt, {key: pair for key, pair in differing.items() if pair[0] != pair[1]}
