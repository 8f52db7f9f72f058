"""The workload in a topic of a real broker on this machine."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

TOPIC = "bonds"
_KEY = re.compile(rb'"isin":\s*"([^"]*)"')


@dataclass(frozen=True)
class Filling:
    """How records lie in the topic.

    Attributes:
        partitions: how many; a key's records share one.
        codec: of the batches.
        batched: many records to a batch, as producers do; else one.
    """

    partitions: int = 4
    codec: str = "lz4"
    batched: bool = True


@contextmanager
def topic(folder: Path, data: Path, filling: Filling) -> Iterator[dict[str, str]]:
    """A broker, in a folder, with a file's lines in the topic `TOPIC`; gives the client properties."""
    # The broker of the tests: what it needs is among the packages for development only.
    broker = import_module("tests.kafka_broker")
    with broker.kafka(folder.with_suffix(".kafka"), heap="1g", java_options=()) as cluster:
        cluster.create_topic(TOPIC, filling.partitions, retention_ms=-1)
        _fill(cluster, data, filling)
        yield cluster.properties


def _fill(cluster: Any, data: Path, filling: Filling) -> None:
    batching = {"linger_ms": 50, "batch_size": 1 << 20} if filling.batched else {"batch_num_messages": 1}
    producer = cluster.producer(
        compression_type=filling.codec, queue_buffering_max_messages=1_000_000, **batching
    )
    with data.open("rb") as lines:
        for line in lines:
            found = _KEY.search(line)
            key = found[1] if found else b""
            while True:
                try:
                    producer.produce(TOPIC, line[:-1], key, partition=zlib.crc32(key) % filling.partitions)
                    break
                except BufferError:
                    producer.poll(0.05)
    if producer.flush(600):
        raise TimeoutError("the broker did not take all records in ten minutes")
