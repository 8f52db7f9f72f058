"""Columns that a job ended for: the tables get them, and its successor goes on."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline.config import DatasetConfig, dataset_schema
from pipeline.flink.cluster import Cluster, UnknownJob
from pipeline.flink.errors import Grown, new_fields
from pipeline.flink.succession import Predecessor
from pipeline.schema import Column, ColumnType, DatasetSchema
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.tables import Mode

log = logging.getLogger(__name__)


def lacking(predecessors: Sequence[Predecessor], cluster: Cluster) -> list[Grown]:
    """The columns that the jobs before ended for, as far as the cluster remembers those.

    Args:
        predecessors: the datasets.
        cluster: where the new job will run; others are not asked.
    """
    here = [one.job for one in predecessors if one.job is not None and one.job.cluster == cluster.url]
    newest = sorted({job.jobs[-1] for job in here if job.jobs})
    return [grown for job in newest for grown in new_fields(_failure(cluster, job))]


def _failure(cluster: Cluster, job: str) -> str:
    try:
        return cluster.failure(job) if cluster.state(job) == "FAILED" else ""
    except UnknownJob:
        return ""


def evolve(sink: LakeSink, datasets: Sequence[DatasetConfig], grown: Sequence[Grown]) -> None:
    """Give the tables of datasets columns that they lack, or have narrower."""
    for config in datasets:
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
