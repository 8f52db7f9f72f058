"""Dead letters to a Kafka topic, at least once, as Kafka Connect's sinks report theirs.

When. An epoch's letters are sent once every table has the epoch, and before the state's mark says so (step 4
of the commit protocol). A process that dies in between finds the epoch's intent at its next start: it commits
the tables that lack the epoch, and sends the letters again, read back from the table of dead letters. If the
state is lost, too, it is rebuilt from the tables, and the letters of their newest epoch are sent again: of
those before, the mark was written, so they were sent. Hence nothing is lost and some come twice; the header
`bitlake.id` tells the same letter by the same id, and is what `bitlake dead-letters replay` takes.

What. Key, value and headers are the record's; the partition is, too, modulo the topic's number of partitions.
The headers of Connect's `DeadLetterQueueReporter` follow. Unlike Connect's, a letter has the time of sending:
with a record's own, retention would take letters of old records away at once. The record's, in milliseconds,
is in the header `bitlake.timestamp`. A letter that the topic does not take, mostly since it is too large, is
logged and stays in the table alone. Replayed letters are not sent again.
"""

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from kafka.errors import for_code
from kafka.protocol.admin.topics import CreateTopicsRequest
from kafka.protocol.producer.produce import ProduceRequest
from kafka.record.default_records import DefaultRecordBatchBuilder
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from pipeline.errors import BadConfiguration, BitlakeError, Unavailable
from pipeline.retries import repeat
from pipeline.source.kafka.cluster import Cluster, Topic
from pipeline.source.kafka.connection import ConnectionLost, problem
from pipeline.source.kafka.properties import client_settings

log = logging.getLogger(__name__)

CONNECT = "__connect.errors."
ENVELOPE = "bitlake.envelope"
BATCH_BYTES = 512 << 10
"""Of a record batch; the brokers' default limit is 1 MiB."""
RETRY_SECONDS = 10.0
"""How long brokers are asked again before they are said to be away."""
LARGEST = 64 << 20
"""Bytes of a letter beyond which a broker would close the connection rather than answer."""
_PRODUCE, _CREATE = 8, 7
_ALL_REPLICAS = -1
_EXISTS = 36
_NO_ACCESS = (29, 31)
_USED = (
    *("id", "topic", "partition", "offset", "timestamp"),
    *("key", "value", "headers", "stage", "reason", "advice"),
)
_TOO_LARGE = 10
_NOT_TAKEN = (_TOO_LARGE, 18, 32, 87)
"""Too large (one of them, all together), a time the topic refuses, invalid (a compacted one wants keys)."""

Result = TypeVar("Result")
Headers = Sequence[tuple[str, bytes | None]]


