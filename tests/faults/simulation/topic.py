"""A topic in memory, its records coming as time passes, and what reads it in the place of Kafka's client."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import numpy as np

from pipeline.errors import Unavailable
from pipeline.source.block import PADDING
from pipeline.source.kafka import KafkaBlock
from tests.faults.simulation.outside import outside
from tests.faults.simulation.world import World
from tests.model.decoding import Record

TOPIC_ID = UUID(int=1)
MOST_RECORDS = 6
_NO_HEADERS = b"\0"


@dataclass(frozen=True)
class Message:
    """A record, and when it comes into the topic."""

    at: int
    record: Record


class Topic:
    """The messages of each partition in their order.

    Args:
        messages: by partition; each comes no earlier than the one before.
    """

    def __init__(self, messages: Sequence[Sequence[Message]]) -> None:
        self.partitions = [list(part) for part in messages]

    @property
    def last(self) -> int:
        """When all are there."""
        return max((part[-1].at for part in self.partitions if part), default=0)

    def end(self, partition: int, now: int) -> int:
        """How many messages a partition has."""
        return sum(message.at <= now for message in self.partitions[partition])

    def next(self, now: int) -> int | None:
        """When another one comes."""
        times = [message.at for part in self.partitions for message in part if message.at > now]
        return min(times, default=None)


class SimulatedSource:
    """Stands for what `open_source` gives."""

    world: World
    topic: Topic

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, *_: Any) -> None:
        pass

    def open(self, topic: str, positions: Mapping[int, int] | None = None, **_: Any) -> "SimulatedReader":
        self.world.pass_by("open the topic")
        return SimulatedReader(self.world, self.topic, dict(positions or {}))


class SimulatedReader:
    """Stands for `TopicReader`."""

    topic_id = str(TOPIC_ID)

    def __init__(self, world: World, topic: Topic, positions: dict[int, int]) -> None:
        self._world, self._topic = world, topic
        self.partitions = tuple(range(len(topic.partitions)))
        self._positions = {number: positions.get(number, 0) for number in self.partitions}
        self._begun = dict(self._positions)
        self._read_to: dict[int, int] = {}
        self._first = 0

    def poll(self, timeout: float) -> list[KafkaBlock]:
        self._world.pass_by("poll")
        process = self._world.process
        if process is not None and process.fragile and self._world.now < outside().weather.away:
            self._world.wait(lambda: False, timeout)
            raise Unavailable("no broker answers", next_step="wait")
        if not self._lags():
            self._wait(timeout)
        asked = self._world.now
        order = [*self.partitions[self._first :], *self.partitions[: self._first]]
        self._first = (self._first + 1) % len(order)
        blocks = [block for number in order if (block := self._take(number, asked)) is not None]
        ends = {number: self._topic.end(number, asked) for number in self.partitions}
        self._read_to |= {n: asked for n in self.partitions if self._positions[n] == ends[n]}
        return blocks

    def _wait(self, timeout: float) -> None:
        coming = self._topic.next(self._world.now)
        seconds = timeout if coming is None else min(timeout, (coming - self._world.now) / 1e6)
        self._world.wait(lambda: False, seconds)

    def _take(self, number: int, now: int) -> KafkaBlock | None:
        first, end = self._positions[number], self._topic.end(number, now)
        if first == end:
            return None
        last = min(end, first + self._world.random.randint(1, MOST_RECORDS))
        self._positions[number] = last
        if last < end:
            self._read_to.pop(number, None)
        records = [message.record for message in self._topic.partitions[number][first:last]]
        return _block(records, number, first, end, now)

    def begun(self) -> dict[int, int]:
        return dict(self._begun)

    def positions(self) -> dict[int, int]:
        return dict(self._positions)

    def _lags(self) -> int:
        return sum(self.lags().values())

    def lags(self) -> dict[int, int]:
        now = self._world.now
        return {n: self._topic.end(n, now) - self._positions[n] for n in self.partitions}

    def fetched_bytes(self) -> int:
        return 0

    def trouble(self) -> str | None:
        return None

    def read_to_end(self) -> dict[int, int]:
        return dict(self._read_to)

    def end_offsets(self) -> dict[int, int]:
        return {number: self._topic.end(number, self._world.now) for number in self.partitions}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _block(records: Sequence[Record], partition: int, first: int, end: int, now: int) -> KafkaBlock:
    parts = [part for record in records for part in (record.value, record.key)]
    sizes = np.array([len(part or b"") for part in parts], np.int64)
    ends = np.cumsum(sizes)
    starts = np.where([part is None for part in parts], -1, ends - sizes)
    ends = np.where(starts < 0, -1, ends)
    count = len(records)
    data = b"".join(part or b"" for part in parts) + _NO_HEADERS + bytes(PADDING)
    headers = np.full(count, len(data) - PADDING - len(_NO_HEADERS), np.int64)
    return KafkaBlock(
        np.frombuffer(data, np.uint8).copy(),
        np.ascontiguousarray(starts[0::2]),
        np.ascontiguousarray(ends[0::2]),
        np.ascontiguousarray(starts[1::2]),
        np.ascontiguousarray(ends[1::2]),
        headers,
        headers + len(_NO_HEADERS),
        np.arange(first, first + count),
        np.array([record.timestamp for record in records], np.int64),
        topic="bonds",
        partition=partition,
        first_offset=first,
        next_offset=first + count,
        log_append=False,
        high_watermark=end,
        last_stable_offset=end,
        fetched_at=now,
        nbytes=len(data),
    )
