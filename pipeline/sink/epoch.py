"""What one epoch brings to the sink, and what its snapshots' summaries say."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.schema import DatasetSchema, TableSchema

DATASET, EPOCH, OFFSETS, CLOCKS, HORIZON, PROGRESS, TOPIC_ID, WRITE, TABLES, LETTERS, INTENT = (
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
    "bitlake.intent",
)
"""Snapshot summary properties; `WRITE` names the one write of the epoch that was committed, `TABLES` its
tables but the one of dead letters, `LETTERS` the data files for that one, `INTENT` the file that lists the
data files of all tables, where there are several."""

FLINK, FLINK_AHEAD = "bitlake.flink", "bitlake.flink-ahead"
"""Of a Flink job's snapshots: what `FlinkRun` holds; and, told by `pipeline.sink.ledger.flink_summary` alone,
by how many checkpoints some of its sinks are ahead of others."""


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