class Letter(NamedTuple):
    """A message of the topic; its timestamp is in milliseconds."""

    identity: str
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        headers = sum(len(name) + len(value or b"") + 8 for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + 32


class DeadLetterTopic:
    """The topic of one dataset's dead letters.

    Args:
        properties: client properties by Kafka's names.
        topic: its name; made with the brokers' defaults where there is none.
        dataset: what the letters name as their connector.
    """

    def __init__(self, properties: Mapping[str, Any], topic: str, dataset: str) -> None:
        self.name, self.dataset = topic, dataset
        self._cluster = Cluster(client_settings(properties))
        self._topic: Topic | None = None

    def partitions(self) -> int:
        """How many partitions it has, as it was when last asked for.

        Raises:
            Unavailable: no broker answers.
            BadConfiguration: there is no such topic, and we may not make it.
        """
        return len(self._retried(self._known).leaders)

    def sending(self, rows: pa.Table) -> "Sending":
        """What sends those of an epoch's rows that are no replays."""
        return Sending(self, rows.filter(pc.equal(rows["status"], "dead")))

    def produce(self, partition: int, letters: Sequence[Letter]) -> int:
        """Send letters to a partition in one batch; the broker's error code, 0 once all replicas have them.

        Raises:
            Unavailable: it is away.
        """
        return self._retried(lambda: self._produce(partition, letters))

    def close(self) -> None:
        """Let go of the connections."""
        self._cluster.close()

    def _retried(self, ask: Callable[[], Result]) -> Result:
        """Ask until there is an answer, but not for long: idle connections are closed, leaders change."""
        retrying = Retrying(
            retry=retry_if_exception_type(ConnectionLost),
            stop=stop_after_delay(RETRY_SECONDS),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            reraise=True,
        )
        try:
            return repeat(retrying, ask)
        except ConnectionLost as error:
            raise Unavailable(
                f"dead letters can't be sent to Kafka: {error}",
                next_step="check the brokers; the letters are safe in their table, and are sent later",
            ) from error

    def _produce(self, partition: int, letters: Sequence[Letter]) -> int:
        leader = self._known().leaders[partition].node
        try:
            answer = self._cluster.ask_node(leader, lambda: self._request(partition, letters), _PRODUCE)
            (code,) = [one.error_code for topic in answer.responses for one in topic.partition_responses]
            if code not in (0, *_NOT_TAKEN) and for_code(code).retriable:
                raise ConnectionLost(f"{self.name}-{partition}: {problem(code)}")
        except ConnectionLost:
            self._topic = None
            raise
        return int(code)

    def _request(self, partition: int, letters: Sequence[Letter]) -> ProduceRequest:
        of_topic = ProduceRequest.TopicProduceData
        part = of_topic.PartitionProduceData(index=partition, records=_batch(letters))
        return ProduceRequest(
            transactional_id=None,
            acks=_ALL_REPLICAS,
            timeout_ms=int(self._cluster.settings.request_timeout * 1000),
            topic_data=[of_topic(name=self.name, partition_data=[part])],
        )

    def _known(self) -> Topic:
        if self._topic is None:
            self._topic = self._found() or self._made()
        return self._topic

    def _found(self) -> Topic | None:
        topic = self._cluster.topics([self.name])[self.name]
        if topic is not None and any(leader.node < 0 for leader in topic.leaders.values()):
            raise ConnectionLost(f"not every partition of {self.name} has a leader")
        return topic

    def _made(self) -> Topic:
        wanted = CreateTopicsRequest.CreatableTopic(
            name=self.name, num_partitions=-1, replication_factor=-1, assignments=[], configs=[]
        )
        timeout = int(self._cluster.settings.request_timeout * 1000)
        answer = self._cluster.ask_any(
            lambda: CreateTopicsRequest(topics=[wanted], timeout_ms=timeout, validate_only=False),
            most=_CREATE,
        )
        code = answer.topics[0].error_code
        if code not in (0, _EXISTS):
            raise BadConfiguration(
                f"there is no topic {self.name} for dead letters, and it can't be made: {problem(code)}",
                next_step="create it, or allow this user to, or take dead_letters.topic out of lake.yaml",
            )
        log.info("made the topic of dead letters", extra={"topic": self.name})
        found = self._found()
        if found is None:
            raise ConnectionLost(f"the topic {self.name} was made, but is not known yet")
        return found


class Sending:
    """Letters on their way; called again after `Unavailable`, it goes on with those not acknowledged yet."""

    def __init__(self, topic: DeadLetterTopic, rows: pa.Table) -> None:
        self._topic, self._rows, self._done = topic, rows, 0
        self._count: int | None = None

    def send(self) -> None:
        """Send what is left.

        Raises:
            Unavailable: the brokers are away.
            BadConfiguration: we may not write to the topic.
        """
        if not len(self._rows):
            return
        count = self._topic.partitions()
        if count != self._count:  # partitions were added meanwhile: the batches are others
            self._count, self._done = count, 0
        for number, (partition, letters) in enumerate(batches(self._rows, count, self._topic.dataset)):
            if number >= self._done:
                self._send(partition, letters)
                self._done = number + 1
        log.info("sent dead letters", extra={"topic": self._topic.name, "dead_letters": len(self._rows)})

    def _send(self, partition: int, letters: Sequence[Letter]) -> None:
        code = _TOO_LARGE if letters[0].size > LARGEST else self._topic.produce(partition, letters)
        if not code:
            return
        if code in _NO_ACCESS:
            raise BadConfiguration(
                f"this user may not write to the topic of dead letters {self._topic.name}",
                next_step="give it WRITE and DESCRIBE on it (`kafka-acls --add --operation Write ...`)",
            )
        if code not in _NOT_TAKEN:
            raise BitlakeError(f"{self._topic.name}-{partition} refused dead letters: {problem(code)}")
        if len(letters) > 1:
            for letter in letters:
                self._send(partition, [letter])
            return
        log.warning(
            "a dead letter is in the table alone: the topic does not take it",
            extra={"topic": self._topic.name, "id": letters[0].identity, "error": problem(code)},
        )


def batches(rows: pa.Table, partitions: int, dataset: str) -> Iterator[tuple[int, list[Letter]]]:
    """Rows of the table of dead letters as messages, in their order, in batches of one partition."""
    filling: dict[int, list[Letter]] = {}
    sizes: dict[int, int] = {}
    for origin, letter in messages(rows, dataset):
        partition = origin % partitions
        if filling.get(partition) and sizes[partition] + letter.size > BATCH_BYTES:
            yield partition, filling.pop(partition)
        if partition not in filling:
            sizes[partition] = 0
        filling.setdefault(partition, []).append(letter)
        sizes[partition] += letter.size
    yield from filling.items()


def messages(rows: pa.Table, dataset: str) -> Iterator[tuple[int, Letter]]:
    """Rows of the table of dead letters as messages, each with its record's partition."""
    now = time.time_ns() // 1_000_000
    at = rows.schema.get_field_index("timestamp")  # as a number: not every one is a datetime
    rows = rows.set_column(at, "timestamp", rows["timestamp"].cast(pa.int64())).select(_USED)
    for batch in rows.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield row["partition"], letter_of(row, dataset, now)


def letter_of(row: Mapping[str, Any], dataset: str, now: int) -> Letter:
    """A row, its timestamp in microseconds, as a message sent at `now` (ms)."""
    errors = {
        "topic": row["topic"],
        "partition": row["partition"],
        "offset": row["offset"],
        "connector.name": dataset,
        "task.id": 0,
        "stage": row["stage"],
        "class.name": "pipeline.decode.Decoder",
        "exception.class.name": "pipeline.errors.BadInput",
        "exception.message": "; ".join(filter(None, (row["reason"], row["advice"]))),
    }
    headers = original_headers(row["headers"])
    headers += [(CONNECT + name, str(value).encode()) for name, value in errors.items()]
    headers.append(("bitlake.id", row["id"].encode()))
    if row["timestamp"] is not None:
        headers.append(("bitlake.timestamp", str(row["timestamp"] // 1000).encode()))
    return Letter(row["id"], now, row["key"], row["value"], headers)


def original_headers(text: str | None) -> list[tuple[str, bytes | None]]:
    """A record's headers, from what its row holds of them."""
    listed = json.loads(text) if text else []
    if isinstance(listed, dict):
        return [(ENVELOPE, b"true")]
    return [(header["name"], _bytes(header)) for header in listed]


def _bytes(header: Mapping[str, str | None]) -> bytes | None:
    if (encoded := header.get("base64")) is not None:
        return base64.b64decode(encoded)
    text = header.get("value")
    return None if text is None else text.encode()


def _batch(letters: Sequence[Letter]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 2**31 - 1)
    for offset, letter in enumerate(letters):
        builder.append(offset, letter.timestamp, letter.key, letter.value, letter.headers)
    return bytes(builder.build())
