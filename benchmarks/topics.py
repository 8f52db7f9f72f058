"""The workload in topics of a real broker on this machine, which may be kept from one time to the next."""

import hashlib
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from benchmarks.workload import Workload

if TYPE_CHECKING:
    from stack.stack import Stack

_KEY = re.compile(rb'"isin":\s*"([^"]*)"')
_BURST, _WAITING = 10_000, 500_000


@dataclass(frozen=True)
class Filling:
    """How records lie in a topic.

    Attributes:
        partitions: how many; a key's records share one.
        codec: of the batches.
        batched: many records to a batch, as producers do; else one.
    """

    partitions: int = 4
    codec: str = "lz4"
    batched: bool = True


@contextmanager
def broker(folder: Path | None) -> Iterator[Any]:
    """A broker with what the folder holds of an earlier time; without one, nothing is left behind."""
    with tempfile.TemporaryDirectory(prefix="bitlake-kafka-") as fresh:
        place = Path(fresh) if folder is None else folder
        with _tests().kafka(place, heap="1g", java_options=(), kept=folder is not None) as cluster:
            yield cluster


def kafka_of(stack: "Stack", folder: Path) -> Any:
    """The broker of a stack, to be filled with topics; the folder is for what its clients need."""
    return _tests().Kafka([stack.kafka], folder)


def _tests() -> Any:
    """The broker of the tests: what it needs is among the packages for development only."""
    return import_module("tests.kafka_broker")


def topic(cluster: Any, workload: Workload, filling: Filling) -> str:
    """The name of a topic with a workload's records, which is filled unless it is there and whole."""
    digest = hashlib.sha256(repr((workload, filling)).encode()).hexdigest()[:12]
    name = f"bonds-{workload.records}-{digest}"
    known = cluster.admin.list_topics(timeout=30).topics
    if name in known:
        if _held(cluster, name, filling.partitions) == workload.records:
            return name
        cluster.delete_topic(name)
    cluster.create_topic(name, filling.partitions, retention_ms=-1)
    with tempfile.TemporaryDirectory(prefix="bitlake-bench-") as folder:
        data = Path(folder) / "records.jsonl"
        workload.write(data)
        _fill(cluster, name, data, filling)
    return name


def described(filling: Filling) -> str:
    """How a topic lies, in words."""
    return f"Kafka on the same cores: {', '.join(f'{k} {v}' for k, v in asdict(filling).items())}"


def _held(cluster: Any, name: str, partitions: int) -> int:
    """How many records a topic holds; a broker that has just started may not know yet that it leads it."""
    from confluent_kafka import KafkaException, TopicPartition

    admin: Any = import_module("confluent_kafka.admin")
    asked = {TopicPartition(name, number): admin.OffsetSpec.latest() for number in range(partitions)}
    starting = retry_if_exception_type(KafkaException)
    tries = Retrying(stop=stop_after_delay(30), wait=wait_fixed(0.5), retry=starting, reraise=True)
    return tries(lambda: sum(one.result(30).offset for one in cluster.admin.list_offsets(asked).values()))


def message(line: bytes, partitions: int) -> dict[str, Any]:
    """A line of a workload's file as a message; a key's records share a partition."""
    found = _KEY.search(line)
    key = found[1] if found else b""
    return {"value": line[:-1], "key": key, "partition": zlib.crc32(key) % partitions}


def send(producer: Any, topic: str, messages: list[dict[str, Any]]) -> None:
    """Hand messages over to a producer once it has room for them."""
    while len(producer) > _WAITING:
        producer.poll(0.05)
    if producer.produce_batch(topic, messages) != len(messages):
        raise BufferError("the producer has no room for a burst")


def _fill(cluster: Any, name: str, data: Path, filling: Filling) -> None:
    batching = {"linger_ms": 50, "batch_size": 1 << 20} if filling.batched else {"batch_num_messages": 1}
    producer = cluster.producer(
        compression_type=filling.codec, queue_buffering_max_messages=1_000_000, **batching
    )
    with data.open("rb") as lines:
        while messages := [message(line, filling.partitions) for line in islice(lines, _BURST)]:
            send(producer, name, messages)
    if producer.flush(600):
        raise TimeoutError("the broker did not take all records in ten minutes")
