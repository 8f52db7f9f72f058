"""How records came, and how far a dataset has come by them: offsets, clocks and the horizon."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.sink.epoch import Position
from pipeline.source.kafka import KafkaBlock
from pipeline.temporal.change import NONE_GIVEN

FILES_ALONE, FILES = 0, -1
"""The partition of a dataset's files: beside a topic, whose partitions count from 0, it is -1."""


@dataclass(frozen=True)
class Arrival:
    """How a batch of n records came; they are of one partition.

    Attributes:
        partition: its number.
        offsets: int64[n].
        end: the partition's offset after them.
        started: the system time of records without one of their own, in microseconds; else None.
        file: the name of their file, if it has one.
    """

    partition: int
    offsets: NDArray[np.int64]
    end: int
    started: int | None = None
    file: str | None = None

    @staticmethod
    def of_lines(position: Position, count: int, started: int | None, file: str | None = None) -> "Arrival":
        """The next lines of a dataset's files."""
        partition = files_partition(position)
        first = position.offsets.get(partition, 0)
        return Arrival(partition, np.arange(first, first + count), first + count, started, file)

    @staticmethod
    def of_kafka(block: KafkaBlock) -> "Arrival":
        """A block from Kafka."""
        return Arrival(block.partition, block.offsets, block.next_offset)

    def after(self, done: int) -> int:
        """The offset to go on from once so many of the records are applied."""
        return self.end if done == len(self.offsets) else int(self.offsets[done])


def files_partition(position: Position) -> int:
    """The partition that a dataset's files are."""
    return FILES_ALONE if position.topic_id is None else FILES


def begin_topic(position: Position, topic_id: str) -> Position:
    """The position of a dataset that reads a topic from now on; its files make room for the partitions."""
    if position.topic_id is not None:
        return position

    def moved(values: Mapping[int, int]) -> dict[int, int]:
        return {FILES: values[FILES_ALONE]} if FILES_ALONE in values else {}

    return replace(
        position, topic_id=topic_id, offsets=moved(position.offsets), clocks=moved(position.clocks)
    )


def topic_offsets(position: Position) -> dict[int, int]:
    """The offsets to go on from in a dataset's topic."""
    if position.topic_id is None:
        return {}
    return {partition: offset for partition, offset in position.offsets.items() if partition != FILES}


def clock_of(position: Position, partition: int) -> int:
    """A partition's clock. One that is new begins where belief is final: nothing is added below that."""
    if not position.clocks:
        return NONE_GIVEN
    return max(position.clocks.get(partition, NONE_GIVEN), position.horizon + 1)


def clocks_at(ahead: NDArray[np.bool_], timestamps: NDArray[np.int64], clock: int) -> NDArray[np.int64]:
    """A partition's clock at each of n records: the largest timestamp so far, in microseconds.

    Args:
        ahead: bool[n], the timestamp is too far ahead of now to move the clock.
        timestamps: int64[n], microseconds.
        clock: the clock before them.
    """
    known = np.where(ahead, NONE_GIVEN, timestamps)
    return np.maximum(np.maximum.accumulate(known), clock)


def advanced(
    position: Position,
    partition: int,
    offset: int,
    clock: int,
    partitions: Collection[int],
    progress: dict[str, Any] | None,
) -> Position:
    """The position once a partition was read up to an offset.

    Args:
        partitions: all partitions of the source, those included that nothing was read from yet.
        progress: what is remembered of files from now on.
    """
    read = replace(
        position,
        offsets={**position.offsets, partition: offset},
        progress=position.progress if progress is None else progress,
    )
    return lifted(read, {partition: clock}, partitions)


def lifted(position: Position, clocks: Mapping[int, int], partitions: Collection[int]) -> Position:
    """The position once clocks are at least these; the horizon is the least of all, less a microsecond."""
    higher = dict(position.clocks)
    for partition, clock in clocks.items():
        if clock != NONE_GIVEN:
            higher[partition] = max(clock, higher.get(partition, clock))
    if not all(partition in higher for partition in partitions):
        return replace(position, clocks=higher)
    horizon = min(higher[partition] for partition in partitions) - 1
    if position.clocks:
        horizon = max(horizon, position.horizon)
    return replace(position, clocks=higher, horizon=horizon)
