"""Reading topics to their ends."""

import time
from collections.abc import Mapping

from pipeline.source.kafka import KafkaBlock, TopicReader

PATIENCE = 60.0


def read_until(reader: TopicReader, ends: Mapping[int, int]) -> list[KafkaBlock]:
    """Poll until every partition is read up to an offset."""
    limit = time.monotonic() + PATIENCE
    blocks: list[KafkaBlock] = []
    while any(reader.positions().get(number, -1) < end for number, end in ends.items()):
        if time.monotonic() > limit:
            raise TimeoutError(f"read up to {reader.positions()}, wanted {dict(ends)}")
        blocks += reader.poll(0.2)
    return blocks


def read_all(reader: TopicReader) -> list[KafkaBlock]:
    return read_until(reader, reader.end_offsets())


def values(blocks: list[KafkaBlock]) -> list[bytes | None]:
    return [block.value(index) for block in blocks for index in range(len(block))]


def offsets(blocks: list[KafkaBlock], partition: int = 0) -> list[int]:
    return [int(offset) for block in blocks if block.partition == partition for offset in block.offsets]
