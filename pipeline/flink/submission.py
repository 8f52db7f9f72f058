"""Submitting the job: where each dataset goes on, the graph, the lease."""

import logging
import secrets
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.config import DatasetConfig, LakeConfig, dataset_schema
from pipeline.engine.arrival import begin_topic, topic_offsets
from pipeline.engine.layout import layout_of
from pipeline.engine.outgoing import Outgoing
from pipeline.engine.patience import Patience
from pipeline.engine.recover import agreed, complete, wait_whole
from pipeline.errors import BadConfiguration, BitlakeError, Refused
from pipeline.flink.cluster import Cluster
from pipeline.flink.growth import evolve, lacking
from pipeline.flink.job import Job, jobs_of
from pipeline.flink.plan import DatasetPlan
from pipeline.flink.restore import RestorePoint
from pipeline.flink.succession import Predecessor, found_point, refuse_left_out, refuse_running
from pipeline.schema import DatasetSchema
from pipeline.sink.conventions import FLINK_JOB
from pipeline.sink.epoch import Position
from pipeline.sink.flink_positions import InPart
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.lease import SECONDS, Lease, Tenant
from pipeline.source.kafka import open_source

if TYPE_CHECKING:
    from pyflink.datastream import StreamExecutionEnvironment

    from pipeline.flink.graph import Graph

log = logging.getLogger(__name__)

FOR_GOOD = 100 * 365 * 86_400.0
"""Seconds of a job's lease: it does not renew it, so that it ends when the job is stopped by us."""
MAX_PARALLELISM = 128
WARMING = "bitlake: warms TaskManagers"
"""The name of the job that does."""
_WARMING_SECONDS = 60.0
_SLOTS_SECONDS = 15.0
"""For TaskManagers that have just been started to come, and slots of a job before to be free."""
_RECOVERY = "execution.state-recovery.path"
_JOB_ID = "$internal.pipeline.job-id"
"""Flink's `PipelineOptionsInternal.PIPELINE_FIXED_JOB_ID`."""
_DEFAULTS = {
    "execution.target": "remote",
    "execution.attached": "false",
    "python.execution-mode": "thread",
    "pipeline.object-reuse": "true",
    "state.backend.type": "rocksdb",
    "state.backend.rocksdb.options-factory": "bitlake.StateOptions",
    "state.backend.rocksdb.use-bloom-filter": "true",
    "execution.checkpointing.interval": "10s",
    "execution.checkpointing.incremental": "true",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "execution.checkpointing.tolerable-failed-checkpoints": "10",
    "restart-strategy.type": "exponential-delay",
}


