"""The whole stack: every server is used, and the catalogs' compare-and-swap is proven."""

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from pipeline.views.trino_client import TrinoClient
from stack import processes
from stack.control import Background
from stack.flink import JobManager, TaskManager
from stack.flink_home import flink_python
from stack.java import java_home
from stack.kafka import Broker
from stack.postgres import PostgreSQL
from stack.seaweedfs import SeaweedFS
from stack.trino import Trino

pytestmark = [pytest.mark.servers, pytest.mark.long]

COMMITS = 8
JOB = Path(__file__).with_name("flink_sql.py")
SCHEMA = pa.schema([("writer", pa.string()), ("number", pa.int64())])


def _properties(stack: Background, kind: str) -> Mapping[str, str]:
    files = stack.server(SeaweedFS)
    return files.rest_catalog if kind == "lake" else stack.server(PostgreSQL).sql_catalog(files)


@pytest.fixture(params=["lake", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """What Trino calls a catalog: REST, or PostgreSQL's."""
    return str(request.param)


@pytest.fixture
def catalog(stack: Background, kind: str) -> Catalog:
    return load_catalog("lake", **_properties(stack, kind))


@pytest.fixture
def table(catalog: Catalog) -> Table:
    namespace = f"n{uuid.uuid4().hex[:12]}"
    catalog.create_namespace(namespace)
    return catalog.create_table(f"{namespace}.numbers", SCHEMA)


@pytest.fixture
def trino(stack: Background) -> Callable[[str], list[list[Any]]]:
    client = TrinoClient(stack.server(Trino).address)
    return lambda sql: client.ask(sql).rows


def _rows(table: Table) -> list[tuple[str, int]]:
    return sorted((row["writer"], row["number"]) for row in table.refresh().scan().to_arrow().to_pylist())


def test_every_server_is_healthy_and_listens_on_this_machine_alone(stack: Background) -> None:
    servers = stack.servers()
    assert {server.name: server.health for server in servers} == dict.fromkeys(
        ["kafka", "seaweedfs", "postgres", "flink-jobmanager", "flink-taskmanager-1", "trino"], "healthy"
    )
    metrics = {server.ports["metrics"] for server in (stack.server(JobManager), stack.server(TaskManager))}
    listening = _listening(stack.folder)
    everywhere = {port for port, address in listening if not address.is_loopback}
    assert everywhere <= metrics  # Flink's Prometheus reporter has no say in it
    ports = [port for server in stack.described() for port in server["ports"].values()]
    assert set(ports) <= {port for port, _ in listening}
    assert len(set(ports)) == len(ports) - 1  # the TaskManager knows the JobManager's


def _listening(folder: Path) -> set[tuple[int, IPv4Address | IPv6Address]]:
    """Where the processes of a stack's servers listen."""
    sockets = set()
    for process in processes.marked(folder):
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                sockets.add(str(descriptor.readlink()))
    found = set()
    for line in [*_table("tcp"), *_table("tcp6")]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A" and f"socket:[{inode}]" in sockets:
            found.add(_address(local))
    return found


def _table(protocol: str) -> list[str]:
    return Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]


def _address(local: str) -> tuple[int, IPv4Address | IPv6Address]:
    """A port and an address out of the kernel's table: words of the address in the machine's byte order."""
    words, port = local.split(":")
    packed = b"".join(bytes.fromhex(words[n : n + 8])[::-1] for n in range(0, len(words), 8))
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return int(port, 16), mapped or address


def test_kafka_keeps_what_is_produced(stack: Background) -> None:
    servers, topic = stack.server(Broker).addresses(), f"t{uuid.uuid4().hex[:12]}"
    producer = Producer(servers)
    for number in range(100):
        producer.produce(topic, str(number))
    assert producer.flush(60) == 0
    consumer = Consumer({**servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    values = [message.value() for message in consumer.consume(100, timeout=60)]
    consumer.close()
    assert sorted(values, key=int) == [b"%d" % number for number in range(100)]


def test_python_and_trino_write_the_same_table(
    kind: str, table: Table, trino: Callable[[str], list[list[Any]]]
) -> None:
    name = f"{kind}.{'.'.join(table.name())}"
    table.append(pa.table({"writer": ["python"], "number": [1]}, SCHEMA))
    trino(f"INSERT INTO {name} VALUES ('trino', 2)")
    assert _rows(table) == [("python", 1), ("trino", 2)]
    table.append(pa.table({"writer": ["python"], "number": [3]}, SCHEMA))
    assert trino(f"SELECT count(*), sum(number) FROM {name}") == [[3, 6]]
    trino(f"CREATE VIEW {name}_view AS SELECT max(number) AS most FROM {name}")
    assert trino(f"SELECT most FROM {name}_view") == [[3]]


def test_of_commits_at_the_same_time_none_is_lost_or_doubled(
    stack: Background, kind: str, table: Table, trino: Callable[[str], list[list[Any]]]
) -> None:
    failures: list[BaseException] = []

    def by_python(writer: str) -> None:
        own = load_catalog("lake", **_properties(stack, kind)).load_table(table.name())
        for number in range(COMMITS):
            _append(own, pa.table({"writer": [writer], "number": [number]}, SCHEMA))

    def by_trino(writer: str) -> None:
        for number in range(COMMITS):
            trino(f"INSERT INTO {kind}.{'.'.join(table.name())} VALUES ('{writer}', {number})")

    def guarded(write: Callable[[str], None], writer: str) -> None:
        try:
            write(writer)
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    writers = {"python": by_python, "python-too": by_python, "trino": by_trino}
    threads = [threading.Thread(target=guarded, args=(write, name)) for name, write in writers.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert _rows(table) == sorted((name, number) for name in writers for number in range(COMMITS))
    snapshots = {one.snapshot_id: one for one in table.metadata.snapshots}
    last = table.current_snapshot()
    chain = 0
    while last is not None:
        chain += 1
        last = snapshots.get(last.parent_snapshot_id) if last.parent_snapshot_id else None
    assert chain == COMMITS * len(writers)


def _append(table: Table, rows: pa.Table) -> None:
    """Append until the catalog takes it: a commit that it refuses has changed nothing."""
    while True:
        try:
            table.append(rows)
        except CommitFailedException:
            table.refresh()
        else:
            return


def test_a_flink_job_writes_what_python_and_trino_read(
    stack: Background, tmp_path: Path, trino: Callable[[str], list[list[Any]]]
) -> None:
    """A job with a Python function, into a table of each catalog; its checkpoints are in S3."""
    namespace = f"n{uuid.uuid4().hex[:12]}"
    request = {
        "rest": stack.server(JobManager).rest,
        "namespace": namespace,
        # The name of a catalog is part of what JDBC's keeps: it is the same in all that use it.
        "catalogs": {"rest": _flink_catalog(stack, "lake"), "lake": _flink_catalog(stack, "postgres")},
    }
    home = {"JAVA_HOME": str(java_home(21)), "FLINK_HOME": str(stack.folder / "flink")}
    done = subprocess.run(
        [str(flink_python()), str(JOB), json.dumps(request)],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=400,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = [(f"<{number}>", number) for number in range(1, 201)]
    for kind in ("lake", "postgres"):
        table = load_catalog("lake", **_properties(stack, kind)).load_table(f"{namespace}.numbers")
        assert _rows(table) == sorted(expected)
        assert trino(f"SELECT count(*), sum(number) FROM {kind}.{namespace}.numbers") == [[200, 20100]]


def _flink_catalog(stack: Background, kind: str) -> dict[str, str]:
    """The same catalogs as Iceberg's Java library takes them."""
    properties = _properties(stack, kind)
    shared = {name: value for name, value in properties.items() if name.startswith("s3.")} | {
        "type": "iceberg",
        "warehouse": properties["warehouse"],
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "client.region": properties["s3.region"],
    }
    if kind == "lake":
        rest = ("uri", "credential", "oauth2-server-uri")
        return shared | {"catalog-type": "rest"} | {name: properties[name] for name in rest}
    return shared | stack.server(PostgreSQL).jdbc_properties
