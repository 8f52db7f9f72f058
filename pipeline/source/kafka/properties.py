"""Client properties by Kafka's own names, and by librdkafka's where they differ."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import BadConfiguration
from pipeline.source.kafka.security import Sasl, Tls, sasl_of, tls_of

ALIASES = {
    "metadata.broker.list": "bootstrap.servers",
    "sasl.mechanisms": "sasl.mechanism",
    "ssl.ca.location": "ssl.truststore.location",
    "ssl.ca.pem": "ssl.truststore.certificates",
    "ssl.certificate.pem": "ssl.keystore.certificate.chain",
    "ssl.key.pem": "ssl.keystore.key",
    "fetch.wait.max.ms": "fetch.max.wait.ms",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "socket.timeout.ms": "request.timeout.ms",
    "socket.receive.buffer.bytes": "receive.buffer.bytes",
    "topic.metadata.refresh.interval.ms": "metadata.max.age.ms",
}
"""librdkafka's names."""
_SECURITY = (
    "sasl.jaas.config",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "ssl.certificate.location",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
)
_DEFAULTS = {
    "security.protocol": "PLAINTEXT",
    "bitlake.client": "batches",
    "client.id": "bitlake",
    "client.rack": "",
    "group.id": "",
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "fetch.min.bytes": "1",
    "fetch.max.bytes": str(50 << 20),
    "fetch.max.wait.ms": "500",
    "max.partition.fetch.bytes": str(1 << 20),
    "metadata.max.age.ms": "60000",
    "request.timeout.ms": "30000",
    "reconnect.backoff.ms": "50",
    "reconnect.backoff.max.ms": "1000",
    "socket.connection.setup.timeout.ms": "10000",
    "receive.buffer.bytes": "-1",
}
SUPPORTED = frozenset({"bootstrap.servers", *_DEFAULTS, *_SECURITY})
"""Every property that is read, by Kafka's name."""
_RESETS = {"earliest": "earliest", "smallest": "earliest", "beginning": "earliest", "none": "none"} | {
    "latest": "latest",
    "largest": "latest",
    "end": "latest",
    "error": "none",
}
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_ISOLATION = ("read_committed", "read_uncommitted")
_UNUSED = (
    "deserializer",
    "enable.auto",
    "auto.commit",
    "max.poll",
    "session.timeout",
    "heartbeat",
    "partition.assignment",
    "check.crcs",
    "queued.",
)


@dataclass(frozen=True)
class ClientSettings:
    """What the properties say, in the types that the source needs; times in seconds.

    Attributes:
        bootstrap: hosts and ports.
        plain: read by librdkafka, one message at a time.
        reset: where a partition without a position begins: earliest, latest or none (an error).
    """

    bootstrap: tuple[tuple[str, int], ...]
    tls: Tls | None
    sasl: Sasl | None
    plain: bool
    client_id: str
    rack: str
    group: str
    read_committed: bool
    reset: str
    fetch_min_bytes: int
    fetch_max_bytes: int
    fetch_max_wait: float
    partition_max_bytes: int
    metadata_max_age: float
    request_timeout: float
    backoff: float
    backoff_max: float
    connect_timeout: float
    receive_buffer: int


