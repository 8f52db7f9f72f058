"""A real Kafka for tests: brokers of the stack (KRaft), and a client to fill topics with.

with kafka(folder) as cluster:
    cluster.create_topic("bonds", partitions=3)
    producer = cluster.producer()
"""

import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from stack.kafka import CONTROLLER, PLAIN, QUICK, Broker, BrokerOptions
from stack.ports import free_ports
from stack.server import HOST
from tests.tls import Certificates, certificates

STARTUP_SECONDS = 120
RELOGIN_SECONDS = 2
"""How long a login by SASL PLAIN lasts."""
USER, PASSWORD = "bitlake", "bitlake-secret"
_TLS, _SASL, _SASL_TLS = "TLS", "SASL", "SASLTLS"
_SECURE = {_TLS: "SSL", _SASL: "SASL_PLAINTEXT", _SASL_TLS: "SASL_SSL"}
_SETTINGS = {
    "auto.create.topics.enable": "false",
    "log.initial.task.delay.ms": "100",
    "log.retention.check.interval.ms": "300",
    "log.cleaner.backoff.ms": "300",
    "log.segment.delete.delay.ms": "100",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "3000",
}
_QUIET = {"log_level": 0}


@dataclass
class Kafka:
    """A running cluster. Node 1 is its controller, too: stop another one to see a leader change."""

    brokers: list[Broker]
    folder: Path
    secrets: Certificates | None = None
    _admin: Any = field(default=None, repr=False)

    def bootstrap(self, listener: str = PLAIN) -> str:
        return ",".join(f"{HOST}:{broker.ports[listener]}" for broker in self.brokers)

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
            self.broker(node).wait()

        def members() -> bool:
            try:
                return wanted <= set(self.admin.list_topics(timeout=5).brokers)
            except KafkaException:
                return False

        wait_until(members, f"brokers {sorted(wanted)} to be members")


def wait_until(ready: Any, what: str, seconds: float = STARTUP_SECONDS, every: float = 0.05) -> None:
    """Wait for a condition; an error names what did not come."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(every)


@contextmanager
def kafka(
    folder: Path,
    *,
    brokers: int = 1,
    secure: bool = False,
    heap: str = "512m",
    java_options: Sequence[str] = QUICK,
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
    secrets = certificates(folder / "tls") if secure else None
    names = (PLAIN, CONTROLLER, *(_SECURE if secure else ()))
    members: list[Broker] = []
    for node in range(1, brokers + 1):
        options = BrokerOptions(
            heap,
            java_options,
            _SECURE if secure else {},
            _SETTINGS
            | (_security(secrets) if secrets else {})
            | {name: value.format(node=node) for name, value in (settings or {}).items()},
            [f"{name}=[name={USER},password={PASSWORD}]" for name in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
            if secure
            else (),
        )
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        first = members[0] if members else None
        members.append(
            Broker(f"broker-{node}", folder / f"broker-{node}", ports, options, node=node, first=first)
        )
    cluster = Kafka(members, folder, secrets)
    try:
        for broker in members:
            broker.folder.mkdir(exist_ok=kept)
            broker.prepare()
        for broker in members:
            broker.start()
        cluster.wait()
        yield cluster
    finally:
        for broker in reversed(members):
            broker.stop(signal.SIGTERM if kept else signal.SIGKILL)
        for broker in members if not kept else ():
            shutil.rmtree(broker.folder / "data", ignore_errors=True)


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
