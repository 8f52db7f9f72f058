"""The source: what many topics read from one cluster share."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import UUID

from pipeline.errors import BitlakeError, Refused, Unavailable
from pipeline.source.kafka.cluster import EARLIEST, LATEST, Cluster, Topic
from pipeline.source.kafka.commit import Showcase
from pipeline.source.kafka.connection import ConnectionLost
from pipeline.source.kafka.fetcher import Fetcher
from pipeline.source.kafka.partition import Flow, Partition
from pipeline.source.kafka.properties import client_settings
from pipeline.source.kafka.reader import TopicReader
from pipeline.source.kafka.refusals import (
    another_topic,
    deleted,
    missing_partition,
    no_such_topic,
    offset_gone,
)

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_LEAST_ROOM = 256 << 10
_ANSWER_SECONDS = 10.0
_CLOSING_SECONDS = 2.0
_CREATION_SECONDS = 2.0
_DELETION_SECONDS = 10.0
_REFRESH_PAUSE = 0.2
_NO_ID = UUID(int=0)


class KafkaSource:
    """Reads topics of a Kafka cluster; connects when the first is opened.

    Args:
        properties: client properties by Kafka's names, as under `kafka` in lake.yaml.
        base: where relative names of files in them start.
        buffer_bytes: about what all queues together may hold.
        patience: seconds until brokers that are away become an error.

    Raises:
        BadConfiguration: a property is wrong.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        *,
        base: Path | None = None,
        buffer_bytes: int = 32 << 20,
        patience: float = 300.0,
    ) -> None:
        self.cluster = Cluster(client_settings(properties, base))
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        self.closed = False
        self.patience = patience
        self._buffer_bytes = buffer_bytes
        self._flows: list[Flow] = []
        self._fetchers: dict[int, Fetcher] = {}
        self._stale = False
        self._keeper: threading.Thread | None = None
        self._showcase: Showcase | None = None

    def open(
        self, topic: str, positions: Mapping[int, int] | None = None, *, topic_id: str | None = None
    ) -> TopicReader:
        """Read a topic.

        Args:
            positions: the next offset of each partition; where there are none, all begin by
                `auto.offset.reset`. Those left out where there are some were added since: they begin at
                their earliest offset, lest what came to them meanwhile be skipped.
            topic_id: what `TopicReader.topic_id` was when the positions were stored.

        Raises:
            BadConfiguration: there is no such topic, or it may not be read.
            Refused: a position is not in the topic, or it is another topic.
            Unavailable: no answer in time.
        """
        flow = self.retried(lambda: self._opened(topic, dict(positions or {}), topic_id))
        with self.changed:
            self._flows.append(flow)
            self.share_room()
            for partition in flow.partitions.values():
                self.fetch_from(partition.leader.node)
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name="kafka-metadata", daemon=True)
                self._keeper.start()
            self.changed.notify_all()
        return self.reader_of(flow)

    def reader_of(self, flow: Flow) -> TopicReader:
        """What reads a topic that is open."""
        return TopicReader(self, flow)

    def close(self) -> None:
        """Let go of all connections; readers give nothing more."""
        if self._showcase is not None:
            self._showcase.close()
        with self.changed:
            self.closed = True
            threads: list[threading.Thread] = [*self._fetchers.values()]
            threads += [self._keeper] if self._keeper else []
            for fetcher in self._fetchers.values():
                fetcher.stop()
            self.changed.notify_all()
        self.cluster.close()
        for thread in threads:
            thread.join(_CLOSING_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Show next offsets to others in the consumer group of `group.id`, if there is one; does not wait."""
        with self.changed:
            if self._showcase is None and self.cluster.settings.group and not self.closed:
                self._showcase = Showcase(self.cluster.settings)
            if self._showcase is not None:
                self._showcase.show(topic, offsets)

    def flows(self) -> list[Flow]:
        """The open topics; under the lock."""
        return self._flows

    def refresh(self) -> None:
        """Have the metadata read again soon."""
        with self.changed:
            self._stale = True
            self.changed.notify_all()

    def fetch_from(self, node: int) -> None:
        """Have a fetcher for a broker."""
        with self.changed:
            if node >= 0 and node not in self._fetchers and not self.closed:
                self._fetchers[node] = Fetcher(self, node)
                self._fetchers[node].start()

    def close_flow(self, flow: Flow) -> None:
        """Fetch a topic no longer."""
        with self.changed:
            flow.closed = True
            if flow in self._flows:
                self._flows.remove(flow)
            for partition in flow.partitions.values():
                partition.queue.clear()
            self.share_room()
            self.changed.notify_all()

    def topic(self, name: str) -> Topic:
        """A topic as it is now.

        Raises:
            BadConfiguration: there is none.
            ConnectionLost: nobody answers.
        """
        end = time.monotonic() + _CREATION_SECONDS
        while True:
            found = self.cluster.topics([name])[name]
            if found is not None:
                return found
            if time.monotonic() > end:
                raise no_such_topic(name)
            self._pause(_REFRESH_PAUSE)

    def retried(self, ask: Callable[[], Result]) -> Result:
        """Ask until there is an answer, with growing pauses, but not for long: callers know how to wait.

        Raises:
            Unavailable: there was none.
        """
        end = time.monotonic() + min(self.patience, _ANSWER_SECONDS)
        settings = self.cluster.settings
        pause = settings.backoff
        while True:
            try:
                return ask()
            except ConnectionLost as error:
                if time.monotonic() + pause > end or self.closed:
                    raise Unavailable(
                        f"Kafka does not answer: {error}",
                        next_step="check that the brokers run, and bootstrap.servers and security.protocol",
                    ) from error
                log.info("%s; trying again", error)
                self._pause(random.uniform(pause / 2, pause))  # noqa: S311
                pause = min(2 * pause, settings.backoff_max)

    def _pause(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.closed, seconds)

    def _opened(self, name: str, positions: dict[int, int], topic_id: str | None) -> Flow:
        topic = self.topic(name)
        if topic_id is not None and topic.identity not in (_NO_ID, UUID(topic_id)):
            raise another_topic(name)
        missing = sorted(set(positions) - set(topic.leaders))
        if missing:
            raise missing_partition(name, missing[0])
        earliest = self.cluster.offsets(topic, topic.leaders, EARLIEST)
        latest = self.cluster.offsets(topic, topic.leaders, LATEST)
        return Flow(
            topic,
            {number: self._begun(topic, number, positions, earliest, latest) for number in topic.leaders},
            threading.Condition(self._lock),
        )

    def _begun(
        self,
        topic: Topic,
        number: int,
        positions: Mapping[int, int],
        earliest: Mapping[int, int],
        latest: Mapping[int, int],
    ) -> Partition:
        reset = "earliest" if positions else self.cluster.settings.reset
        offset = positions.get(number)
        if offset is None and reset == "none":
            raise Refused(
                f"there is no position for {topic.name}-{number}, and auto.offset.reset is none",
                next_step="set auto.offset.reset: earliest or latest to read it for the first time",
            )
        if offset is not None and offset < earliest[number]:
            raise offset_gone(topic.name, number, offset, earliest[number], latest[number])
        start = (latest if reset == "latest" else earliest)[number]
        begin = start if offset is None else offset
        return Partition(number, begin, begin, topic.leaders[number], begin, fixed=offset is not None)

    def share_room(self) -> None:
        """Share the queues' bytes out among the partitions that have something to read; under the lock."""
        busy = sum(one.busy for flow in self._flows for one in flow.partitions.values())
        for flow in self._flows:
            flow.room = max(self._buffer_bytes // max(busy, 1), _LEAST_ROOM)

    def _keep(self) -> None:
        """Keep the metadata fresh: when something went wrong, and now and then."""
        pause = _REFRESH_PAUSE
        while not self.closed:
            with self.changed:
                self.changed.wait_for(
                    lambda: self._stale or self.closed, self.cluster.settings.metadata_max_age
                )
                self._stale = False
            try:
                self._refresh_all()
                pause = _REFRESH_PAUSE
            except ConnectionLost as error:
                log.info("%s", error)
                self.refresh()
                pause = min(2 * pause, self.cluster.settings.backoff_max)
            except BitlakeError as error:
                self._fail(error)
            except Exception as error:
                log.exception("reading Kafka's metadata")
                self._fail(BitlakeError(f"reading Kafka's metadata failed: {error!r}"))
            self._pause(pause)

    def _fail(self, error: BitlakeError) -> None:
        with self.changed:
            for flow in self._flows:
                flow.fail(error)
            self.changed.notify_all()

    def _refresh_all(self) -> None:
        with self.changed:
            flows = [flow for flow in self._flows if flow.failure is None]
        if not flows or self.closed:
            return
        topics = self.cluster.topics({flow.topic.name for flow in flows})
        for flow in flows:
            found = topics.get(flow.topic.name)
            new = () if found is None else sorted(set(found.leaders) - set(flow.partitions))
            # A partition that was added begins where it begins, whatever auto.offset.reset says.
            begin = self.cluster.offsets(found, new, EARLIEST) if found is not None and new else {}
            with self.changed:
                self._renewed(flow, found, begin)
                self.changed.notify_all()

    def _renewed(self, flow: Flow, found: Topic | None, begin: Mapping[int, int]) -> None:
        now = time.monotonic()
        if found is None:
            flow.missing_since = flow.missing_since or now
            self._stale = True
            if now - flow.missing_since > _DELETION_SECONDS:
                flow.fail(deleted(flow.topic.name))
            return
        flow.missing_since = None
        if _NO_ID not in (found.identity, flow.topic.identity) and found.identity != flow.topic.identity:
            flow.fail(another_topic(flow.topic.name))
            return
        flow.topic = found
        for number, offset in begin.items():
            log.info("%s has a new partition %s", found.name, number)
            flow.partitions[number] = Partition(
                number, offset, offset, found.leaders[number], offset, fixed=False
            )
        for number, partition in flow.partitions.items():
            leader = found.leaders.get(number)
            if leader is None or leader.node < 0:
                self._stale = True
                continue
            # A broker that lags behind may still tell of the leader before.
            if leader.epoch < 0 or leader.epoch >= partition.leader.epoch:
                partition.leader = leader
            self.fetch_from(partition.leader.node)
        self.share_room()


def open_source(properties: Mapping[str, Any], **how: Any) -> KafkaSource:
    """The source that `bitlake.client` among the properties asks for; see `KafkaSource`."""
    if client_settings(properties, how.get("base")).plain:
        from pipeline.source.kafka.plain import PlainSource

        return PlainSource(properties, **how)
    return KafkaSource(properties, **how)
