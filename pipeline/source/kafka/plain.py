"""A plain client as the fallback: librdkafka's consumer, one message at a time.

For brokers, or records, that the reading of whole batches has trouble with: ``bitlake.client: librdkafka``
under ``kafka`` in lake.yaml. It is some ten times slower, and the same to who polls: what each partition has
come to, refusals, and what is known of its end are the source's, by its own requests.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.errors import BadConfiguration, BitlakeError
from pipeline.source.block import PADDING
from pipeline.source.kafka.assembled import Assembly
from pipeline.source.kafka.block import KafkaBlock, Records
from pipeline.source.kafka.cluster import EARLIEST, LATEST, Cluster
from pipeline.source.kafka.connection import ConnectionLost
from pipeline.source.kafka.headers import write_headers
from pipeline.source.kafka.partition import Flow, Partition
from pipeline.source.kafka.properties import ClientSettings
from pipeline.source.kafka.reader import TopicReader
from pipeline.source.kafka.refusals import broken_batch, no_access, offset_gone
from pipeline.source.kafka.source import KafkaSource

log = logging.getLogger(__name__)

MESSAGES = 10_000
"""At most so many are taken at a time."""
LOOK_SECONDS = 1.0
"""Between two questions where the partitions end."""
_LOG_APPEND = 2
_PER_MESSAGE = 64


class PlainSource(KafkaSource):
    """Reads topics by librdkafka; see `KafkaSource`.

    Raises:
        BadConfiguration: a property is wrong, or confluent-kafka is not installed.
    """

    def fetch_from(self, node: int) -> None:
        """Nobody fetches beside librdkafka."""

    def reader_of(self, flow: Flow) -> TopicReader:
        """See `KafkaSource`."""
        return PlainReader(self, flow)


class PlainReader(TopicReader):
    """See `TopicReader`."""

    def __init__(self, source: PlainSource, flow: Flow) -> None:
        super().__init__(source, flow)
        settings = source.cluster.settings
        # Of records above the last stable offset, too: a transaction that is open may hold older ones.
        self._cluster = Cluster(replace(settings, read_committed=False))
        self._consumer = _consumer(settings, flow.room * max(len(flow.partitions), 1))
        self._assigned: set[int] = set()
        self._looked_at = 0.0

    def poll(self, timeout: float, max_records: int = MESSAGES) -> list[KafkaBlock]:
        """See `TopicReader`: at most one block of each partition."""
        self._assign()
        self._look()
        asked_at = time.time_ns() // 1000
        own, ends, failed = sorted_out(self._consumer.consume(min(max_records, MESSAGES), timeout))
        blocks = []
        for number in own.keys() | ends.keys():
            messages, partition = own.get(number, []), self._flow.partitions[number]
            next_offset = max([message.offset() + 1 for message in messages[-1:]] + [ends.get(number, 0)])
            if next_offset > partition.position:
                blocks.append(self._block(partition, next_offset, messages, asked_at))
        for number, error in failed.items():
            self._failed(self._flow.partitions[number], error)
        with self._changed:
            self._check()
        return blocks

    def close(self) -> None:
        """See `TopicReader`."""
        super().close()
        self._consumer.close()
        self._cluster.close()

    def _assign(self) -> None:
        with self._changed:
            new = [one for number, one in self._flow.partitions.items() if number not in self._assigned]
        if new:
            self._consumer.incremental_assign([self._at(one) for one in new])
            self._assigned.update(one.number for one in new)

    def _at(self, partition: Partition) -> Any:
        from confluent_kafka import TopicPartition

        return TopicPartition(self.topic, partition.number, partition.position)

    def _look(self) -> None:
        """Ask where the partitions end: who has read as far had read all that there was then."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        at = time.time_ns() // 1000
        settings = self._cluster.settings
        with self._changed:
            partitions = list(self._flow.partitions.values())
        try:
            topic = self._cluster.topics([self.topic])[self.topic]
            ends = {} if topic is None else self._cluster.offsets(topic, topic.leaders, LATEST)
        except ConnectionLost as error:
            with self._changed:
                for one in partitions:
                    one.failed(str(error), settings.backoff, settings.backoff_max)
            return
        with self._changed:
            for one in partitions:
                one.worked()
                one.ends_at(ends.get(one.number, one.high_watermark))
                one.read_to = at if one.position >= one.high_watermark >= 0 else None
        self._looked_at = time.monotonic()

    def _block(
        self, partition: Partition, next_offset: int, messages: Sequence[Any], asked_at: int
    ) -> KafkaBlock:
        """A block of messages, or of none, up to an offset: control batches may come before the end."""
        records, log_append = records_of(messages)
        first = partition.position
        with self._changed:
            partition.position = partition.offset = next_offset
            partition.fixed, partition.broken = True, 0
            partition.fetched += records.buffer.size - PADDING
            if partition.position < partition.high_watermark:
                partition.read_to = None
        return KafkaBlock(
            *records.parts(0, len(records)),
            topic=self.topic,
            partition=partition.number,
            first_offset=first,
            next_offset=next_offset,
            log_append=log_append,
            high_watermark=partition.high_watermark,
            last_stable_offset=partition.high_watermark,
            fetched_at=asked_at,
            nbytes=records.buffer.size + _PER_MESSAGE * len(messages),
        )

    def _failed(self, partition: Partition, error: Any) -> None:
        from confluent_kafka import KafkaError

        failure: BitlakeError | None = None
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            failure = no_access(self.topic)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            failure = self._out_of_range(partition)
        elif not error.retriable() and partition.is_broken():
            failure = broken_batch(
                f"{self.topic}-{partition.number} at offset {partition.position}", error.str()
            )
        if failure is not None:
            self._flow.failure = failure
        else:
            log.info("%s-%s: %s; trying again", self.topic, partition.number, error.str())
            self._consumer.seek(self._at(partition))

    def _out_of_range(self, partition: Partition) -> BitlakeError | None:
        topic, number = self._flow.topic, partition.number
        earliest = self._source.retried(lambda: self._cluster.offsets(topic, [number], EARLIEST))[number]
        latest = self._source.retried(lambda: self._cluster.offsets(topic, [number], LATEST))[number]
        with self._changed:
            if not partition.fixed and partition.position < earliest:
                partition.begin_later(earliest)
                return None
        return offset_gone(self.topic, number, partition.position, earliest, latest)


