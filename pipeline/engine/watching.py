"""Who is told how the engine gets on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.engine.epoch import Summary
from pipeline.engine.tally import Tally
from pipeline.sink.epoch import Position


@dataclass(frozen=True)
class Committed:
    """An epoch that is in every table.

    Attributes:
        position: where it ends.
        summary: what it holds.
        versions: open versions by the table's name.
        tally: what it holds in detail, if the watcher looks closely.
        seconds: from its first record until it was committed.
        write_seconds, commit_seconds: of these, writing the data files; committing them.
    """

    position: Position
    summary: Summary
    versions: Mapping[str, int]
    tally: Tally | None
    seconds: float
    write_seconds: float
    commit_seconds: float


@dataclass(frozen=True)
class StateCounts:
    """A dataset's keys.

    Attributes:
        keys, memory_bytes: those in memory now, and what their timelines take there.
        met: records so far whose key was in memory.
        restored, read_back: keys brought back from the state backend; from the tables.
        new: keys met for the first time.
        disk_bytes: of the state backend, which all datasets of a lake share.
    """

    keys: int
    memory_bytes: int
    met: int
    restored: int
    read_back: int
    new: int
    disk_bytes: int


class Vitals(Protocol):
    """How a dataset is that follows a topic; any thread may ask, until the watcher is told `ended`."""

    def position(self) -> Position:
        """Where the records applied so far end."""

    def lags(self) -> Mapping[int, int]:
        """By partition, how many offsets are still to come; not of those that no broker told of yet."""

    def fetched_bytes(self) -> int:
        """Bytes of record batches received so far, as the broker has them."""

    def trouble(self) -> str | None:
        """Why a partition can't be read at the moment."""

    def strayed(self) -> int:
        """Keys met in more than one partition so far."""

    def state(self) -> StateCounts:
        """The keys."""


class Watcher:
    """Is told how one dataset gets on, from several threads; this one does nothing.

    Attributes:
        closely: whether epochs come with a tally.
    """

    closely = False

    def opened(self, vitals: Vitals) -> None:
        """The dataset is open, and its topic is being read."""

    def read(self, records: int, bytes_done: int, bytes_total: int | None) -> None:
        """So much is applied: records since the start, bytes of the files as stored."""

    def committed(self, epoch: Committed) -> None:
        """An epoch is in every table."""

    def waiting(self, reason: str | None) -> None:
        """A server that is needed to commit is away; None: it answers."""

    def ended(self, failure: BaseException | None) -> None:
        """The dataset is about to be closed; `failure` is why, if it was not asked for."""
