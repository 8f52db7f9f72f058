"""What others see in the consumer group that lake.yaml names: offsets, and so the lag."""

import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.integration.kafka.test_run import BONDS, bond, lake_at, running, send
from tests.kafka_broker import Kafka, wait_until
from tests.model.decoding import Record

pytestmark = pytest.mark.servers


@pytest.fixture
def topic(broker: Kafka) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 3, retention_ms=-1)
    return name


def some(count: int, partition: int) -> list[Record]:
    return [
        Record(bond(f"P{partition}N{n}", n), 1_700_000_000_000_000, partition=partition) for n in range(count)
    ]


def shown(broker: Kafka, group: str, topic: str) -> dict[int, int]:
    """The group's offsets, by partition; those that it has none of are left out."""
    consumer = Consumer(broker.properties | {"group.id": group, "log_level": 0})
    try:
        found = consumer.committed([TopicPartition(topic, number) for number in range(3)], 30)
    except KafkaException:  # the group's coordinator is still to be found
        return {}
    finally:
        consumer.close()
    return {one.partition: one.offset for one in found if one.offset >= 0}


def test_offsets_and_lag_are_shown_after_each_epoch(broker: Kafka, topic: str, tmp_path: Path) -> None:
    kafka = broker.properties | {"group.id": topic}
    epochs = {"records": 1000, "seconds": 0.2}
    lake = lake_at(tmp_path, broker, [BONDS | {"topic": topic}], kafka=kafka, commit=epochs)
    with running(lake):
        wait_until(lambda: shown(broker, topic, topic) == {0: 0, 1: 0, 2: 0}, "the beginnings", 60)
        send(broker, topic, [*some(3, 0), *some(5, 2)])
        wait_until(lambda: shown(broker, topic, topic) == {0: 3, 1: 0, 2: 5}, "the epoch's offsets", 60)
    send(broker, topic, some(4, 2))
    consumer = Consumer(broker.properties | {"group.id": topic, "log_level": 0})
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 2), timeout=30)
    consumer.close()
    assert end - shown(broker, topic, topic)[2] == 4, "the lag while nothing runs"
    assert lake.run(until_end=True).records == 4
    assert shown(broker, topic, topic) == {0: 3, 1: 0, 2: 9}, "shown before the run is over"


def test_a_group_that_others_use_fails_no_epoch(
    broker: Kafka, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its members own its offsets: ours are refused."""
    consumer = Consumer(
        broker.properties | {"group.id": topic, "enable.auto.commit": "false", "log_level": 0}
    )
    consumer.subscribe([topic])
    wait_until(lambda: consumer.poll(0.1) is None and consumer.assignment(), "the member's assignment", 60)
    lake = lake_at(
        tmp_path, broker, [BONDS | {"topic": topic}], kafka=broker.properties | {"group.id": topic}
    )
    send(broker, topic, some(3, 0))
    assert lake.run(until_end=True).changes == 3
    consumer.close()
    assert "does not show how far" in caplog.text
    assert shown(broker, topic, topic) == {}
