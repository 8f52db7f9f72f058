"""One partition on its way through the source. What is here changes only under the source's lock."""

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from pipeline.errors import BitlakeError
from pipeline.source.kafka.block import KafkaBlock
from pipeline.source.kafka.cluster import Leader, Topic

_FOLLOWER_SECONDS = 300.0
_TRIES_OF_BROKEN = 3


@dataclass(slots=True, eq=False)
class Partition:
    """Where a partition is fetched from, what of it is queued, and what went wrong.

    Attributes:
        offset: the next to be fetched.
        position: the next to be handed out.
        begin: where reading it began.
        fixed: others go by where it began: that must not be moved to where the topic begins now.
        turn: raised when what is under way is to be thrown away.
        pending: about how many bytes were received that are not in the queue yet.
        served: when it last got records; who waited longest is asked for first.
        high_watermark: where it ended when a broker last told, or -1.
        told_at: when that was.
        fetched: bytes of record batches received so far.
        read_to: when it was last read to its end (µs), or None.
        trouble: since when it can't be fetched, and why.
    """

    number: int
    offset: int
    position: int
    leader: Leader
    begin: int
    fixed: bool
    queue: deque[KafkaBlock] = field(default_factory=deque)
    queued: int = 0
    pending: int = 0
    works: int = 0
    turn: int = 0
    served: float = 0.0
    owner: int = -1
    max_bytes: int = 0
    high_watermark: int = -1
    told_at: float = 0.0
    fetched: int = 0
    read_to: int | None = None
    retry_at: float = 0.0
    failures: int = 0
    broken: int = 0
    trouble: tuple[float, str] | None = None
    _follower: tuple[int, float] = (-1, 0.0)

    def node(self, now: float) -> int:
        """The broker to fetch from: the leader, or a follower that it named for our rack."""
        follower, until = self._follower
        return follower if follower >= 0 and now < until else self.leader.node

    def follow(self, node: int) -> None:
        """Fetch from another broker than the leader for a while; -1 for the leader."""
        self._follower = (node, time.monotonic() + _FOLLOWER_SECONDS)

    @property
    def busy(self) -> bool:
        """Whether it wants room in a queue: records wait, or are still to be fetched, as far as known."""
        waiting = self.queued or self.pending or self.high_watermark < 0
        return bool(waiting) or self.position < self.high_watermark

    def ready(self, node: int, now: float, room: int) -> bool:
        """Whether to fetch it from a broker now."""
        return (
            self.node(now) == node
            and now >= self.retry_at
            and not self.full(room)
            and (self.works == 0 or self.owner == node)
        )

    def full(self, room: int) -> bool:
        """Whether as much of it waits as there is room for."""
        return self.queued + self.pending >= room

    def ends_at(self, offset: int) -> None:
        """A broker told where it ends now."""
        self.high_watermark = offset
        self.told_at = time.monotonic()

    def failed(self, reason: str, pause: float, pause_max: float) -> None:
        """Try again later: the more often it failed, the later."""
        now = time.monotonic()
        longest = min(pause * 2**self.failures, pause_max)
        self.retry_at = now + random.uniform(longest / 2, longest)  # noqa: S311
        self.failures = min(self.failures + 1, 30)
        self.trouble = self.trouble or (now, reason)
        self.read_to = None
        self.follow(-1)

    def worked(self) -> None:
        """It could be fetched."""
        self.failures = 0
        self.trouble = None

    def back_to(self, offset: int) -> None:
        """Fetch from an offset, and throw away what is under way."""
        self.offset = offset
        self.turn += 1
        self.read_to = None

    def begin_later(self, offset: int) -> None:
        """Begin where the topic begins now; nothing was read yet."""
        self.begin = self.position = offset
        self.back_to(offset)

    def is_broken(self) -> bool:
        """Count a broken batch; whether it stays broken."""
        self.broken += 1
        return self.broken >= _TRIES_OF_BROKEN


@dataclass(slots=True, eq=False)
class Flow:
    """A topic's partitions and what they share.

    Attributes:
        arrived: of the source's lock; told when there is something in a queue, or a failure.
        room: bytes that each partition may hold in its queue now.
        failure: what its reader shall raise.
        missing_since: since when the brokers do not know the topic.
    """

    topic: Topic
    partitions: dict[int, Partition]
    arrived: threading.Condition
    room: int = 0
    failure: BitlakeError | None = None
    closed: bool = False
    missing_since: float | None = None

    def fail(self, error: BitlakeError) -> None:
        """Have its reader raise an error, unless it has another one already."""
        self.failure = self.failure or error
        self.arrived.notify_all()