def sorted_out(messages: Sequence[Any]) -> tuple[dict[int, list[Any]], dict[int, int], dict[int, Any]]:
    """By partition: records, the end that was reached, the error after which nothing counts."""
    from confluent_kafka import KafkaError

    own, ends, failed = dict[int, list[Any]](), dict[int, int](), dict[int, Any]()
    for message in messages:
        number, error = message.partition(), message.error()
        if number in failed or number < 0:
            continue
        if error is None:
            own.setdefault(number, []).append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            ends[number] = message.offset()
        else:
            failed[number] = error
    return own, ends, failed


def records_of(messages: Sequence[Any]) -> tuple[Records, bool]:
    """Messages as records, and whether their timestamps are the broker's."""
    found, kind = Assembly(), 0
    for message in messages:
        kind, stamp = message.timestamp()
        headers = write_headers(message.headers() or [])
        found.add(message.value(), message.key(), headers, message.offset(), stamp if kind else None)
    return found.records(), kind == _LOG_APPEND


def _consumer(settings: ClientSettings, room: int) -> Any:
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise BadConfiguration(
            f"kafka: bitlake.client is librdkafka, which is not installed: {error}",
            next_step="pip install 'bitlake[librdkafka]', or remove bitlake.client",
        ) from error
    try:
        return Consumer(librdkafka_properties(settings, room))
    except (KafkaException, ValueError) as error:
        raise BadConfiguration(
            f"kafka: librdkafka does not take these properties: {error}",
            next_step="correct what it names, or remove bitlake.client",
        ) from error


def librdkafka_properties(settings: ClientSettings, room: int) -> dict[str, Any]:
    """The settings by librdkafka's names; about `room` bytes may wait to be polled."""
    security = {(False, False): "PLAINTEXT", (True, False): "SSL", (False, True): "SASL_PLAINTEXT"}
    chosen = security.get((settings.tls is not None, settings.sasl is not None), "SASL_SSL")
    properties: dict[str, Any] = {
        "bootstrap.servers": ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in settings.bootstrap
        ),
        "security.protocol": chosen,
        "client.id": settings.client_id,
        "client.rack": settings.rack,
        "group.id": settings.group or settings.client_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "check.crcs": True,
        "isolation.level": "read_committed" if settings.read_committed else "read_uncommitted",
        "fetch.wait.max.ms": int(settings.fetch_max_wait * 1000),
        "queued.max.messages.kbytes": max(room >> 10, 1024),
        "log_level": 0,
    }
    if settings.tls is not None:
        own = {"ssl.certificate.pem": settings.tls.chain, "ssl.key.pem": settings.tls.key}
        own |= {"ssl.ca.pem": settings.tls.trusted, "ssl.key.password": settings.tls.key_password}
        properties |= {name: value for name, value in own.items() if value}
        properties["ssl.endpoint.identification.algorithm"] = "https" if settings.tls.names else "none"
    if settings.sasl is not None:
        properties["sasl.mechanism"] = settings.sasl.mechanism
        properties["sasl.username"] = settings.sasl.username
        properties["sasl.password"] = settings.sasl.password
    return properties
