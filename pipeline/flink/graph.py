"""The job's graph, built with Flink's Java API through PyFlink's gateway, uids and names fixed.

Per dataset, `=>` being an exchange by key:

    read (Kafka) => gather > decode => mark > apply | rows > Iceberg's sinks, by table, open and closed
                             decode | the tables of dead letters and of positions

`>` is a call in one thread, `|` a thread of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from pipeline.engine.arrival import topic_offsets
from pipeline.flink.letters import send_letters
from pipeline.flink.operators import BYTES, Apply, Decode
from pipeline.flink.plan import DatasetPlan
from pipeline.flink.rows import AT, DEAD

GATHER_BYTES, GATHER_MILLIS = 16 << 20, 1000
"""A frame of raw records goes on when it is so large, or after so long.

Each makes a frame for each key group, which costs as much as tens of records.
"""
GATHER_HELD = 32 << 20
"""All frames of a subtask's partitions go on when together they are so large."""
ENDS_MILLIS = 1000
"""So often it is asked where partitions end."""
_FETCHING = {"max.poll.records": "10000", "max.partition.fetch.bytes": str(4 << 20)}
"""What the consumer hands on, and fetches: usual are 500 records and 1 MB, for who takes them one by one."""
_FRAME = Types.ROW([Types.INT(), BYTES])


