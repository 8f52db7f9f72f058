"""An epoch in the making: version rows, log, dead letters and counts until it is cut."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.decode.batch import Batch
from pipeline.decode.explain import explain
from pipeline.engine.changes import to_log
from pipeline.engine.timelines import ROW_LIMIT, Applied, new_rows
from pipeline.schema import DatasetSchema
from pipeline.sink.dead_letter_table import DEAD_LETTERS
from pipeline.sink.epoch import Position
from pipeline.source.block import Block
from pipeline.temporal.apply import CHANGED, NO_OP
from pipeline.temporal.change import NONE_GIVEN, OPEN, R_TO, Rows


@dataclass(frozen=True)
class Summary:
    """What a load did; the last line that `bitlake load --output json` prints."""

    records: int = 0
    changes: int = 0
    no_ops: int = 0
    dead_letters: int = 0
    versions: int = 0
    epochs: int = 0

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """The counts in the order of the fields."""
        return (self.records, self.changes, self.no_ops, self.dead_letters, self.versions, self.epochs)


@dataclass
class Draft:
    """What an epoch holds so far.

    Attributes:
        dataset: the dataset's schema after the last batch.
        rows: version rows; the kernel adds to them.
        log: log entries, one per batch.
        dead: columns of the dead letters but epoch and id, row by row.
    """

    dataset: DatasetSchema
    rows: Rows = field(default_factory=new_rows)
    log: list[bytes] = field(default_factory=list)
    dead: list[dict[str, Any]] = field(default_factory=list)
    summary: Summary = Summary()
    started: float = field(default_factory=time.monotonic)

    def add(self, batch: Batch, block: Block, applied: Applied, done: slice, topic: str) -> None:
        """Note what became of the records `done` of a batch, whose version rows are in `rows`."""
        outcome = applied.changes.outcome[done]
        changes, no_ops = np.count_nonzero(outcome == CHANGED), np.count_nonzero(outcome == NO_OP)
        total = outcome.size
        self.summary += Summary(total, int(changes), int(no_ops), total - int(changes) - int(no_ops))
        if changes:
            self.log.append(to_log(batch, applied.changes, done, applied.partition))
        for i in np.flatnonzero(batch.status[done]):
            self._bury(batch, block, applied, done.start + int(i), topic)

    def full(self, records: int, seconds: float) -> bool:
        """Whether the epoch has come to its end."""
        return (
            self.summary.records >= records
            or time.monotonic() - self.started >= seconds
            or int(self.rows.count[0]) >= ROW_LIMIT
        )

    def _bury(self, batch: Batch, block: Block, applied: Applied, i: int, topic: str) -> None:
        stage, reason, advice = explain(batch, i)
        timestamp = int(applied.changes.timestamp[i])
        self.dead.append(
            {
                "topic": topic,
                "partition": applied.partition,
                "offset": int(applied.changes.offset[i]),
                "timestamp": None if timestamp == NONE_GIVEN else timestamp,
                "value": block.line(i),
                "stage": stage,
                "reason": reason,
                "advice": advice,
                "system_time": max(0, applied.clock),
            }
        )

    def dead_letters(self, position: Position) -> pa.Table | None:
        """The dead letters as rows of their table."""
        if not self.dead:
            return None
        dataset, epoch = self.dataset.name, position.epoch
        rows = [
            {
                "id": f"{dataset}/{row['topic']}/{row['partition']}/{row['offset']}/{epoch}",
                "dataset": dataset,
                "epoch": epoch,
                "status": "dead",
                **row,
            }
            for row in self.dead
        ]
        return pa.Table.from_pylist(rows, DEAD_LETTERS)

    def total(self) -> Summary:
        """The epoch's counts, once it is whole."""
        n = int(self.rows.count[0])
        versions = int(np.count_nonzero(self.rows.fields[:n, R_TO] == OPEN))
        return replace(self.summary, versions=versions, epochs=1)
