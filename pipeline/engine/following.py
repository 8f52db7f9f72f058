"""Following one topic: what comes of it is decoded ahead on another thread, and applied on the caller's."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace

import numpy as np

from pipeline.engine.ahead import ahead
from pipeline.engine.arrival import Arrival, topic_offsets
from pipeline.engine.dataset import DatasetWriter, Decoded
from pipeline.engine.patience import Patience
from pipeline.engine.watching import Watcher
from pipeline.errors import Unavailable
from pipeline.sink.epoch import Position
from pipeline.source.kafka import KafkaBlock, KafkaSource, Records, TopicReader

log = logging.getLogger(__name__)

TICK = 0.25
"""Seconds after which a topic that gives nothing is left, to see whether an epoch is due."""


@dataclass(frozen=True)
class Begun:
    """Partitions that were added: by their numbers, the offsets where reading them begins."""

    offsets: Mapping[int, int]


@dataclass(frozen=True)
class Drained:
    """All that some partitions held at a time was handed out before.

    Attributes:
        times: by partition, that time in microseconds.
        partitions: all partitions of the topic known then.
    """

    times: Mapping[int, int]
    partitions: tuple[int, ...]


class Following:
    """Takes what a topic gives to the dataset's writer."""

    def __init__(
        self,
        source: KafkaSource,
        topic: str,
        writer: DatasetWriter,
        patience: Patience,
        watcher: Watcher,
    ) -> None:
        self._source, self._topic, self._writer = source, topic, writer
        self._patience, self._watcher, self._records = patience, watcher, 0
        # Who waits for records has nothing to commit: the watcher is not told.
        self._away = replace(patience, told=lambda _: None)
        self._caught_up = False

    def run(self, *, until_end: bool) -> None:
        """Read, decode and apply until stopped, or until the offsets that are the end now.

        Raises:
            StoppedEarly: it was stopped while servers that are needed to begin were away.
        """
        writer = self._writer
        with ExitStack() as stack:
            with self._patience.opening():
                reader = stack.enter_context(self._patience.call_apart(self._open))
                begun = reader.begun()
                writer.read_from(reader.topic_id or "", begun)
                ends = self._patience.call_apart(reader.end_offsets) if until_end else None
            self._source.show(self._topic, topic_offsets(writer.position))
            self._watcher.opened(Vital(writer, reader))
            for item in ahead(self._decoded(reader, begun, ends), tick=TICK):
                self._take(item)
                writer.cut_if_due()
            writer.cut(though_empty=writer.horizon_waits())

    def _open(self) -> TopicReader:
        known = self._writer.position
        return self._source.open(self._topic, topic_offsets(known), topic_id=known.topic_id or None)

    def _take(self, item: tuple[KafkaBlock, Decoded] | Begun | Drained | None) -> None:
        if isinstance(item, Drained):
            self._writer.lift(item.times, item.partitions)
            self._told(item)
        elif isinstance(item, Begun):
            self._writer.begin(item.offsets)
        elif item is not None:
            block, decoded = item
            self._writer.apply(decoded, block, Arrival.of_kafka(block))
            self._records += len(block)
            self._watcher.read(self._records, 0, None)

    def _poll(self, reader: TopicReader) -> list[KafkaBlock]:
        """What comes next; nothing more where brokers are away while the run is stopped."""
        try:
            return self._away.call(lambda: reader.poll(TICK))
        except Unavailable:
            if self._patience.stop.is_set():
                return []
            raise

    def _told(self, drained: Drained) -> None:
        """Log the first time that a topic is read to its end."""
        if not self._caught_up and len(drained.times) == len(drained.partitions):
            self._caught_up = True
            log.info("read to the end", extra={"topic": self._topic, "records": self._records})

    def _decoded(
        self, reader: TopicReader, begun: Mapping[int, int], ends: Mapping[int, int] | None
    ) -> Iterator[tuple[KafkaBlock, Decoded] | Begun | Drained]:
        while not self._patience.stop.is_set():
            blocks = self._poll(reader)
            if added := {p: offset for p, offset in reader.begun().items() if p not in begun}:
                begun = {**begun, **added}
                yield Begun(added)
            for block in blocks:
                part = block if ends is None else _before(block, ends.get(block.partition, 0))
                if part is not None:
                    yield part, self._writer.decode(part)
            times, positions = reader.read_to_end(), reader.positions()
            if ends is not None:
                # Beyond the end it was read, too, but not applied.
                times = {p: at for p, at in times.items() if positions[p] <= ends.get(p, begun.get(p, 0))}
            if times:
                yield Drained(times, reader.partitions)
            if ends is not None and all(positions[partition] >= end for partition, end in ends.items()):
                return


class Vital:
    """The `Vitals` of a dataset that follows a topic."""

    def __init__(self, writer: DatasetWriter, reader: TopicReader) -> None:
        self._writer, self._reader = writer, reader
        self.lags, self.fetched_bytes, self.trouble = reader.lags, reader.fetched_bytes, reader.trouble
        self.state = writer.state

    def position(self) -> Position:
        """See `Vitals`."""
        return self._writer.position

    def strayed(self) -> int:
        """See `Vitals`."""
        return self._writer.strayed


def _before(block: KafkaBlock, end: int) -> KafkaBlock | None:
    """The records of a block before an offset; None if it begins there."""
    if block.next_offset <= end:
        return block
    if block.first_offset >= end:
        return None
    kept = block.parts(0, int(np.searchsorted(block.offsets, end)))
    names = [field.name for field in fields(Records)]
    return replace(block, **dict(zip(names, kept, strict=True)), next_offset=end)
