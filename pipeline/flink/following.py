"""Staying with a job until it ends: where it meets new fields, the tables are evolved and it goes on."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from tenacity import Retrying, retry_if_exception_type, retry_if_result, wait_fixed

from pipeline.config import DatasetConfig, LakeConfig, dataset_schema
from pipeline.errors import BitlakeError, Unavailable
from pipeline.flink.cluster import ENDED, Cluster
from pipeline.flink.errors import Grown, new_fields
from pipeline.schema import Column, ColumnType, DatasetSchema
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.tables import Mode

log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0


class Following:
    """Follows a job.

    Args:
        lake, datasets: what it writes.
        submit: submits it again, which goes on from its last checkpoint; gives the new job's id.
    """

    def __init__(
        self, lake: LakeConfig, datasets: Sequence[DatasetConfig], submit: Callable[[], str]
    ) -> None:
        self._lake, self._datasets, self._submit = lake, datasets, submit
        self._cluster = Cluster(lake.flink)

    def wait(self, job: str) -> str:
        """Wait until the job, or the last that took its place, has finished or was cancelled; its id.

        Raises:
            BitlakeError: it failed.
        """
        while True:
            grown = Retrying(
                retry=retry_if_result(lambda found: found is None) | retry_if_exception_type(Unavailable),
                wait=wait_fixed(_POLL_SECONDS),
            )(self._look, job)
            if not grown:
                return job
            self._evolve(grown)
            job = self._submit()

    def _look(self, job: str) -> list[Grown] | None:
        """New fields that ended the job; none if it has ended well, None while it goes on."""
        state = self._cluster.state(job)
        if state is None:
            raise BitlakeError(
                f"the cluster does not know job {job} any more",
                next_step="`bitlake submit` goes on from its last checkpoint",
            )
        if state in ("FINISHED", "CANCELED"):
            return []
        if state not in ENDED:
            return None
        why = self._cluster.failure(job)
        grown = new_fields(why)
        if not grown:
            raise BitlakeError(f"job {job} failed: {why[:2000]}", next_step="see the TaskManagers' logs")
        return grown

    def _evolve(self, grown: Sequence[Grown]) -> None:
        sink = LakeSink.at(self._lake.catalog, self._lake.dead_letters.table)
        for config in self._datasets:
            own = [one for one in grown if one.dataset == config.name]
            if own:
                mode: Mode = config.mode.value
                known = sink.open(dataset_schema(config), mode=mode, partition_by=config.partitions)
                sink.open(_with(known, own), mode=mode, partition_by=config.partitions)
                told = ", ".join(f"{one.table}.{one.name}" for one in own)
                log.warning("tables evolved", extra={"dataset": config.name, "columns": told})


def _with(schema: DatasetSchema, grown: Sequence[Grown]) -> DatasetSchema:
    tables = []
    for table in schema.tables:
        own = {one.name: one for one in grown if one.table == table.name}
        values = [
            replace(column, type=ColumnType.parse(own.pop(column.name).type))
            if column.name in own
            else column
            for column in table.values
        ]
        added = [
            Column(o.name, tuple(o.path), ColumnType.parse(o.type), declared=False) for o in own.values()
        ]
        tables.append(replace(table, values=(*values, *added)))
    return replace(schema, tables=tuple(tables))
