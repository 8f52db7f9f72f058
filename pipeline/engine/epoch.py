"""An epoch in the making: version rows, log, dead letters and counts until it is cut."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.decode.batch import Batch
from pipeline.engine.changes import to_log
from pipeline.engine.dead_letters import (
    Buried,
    Origin,
    buried,
    dead_rows,
    refused_again,
    replayed,
    rows_of_epoch,
)
from pipeline.engine.tally import Tally
from pipeline.engine.timelines import ROW_LIMIT, Applied, new_rows
from pipeline.schema import DatasetSchema
from pipeline.sink.epoch import Position
from pipeline.source.block import Block
from pipeline.source.kafka import KafkaBlock
from pipeline.temporal.apply import CHANGED, NO_OP
from pipeline.temporal.change import OPEN, R_TABLE, R_TO, ROW_FIELDS, Rows

ROW_BYTES = ROW_FIELDS * 8
DEAD_BYTES = 256 << 20
"""Bytes of dead letters at which an epoch is full."""


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
        rows: version rows; `Timelines.apply` adds to them.
        log: log entries, one per batch.
        dead: its dead letters, as `buried` gives them.
        later: rows about dead letters that were tried again.
        tally: what else is to be counted, if anything.
        first: when its first record came; None before.
    """

    dataset: DatasetSchema
    rows: Rows = field(default_factory=new_rows)
    log: list[bytes] = field(default_factory=list)
    dead: list[Buried] = field(default_factory=list)
    later: list[pa.Table] = field(default_factory=list)
    tally: Tally | None = None
    summary: Summary = Summary()
    started: float = field(default_factory=time.monotonic)
    first: float | None = None
    _dead_bytes: int = 0
    _log_bytes: int = 0
    _letters: pa.Table | None = None

    @property
    def nbytes(self) -> int:
        """About what it holds of memory."""
        return int(self.rows.filled[0]) * ROW_BYTES + self._log_bytes + self._dead_bytes

    def add(
        self,
        batch: Batch,
        block: Block | KafkaBlock,
        timestamps: NDArray[np.int64],
        applied: Applied,
        done: slice,
        origin: Origin,
    ) -> None:
        """Note what became of the records `done` of a batch, whose version rows are in `rows`.

        Args:
            batch, block, applied: n records decoded, as they came, and applied.
            timestamps: int64[n], microseconds.
            done: which of them.
            origin: where they came from.
        """
        changes, no_ops = self._note(batch, applied, done)
        total = done.stop - done.start
        self.summary += Summary(total, changes, no_ops, total - changes - no_ops)
        letters = buried(batch, block, timestamps, applied.changes, done, origin)
        if letters is not None:
            self.dead.append(letters)
            self._dead_bytes += letters.nbytes

    def add_replayed(
        self,
        batch: Batch,
        letters: pa.Table,
        applied: Applied,
        done: slice,
        times: tuple[int, int],
        origin: Origin,
    ) -> bool:
        """The same for dead letters that were tried again; an epoch holds either letters or records.

        Args:
            batch, letters, applied, done: as `add` takes them; the letters are rows of their table.
            times: the system time of those that are changes now, and when the replay began; microseconds.
            origin: where their records came from.

        Returns:
            Whether any was applied.
        """
        changes, no_ops = self._note(batch, applied, done)
        total = done.stop - done.start
        self.summary += Summary(total, changes, no_ops, total - changes - no_ops)
        letters, (clock, now) = letters.slice(done.start, total), times
        refused = np.flatnonzero(batch.status[done])
        if refused.size < total:
            self.later.append(replayed(letters.filter(pa.array(batch.status[done] == 0)), clock))
        if refused.size:
            why = origin.refused(batch, done.start + refused)
            self.later.append(refused_again(letters.take(refused), why, now))
        return refused.size < total

    def _note(self, batch: Batch, applied: Applied, done: slice) -> tuple[int, int]:
        """Log the changes; how many they are, and how many no-ops."""
        self.first = self.first or time.monotonic()
        if self.tally is not None:
            self.tally.add(applied, done)
        outcome = applied.changes.outcome[done]
        changes, no_ops = np.count_nonzero(outcome == CHANGED), np.count_nonzero(outcome == NO_OP)
        if changes:
            self.log.append(to_log(batch, applied.changes, done, applied.partition))
            self._log_bytes += len(self.log[-1])
        return int(changes), int(no_ops)

    def old(self, seconds: float) -> bool:
        """Whether the epoch has lasted as long as it may."""
        return time.monotonic() - self.started >= seconds

    def full(self, records: int) -> bool:
        """Whether the epoch holds as much as it may."""
        return (
            self.summary.records >= records
            or int(self.rows.filled[0]) >= ROW_LIMIT
            or self._dead_bytes >= DEAD_BYTES
        )

    def dead_letters(self, position: Position) -> pa.Table | None:
        """The epoch's rows of the table of dead letters, once it is whole."""
        if self._letters is None and self.later:
            self._letters = rows_of_epoch(self.later, position.epoch)
        if self._letters is None and self.dead:
            self._letters = dead_rows(self.dead, self.dataset.name, position.epoch)
            if self.tally is not None:
                self.tally.bury(self._letters)
        return self._letters

    def total(self) -> Summary:
        """The epoch's counts, once it is whole."""
        n = int(self.rows.filled[0])
        versions = int(np.count_nonzero(self.rows.fields[:n, R_TO] == OPEN))
        return replace(self.summary, versions=versions, epochs=1)

    def versions(self, total: Summary) -> dict[str, int]:
        """Open versions by table, once the epoch is whole and `total` its counts."""
        tables = self.dataset.tables
        if len(tables) == 1 or self.tally is None:
            return {self.dataset.name: total.versions}
        fields = self.rows.fields[: int(self.rows.filled[0])]
        counts = np.bincount(fields[fields[:, R_TO] == OPEN, R_TABLE], minlength=len(tables))
        return {table.name: int(count) for table, count in zip(tables, counts, strict=True)}
