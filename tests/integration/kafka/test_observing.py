"""What `bitlake run` tells of itself, and dead letters in Kafka, on a real broker."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from pipeline.cli.progress import LoadWatcher, Silence
from pipeline.errors import BadConfiguration
from pipeline.metrics import Metrics, serve
from tests.integration.kafka.test_run import BONDS, bond, lake_at, running, send
from tests.kafka_broker import Kafka, wait_until
from tests.model.decoding import Record

pytestmark = pytest.mark.servers


@pytest.fixture
def topic(broker: Kafka) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 3, retention_ms=-1)
    return name


def scraped(port: int) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_metrics_and_health_of_a_run(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], commit={"records": 1000, "seconds": 0.2})
    records = [Record(bond(f"A{n}", n), 1_700_000_000_000_000, partition=n % 3) for n in range(30)]
    send(broker, topic, [*records, Record(b"{", 1_700_000_000_000_000), Record(records[0].value, 1_800_000)])
    metrics = Metrics(["bonds"], 0.2)
    watching = metrics.watching(lambda name: LoadWatcher(name, Silence()))
    with serve(metrics, "127.0.0.1", 0) as port:
        assert status(port, "/readyz") == 503
        with running(lake, watching=watching):
            wait_until(lambda: scraped(port).get(("bitlake_records_total", "bonds")) == 32, "32 records")
            found = scraped(port)
            assert found["bitlake_changes_total", "bonds", "put"] == 30
            assert found["bitlake_no_ops_total", "bonds"] == 1
            assert found["bitlake_dead_letters_total", "bonds", "json"] == 1
            assert found["bitlake_versions_total", "bonds", "bonds"] == 30
            assert found["bitlake_late_distance_seconds_bucket", "bonds", "+Inf"] == 30
            assert [found["bitlake_lag_offsets", "bonds", str(p)] for p in range(3)] == [0, 0, 0]
            assert found["bitlake_state_keys", "bonds"] == 30
            assert found["bitlake_state_lookups_total", "bonds", "nowhere"] == 30
            assert found["bitlake_fetched_bytes_total", "bonds"] > 500
            assert found["bitlake_state_disk_bytes",] > 0
            assert found["bitlake_dataset_up", "bonds"] == 1
            wait_until(lambda: status(port, "/readyz") == 200, "it to be ready", 60)
        assert scraped(port)["bitlake_dataset_up", "bonds"] == 0
        assert status(port, "/healthz") == 200


def read(broker: Kafka, topic: str, count: int) -> list[Any]:
    """All messages of a topic, once there are so many: (partition, key, value, headers, timestamp)."""
    consumer = Consumer({**broker.properties, "group.id": topic, "auto.offset.reset": "earliest"})
    found: list[Any] = []
    try:
        consumer.assign(
            [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic).topics[topic].partitions]
        )

        def more() -> bool:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
            return message is None and len(found) >= count

        wait_until(more, f"{count} messages in {topic}", 60)
    finally:
        consumer.close()
    return [(m.partition(), m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in found]


@pytest.mark.parametrize("security", ["plain", "tls", "scram"])
def test_dead_letters_go_to_kafka_too(broker: Kafka, topic: str, tmp_path: Path, security: str) -> None:
    properties = {
        "plain": broker.properties,
        "tls": broker.tls(),
        "scram": broker.sasl("SCRAM-SHA-512", tls=True),
    }
    letters = {"topic": "{topic}.dlq"}
    lake = lake_at(
        tmp_path, broker, [BONDS | {"topic": topic}], dead_letters=letters, kafka=properties[security]
    )
    producer = broker.producer()
    producer.produce(
        topic, b'{"isin', key=b"\xff", partition=2, headers=[("trace", b"7")], timestamp=1_700_000
    )
    producer.produce(topic, bond("A", 1), partition=2)
    producer.produce(topic, b"[]", partition=0)
    producer.flush()
    assert lake.run(until_end=True).dead_letters == 2
    sent = read(broker, f"{topic}.dlq", 2)
    assert len(sent) == 2
    first = next(message for message in sent if message[1] is not None)
    assert (first[1], first[2]) == (b"\xff", b'{"isin')
    headers = dict(first[3])
    assert (headers["trace"], headers["__connect.errors.partition"]) == (b"7", b"2")
    assert headers["bitlake.timestamp"] == b"1700000"
    assert abs(first[4] / 1000 - time.time()) < 300, "the time of sending"
    assert headers["__connect.errors.topic"] == topic.encode()
    assert headers["__connect.errors.stage"] == b"json"
    assert headers["bitlake.id"] == f"bonds/{topic}/2/0/2".encode()
    lake.replay_dead_letters()
    assert len(read(broker, f"{topic}.dlq", 2)) == 2, "a replay sends nothing"


def test_letters_of_files_go_to_kafka_and_one_too_large_stays_in_the_table(
    broker: Kafka, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.create_topic(f"{topic}.dlq", 1, max_message_bytes=10_000)
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], dead_letters={"topic": "{topic}.dlq"})
    lines = [b"{", b"[" + b"1," * 20_000 + b"1]", b"null", bond("A", 1)]
    (tmp_path / "some.jsonl").write_bytes(b"\n".join(lines))
    assert lake.load_files("bonds", [tmp_path / "some.jsonl"]).dead_letters == 3
    assert [message[2] for message in read(broker, f"{topic}.dlq", 2)] == [b"{", b"null"]
    (told,) = [record for record in caplog.records if "in the table alone" in record.message]
    assert told.id == f"bonds/{topic}/0/1/1"
    found = lake.dead_letters()
    assert found is not None
    assert len(found.waiting()) == 3


@pytest.mark.parametrize("lost", ["nothing", "state"])
def test_letters_whose_sender_died_are_sent_at_the_next_start(
    broker: Kafka, topic: str, tmp_path: Path, lost: str
) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], dead_letters={"topic": "{topic}.dlq"})
    broker.create_topic(f"{topic}.dlq", 2)
    send(broker, topic, [Record(b"{", 1_700_000_000_000_000), Record(bond("A", 1), 1_700_000_000_000_000)])
    command = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "run", "--until-end"]
    environment = {**os.environ, "BITLAKE_FAULT": "after-last-commit:2"}
    killed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read(broker, f"{topic}.dlq", 0) == []
    if lost == "state":
        shutil.rmtree(tmp_path / ".bitlake" / "state")
    assert lake.run(until_end=True, take_over=True).records == 0
    assert [message[2] for message in read(broker, f"{topic}.dlq", 1)] == [b"{"]


def test_an_absent_topic_that_may_not_be_made_is_explained_at_the_start(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], dead_letters={"topic": "no such name"})
    with pytest.raises(BadConfiguration, match="no such name"):
        lake.run(until_end=True)


def test_status_tells_the_lag(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}])
    assert lake.status()[0].lag is None, "nothing was read yet"
    send(broker, topic, [Record(bond("A", 1), 1_700_000_000_000_000, partition=1)])
    lake.run(until_end=True)
    assert lake.status()[0].lag == {0: 0, 1: 0, 2: 0}
    send(broker, topic, [Record(bond(f"B{n}", 1), 1_700_000_000_000_000, partition=n % 2) for n in range(5)])
    broker.add_partitions(topic, 4)
    send(broker, topic, [Record(bond("C", 1), 1_700_000_000_000_000, partition=3)])
    assert lake.status()[0].lag == {0: 3, 1: 2, 2: 0, 3: 1}
    away = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], kafka={"bootstrap.servers": "127.0.0.1:1"})
    begun = time.monotonic()
    assert away.status()[0].lag is None
    assert time.monotonic() - begun < 30
