"""The thread that fetches from one broker."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from kafka.errors import CorruptRecordError
from kafka.protocol.consumer.fetch import FetchRequest

from pipeline.errors import BadConfiguration, BitlakeError
from pipeline.source.block import PADDING
from pipeline.source.kafka.batches import Trouble
from pipeline.source.kafka.block import Bytes, KafkaBlock
from pipeline.source.kafka.cluster import EARLIEST, LATEST, Cluster, list_offsets
from pipeline.source.kafka.connection import Connection, ConnectionLost, problem
from pipeline.source.kafka.fetch import Fetched, Unreadable, Wanted, fetch_request, fetch_version, read_answer
from pipeline.source.kafka.partition import Flow, Partition
from pipeline.source.kafka.records import BrokenBatch, Unpacker, scan_batches
from pipeline.source.kafka.refusals import broken_batch, no_access, offset_gone
from pipeline.source.kafka.work import Asked, Work, blocks_of

log = logging.getLogger(__name__)

_LEAST_ASKED = 16 << 10
_MOST_ASKED = 1 << 30
_SHORT_WAIT, _WAIT_PER_PARTITION = 0.02, 0.001
_ENDS_TOLD_EVERY = 5.0
_OUT_OF_RANGE, _CORRUPT, _NO_ACCESS, _CODEC = 1, 2, 29, 76
_CODEC_TOO_NEW = "the broker can't give these records to us: their compression is newer than its protocol"


class Owner(Protocol):
    """What a fetcher needs of the source."""

    cluster: Cluster
    changed: threading.Condition
    closed: bool

    def flows(self) -> list[Flow]:
        """The open topics."""
        ...

    def share_room(self) -> None:
        """Say how much of each partition may wait to be polled."""
        ...

    def refresh(self) -> None:
        """Have the metadata read again soon."""
        ...

    def fetch_from(self, node: int) -> None:
        """Have a fetcher for a broker."""
        ...


class Fetcher(threading.Thread):
    """Fetches all partitions that a broker leads.

    The next request is sent before the answer to the last one is decompressed.
    """

    def __init__(self, owner: Owner, node: int) -> None:
        super().__init__(name=f"kafka-{node}", daemon=True)
        self.node = node
        self._owner = owner
        self._settings = owner.cluster.settings
        self._connection: Connection | None = None
        self._unpacker = Unpacker()
        self._version = 0
        self._asked: list[Asked] = []
        self._untold: list[tuple[Flow, Partition]] = []
        self._asked_at = 0
        self._wait = 0.0
        self._told_old: set[tuple[str, int]] = set()

    def run(self) -> None:
        """Fetch until the source is closed."""
        while not self._owner.closed:
            try:
                self._fetch()
            except ConnectionLost as error:
                self._lost(str(error))
            except Unreadable as error:
                self._lost(f"broker {self.node} gave an answer that can't be read: {error}")
            except BitlakeError as error:
                self._fail_all(error)
            except Exception as error:
                log.exception("fetching from broker %s", self.node)
                self._fail_all(BitlakeError(f"fetching from broker {self.node} failed: {error!r}"))
        self.stop()

    def stop(self) -> None:
        """Have it end: it may be waiting for its broker."""
        connection = self._connection
        if connection is not None:
            connection.close()

    def _fetch(self) -> None:
        with self._owner.changed:
            self._plan()
            if not self._asked and not self._untold:
                self._owner.changed.wait(self._rest())
                return
        if self._connection is None or self._connection.done:
            self.stop()
            self._connection = self._owner.cluster.connect(self.node)
            if self._owner.closed:
                return
        self._ask_for_ends(self._connection)
        if not self._asked:
            return
        self._send(self._connection)
        while self._asked:
            answer = self._connection.receive()
            works: list[Work] = []
            try:
                self._take(answer, works)
                with self._owner.changed:
                    self._plan()
                if self._asked and not self._untold and not self._connection.done:
                    self._send(self._connection)
                else:
                    self._asked = []
            finally:
                # Their partitions have moved on: whatever fails now, nobody fetches these records again.
                for work in works:
                    self._deliver(work)

    def _plan(self) -> None:
        """Choose what to ask for: of those with room, first who waited longest; and how long to wait."""
        now, soon = time.monotonic(), self._settings.fetch_max_wait
        self._asked, self._untold = [], []
        self._wait = self._settings.fetch_max_wait
        if self._owner.closed:
            return
        self._owner.share_room()
        for flow in self._owner.flows():
            for partition in flow.partitions.values():
                if flow.failure is not None or partition.node(now) != self.node:
                    continue
                if partition.ready(self.node, now, flow.room):
                    self._asked.append(self._ask_for(flow, partition))
                else:
                    # It may be ready soon: an answer for the others must not keep it waiting.
                    soon = min(soon, max(partition.retry_at - now, _SHORT_WAIT))
        # But to ask for many that have nothing new takes time that others could use.
        self._wait = min(self._wait, max(soon, _WAIT_PER_PARTITION * len(self._asked)))
        self._asked.sort(key=lambda asked: asked.partition.served)
        self._untold = [(flow, partition) for flow, partition, due in self._full() if due <= now]

    def _ask_for(self, flow: Flow, partition: Partition) -> Asked:
        most = max(int(flow.room / self._unpacker.ratio), _LEAST_ASKED)
        wanted = Wanted(
            topic=flow.topic.name,
            topic_id=flow.topic.identity,
            partition=partition.number,
            leader_epoch=partition.leader.epoch,
            offset=partition.offset,
            max_bytes=max(min(self._settings.partition_max_bytes, most), partition.max_bytes),
        )
        return Asked(flow, partition, partition.turn, wanted)

    def _rest(self) -> float:
        """How long nothing will be ready unless something changes."""
        now = time.monotonic()
        pauses = [
            partition.retry_at - now
            for flow in self._owner.flows()
            for partition in flow.partitions.values()
            if partition.node(now) == self.node and partition.retry_at > now
        ]
        return min([*pauses, *(due - now for _, _, due in self._full())], default=60.0)

    def _full(self) -> Iterator[tuple[Flow, Partition, float]]:
        """The partitions led here that are not fetched for want of room, and when to ask where they end."""
        for flow in self._owner.flows():
            for one in flow.partitions.values():
                if flow.failure is None and one.leader.node == self.node and one.full(flow.room):
                    yield flow, one, max(one.told_at + _ENDS_TOLD_EVERY, one.retry_at)

    def _ask_for_ends(self, connection: Connection) -> None:
        """Ask where full partitions end: their lag grows though nothing is fetched."""
        for flow, pairs in groupby(self._untold, key=itemgetter(0)):
            leaders = {partition.number: partition.leader for _, partition in pairs}
            ends = list_offsets(connection, replace(flow.topic, leaders=leaders), leaders, LATEST)
            with self._owner.changed:
                for number, end in ends.items():
                    flow.partitions[number].ends_at(end)

    def _send(self, connection: Connection) -> None:
        wanted = [asked.wanted for asked in self._asked]
        self._version = fetch_version(connection.version(FetchRequest), wanted)
        request = fetch_request(self._settings, self._version, wanted, self._wait)
        self._asked_at = time.time_ns() // 1000
        connection.send(request)

    def _take(self, answer: Bytes, works: list[Work]) -> None:
        """Read an answer, and move the partitions on; their records, left in `works`, are to be unpacked."""
        by_id = self._version >= 13
        asked = {
            (one.wanted.topic_id if by_id else one.wanted.topic, one.wanted.partition): one
            for one in self._asked
        }
        error, partitions = read_answer(answer, len(answer) - PADDING, self._version)
        if error:
            raise ConnectionLost(f"broker {self.node}: {problem(error)}")
        for fetched in partitions:
            one = asked.get((fetched.topic, fetched.partition))
            if one is None:
                continue
            if fetched.error:
                self._refused(one, fetched.error)
            else:
                works += self._scan(answer, one, fetched)

    def _scan(self, answer: Bytes, asked: Asked, fetched: Fetched) -> list[Work]:
        offset = asked.wanted.offset
        scanned = scan_batches(answer, fetched.begin, fetched.end, offset)
        partition = asked.partition
        with self._owner.changed:
            # Another broker may have been asked meanwhile, and been quicker.
            if partition.turn != asked.turn or partition.offset != offset or asked.flow.closed:
                return []
            partition.worked()
            partition.ends_at(fetched.high_watermark)
            partition.fetched += fetched.end - fetched.begin
            if fetched.preferred >= 0 and fetched.preferred != self.node:
                partition.follow(fetched.preferred)
                self._owner.fetch_from(fetched.preferred)
            moved = scanned.next_offset > offset or scanned.trouble is not None
            cut_off = not moved and fetched.end > fetched.begin
            partition.max_bytes = min(2 * asked.wanted.max_bytes, _MOST_ASKED) if cut_off else 0
            partition.read_to = self._asked_at if scanned.next_offset >= fetched.high_watermark else None
            if not moved:
                return []
            size = int((fetched.end - fetched.begin) * self._unpacker.ratio)
            partition.offset = scanned.next_offset
            partition.served = time.monotonic()
            partition.pending += size
            partition.works += 1
            partition.owner = self.node
        return [Work(asked, fetched, scanned, self._asked_at, size)]

    def _deliver(self, work: Work) -> None:
        partition, flow = work.asked.partition, work.asked.flow
        if work.scanned.old:
            self._tell_old(work.asked.wanted)
        blocks: list[KafkaBlock] = []
        trouble: BrokenBatch | None = None
        failure: BitlakeError | None = None
        try:
            if partition.turn == work.asked.turn and not flow.closed:
                records, log_append = self._unpacker.read(
                    work.scanned, work.asked.wanted.offset, work.fetched.aborted
                )
                blocks = blocks_of(work, records, log_append)
        except BrokenBatch as error:
            trouble = error
        except CorruptRecordError:
            trouble = BrokenBatch(work.asked.wanted.offset, Trouble.CHECKSUM)
        except BitlakeError as error:
            failure = error
        with self._owner.changed:
            partition.pending -= work.size
            partition.works -= 1
            if partition.turn == work.asked.turn and not flow.closed:
                if trouble is not None:
                    self._broken(work.asked, trouble)
                elif failure is not None:
                    flow.fail(failure)
                else:
                    partition.broken = 0
                    partition.queue.extend(blocks)
                    partition.queued += sum(block.nbytes for block in blocks)
            flow.arrived.notify_all()
            self._owner.changed.notify_all()

    def _tell_old(self, wanted: Wanted) -> None:
        where = (wanted.topic, wanted.partition)
        if where not in self._told_old:
            self._told_old.add(where)
            log.warning(
                "%s-%s holds messages from before Kafka 0.11: they are read one by one, slowly", *where
            )

    def _broken(self, asked: Asked, trouble: BrokenBatch) -> None:
        """A batch can't be read: the broker, or the way from it, may do better next time."""
        partition = asked.partition
        where = f"{asked.wanted.topic}-{partition.number} at offset {trouble.offset}"
        partition.back_to(asked.wanted.offset)
        if partition.is_broken():
            asked.flow.fail(broken_batch(where, trouble.reason))
        else:
            log.warning("the record batch of %s is broken, trying again: %s", where, trouble.reason)
            partition.failed(trouble.reason, self._settings.backoff, self._settings.backoff_max)

    def _refused(self, asked: Asked, code: int) -> None:
        """The broker has an error for a partition."""
        failure: BitlakeError | None = None
        if code == _OUT_OF_RANGE and asked.partition.leader.node == self.node:
            # A follower may only lag behind: then its leader is asked next.
            failure = self._out_of_range(asked)
            if failure is None:
                return
        elif code == _NO_ACCESS:
            failure = no_access(asked.wanted.topic)
        elif code == _CODEC:
            failure = BadConfiguration(_CODEC_TOO_NEW, next_step="use a broker of Kafka 2.1 or newer")
        where = f"{asked.wanted.topic}-{asked.partition.number}"
        with self._owner.changed:
            if asked.partition.turn != asked.turn:
                return
            if failure is not None:
                asked.flow.fail(failure)
            else:
                log.info("%s of broker %s: %s", where, self.node, problem(code))
                reason = f"{where}: {problem(code)}"
                asked.partition.failed(reason, self._settings.backoff, self._settings.backoff_max)
                self._owner.refresh()
            self._owner.changed.notify_all()

    def _out_of_range(self, asked: Asked) -> BitlakeError | None:
        """An offset is not in the topic: a refusal, unless nobody knows yet where reading began."""
        partition, wanted = asked.partition, asked.wanted
        connection = self._connection
        if connection is None:
            return None
        topic, number = asked.flow.topic, partition.number
        earliest = list_offsets(connection, topic, [number], EARLIEST)[number]
        latest = list_offsets(connection, topic, [number], LATEST)[number]
        with self._owner.changed:
            if partition.turn != asked.turn:
                return None
            if not partition.fixed and partition.position == wanted.offset < earliest:
                partition.begin_later(earliest)
                return None
        return offset_gone(wanted.topic, partition.number, wanted.offset, earliest, latest)

    def _lost(self, reason: str) -> None:
        """The broker is away: other brokers may lead its partitions soon."""
        self.stop()
        self._connection = None
        self._asked = []
        if self._owner.closed:
            return
        log.info("broker %s: %s", self.node, reason)
        with self._owner.changed:
            now = time.monotonic()
            for flow in self._owner.flows():
                for partition in flow.partitions.values():
                    if partition.node(now) == self.node:
                        partition.failed(reason, self._settings.backoff, self._settings.backoff_max)
            self._owner.refresh()

    def _fail_all(self, error: BitlakeError) -> None:
        self.stop()
        self._connection = None
        self._asked = []
        with self._owner.changed:
            now = time.monotonic()
            for flow in self._owner.flows():
                if any(partition.node(now) == self.node for partition in flow.partitions.values()):
                    flow.fail(error)
            self._owner.changed.notify_all()
