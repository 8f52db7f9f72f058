"""What a new job goes on from: checkpoints of the run before, if tables and lake.yaml still fit them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.engine.layout import fits, of_earlier_format
from pipeline.errors import Refused, Unavailable
from pipeline.flink.cluster import ENDED, Cluster
from pipeline.flink.job import Job
from pipeline.flink.restore import RestorePoint, restore_point
from pipeline.schema import DatasetSchema
from pipeline.sink.epoch import FLINK, FlinkRun, Position
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.ledger import newest_summary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predecessor:
    """A dataset and the job that its first table remembers.

    Attributes:
        schema: the dataset's, as it is now.
        job: that job; None if there was none.
        wrote_last: whether nobody else wrote to the dataset since.
    """

    schema: DatasetSchema
    job: Job | None
    wrote_last: bool

    @staticmethod
    def of(sink: LakeSink, schema: DatasetSchema) -> "Predecessor":
        """As the tables tell."""
        table = sink.table(schema.parent.identifier)
        job, summary = Job.of(table.properties), newest_summary(table.metadata, schema.name)
        if job is None or summary is None:
            return Predecessor(schema, job, wrote_last=job is not None)
        if FLINK in summary:
            return Predecessor(schema, job, wrote_last=FlinkRun.of(summary).run == job.run)
        began = Position.from_summary(job.start).epoch
        return Predecessor(schema, job, wrote_last=Position.from_summary(summary).epoch <= began)

    def why_not(self) -> str | None:
        """Why a checkpoint of its job can't be gone on from; None if it can, or if it has none."""
        if self.job is None:
            return None
        if not self.wrote_last:
            return f"others wrote to '{self.schema.name}' since"
        if of_earlier_format(self.job.layout):
            return f"the state of '{self.schema.name}' was written by an earlier bitlake"
        if not fits(self.job.layout, self.schema):
            return (
                f"the columns or children of '{self.schema.name}' are other ones now, and not only more at"
                " the end"
            )
        return None


def refuse_running(jobs: Iterable[Job], cluster: Cluster, *, take_over: bool) -> None:
    """Refuse datasets that a job still writes.

    Args:
        jobs: those that wrote them last.
        cluster: where the new job will run.
        take_over: jobs of other clusters lose their leases, whether they run or not.

    Raises:
        Refused: one runs, or its cluster does not tell.
    """
    for job in jobs:
        elsewhere = job.cluster not in ("", cluster.url)
        if elsewhere and take_over:
            continue
        try:
            state = (Cluster.at(job.cluster) if elsewhere else cluster).state(job.jobs[-1])
        except Unavailable as error:
            if not elsewhere:
                raise
            raise Refused(
                f"job {job.jobs[-1]} at {job.cluster} writes {_names(job)}, or did: nobody answers there",
                next_step="if that cluster is gone for good, or has moved: `bitlake submit --take-over`",
            ) from error
        if state is not None and state not in ENDED:
            raise Refused(
                f"job {job.jobs[-1]} writes {_names(job)} already ({state.lower()})",
                next_step="stop it first: `bitlake submit --stop`; or `bitlake rescale` it",
            )


def _names(job: Job) -> str:
    return ", ".join(f"'{name}'" for name in job.datasets) or "this dataset"


def found_point(
    sink: LakeSink,
    predecessors: Sequence[Predecessor],
    wanted: str | None,
    checkpoints: str | None,
    catalog: Mapping[str, Any],
) -> RestorePoint | None:
    """Where the state of a new job comes from; None: from the tables.

    Args:
        sink, predecessors: the tables.
        wanted: a savepoint or checkpoint to go on from, if one was named.
        checkpoints: the folder of Flink's checkpoints, if it has one.
        catalog: as lake.yaml has it.

    Raises:
        Refused: `wanted` does not go together with the tables and lake.yaml, or the tables hold a checkpoint
            in part that nothing can be gone on from to complete.
    """
    known = [one.job for one in predecessors if one.job is not None]
    reasons = [why for why in (one.why_not() for one in predecessors) if why]
    if len({job.run for job in known}) > 1:
        reasons.append("the datasets were written by different jobs")
    if reasons or not known:
        if wanted is not None:
            raise Refused(
                f"the job can't go on from {wanted}: {reasons[0] if reasons else 'no job wrote the tables'}",
                next_step="go on from the tables: `bitlake submit --fresh`",
            )
        if reasons:
            log.warning("going on from the tables, not from a checkpoint: %s", "; ".join(reasons))
        return None
    job = known[0]
    tables = [
        (sink.table(table.identifier).metadata, one.schema.name)
        for one in predecessors
        if one.job is not None
        for table in one.schema.tables
    ]
    point = restore_point(job, wanted, checkpoints, catalog, tables)
    if point is not None:
        refuse_left_out(predecessors, job)
    return point


def refuse_left_out(predecessors: Sequence[Predecessor], job: Job) -> None:
    """Refuse to go on from a job without some of its datasets, whose state Flink would have nowhere to put.

    Raises:
        Refused: some are not among the predecessors.
    """
    left = sorted(set(job.datasets) - {one.schema.name for one in predecessors})
    if left:
        raise Refused(
            f"the job before holds the state of {', '.join(left)}, too, which is not to be in the new one",
            next_step="name all of them; or go on from the tables: `bitlake submit --fresh`",
        )