class Graph:
    """Builds the graph of all datasets of a job.

    Args:
        environment: where it is built.
        catalog: a Java `CatalogLoader`.
        kafka: client properties by Kafka's names.
        shared: identifiers of the tables of dead letters and of positions.
        until_end: stop where the topics end now.
    """

    def __init__(
        self,
        environment: StreamExecutionEnvironment,
        catalog: Any,
        kafka: Mapping[str, str],
        shared: tuple[str, str],
        *,
        until_end: bool,
    ) -> None:
        self._environment, self._java = environment, get_gateway().jvm
        self._catalog, self._kafka, self._shared, self._until_end = catalog, kafka, shared, until_end
        self._loaded = catalog.loadCatalog()
        self._most = environment.get_max_parallelism()
        self._row, self._key = (t.get_java_type_info() for t in (_FRAME, Types.ROW([Types.INT()])))
        self._fences: dict[str, Any] = {}

    def build(self, plans: Sequence[DatasetPlan]) -> None:
        """Add all datasets."""
        dead_letters, positions = self._shared
        for plan in plans:
            kinds = len(_kinds(plan))
            sinks = {table.identifier: kinds for table in plan.schema.tables} | {
                dead_letters: 1,
                positions: 1,
            }
            self._fences[plan.config.name] = self._java.bitlake.Fence(
                self._catalog, plan.config.name, plan.tag, plan.token, plan.run, plan.start.epoch, sinks
            )
            decoded = self._decoded(plan)
            self._versions(plan, self._applied(plan, decoded, self._fences[plan.config.name]))
            self._sink(plan, decoded, DEAD, dead_letters, "dead letters", parallelism=1)
            self._sink(plan, decoded, AT, positions, "positions", parallelism=1)
            send_letters(self._java, plan, decoded, self._kafka)

    def idle(self, plan: DatasetPlan) -> None:
        """Add a dataset's steps up to its versions, and not one record: nothing is written anywhere.

        It ends as soon as all of them have begun.
        """
        applied = self._applied(plan, self._decoded(plan, ended=True), None)
        discarding = self._java.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink()
        applied.sinkTo(discarding).name(f"{plan.config.name}: discard")

    def _decoded(self, plan: DatasetPlan, *, ended: bool = False) -> Any:
        """The stream of what `Decode` gives, in Java."""
        name, ours = plan.config.name, self._java.bitlake
        keys = ours.Keys.OfPartition(self._most, plan.config.topic)
        raw = self._source(plan, ended=ended)
        gather = ours.Gather(
            keys, GATHER_BYTES, GATHER_HELD, GATHER_MILLIS, plan.config.topic, self._kafka, ENDS_MILLIS
        )
        gathered = raw.keyBy(keys, self._key).transform(f"{name}: gather", self._row, gather)
        gathered.uid(f"{name}-gather")
        return self._python(gathered, Decode(plan), f"{name}: decode", f"{name}-decode")

    def _applied(self, plan: DatasetPlan, decoded: Any, fence: Any) -> Any:
        """The stream of what `Apply` gives, in Java."""
        name, ours = plan.config.name, self._java.bitlake
        changes = decoded.filter(ours.Frames.Changes()).name(f"{name}: changes").uid(f"{name}-changes")
        marked = changes.keyBy(ours.Keys.OfFrame(), self._key).transform(
            f"{name}: mark", self._row, ours.Mark(self._most, fence)
        )
        marked.uid(f"{name}-mark")
        return self._python(marked, Apply(plan), f"{name}: apply", f"{name}-apply")

    def _versions(self, plan: DatasetPlan, applied: Any) -> None:
        upsert = plan.config.mode.value == "upsert"
        for number, table in enumerate(plan.schema.tables):
            kinds = _kinds(plan)
            for closed, kind in enumerate(kinds):
                self._sink(
                    plan,
                    applied,
                    2 * number + closed,
                    table.identifier,
                    f"{table.name} {kind}",
                    sinks=len(kinds),
                    identity=[*(c.name for c in table.key), "system_from", "valid_from"] if upsert else None,
                )

    def _source(self, plan: DatasetPlan, *, ended: bool) -> Any:
        kafka = self._java.org.apache.flink.connector.kafka.source
        shaded = self._java.org.apache.flink.kafka.shaded.org.apache.kafka
        initial = kafka.enumerator.initializer.OffsetsInitializer
        builder = kafka.KafkaSource.builder().setTopics([plan.config.topic])
        for key, value in {**_FETCHING, **self._kafka}.items():
            builder = builder.setProperty(key, value)
        begin = topic_offsets(plan.start)
        offsets = self._java.bitlake.Offsets.of(plan.config.topic, begin)
        none = shaded.clients.consumer.OffsetResetStrategy.NONE
        start = initial.offsets(offsets, none) if begin else initial.earliest()
        builder = builder.setStartingOffsets(initial.latest() if ended else start)
        if self._until_end or ended:
            builder = builder.setBounded(initial.latest())
        source = builder.setDeserializer(self._java.bitlake.RecordBytes()).build()
        name = plan.config.name
        none_late = self._java.org.apache.flink.api.common.eventtime.WatermarkStrategy.noWatermarks()
        stream = self._environment._j_stream_execution_environment.fromSource(
            source, none_late, f"{name}: read"
        )
        return stream.uid(f"{name}-read")

    def _python(self, stream: Any, function: Any, label: str, uid: str) -> Any:
        """A Python function over frames that are by key already."""
        utilities = self._java.org.apache.flink.streaming.api.datastream.DataStreamUtils
        keyed = utilities.reinterpretAsKeyedStream(stream, self._java.bitlake.Keys.OfRow(), self._key)
        made = KeyedStream(keyed, _FRAME, DataStream(stream)).process(function, output_type=BYTES)
        return made.name(label).uid(uid)._j_data_stream

    def _sink(
        self,
        plan: DatasetPlan,
        frames: Any,
        number: int,
        identifier: str,
        label: str,
        *,
        sinks: int = 1,
        identity: list[str] | None = None,
        parallelism: int | None = None,
    ) -> None:
        """Write the rows of a table, in a thread of its own: closing files waits for the store."""
        iceberg = self._java.org.apache.iceberg
        name = iceberg.catalog.TableIdentifier.parse(identifier)
        type_ = iceberg.flink.FlinkSchemaUtil.convert(self._loaded.loadTable(name).schema())
        suffix = f"{plan.config.name}-{label.replace(' ', '-')}"
        ours, replacing = self._java.bitlake, identity is not None
        own = frames.filter(ours.Frames.Of(number, replacing))
        own = own.name(f"{plan.config.name}: frames of {label}").uid(f"{suffix}-frames")
        rows = own.flatMap(ours.Rows(number, replacing, type_))
        rows = rows.name(f"{plan.config.name}: rows of {label}").uid(f"{suffix}-rows").startNewChain()
        plain = iceberg.flink.TableLoader.fromCatalog(self._catalog, name)
        loader = self._java.bitlake.FencedTables(plain, identifier, self._fences[plan.config.name])
        builder = iceberg.flink.sink.IcebergSink.forRowData(rows).tableLoader(loader).uidSuffix(suffix)
        builder = builder.distributionMode(iceberg.DistributionMode.NONE)
        builder = builder.writeParallelism(parallelism or self._environment.get_parallelism())
        for key, value in plan.summary(sinks).items():
            builder = builder.setSnapshotProperty(key, value)
        if identity is not None:
            builder = builder.equalityFieldColumns(identity)
        builder.append()


def _kinds(plan: DatasetPlan) -> tuple[str, ...]:
    """What rows of a table are told apart: by each, there is a sink."""
    return ("versions",) if plan.config.mode.value == "upsert" else ("open", "closed")
