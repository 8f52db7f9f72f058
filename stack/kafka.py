"""A Kafka broker (KRaft): one alone, or one of several."""

import base64
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from stack import processes
from stack.downloads import jars
from stack.java import COMPILING, java
from stack.probes import speaks_kafka
from stack.processes import Command
from stack.server import HOST, Server

QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Options of Java that start quickly and cost throughput."""
PLAIN, CONTROLLER = "PLAIN", "CONTROLLER"
_LOGS = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)
_SMALL = {
    "auto.create.topics.enable": "true",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "message.max.bytes": str(64 << 20),
    "replica.fetch.max.bytes": str(64 << 20),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(4 << 20),
}


@dataclass(frozen=True)
class BrokerOptions:
    """How a broker differs from the usual one.

    Attributes:
        heap: Java's.
        java: more options of Java.
        protocols: security protocol of each listener beside `PLAIN`; each has a port of its name.
        settings: by Kafka's own names.
        users: SCRAM users that are there from the start, as ``kafka-storage --add-scram`` takes them.
    """

    heap: str = "512m"
    java: Sequence[str] = ()
    protocols: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    users: Sequence[str] = ()


class Broker(Server):
    """A broker; the first of a cluster is its controller, too."""

    kind = "kafka"
    own_ports: ClassVar[tuple[str, ...]] = (PLAIN, CONTROLLER)

    def __init__(
        self,
        name: str,
        folder: Path,
        ports: Mapping[str, int],
        options: BrokerOptions | None = None,
        *,
        node: int = 1,
        first: "Broker | None" = None,
    ) -> None:
        super().__init__(name, folder, ports)
        self.options = options or BrokerOptions()
        self.node = node
        self._first = first

    @classmethod
    def fetch(cls) -> None:
        """Bring jars and Java."""
        jars("kafka")
        java()

    def prepare(self) -> None:
        """Write its settings; format its folder once, one of several as a copy of the first one's."""
        self._settings_file.write_text("".join(f"{k}={v}\n" for k, v in self._settings().items()))
        if self._meta.exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)
        if self._first is None:
            users = [part for user in self.options.users for part in ("--add-scram", user)]
            arguments = ["format", "-t", _identity(), "-c", str(self._settings_file), *users]
            processes.run(self._java("kafka.tools.StorageTool", *arguments), self.folder)
        else:
            self._copy_of(self._first)

    def command(self) -> Command:
        """`kafka.Kafka` with its settings."""
        return self._java("kafka.Kafka", str(self._settings_file))

    def healthy(self) -> bool:
        """Whether it speaks Kafka."""
        return speaks_kafka(self.ports[PLAIN])

    def addresses(self) -> dict[str, str]:
        """`bootstrap.servers`."""
        return {"bootstrap.servers": f"{HOST}:{self.ports[PLAIN]}"}

    @property
    def _settings_file(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _meta(self) -> Path:
        return self._data / "meta.properties"

    def _java(self, *arguments: str) -> Command:
        options = [f"-Xmx{self.options.heap}", *COMPILING, *self.options.java, *_LOGS]
        return Command([java(), *options, "-cp", f"{jars('kafka')}/*", *arguments])

    def _settings(self) -> dict[str, str]:
        first = self._first or self
        roles = "broker" if self._first else "broker,controller"
        protocols = {PLAIN: "PLAINTEXT", **self.options.protocols, CONTROLLER: "PLAINTEXT"}
        listening = [name for name in protocols if name != CONTROLLER or self is first]
        return {
            **_SMALL,
            "process.roles": roles,
            "node.id": str(self.node),
            "controller.quorum.voters": f"{first.node}@{HOST}:{first.ports[CONTROLLER]}",
            "controller.listener.names": CONTROLLER,
            "inter.broker.listener.name": PLAIN,
            "listeners": ",".join(f"{name}://{HOST}:{self.ports[name]}" for name in listening),
            "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in protocols.items()),
            "log.dirs": str(self._data),
            **self.options.settings,
        }

    def _copy_of(self, first: "Broker") -> None:
        shutil.copytree(first._data, self._data)
        kept = [
            line
            for line in first._meta.read_text().splitlines()
            if not line.startswith(("node.id=", "directory.id="))
        ]
        own = [f"node.id={self.node}", f"directory.id={_identity()}"]
        self._meta.write_text("\n".join([*kept, *own, ""]))


def _identity() -> str:
    number = uuid.uuid4().bytes  # a name that begins with - would look like an option
    return base64.urlsafe_b64encode(bytes((number[0] & 0x7F,)) + number[1:]).decode().rstrip("=")
