"""What the brokers know about themselves and about topics."""

import logging
import random
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from kafka.protocol.consumer.offsets import ListOffsetsRequest
from kafka.protocol.metadata import MetadataRequest

from pipeline.errors import BadConfiguration
from pipeline.source.kafka.connection import Connection, ConnectionLost, problem
from pipeline.source.kafka.properties import ClientSettings
from pipeline.source.kafka.refusals import no_access

log = logging.getLogger(__name__)

EARLIEST, LATEST = -2, -1
_METADATA = 12
_LIST_OFFSETS = 7
_UNKNOWN_TOPIC, _INVALID_TOPIC, _NO_TOPIC_ACCESS, _NO_CLUSTER_ACCESS = 3, 17, 29, 31
_NO_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads a partition, and since which of its epochs (-1: not known)."""

    node: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the brokers know it now; a partition without a leader has the node -1."""

    name: str
    identity: UUID
    leaders: Mapping[int, Leader]


class Cluster:
    """Asks brokers about topics, by connections of its own. May be used by several threads."""

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self.context: ssl.SSLContext | None = settings.tls.context() if settings.tls else None
        self._addresses: dict[int, tuple[str, int]] = {}
        self._connections: dict[tuple[str, int], Connection] = {}
        self._lock = threading.RLock()
        self._closed = False

    def connect(self, node: int) -> Connection:
        """A new connection to a broker, for the caller alone."""
        return Connection(self.settings, *self._address(node), self.context)

    def topics(self, names: Iterable[str]) -> dict[str, Topic | None]:
        """Topics by their names; None for one that there is not.

        Raises:
            ConnectionLost: no broker answers.
            BadConfiguration: we may not ask, or they don't let us in.
        """
        asked = [MetadataRequest.MetadataRequestTopic(topic_id=_NO_ID, name=name) for name in names]
        with self._lock:
            answer = self.ask_any(
                lambda: MetadataRequest(topics=asked, allow_auto_topic_creation=False), most=_METADATA
            )
            self._addresses = {broker.node_id: (broker.host, broker.port) for broker in answer.brokers}
        return {topic.name: _topic(topic) for topic in answer.topics}

    def offsets(self, topic: Topic, partitions: Iterable[int], which: int) -> dict[int, int]:
        """The `EARLIEST` or `LATEST` offsets of partitions; the latest by isolation level.

        Raises:
            ConnectionLost: a leader does not answer, or is none any more.
        """
        led: dict[int, list[int]] = {}
        for partition in partitions:
            led.setdefault(topic.leaders[partition].node, []).append(partition)
        found: dict[int, int] = {}
        for node, own in led.items():
            if node not in self._addresses:
                raise ConnectionLost(f"partitions {own} of {topic.name} have no leader")
            with self._lock:
                connection = self._connection(self._addresses[node])
                found |= list_offsets(connection, topic, own, which)
        return found

    def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        for connection in list(self._connections.values()):
            connection.close()

    def ask(self, address: tuple[str, int], request: Callable[[], Any], most: int) -> Any:
        """Ask a broker.

        Args:
            most: the newest version of the request that may be used.

        Raises:
            ConnectionLost: it does not answer.
        """
        with self._lock:
            return self._connection(address).ask(request(), most=most)

    def ask_node(self, node: int, request: Callable[[], Any], most: int) -> Any:
        """Ask a broker by its number; see `ask`."""
        return self.ask(self._address(node), request, most)

    def ask_any(self, request: Callable[[], Any], most: int) -> Any:
        """Ask whichever broker answers; see `ask`."""
        addresses = list(self._addresses.values())
        random.shuffle(addresses)
        known = [*addresses, *(one for one in self.settings.bootstrap if one not in addresses)]
        reasons = []
        for address in known:
            try:
                return self.ask(address, request, most)
            except ConnectionLost as error:
                reasons.append(str(error))
        raise ConnectionLost(f"no broker answers: {'; '.join(dict.fromkeys(reasons))}")

    def _address(self, node: int) -> tuple[str, int]:
        address = self._addresses.get(node)
        if address is None:
            raise ConnectionLost(f"broker {node} is not known")
        return address

    def _connection(self, address: tuple[str, int]) -> Connection:
        connection = self._connections.get(address)
        if connection is None or connection.done:
            if connection is not None:
                connection.close()
            if self._closed:
                raise ConnectionLost("closed")
            connection = Connection(self.settings, *address, self.context)
            self._connections[address] = connection
        return connection


def list_offsets(
    connection: Connection, topic: Topic, partitions: Iterable[int], which: int
) -> dict[int, int]:
    """Ask the partitions' leader for offsets.

    Raises:
        ConnectionLost: it does not answer, or is not their leader.
    """
    ask = ListOffsetsRequest.ListOffsetsTopic
    parts = [
        ask.ListOffsetsPartition(
            partition_index=number,
            current_leader_epoch=topic.leaders[number].epoch,
            timestamp=which,
        )
        for number in partitions
    ]
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=1 if connection.settings.read_committed else 0,
        topics=[ask(name=topic.name, partitions=parts)],
    )
    found = {}
    for answered in connection.ask(request, most=_LIST_OFFSETS).topics:
        for one in answered.partitions:
            if one.error_code == _NO_TOPIC_ACCESS:
                raise no_access(topic.name)
            if one.error_code:
                raise ConnectionLost(f"{topic.name}-{one.partition_index}: {problem(one.error_code)}")
            found[one.partition_index] = one.offset
    return found


def _topic(answer: Any) -> Topic | None:
    if answer.error_code == _UNKNOWN_TOPIC:
        return None
    if answer.error_code == _INVALID_TOPIC:
        raise BadConfiguration(
            f"{answer.name!r} can't be the name of a topic", next_step="correct `topic` in lake.yaml"
        )
    if answer.error_code == _NO_TOPIC_ACCESS:
        raise no_access(answer.name)
    leaders = {
        one.partition_index: Leader(one.leader_id, -1 if one.leader_epoch is None else one.leader_epoch)
        for one in answer.partitions
    }
    return Topic(answer.name, answer.topic_id or _NO_ID, leaders)
