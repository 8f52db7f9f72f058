"""How far each dataset has come, and what its tables hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.query.dead_letters import Cause
from pipeline.query.stored import StoredTable
from pipeline.sink.epoch import FLINK, FlinkRun, Position
from pipeline.sink.ledger import newest_summary


@dataclass(frozen=True)
class Size:
    """What a table's current snapshot holds; rows include open twins of closed rows."""

    rows: int = 0
    files: int = 0
    bytes: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.rows + other.rows, self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True)
class JobStatus:
    """A Flink job that holds a dataset.

    Attributes:
        id: as Flink names it.
        state: as Flink tells it, in capitals; None: its cluster does not answer, or does not know it.
        parallelism: as it was submitted.
        failure: why it failed, if it did.
    """

    id: str
    state: str | None
    parallelism: int
    failure: str | None = None


@dataclass(frozen=True)
class DatasetStatus:
    """One dataset.

    Attributes:
        dataset: its name.
        position: its last epoch that every table holds; None before the first.
        size: the sum over its tables.
        tables: each table by what commands call it.
        dead_letters: how many wait: they were neither replayed nor dismissed.
        causes: why, the most common first.
        lag: by partition, offsets of its topic that are still to be read; None: it has none, or not known.
        job: the Flink job that holds it, also one that has failed; None: none does.
    """

    dataset: str
    position: Position | None
    size: Size
    tables: Mapping[str, Size] = field(default_factory=dict)
    dead_letters: int = 0
    causes: tuple[Cause, ...] = ()
    lag: Mapping[int, int] | None = None
    job: JobStatus | None = None


def dataset_status(
    dataset: str, tables: Mapping[str, StoredTable | None], causes: Sequence[Cause]
) -> DatasetStatus:
    """The status of a dataset from its tables, of which None does not exist yet, and its dead letters."""
    sizes = {name: size_of(table) if table is not None else Size() for name, table in tables.items()}
    position, letters = least_position(dataset, tables.values()), sum(cause.letters for cause in causes)
    return DatasetStatus(dataset, position, sum(sizes.values(), Size()), sizes, letters, tuple(causes))


def size_of(table: StoredTable) -> Size:
    """What the snapshot's summary tells of a table's size."""
    snapshot = table.snapshot
    if snapshot is None or snapshot.summary is None:
        return Size()
    summary = snapshot.summary.additional_properties
    names = ("total-records", "total-data-files", "total-files-size")
    return Size(*(int(summary.get(name, 0)) for name in names))


def position_of(dataset: str, table: StoredTable) -> Position | None:
    """How far a dataset has come in one of its tables."""
    summary = newest_summary(table, dataset)
    return Position.from_summary(summary) if summary is not None else None


def flink_run(dataset: str, table: StoredTable) -> FlinkRun | None:
    """The Flink job's run that wrote a table last; None if that was no Flink job."""
    summary = newest_summary(table, dataset)
    return FlinkRun.of(summary) if summary is not None and FLINK in summary else None


def least_position(dataset: str, tables: Iterable[StoredTable | None]) -> Position | None:
    """The position that every table has reached; None when one has none."""
    positions = [position_of(dataset, table) if table is not None else None for table in tables]
    reached = [position for position in positions if position is not None]
    return min(reached, key=lambda position: position.epoch) if len(reached) == len(positions) else None
