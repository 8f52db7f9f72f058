"""Reading a topic."""

import time
from typing import TYPE_CHECKING, Self
from uuid import UUID

from pipeline.errors import Unavailable
from pipeline.source.kafka.block import KafkaBlock
from pipeline.source.kafka.cluster import LATEST
from pipeline.source.kafka.partition import Flow
from pipeline.source.kafka.work import BLOCK_RECORDS

if TYPE_CHECKING:
    from pipeline.source.kafka.source import KafkaSource

_LONGEST_NAP = 1.0


class TopicReader:
    """All partitions of a topic, also those added while it is read. Made by `KafkaSource.open`.

    One thread at a time may poll; the rest may be called from any.
    """

    def __init__(self, source: "KafkaSource", flow: Flow) -> None:
        self._source = source
        self._flow = flow
        self._changed = source.changed
        self._next = 0

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._flow.topic.name

    @property
    def topic_id(self) -> str | None:
        """The topic's identity, which another one of the same name does not have; None from old brokers."""
        return str(self._flow.topic.identity) if self._flow.topic.identity != UUID(int=0) else None

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions known so far."""
        with self._changed:
            return tuple(sorted(self._flow.partitions))

    def poll(self, timeout: float, max_records: int = 8 * BLOCK_RECORDS) -> list[KafkaBlock]:
        """The next blocks: at most one of each partition, whose turn comes round.

        Args:
            timeout: seconds to wait for the first.
            max_records: no further block is added once there are so many.

        Raises:
            Unavailable: a partition could not be fetched for the source's `patience`; poll again to go on.
            BitlakeError: see `pipeline.source.kafka`; this reader is of no more use then.
        """
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                blocks = self._taken(max_records)
                if blocks:
                    self._changed.notify_all()
                    return blocks
                self._check()
                left = end - time.monotonic()
                if left <= 0:
                    return []
                self._flow.arrived.wait(min(left, _LONGEST_NAP))

    def begun(self) -> dict[int, int]:
        """By partition, the offset where reading it began; from now on it is a refusal if that is deleted."""
        with self._changed:
            for one in self._flow.partitions.values():
                one.fixed = True
            return {number: one.begin for number, one in self._flow.partitions.items()}

    def positions(self) -> dict[int, int]:
        """By partition, the offset after what was handed out."""
        with self._changed:
            return {number: one.position for number, one in self._flow.partitions.items()}

    def lags(self) -> dict[int, int]:
        """By partition, how many offsets are still to come; not of those that no broker told of yet."""
        with self._changed:
            return {
                number: max(one.high_watermark - one.position, 0)
                for number, one in self._flow.partitions.items()
                if one.high_watermark >= 0
            }

    def fetched_bytes(self) -> int:
        """Bytes of record batches received so far, compressed as they are."""
        with self._changed:
            return sum(one.fetched for one in self._flow.partitions.values())

    def trouble(self) -> str | None:
        """Why a partition can't be fetched at the moment."""
        with self._changed:
            troubles = [one.trouble for one in self._flow.partitions.values() if one.trouble is not None]
            return min(troubles)[1] if troubles else None

    def read_to_end(self) -> dict[int, int]:
        """The partitions of which all that there was is handed out, and when that was so (µs).

        Records appended later than that may have come meanwhile; none that was appended before is missing.
        """
        with self._changed:
            return {
                number: one.read_to
                for number, one in self._flow.partitions.items()
                if one.read_to is not None and one.position == one.offset
            }

    def end_offsets(self) -> dict[int, int]:
        """Where each partition ends now: the last stable offset under read_committed.

        Raises:
            Unavailable: no answer in time.
        """
        topic, partitions = self._flow.topic, self.partitions

        def ask() -> dict[int, int]:
            known = self._source.topic(topic.name)
            return self._source.cluster.offsets(known, partitions, LATEST)

        return self._source.retried(ask)

    def close(self) -> None:
        """Fetch this topic no longer, and forget what is queued."""
        self._source.close_flow(self._flow)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _taken(self, max_records: int) -> list[KafkaBlock]:
        partitions = list(self._flow.partitions.values())
        blocks: list[KafkaBlock] = []
        records = 0
        for turn in range(len(partitions)):
            partition = partitions[(self._next + turn) % len(partitions)]
            if partition.queue:
                block = partition.queue.popleft()
                partition.queued -= block.nbytes
                partition.position = block.next_offset
                partition.fixed = True
                blocks.append(block)
                records += len(block)
                if records >= max_records:
                    self._next = (self._next + turn + 1) % len(partitions)
                    break
        return blocks

    def _check(self) -> None:
        if self._flow.failure is not None:
            raise self._flow.failure
        now = time.monotonic()
        for partition in self._flow.partitions.values():
            if partition.trouble is not None and now - partition.trouble[0] > self._source.patience:
                raise Unavailable(
                    f"partition {partition.number} of {self.topic} could not be read for"
                    f" {self._source.patience:.0f} s: {partition.trouble[1]}",
                    next_step="check the brokers; bitlake goes on by itself when they are back",
                )