class Submission:
    """Submits one job that writes some datasets of a lake: `prepare` it, then `start` it.

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
        if _RECOVERY in lake.flink:
            raise BadConfiguration(
                f"flink in lake.yaml has {_RECOVERY}: a job may not go on from any place",
                next_step="take it out; `bitlake submit --from-savepoint PLACE` sees whether that will do",
            )
        self._options = {**_DEFAULTS, **{key: str(value) for key, value in lake.flink.items()}}
        if parallelism is not None:
            self._options["parallelism.default"] = str(parallelism)
        self._sink = LakeSink.at(lake.catalog, lake.dead_letters.table)
        self._cluster = Cluster(lake.flink)
        self._nonce, self._tokens = secrets.token_hex(4), dict[str, int]()
        self._before: list[Predecessor] = []
        self._jobs: list[Job] = []
        self._environment: StreamExecutionEnvironment | None = None

    def submit(self) -> str:
        """Submit the job; its id. Columns that the job before ended for are added to the tables.

        Raises:
            Refused: the tables, the savepoint and lake.yaml do not go together, or a job runs already.
            Leased: another writer has a dataset.
            Unavailable: the cluster or the catalog does not answer.
        """
        jobs = jobs_of(self._sink, self._datasets)
        refuse_running(jobs.values(), self._cluster, take_over=self._take_over)
        try:
            for config in self._datasets:
                self._claim(config)
            return self._submit()
        except BaseException:
            self._sink.end_claims()
            raise

    def _submit(self) -> str:
        self._look()
        if grown := lacking(self._before, self._cluster):
            evolve(self._sink, self._datasets, grown)
            self._look()
        point = None if self._on_tables() else self._point(self._savepoint)
        self._build(point is not None)
        if self._options["execution.target"] == "remote":
            self._cluster.require_slots(self._made.get_parallelism(), patience=_SLOTS_SECONDS)
        return self._start(point.location if point else None)

    def prepare(self) -> None:
        """Make the graph of a job that takes the place of one that still runs, as far as it can be made.

        Raises:
            Refused: it can't take that one's place.
        """
        self._look()
        for one in self._before:
            if one.job is None or (why := one.why_not()):
                raise Refused(
                    f"'{one.schema.name}': no job can be gone on from: {why or 'none wrote it'}",
                    next_step="`bitlake submit --stop`, then `bitlake submit`",
                )
            refuse_left_out(self._before, one.job)
            self._tokens[one.schema.name] = self._sink.next_token(one.schema)
        first = self._build(succeeds=True)[0]
        self._warm(first, max(one.job.parallelism for one in self._before if one.job is not None))

    def succeed(self, savepoint: str) -> str:
        """Start what `prepare` made from the savepoint that the job before was just stopped with; its id.

        Whether the tables hold more than that, the job finds out itself.

        Raises:
            Fenced: another writer has taken a dataset since `prepare`.
        """
        try:
            for one, job in zip(self._before, self._jobs, strict=True):
                tenant = Tenant(job.owner, self._holder, SECONDS)
                self._sink.claim(one.schema, tenant, flink=True, token=self._tokens[one.schema.name])
            return self._start(savepoint)
        except BaseException:
            self._sink.end_claims()
            raise

    @property
    def _holder(self) -> str:
        return f"a Flink job at {self._cluster.url}"

    def _claim(self, config: DatasetConfig) -> None:
        """Take a dataset, and finish what an embedded writer before left half done.

        Raises:
            Leased: another writer has it.
        """
        table = self._sink.find(dataset_schema(config).parent.identifier)
        lease = Lease.of(table.properties) if table is not None else None
        before = Job.of(table.properties) if table is not None else None
        # The lease of the job before, which has ended: `refuse_running` found it so.
        left = lease is not None and before is not None and lease.owner == before.owner
        if not self._take_over and not left:
            self._sink.check_lease(dataset_schema(config), "")
        schema = self._open(config)
        self._sink.flink_tables()
        tenant = Tenant(f"flink-{self._nonce}", self._holder, SECONDS)
        self._tokens[config.name] = self._sink.claim(schema, tenant, flink=True)
        if self._take_over and lease is not None and lease.of_flink:
            with suppress(InPart):  # a job that has died is told of where its checkpoints are looked for
                wait_whole(self._sink, schema)
        complete(self._sink, schema)
        if lease is not None and lease.until and not lease.of_flink:
            # Who died with the lease may have died before it sent the last letters to their topic.
            self._send_letters_again(config, schema)

    def _send_letters_again(self, config: DatasetConfig, schema: DatasetSchema) -> None:
        outgoing = Outgoing.of(self._lake, config, Patience())
        if outgoing.topic is None or (position := agreed(self._sink, schema)[0]) is None:
            return
        try:
            outgoing.send_again(self._sink, config.name, position.epoch)
        finally:
            outgoing.close()

    def _look(self) -> None:
        self._before = [Predecessor.of(self._sink, self._open(config)) for config in self._datasets]

    def _on_tables(self) -> bool:
        if self._fresh and self._savepoint is not None:
            raise Refused(
                f"the job goes on from the tables, not from {self._savepoint}",
                next_step="leave --from-savepoint out; or --until-end and --fresh",
            )
        return self._fresh

    def _point(self, wanted: str | None) -> RestorePoint | None:
        checkpoints = self._options.get("execution.checkpointing.dir")
        return found_point(self._sink, self._before, wanted, checkpoints, self._lake.catalog)

    def _build(self, succeeds: bool) -> list[DatasetPlan]:
        """Decide where each dataset begins, and make the graph; what of."""
        run, seed = uuid.uuid4().hex, secrets.randbits(63)
        if succeeds:
            first = next(one.job for one in self._before if one.job is not None)
            run, seed = first.run, first.seed
        names = tuple(config.name for config in self._datasets)
        for config, one in zip(self._datasets, self._before, strict=True):
            goes_on = succeeds and one.job is not None
            job = one.job if goes_on and one.job else self._begun(config, one.schema, run, seed)
            job = replace(job, token=self._nonce, datasets=names, layout=layout_of(one.schema))
            self._jobs.append(job)
        self._environment = self._new_environment()
        groups = self._groups()
        plans = [
            self._plan(config, one.schema, job, groups)
            for config, one, job in zip(self._datasets, self._before, self._jobs, strict=True)
        ]
        self._graph(self._environment).build(plans)
        return plans

    def _warm(self, plan: DatasetPlan, held: int) -> None:
        """Have TaskManagers that the job will begin to use take its steps up once, while the one before runs.

        One that never did takes seconds longer (classes, Python), and no job would run meanwhile. Which
        ones it will use nobody knows: so all that have a slot are.
        """
        environment = self._new_environment(brief=True)
        free = self._cluster.slots() if environment.get_parallelism() > held else None
        if not free:
            return
        environment.set_parallelism(min(free, environment.get_max_parallelism()))
        self._graph(environment).idle(plan)
        job = str(environment.execute_async(WARMING).get_job_id())
        try:
            if self._cluster.wait(job, patience=_WARMING_SECONDS) == "FAILED":
                log.warning("TaskManagers are not warm: %s", self._cluster.reason(job))
        except BitlakeError as error:
            log.warning("TaskManagers are not warm: %s", error.message)
            self._cluster.cancel(job)

    @property
    def _made(self) -> "StreamExecutionEnvironment":
        """The environment that holds the graph."""
        if self._environment is None:
            raise BitlakeError("a job was started before it was prepared", next_step="report this as a bug")
        return self._environment

    def _start(self, place: str | None) -> str:
        """Start the job; its id, which the tables know before: it can be found whatever the answer is."""
        from pyflink.common import Configuration

        environment, chosen = self._made, secrets.token_hex(16)
        options = Configuration()
        options.set_string(_JOB_ID, chosen)
        if place is not None:
            options.set_string(_RECOVERY, place)
        environment.configure(options)
        for one, job in zip(self._before, self._jobs, strict=True):
            now = replace(
                job,
                jobs=(*job.jobs, chosen)[-20:],
                savepoint=None,
                began=place,
                cluster=self._cluster.url,
                parallelism=environment.get_parallelism(),
            )
            tenant = Tenant(job.owner, self._holder, FOR_GOOD)
            self._sink.hold(one.schema, tenant, {FLINK_JOB: now.to_json()})
        names = ", ".join(config.name for config in self._datasets)
        started = str(environment.execute_async(f"bitlake: {names}").get_job_id())
        if started != chosen:
            raise BitlakeError(
                f"Flink calls the job {started}, not {chosen}", next_step="report this as a bug"
            )
        log.info("submitted", extra={"job": started, "from": place or "the tables"})
        return started

    def _open(self, config: DatasetConfig) -> DatasetSchema:
        schema = dataset_schema(config)
        return self._sink.open(schema, mode=config.mode.value, partition_by=config.partitions)

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

    def _new_environment(self, *, brief: bool = False) -> "StreamExecutionEnvironment":
        from pyflink.common import Configuration
        from pyflink.datastream import StreamExecutionEnvironment
        from pyflink.java_gateway import get_gateway

        options = dict(self._options)
        options.setdefault("python.executable", sys.executable)
        options["python.client.executable"] = sys.executable
        if brief:
            del options["execution.checkpointing.interval"]  # it would end with the next one only
            options["restart-strategy.type"] = "none"
        configuration = Configuration()
        for key, value in options.items():
            configuration.set_string(key, value)
        if options["execution.target"] == "remote":
            # Outside of Flink's own client, `get_execution_environment` runs jobs in this process.
            java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
            environment = StreamExecutionEnvironment(java(configuration._j_configuration))
        else:
            environment = StreamExecutionEnvironment.get_execution_environment(configuration)
        most = int(options.get("pipeline.max-parallelism", MAX_PARALLELISM))
        if int(options.get("parallelism.default", 1)) > most:
            raise BadConfiguration(
                f"a parallelism of {options['parallelism.default']} is more than the {most} key groups",
                next_step="give a smaller one, or a new job a larger pipeline.max-parallelism under flink",
            )
        environment.set_max_parallelism(most)
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
            token=self._tokens[config.name],
            run=job.run,
            seed=job.seed,
            start=Position.from_summary(job.start),
            snapshots=job.snapshots,
            catalog=dict(self._lake.catalog),
            dead_letters=self._lake.dead_letters.table,
            groups=groups,
            max_ahead=self._lake.time.max_ahead_us,
            idle_margin=self._lake.time.idle_margin_us,
            letters=self._lake.dead_letters.topic_of(config),
        )

    def _graph(self, environment: "StreamExecutionEnvironment") -> "Graph":
        from pyflink.java_gateway import get_gateway

        from pipeline.flink.catalogs import catalog_loader
        from pipeline.flink.graph import Graph

        kafka = {key: str(value) for key, value in self._lake.kafka.items()}
        kafka.setdefault("isolation.level", "read_committed")
        loader = catalog_loader(get_gateway().jvm, self._lake.catalog)
        shared = self._sink.flink_tables()
        return Graph(environment, loader, kafka, shared, until_end=self._until_end)
