"""What a table's snapshots tell of a dataset's writers: who may write, and how far the last one came.

This is the rule. `bitlake.Ledger` of the Flink job follows it, too: both pass `tests/cases/ledger.json`.

1. The *line* of a dataset in a table is the current snapshot and its ancestors, by their parents' ids. Expiry
   takes parents away (and pyiceberg's their ids, too), so the line goes on with what is older than the last
   snapshot reached: those that have a tag of the dataset or, if it has no tag in this table, all that are
   left, the newest first. Snapshots that were rolled back are newer than that, and not in the line.
2. The *writer token* is the highest that the dataset's snapshots in the line carry; else 0. The claim that
   raised it ends the search. It need not be the first: a Flink job that was fenced off may commit the rest of
   a checkpoint after the claim of its successor.
3. The *position* is told by the first snapshot in the line that carries the dataset's epoch or its Flink run.
   Of a run, each sink's first snapshot in the line tells its last checkpoint; all of them have the least one.

Every commit of ours moves a tag (`tag_of`) to its own snapshot, so that no engine's expiry takes it away.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from pipeline.sink.epoch import DATASET, EPOCH, FLINK, FLINK_AHEAD, WRITE, FlinkRun

TOKEN, WRITER, CLAIM = "bitlake.writer-token", "bitlake.writer", "bitlake.claim"
"""Snapshot summary properties: the number of the writer that made the snapshot; and of a snapshot that only
raised that number, who did so, for people, and which one call it was."""


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


class Ref(Protocol):
    """A branch or a tag, as pyiceberg has it."""

    @property
    def snapshot_id(self) -> int:
        """Where it points."""


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

    @property
    def refs(self) -> Mapping[str, Ref]:
        """Its branches and tags."""


def tag_of(dataset: str, operator: str = "") -> str:
    """The tag on a dataset's newest commit to a table; a Flink job has one for each of its sinks."""
    return f"bitlake.{dataset}.{operator}" if operator else f"bitlake.{dataset}"


def lineage(metadata: Metadata[S], dataset: str) -> Iterator[S]:
    """The line of a dataset: rule 1."""
    snapshots = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    current = snapshots.get(metadata.current_snapshot_id) if metadata.current_snapshot_id else None
    lowest = 0
    while current is not None:
        yield current
        lowest, parent = current.sequence_number or 0, current.parent_snapshot_id
        current = snapshots.get(parent) if parent is not None else None
    own = tag_of(dataset)
    tagged = {ref.snapshot_id for name, ref in metadata.refs.items() if f"{name}.".startswith(f"{own}.")}
    below = [s for s in metadata.snapshots if not tagged or s.snapshot_id in tagged]
    for snapshot in sorted(below, key=lambda s: s.sequence_number or 0, reverse=True):
        if (snapshot.sequence_number or 0) < lowest:
            yield snapshot


def _told(metadata: Metadata[Snapshot], dataset: str) -> Iterator[dict[str, str]]:
    """What the snapshots of a dataset's line say that are the dataset's."""
    for snapshot in lineage(metadata, dataset):
        summary = snapshot.summary.additional_properties if snapshot.summary is not None else {}
        if summary.get(DATASET) == dataset:
            yield summary


def writer_token(metadata: Metadata[Snapshot], dataset: str) -> int:
    """The token of a dataset's last writer: rule 2."""
    return _last_writer(metadata, dataset)[0]


def highest_token(metadata: Metadata[Snapshot], dataset: str) -> int:
    """The highest token that any snapshot left carries: one that was rolled back must not be given again."""
    summaries = (s.summary.additional_properties for s in metadata.snapshots if s.summary is not None)
    return max((int(s[TOKEN]) for s in summaries if s.get(DATASET) == dataset and TOKEN in s), default=0)


def writer_of(metadata: Metadata[Snapshot], dataset: str) -> str:
    """Who raised a dataset's token last, for people."""
    return _last_writer(metadata, dataset)[1]


def _last_writer(metadata: Metadata[Snapshot], dataset: str) -> tuple[int, str]:
    token, writer = 0, "another process"
    for summary in _told(metadata, dataset):
        found = int(summary.get(TOKEN, 0))
        if found > token or (found == token and WRITER in summary):  # a job's commits don't name it
            token, writer = found, summary.get(WRITER, writer)
        if CLAIM in summary:
            break
    return token, writer


def newest_summary(metadata: Metadata[Snapshot], dataset: str) -> dict[str, str] | None:
    """The summary that tells a dataset's position: rule 3."""
    for summary in _told(metadata, dataset):
        if EPOCH in summary:
            return summary
        if FLINK in summary:
            return flink_summary(metadata, dataset, FlinkRun.of(summary))
    return None


def flink_summary(metadata: Metadata[Snapshot], dataset: str, run: FlinkRun) -> dict[str, str]:
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


def flink_checkpoints(metadata: Metadata[Snapshot], dataset: str, run: FlinkRun) -> list[int]:
    """The last checkpoint that each of a run's sinks has committed to a table, where it has."""
    found: dict[str, int] = {}
    for summary in _told(metadata, dataset):
        if FLINK in summary and FlinkRun.of(summary).run == run.run:
            operator = summary.get("flink.operator-id", "")
            found.setdefault(operator, int(summary.get("flink.max-committed-checkpoint-id", 0)))
            if len(found) == run.sinks:
                break
    return list(found.values())
