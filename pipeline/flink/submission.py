"""Submitting the job: where each dataset goes on, the graph, the lease."""

import logging
import secrets
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.config import DatasetConfig, LakeConfig, dataset_schema
from pipeline.engine.arrival import begin_topic, topic_offsets
from pipeline.engine.recover import agreed
from pipeline.errors import Refused
from pipeline.flink.cluster import ENDED, Cluster
from pipeline.flink.job import JOB, Job
from pipeline.flink.plan import DatasetPlan
from pipeline.flink.restore import RestorePoint, restore_point
from pipeline.schema import DatasetSchema
from pipeline.sink.catalog import open_catalog
from pipeline.sink.epoch import FLINK, FlinkRun, Position, newest_summary
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.lease import Lease, Tenant
from pipeline.source.kafka import open_source

if TYPE_CHECKING:
    from pyflink.datastream import StreamExecutionEnvironment

log = logging.getLogger(__name__)

FOR_GOOD = 100 * 365 * 86_400.0
"""Seconds of a job's lease: its sinks can't renew it, so that it ends when the job is stopped by us."""
MAX_PARALLELISM = 128
_DEFAULTS = {
    "execution.target": "remote",
    "execution.attached": "false",
    "python.execution-mode": "thread",
    "pipeline.object-reuse": "true",
    "state.backend.type": "rocksdb",
    "execution.checkpointing.interval": "10s",
    "execution.checkpointing.incremental": "true",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "execution.checkpointing.tolerable-failed-checkpoints": "10",
    "restart-strategy.type": "exponential-delay",
}


