"""Where each partition begins is in the tables before anything is read: no restart skips what came meanwhile."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from pipeline import Lake
from pipeline.errors import Refused
from pipeline.sink.epoch import Position
from tests.integration.kafka.test_run import BONDS, bond, lake_at, running, send
from tests.kafka_broker import Kafka, wait_until
from tests.model.decoding import Record

pytestmark = pytest.mark.servers
LATEST = {"auto.offset.reset": "latest"}


@pytest.fixture
def topic(broker: Kafka) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 3, retention_ms=-1)
    return name


def following(folder: Path, broker: Kafka, topic: str, **properties: Any) -> Lake:
    kafka = broker.properties | {"metadata.max.age.ms": "300"} | properties
    return lake_at(folder, broker, [BONDS | {"topic": topic}], kafka=kafka)


def some(count: int, *partitions: int) -> list[Record]:
    return [
        Record(bond(f"P{partition}N{n}", n), 1_700_000_000_000_000, partition=partition)
        for partition in partitions
        for n in range(count)
    ]


def delete_before(broker: Kafka, topic: str, partition: int, offset: int) -> None:
    for deleted in broker.admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        deleted.result(60)


def position(lake: Lake) -> Position:
    found = lake.status()[0].position
    assert found is not None
    return found


def test_what_comes_after_the_beginning_is_read_also_by_latest(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    send(broker, topic, some(3, 0))
    lake = following(tmp_path, broker, topic, **LATEST)
    first = lake.run(until_end=True)
    assert (first.records, first.epochs) == (0, 1)
    assert position(lake).offsets == {0: 3, 1: 0, 2: 0}
    assert (position(lake).clocks, position(lake).horizon) == ({}, -1), "nothing is final yet"
    assert len(lake.asof("bonds")) == 0
    send(broker, topic, some(5, 0, 1))
    assert lake.run(until_end=True).changes == 10
    assert lake.run(until_end=True).epochs == 0, "no epoch without news"


def test_a_service_killed_before_anything_came_goes_on_from_its_beginning(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    lake = following(tmp_path, broker, topic, **LATEST)
    command = [sys.executable, "-c", "from pipeline.cli.main import main; main()", "run"]
    environment = {**os.environ, "BITLAKE_FAULT": "after-state"}
    killed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    send(broker, topic, some(4, 0, 2))
    assert lake.run(until_end=True).changes == 8


def test_retention_that_passed_the_beginning_is_a_refusal(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = following(tmp_path, broker, topic)
    lake.run(until_end=True)
    send(broker, topic, some(5, 1))
    delete_before(broker, topic, 1, 3)
    with pytest.raises(Refused, match="retention has deleted 3 offsets that were never read"):
        lake.run(until_end=True)


def test_what_retention_deleted_before_the_beginning_is_not_missed(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    send(broker, topic, some(5, 1))
    delete_before(broker, topic, 1, 3)
    lake = following(tmp_path, broker, topic)
    assert lake.run(until_end=True).records == 2
    assert position(lake).offsets == {0: 0, 1: 5, 2: 0}


def test_a_partition_added_while_nothing_ran_is_read_from_its_earliest_offset(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    lake = following(tmp_path, broker, topic, **LATEST)
    lake.run(until_end=True)
    broker.add_partitions(topic, 4)
    send(broker, topic, some(6, 3))
    assert lake.run(until_end=True).changes == 6
    assert position(lake).offsets == {0: 0, 1: 0, 2: 0, 3: 6}


def test_the_beginning_of_a_partition_added_while_running_is_committed_at_once(
    broker: Kafka, topic: str, tmp_path: Path
) -> None:
    lake = following(tmp_path, broker, topic)
    with running(lake):
        wait_until(lambda: lake.status()[0].position is not None, "the first epoch", 60)
        broker.add_partitions(topic, 4)
        wait_until(lambda: 3 in position(lake).offsets, "the new partition's beginning", 60)
    send(broker, topic, some(6, 3))
    delete_before(broker, topic, 3, 2)
    with pytest.raises(Refused, match="retention has deleted 2 offsets"):
        lake.run(until_end=True)


def test_beginnings_beside_files(broker: Kafka, topic: str, tmp_path: Path) -> None:
    lake = following(tmp_path, broker, topic, **LATEST)
    (tmp_path / "old.jsonl").write_bytes(b"\n".join(bond(f"F{n}", n) for n in range(5)))
    lake.load_files("bonds", [tmp_path / "old.jsonl"])
    before = position(lake)
    lake.run(until_end=True)
    after = position(lake)
    assert after.offsets == {-1: 5, 0: 0, 1: 0, 2: 0}
    assert (after.clocks[-1], after.horizon) == (before.clocks[0], before.horizon)
    send(broker, topic, some(1, 0, 1, 2))
    assert lake.run(until_end=True).changes == 3
    assert min(clock for p, clock in position(lake).clocks.items() if p >= 0) > before.horizon
