"""The fallback, librdkafka's consumer, gives what the reading of whole batches gives."""

import time
from typing import Any

import pytest

from pipeline.errors import BadConfiguration, Refused
from pipeline.source.kafka import KafkaSource, open_source, read_headers
from tests.integration.kafka.reading import offsets, read_all, read_until, values
from tests.integration.kafka.test_reading import CODECS, numbers, produce
from tests.kafka_broker import Kafka, wait_until

pytestmark = pytest.mark.servers
PLAIN = {"bitlake.client": "librdkafka", "metadata.max.age.ms": 300}


def opened(broker: Kafka, **properties: Any) -> KafkaSource:
    return open_source(broker.properties | PLAIN | properties, patience=60)


@pytest.mark.parametrize("codec", CODECS)
def test_keys_values_headers_and_tombstones_in_every_codec(broker: Kafka, codec: str) -> None:
    topic = f"plain-{codec}"
    broker.create_topic(topic)
    sent = [
        (b"k%d" % n, None if n % 7 == 0 else b"%d" % n * 40, [("h", b"%d" % n * 30), ("n", None)])
        for n in range(3000)
    ]
    produce(broker, topic, sent, compression_type=codec)
    with opened(broker) as source, source.open(topic) as reader:
        blocks = read_all(reader)
    found = [(b.key(i), b.value(i), read_headers(b.headers(i))) for b in blocks for i in range(len(b))]
    assert found == sent
    assert offsets(blocks) == list(range(3000))
    assert blocks[-1].next_offset == 3000


def test_create_time_and_log_append_time(broker: Kafka) -> None:
    broker.create_topic("plain-created", retention_ms=-1)
    broker.create_topic("plain-appended", message_timestamp_type="LogAppendTime")
    begun = time.time_ns() // 1000
    for topic in ("plain-created", "plain-appended"):
        producer = broker.producer()
        producer.produce(topic, b"1", timestamp=1_500_000_000_123)
        producer.flush()
    with opened(broker) as source:
        with source.open("plain-created") as reader:
            (block,) = read_all(reader)
        assert (block.timestamps.tolist(), block.log_append) == ([1_500_000_000_123_000], False)
        with source.open("plain-appended") as reader:
            (block,) = read_all(reader)
        assert block.log_append
        assert begun - 1000 <= block.timestamps[0] <= time.time_ns() // 1000 + 1000


def test_going_on_from_positions_and_read_to_the_end(broker: Kafka) -> None:
    broker.create_topic("plain-on", 2)
    for partition in (0, 1):
        produce(broker, "plain-on", numbers(100), partition, compression_type="lz4")
    begun = time.time_ns() // 1000
    with opened(broker) as source, source.open("plain-on", {0: 42, 1: 100}) as reader:
        assert values(read_all(reader)) == numbers(100)[42:]
        assert reader.positions() == {0: 100, 1: 100}

        def at_end() -> bool:
            assert reader.poll(0.2) == []
            return set(reader.read_to_end()) == {0, 1}

        wait_until(at_end, "both to be read to their ends", 60)
        assert all(begun < at <= time.time_ns() // 1000 for at in reader.read_to_end().values())
        assert reader.lags() == {0: 0, 1: 0}


def test_only_committed_transactions_and_no_end_before_an_open_one(broker: Kafka) -> None:
    broker.create_topic("plain-transactions")
    producer = broker.producer(transactional_id="plain", compression_type="lz4")
    producer.init_transactions(60)
    expected = []
    for turn in range(4):
        producer.begin_transaction()
        for number in range(50):
            producer.produce("plain-transactions", b"%d-%d" % (turn, number), partition=0)
            expected += [b"%d-%d" % (turn, number)] if turn % 2 == 0 else []
        producer.flush()
        (producer.commit_transaction if turn % 2 == 0 else producer.abort_transaction)(60)
    producer.begin_transaction()
    producer.produce("plain-transactions", b"open", partition=0)
    producer.flush()
    with opened(broker) as source, source.open("plain-transactions") as reader:
        assert values(read_all(reader)) == expected
        assert reader.positions() == {0: 204}, "beyond the last control batch"
        assert reader.poll(1.5) == []
        assert reader.read_to_end() == {}
        producer.abort_transaction(60)
        assert values(read_until(reader, {0: 206})) == []


@pytest.mark.parametrize("how", ["tls", "mutual", "PLAIN", "SCRAM-SHA-256", "all"])
def test_security(broker: Kafka, how: str) -> None:
    properties = {
        "tls": broker.tls,
        "mutual": lambda: broker.tls(client=True),
        "all": lambda: broker.sasl("SCRAM-SHA-512", tls=True),
    }.get(how, lambda: broker.sasl(how))()
    broker.create_topic(f"plain-secure-{how}")
    produce(broker, f"plain-secure-{how}", numbers(100))
    with open_source(properties | PLAIN) as source, source.open(f"plain-secure-{how}") as reader:
        assert values(read_all(reader)) == numbers(100)


def test_partitions_added_while_running_are_read_from_their_beginning(broker: Kafka) -> None:
    broker.create_topic("plain-growing")
    produce(broker, "plain-growing", numbers(5))
    with opened(broker, **{"auto.offset.reset": "latest"}) as source, source.open("plain-growing") as reader:
        assert reader.positions() == {0: 5}
        broker.add_partitions("plain-growing", 3)
        produce(broker, "plain-growing", [b"added"], 2)
        assert values(read_until(reader, {2: 1})) == [b"added"]
        assert reader.begun() == {0: 5, 1: 0, 2: 0}


def test_a_position_beyond_the_end_is_a_refusal(broker: Kafka) -> None:
    broker.create_topic("plain-short")
    produce(broker, "plain-short", numbers(3))
    with (
        opened(broker) as source,
        source.open("plain-short", {0: 17}) as reader,
        pytest.raises(Refused, match="which ends at 3"),
    ):
        while True:
            reader.poll(1)


def test_a_topic_made_anew_is_a_refusal(broker: Kafka) -> None:
    broker.create_topic("plain-anew")
    produce(broker, "plain-anew", numbers(3))
    with opened(broker) as source, source.open("plain-anew") as reader:
        assert values(read_all(reader)) == numbers(3)
        broker.delete_topic("plain-anew")
        broker.create_topic("plain-anew")
        with pytest.raises(Refused, match="made anew"):
            while True:
                reader.poll(1)


def test_another_client_is_a_mistake() -> None:
    with pytest.raises(BadConfiguration, match="bitlake.client is 'java'"):
        open_source({"bootstrap.servers": "127.0.0.1:1", "bitlake.client": "java"})