class Submission:
    """Submits one job that writes some datasets of a lake.

    Args:
        lake: the configuration.
        datasets: which of them.
        take_over: take datasets from writers that hold them.
        until_end: the job stops where the topics end now; it goes on from the tables.
        fresh: go on from the tables, whatever checkpoints there are.
        savepoint: go on from this one.
        parallelism: else as `flink` says.
    """

    def __init__(
        self,
        lake: LakeConfig,
        datasets: Sequence[DatasetConfig],
        *,
        take_over: bool = False,
        until_end: bool = False,
        fresh: bool = False,
        savepoint: str | None = None,
        parallelism: int | None = None,
    ) -> None:
        self._lake, self._datasets = lake, datasets
        # What Kafka's source restores has no end to stop at.
        self._take_over, self._until_end, self._fresh = take_over, until_end, fresh or until_end
        self._savepoint = savepoint
        self._options = {**_DEFAULTS, **{key: str(value) for key, value in lake.flink.items()}}
        if parallelism is not None:
            self._options["parallelism.default"] = str(parallelism)
        self._sink = LakeSink(open_catalog(lake.catalog), lake.dead_letters.table)
        self._cluster = Cluster(lake.flink)

    def submit(self) -> str:
        """Submit the job; its id.

        Raises:
            Refused: the tables, the savepoint and lake.yaml do not go together.
            Leased: another writer has a dataset.
            Unavailable: the cluster or the catalog does not answer.
        """
        schemas = [self._open(config) for config in self._datasets]
        jobs = [self._job_of(schema) for schema in schemas]
        self._refuse_running(jobs)
        point = self._restore_point(schemas, jobs)
        if point is None:
            run, seed = uuid.uuid4().hex, secrets.randbits(63)
        else:
            first = next(job for job in jobs if job is not None)
            run, seed = first.run, first.seed
        told = [
            job if point is not None and job is not None else self._begun(config, schema, run, seed)
            for config, schema, job in zip(self._datasets, schemas, jobs, strict=True)
        ]
        environment = self._environment(point)
        groups = self._groups()
        plans = [
            self._plan(config, schema, job, groups)
            for config, schema, job in zip(self._datasets, schemas, told, strict=True)
        ]
        for schema, job in zip(schemas, told, strict=True):
            self._hold(schema, job)
        try:
            started = self._execute(environment, plans)
        except BaseException:
            self._sink.end_leases()
            raise
        for schema, job in zip(schemas, told, strict=True):
            parallelism = environment.get_parallelism()
            now = replace(
                job,
                jobs=(*job.jobs, started)[-20:],
                savepoint=None,
                cluster=self._cluster.url,
                parallelism=parallelism,
            )
            self._sink.set_properties(schema.parent.identifier, {JOB: now.to_json()})
        log.info("submitted", extra={"job": started, "from": point.location if point else "the tables"})
        return started

    def _open(self, config: DatasetConfig) -> DatasetSchema:
        partition_by = [str(field) for field in config.partition_by]
        return self._sink.open(dataset_schema(config), mode=config.mode.value, partition_by=partition_by)

    def _job_of(self, schema: DatasetSchema) -> Job | None:
        """The job that wrote the dataset last; None if that was no job, or nothing was written yet."""
        table = self._sink.table(schema.parent.identifier)
        job, summary = Job.of(table.properties), newest_summary(table.metadata, schema.name)
        if job is None or summary is None:
            return job
        if FLINK in summary:
            return job if FlinkRun.of(summary).run == job.run else None
        began = Position.from_summary(job.start).epoch
        return job if Position.from_summary(summary).epoch <= began else None

    def _refuse_running(self, jobs: Sequence[Job | None]) -> None:
        for job in jobs:
            if job is None or not job.jobs:
                continue
            state = self._cluster.state(job.jobs[-1])
            if state is not None and state not in ENDED:
                raise Refused(
                    f"job {job.jobs[-1]} writes this dataset already ({state.lower()})",
                    next_step="stop it first: `bitlake submit --stop`; or `bitlake rescale` it",
                )

    def _restore_point(
        self, schemas: Sequence[DatasetSchema], jobs: Sequence[Job | None]
    ) -> RestorePoint | None:
        known = [job for job in jobs if job is not None]
        if self._fresh or len({job.run for job in known}) != 1:
            if self._savepoint is not None:
                raise Refused(
                    f"the job goes on from the tables, not from {self._savepoint}",
                    next_step="leave --from-savepoint out; or --until-end and --fresh, if the tables were"
                    " written by the job of that savepoint last",
                )
            return None
        tables = [
            (self._sink.table(table.identifier).metadata, schema.name)
            for schema, job in zip(schemas, jobs, strict=True)
            if job is not None
            for table in schema.tables
        ]
        return restore_point(
            known[0].run,
            [*known[0].jobs],
            [place for place in (known[0].savepoint,) if place],
            self._savepoint,
            self._options.get("execution.checkpointing.dir"),
            self._lake.catalog,
            tables,
        )

    def _begun(self, config: DatasetConfig, schema: DatasetSchema, run: str, seed: int) -> Job:
        """A job that goes on from the tables, or begins with the topic."""
        position, dead = agreed(self._sink, schema)
        start = self._in_topic(config, position or Position(epoch=dead, offsets={}, clocks={}, horizon=-1))
        found = {t.identifier: self._sink.table(t.identifier).current_snapshot() for t in schema.tables}
        snapshots = {name: int(one.snapshot_id) for name, one in found.items() if one is not None}
        return Job(run, (), seed, start.to_summary(schema.name), snapshots if position else {})

    def _in_topic(self, config: DatasetConfig, known: Position) -> Position:
        """A position in the dataset's topic, with the offset that each of its partitions begins at.

        Raises:
            Refused: an offset is not in the topic any more, or it is another topic.
        """
        with (
            open_source(self._lake.kafka) as source,
            source.open(config.topic, topic_offsets(known), topic_id=known.topic_id or None) as reader,
        ):
            begun, topic_id = reader.begun(), reader.topic_id or ""
        position = begin_topic(known, topic_id)
        return replace(position, offsets={**position.offsets, **begun})

    def _hold(self, schema: DatasetSchema, job: Job) -> None:
        lease = Lease.of(self._sink.table(schema.parent.identifier).properties)
        # Of a job that has ended, or was never started: none runs, as `_refuse_running` found.
        left = lease is not None and lease.owner.startswith("flink-")
        if not self._take_over and not left:
            self._sink.check_lease(schema, job.owner)
        holder = f"a Flink job at {self._cluster.url}"
        self._sink.take_lease(schema, Tenant(job.owner, holder, FOR_GOOD))

    def _environment(self, point: RestorePoint | None) -> "StreamExecutionEnvironment":
        from pyflink.common import Configuration
        from pyflink.datastream import StreamExecutionEnvironment
        from pyflink.java_gateway import get_gateway

        options = dict(self._options)
        options.setdefault("python.executable", sys.executable)
        options["python.client.executable"] = sys.executable
        if point is not None:
            options["execution.state-recovery.path"] = point.location
        configuration = Configuration()
        for key, value in options.items():
            configuration.set_string(key, value)
        if options["execution.target"] == "remote":
            # Outside of Flink's own client, `get_execution_environment` runs jobs in this process.
            java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
            environment = StreamExecutionEnvironment(java(configuration._j_configuration))
        else:
            environment = StreamExecutionEnvironment.get_execution_environment(configuration)
        environment.set_max_parallelism(int(options.get("pipeline.max-parallelism", MAX_PARALLELISM)))
        return environment

    def _groups(self) -> tuple[int, ...]:
        from pyflink.java_gateway import get_gateway

        most = int(self._options.get("pipeline.max-parallelism", MAX_PARALLELISM))
        return tuple(get_gateway().jvm.bitlake.Keys.byGroup(most))

    def _plan(
        self, config: DatasetConfig, schema: DatasetSchema, job: Job, groups: tuple[int, ...]
    ) -> DatasetPlan:
        return DatasetPlan(
            config=config,
            schema=schema,
            run=job.run,
            seed=job.seed,
            start=Position.from_summary(job.start),
            snapshots=job.snapshots,
            catalog=dict(self._lake.catalog),
            dead_letters=self._lake.dead_letters.table,
            groups=groups,
            max_ahead=self._lake.time.max_ahead_us,
            letters=self._lake.dead_letters.topic_of(config),
        )

    def _execute(self, environment: "StreamExecutionEnvironment", plans: Sequence[DatasetPlan]) -> str:
        from pyflink.java_gateway import get_gateway

        from pipeline.flink.catalogs import catalog_loader
        from pipeline.flink.graph import Graph

        kafka = {key: str(value) for key, value in self._lake.kafka.items()}
        kafka.setdefault("isolation.level", "read_committed")
        loader = catalog_loader(get_gateway().jvm, self._lake.catalog)
        shared = self._sink.flink_tables()
        Graph(environment, loader, kafka, shared, until_end=self._until_end).build(plans)
        names = ", ".join(plan.config.name for plan in plans)
        return str(environment.execute_async(f"bitlake: {names}").get_job_id())