def client_settings(properties: Mapping[str, Any], base: Path | None = None) -> ClientSettings:
    """Translate properties.

    Args:
        properties: by Kafka's names; values as text, numbers or booleans.
        base: where relative names of files start; the current folder by default.

    Raises:
        BadConfiguration: one is unknown, not supported, given twice, or has a wrong value.
    """
    given = _canonical(properties)
    value = _DEFAULTS | given
    protocol = _choice(
        value, "security.protocol", ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), str.upper
    )
    secure = protocol.endswith("SSL")
    _no_idle_security(given, protocol)
    return ClientSettings(
        bootstrap=_bootstrap(given.get("bootstrap.servers", "")),
        tls=tls_of(given, base or Path()) if secure else None,
        sasl=sasl_of(given) if protocol.startswith("SASL") else None,
        plain=_choice(value, "bitlake.client", ("batches", "librdkafka")) == "librdkafka",
        client_id=value["client.id"],
        rack=value["client.rack"],
        group=value["group.id"],
        read_committed=_choice(value, "isolation.level", ("read_committed", "read_uncommitted"))
        == "read_committed",
        reset=_RESETS[_choice(value, "auto.offset.reset", tuple(_RESETS))],
        fetch_min_bytes=_number(value, "fetch.min.bytes", 1),
        fetch_max_bytes=_number(value, "fetch.max.bytes", 1),
        fetch_max_wait=_number(value, "fetch.max.wait.ms", 1) / 1000,
        partition_max_bytes=_number(value, "max.partition.fetch.bytes", 1),
        metadata_max_age=_number(value, "metadata.max.age.ms", 1) / 1000,
        request_timeout=_number(value, "request.timeout.ms", 1) / 1000,
        backoff=_number(value, "reconnect.backoff.ms", 1) / 1000,
        backoff_max=_number(value, "reconnect.backoff.max.ms", 1) / 1000,
        connect_timeout=_number(value, "socket.connection.setup.timeout.ms", 1) / 1000,
        receive_buffer=_number(value, "receive.buffer.bytes", -1),
    )


def _canonical(properties: Mapping[str, Any]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in properties.items():
        if value is None:
            continue
        canonical = ALIASES.get(name, name)
        if canonical not in SUPPORTED:
            raise _unknown(name)
        if canonical in given:
            raise BadConfiguration(
                f"kafka: {name} and another name of {canonical} are both given",
                next_step="remove one of them",
            )
        given[canonical] = str(value).lower() if isinstance(value, bool) else str(value)
    return given


def _unknown(name: str) -> BadConfiguration:
    if any(part in name for part in _UNUSED):
        return BadConfiguration(
            f"kafka: {name} has no meaning here",
            next_step="remove it: bitlake keeps its own offsets and reads the records' bytes itself",
        )
    close = difflib.get_close_matches(name, SUPPORTED | ALIASES.keys(), 1)
    return BadConfiguration(
        f"kafka: there is no client property {name}, or bitlake does not support it",
        next_step=f"did you mean {close[0]}?" if close else f"supported are: {', '.join(sorted(SUPPORTED))}",
    )


def _no_idle_security(given: Mapping[str, str], protocol: str) -> None:
    """Credentials that would silently go unused are a mistake: most often a protocol was forgotten."""
    for name in given:
        idle = (name.startswith("sasl.") and "SASL" not in protocol) or (
            name.startswith("ssl.") and "SSL" not in protocol
        )
        if idle:
            wanted = "SASL_SSL or SASL_PLAINTEXT" if name.startswith("sasl.") else "SSL or SASL_SSL"
            raise BadConfiguration(
                f"kafka: {name} is given, but security.protocol is {protocol}",
                next_step=f"set security.protocol: {wanted}, or remove it",
            )


def _bootstrap(servers: str) -> tuple[tuple[str, int], ...]:
    found = []
    for server in filter(None, (part.strip() for part in servers.split(","))):
        host, colon, port = server.rpartition("://")[2].rpartition(":")
        if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or not host:
            raise BadConfiguration(
                f"kafka: {server!r} in bootstrap.servers is not a host and a port",
                next_step="write them as host:9092, several separated by commas",
            )
        found.append((host.strip("[]"), int(port)))
    if not found:
        raise BadConfiguration(
            "kafka: bootstrap.servers is missing",
            next_step="add it to lake.yaml: kafka: {bootstrap.servers: host:9092}",
        )
    return tuple(found)


def _choice(
    value: Mapping[str, str], name: str, choices: tuple[str, ...], spelt: Callable[[str], str] = str.lower
) -> str:
    chosen = spelt(value[name].strip())
    if chosen not in choices:
        raise BadConfiguration(
            f"kafka: {name} is {value[name]!r}", next_step=f"it is one of {', '.join(choices)}"
        )
    return chosen


def _number(value: Mapping[str, str], name: str, least: int) -> int:
    try:
        number = int(value[name])
    except ValueError:
        number = least - 1
    if not least <= number < 2**31:
        raise BadConfiguration(
            f"kafka: {name} is {value[name]!r}", next_step=f"give a whole number from {least} to {2**31 - 1}"
        )
    return number
