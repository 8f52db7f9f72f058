"""What one epoch brings to the sink, and what its snapshots' summaries say."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from pipeline.schema import DatasetSchema, TableSchema

DATASET, EPOCH, OFFSETS, CLOCKS, HORIZON, PROGRESS, TOPIC_ID, WRITE, TABLES, LETTERS = (
    "bitlake.dataset",
    "bitlake.epoch",
    "bitlake.offsets",
    "bitlake.clocks",
    "bitlake.horizon",
    "bitlake.progress",
    "bitlake.topic-id",
    "bitlake.write",
    "bitlake.tables",
    "bitlake.dead-letters",
)
"""Snapshot summary properties; `WRITE` names the one write of the epoch that was committed, `TABLES` its
tables but the one of dead letters, `LETTERS` the data files for that one."""

FLINK, FLINK_AHEAD = "bitlake.flink", "bitlake.flink-ahead"
"""Of a Flink job's snapshots: what `FlinkRun` holds; and, told by `flink_summary` alone, by how many
checkpoints some of its sinks are ahead of others."""


@dataclass(frozen=True)
class Position:
    """How far a dataset has come, as the newest snapshot that carries it says.

    Attributes:
        epoch: the number of the last epoch.
        offsets: per partition, the offset to read next.
        clocks: per partition, its clock in microseconds.
        horizon: the system time in microseconds up to which belief is final.
        progress: how far files were loaded; any JSON.
        topic_id: which topic the offsets are of, or "" where the broker does not tell; None: of no topic.
    """

    epoch: int
    offsets: dict[int, int]
    clocks: dict[int, int]
    horizon: int
    progress: dict[str, Any] = field(default_factory=dict)
    topic_id: str | None = None

    def to_summary(self, dataset: str) -> dict[str, str]:
        """The properties for a snapshot's summary."""
        topic = {} if self.topic_id is None else {TOPIC_ID: self.topic_id}
        return {
            DATASET: dataset,
            EPOCH: str(self.epoch),
            OFFSETS: json.dumps(self.offsets),
            CLOCKS: json.dumps(self.clocks),
            HORIZON: str(self.horizon),
            PROGRESS: json.dumps(self.progress),
            **topic,
        }

    @staticmethod
    def from_summary(summary: dict[str, str]) -> "Position":
        """Read back what `to_summary` wrote."""
        return Position(
            epoch=int(summary[EPOCH]),
            offsets={int(k): v for k, v in json.loads(summary[OFFSETS]).items()},
            clocks={int(k): v for k, v in json.loads(summary[CLOCKS]).items()},
            horizon=int(summary[HORIZON]),
            progress=json.loads(summary.get(PROGRESS, "{}")),
            topic_id=summary.get(TOPIC_ID),
        )


@dataclass(frozen=True)
class TableRows:
    """An epoch's rows of one table, open and closed apart, in chunks that may be made as they are asked for.

    Full rows as ``schema.arrow``, but text may be dictionaries.
    """

    schema: TableSchema
    open: Iterable[pa.Table]
    closed: Iterable[pa.Table]


@dataclass(frozen=True)
class Epoch:
    """One epoch: the dataset's schema at its end, where it ends, its rows and its dead letters."""

    dataset: DatasetSchema
    position: Position
    tables: tuple[TableRows, ...]
    dead_letters: pa.Table | None = None


class SnapshotSummary(Protocol):
    """A snapshot's summary, as pyiceberg has it."""

    @property
    def additional_properties(self) -> dict[str, str]:
        """All but the operation."""


class Snapshot(Protocol):
    """A snapshot, as pyiceberg has it."""

    @property
    def snapshot_id(self) -> int:
        """Its name."""

    @property
    def parent_snapshot_id(self) -> int | None:
        """The one before it."""

    @property
    def sequence_number(self) -> int | None:
        """Rises with every commit."""

    @property
    def summary(self) -> SnapshotSummary | None:
        """What the commit did."""


S = TypeVar("S", bound=Snapshot)
S_co = TypeVar("S_co", bound=Snapshot, covariant=True)


class Metadata(Protocol[S_co]):
    """A table's metadata, as pyiceberg has it."""

    @property
    def snapshots(self) -> Sequence[S_co]:
        """All that were not expired."""

    @property
    def current_snapshot_id(self) -> int | None:
        """The table's own; None before the first."""


def newest_summary(metadata: Metadata[Snapshot], dataset: str) -> dict[str, str] | None:
    """The summary of the newest snapshot that carries the dataset's position."""
    for snapshot in lineage(metadata):
        if snapshot.summary is not None:
            summary = snapshot.summary.additional_properties
            if summary.get(DATASET) == dataset and EPOCH in summary:
                return summary
            if summary.get(DATASET) == dataset and FLINK in summary:
                return flink_summary(metadata, dataset, FlinkRun.of(summary))
    return None


def flink_summary(metadata: Metadata[Snapshot], dataset: str, run: "FlinkRun") -> dict[str, str]:
    """What a summary of ours would say of a table that a Flink job wrote last.

    Its epoch is that of the last checkpoint that all of the job's sinks of the table have committed. Offsets,
    clocks and horizon are those that the run began with: where it is now, the table of positions tells.
    """
    done = flink_checkpoints(metadata, dataset, run)
    least, most = (min(done), max(done)) if len(done) == run.sinks else (0, max(done, default=0))
    epoch = int(run.start[EPOCH])
    return {
        **run.start,
        DATASET: dataset,
        EPOCH: str(epoch + least),
        WRITE: run.run,
        FLINK: run.to_json(),
        FLINK_AHEAD: str(most - least),
    }


def flink_checkpoints(metadata: Metadata[Snapshot], dataset: str, run: "FlinkRun") -> list[int]:
    """The last checkpoint that each of a run's sinks has committed to a table, where it has."""
    found: dict[str, int] = {}
    for snapshot in lineage(metadata):
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        if summary.get(DATASET) == dataset and FLINK in summary and FlinkRun.of(summary).run == run.run:
            operator = summary.get("flink.operator-id", "")
            found.setdefault(operator, int(summary.get("flink.max-committed-checkpoint-id", 0)))
            if len(found) == run.sinks:
                break
    return list(found.values())


@dataclass(frozen=True)
class FlinkRun:
    """What every snapshot of a Flink job says, since its sinks can't say where each one ends.

    Attributes:
        run: names the line of jobs that go on from one another's checkpoints.
        sinks: how many of them write to this table.
        start: the summary of the position that the run began at.
    """

    run: str
    sinks: int
    start: dict[str, str]

    def to_json(self) -> str:
        """As a snapshot carries it."""
        return json.dumps([self.run, self.sinks, self.start])

    @staticmethod
    def of(summary: dict[str, str]) -> "FlinkRun":
        """Read back from a snapshot's summary."""
        return FlinkRun(*json.loads(summary[FLINK]))


def lineage(metadata: Metadata[S]) -> Iterator[S]:
    """Snapshots from the current one back: its ancestors, not branches or what was rolled back.

    Expiry can cut the chain of parents; what is left below the cut follows by sequence number.
    """
    snapshots = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    current = snapshots.get(metadata.current_snapshot_id) if metadata.current_snapshot_id else None
    lowest = 0
    while current is not None:
        yield current
        lowest = current.sequence_number or 0
        current = snapshots.get(current.parent_snapshot_id) if current.parent_snapshot_id else None
    below = [s for s in metadata.snapshots if (s.sequence_number or 0) < lowest]
    yield from sorted(below, key=lambda s: s.sequence_number or 0, reverse=True)
