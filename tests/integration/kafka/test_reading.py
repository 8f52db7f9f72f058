"""The Kafka source on a real broker."""

import os
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline.errors import BadConfiguration, Refused
from pipeline.source.kafka import KafkaSource, fetch, read_headers
from pipeline.source.kafka.connection import ConnectionLost
from pipeline.source.kafka.fetcher import Fetcher
from tests.integration.kafka.reading import offsets, read_all, read_until, values
from tests.kafka_broker import RELOGIN_SECONDS, Kafka, wait_until

pytestmark = pytest.mark.servers
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SLOW_FOR_TESTS = {"metadata.max.age.ms": 300}


@pytest.fixture
def source(broker: Kafka):
    with KafkaSource(broker.properties | SLOW_FOR_TESTS, patience=60) as opened:
        yield opened


def produce(broker, topic, records, partition=0, **configuration):
    """Records are values, or (key, value, headers)."""
    producer = broker.producer(**configuration)
    for record in records:
        key, value, headers = record if isinstance(record, tuple) else (None, record, None)
        producer.produce(topic, value, key=key, headers=headers, partition=partition)
    assert producer.flush(60) == 0


def numbers(count, size=0):
    return [b'{"n": %d, "x": "%s"}' % (number, b"x" * size) for number in range(count)]


@pytest.mark.parametrize("version", [4, 5, 7, 11, 12, 13])
def test_every_version_of_the_fetch_request(broker, source, monkeypatch, version):
    """Old brokers answer in other shapes: this one speaks them all."""
    topic = f"version-{version}"
    broker.create_topic(topic, 2)
    for partition in (0, 1):
        produce(broker, topic, numbers(100), partition, compression_type="lz4")
    monkeypatch.setattr(fetch, "NEWEST", version)
    monkeypatch.setattr(fetch, "_BY_NAME", min(version, 12))
    with source.open(topic) as reader:
        blocks = read_all(reader)
    assert [sum(len(b) for b in blocks if b.partition == p) for p in (0, 1)] == [100, 100]


@pytest.mark.parametrize("codec", CODECS)
def test_keys_values_headers_and_tombstones_in_every_codec(broker, source, codec):
    broker.create_topic(f"codec-{codec}")
    sent = [
        (b"k%d" % n, None if n % 7 == 0 else b"%d" % n * 40, [("h", b"%d" % n), ("n", None)])
        for n in range(3000)
    ]
    produce(broker, f"codec-{codec}", sent, compression_type=codec)
    with source.open(f"codec-{codec}") as reader:
        blocks = read_all(reader)
    found = [(b.key(i), b.value(i), read_headers(b.headers(i))) for b in blocks for i in range(len(b))]
    assert found == sent
    assert offsets(blocks) == list(range(3000))
    assert blocks[-1].next_offset == 3000 == blocks[-1].high_watermark


def test_create_time_and_log_append_time(broker, source):
    broker.create_topic("created", retention_ms=-1)  # or the record would be older than it may be
    broker.create_topic("appended", message_timestamp_type="LogAppendTime")
    begun = time.time_ns() // 1000
    for topic in ("created", "appended"):
        producer = broker.producer()
        producer.produce(topic, b"1", timestamp=1_500_000_000_123)
        producer.flush()
    with source.open("created") as reader:
        (block,) = read_all(reader)
    assert (block.timestamps.tolist(), block.log_append) == ([1_500_000_000_123_000], False)
    with source.open("appended") as reader:
        (block,) = read_all(reader)
    assert block.log_append
    assert begun - 1000 <= block.timestamps[0] <= time.time_ns() // 1000 + 1000


def test_a_partition_read_to_its_end_tells_since_when(broker, source):
    broker.create_topic("to-the-end", 2)
    begun = time.time_ns() // 1000
    produce(broker, "to-the-end", numbers(10))
    with source.open("to-the-end") as reader:
        wait_until(lambda: set(reader.read_to_end()) == {1}, "the empty one")
        read_all(reader)
        wait_until(lambda: set(reader.read_to_end()) == {0, 1}, "both")
        first = reader.read_to_end()
        assert all(begun < at <= time.time_ns() // 1000 for at in first.values())
        assert reader.lags() == {0: 0, 1: 0}
        wait_until(lambda: reader.read_to_end().get(1, 0) > first[1], "it to be asked again")


@pytest.mark.parametrize("step", ["_send", "_scan"])
def test_received_records_stay_where_the_connection_breaks_then(broker, source, monkeypatch, step):
    """They are received, and not unpacked yet, when something else of that broker fails."""
    topic, real, calls = f"breaks{step}", getattr(Fetcher, step), []

    def breaks_at_the_second(self, *given):
        calls.append(step)
        if len(calls) == 2:
            raise ConnectionLost("the second time")
        return real(self, *given)

    broker.create_topic(topic, 2)
    for partition in (0, 1):
        produce(broker, topic, numbers(500), partition)
    monkeypatch.setattr(Fetcher, step, breaks_at_the_second)
    with source.open(topic) as reader:
        blocks = read_all(reader)
        assert len(calls) >= 2, "it broke"
        for partition in (0, 1):
            produce(broker, topic, numbers(10), partition)
        blocks += read_all(reader)
    assert [offsets(blocks, partition) for partition in (0, 1)] == [list(range(510))] * 2


def test_going_on_from_positions(broker, source):
    broker.create_topic("going-on", 2)
    for partition in (0, 1):
        produce(broker, "going-on", numbers(100), partition, compression_type="lz4")
    with source.open("going-on", {0: 42, 1: 100}) as reader:
        blocks = read_all(reader)
        assert reader.positions() == {0: 100, 1: 100}
    assert values(blocks) == numbers(100)[42:]


def test_only_committed_transactions(broker, source):
    broker.create_topic("transactions")
    producer = broker.producer(transactional_id="t", compression_type="lz4")
    producer.init_transactions(60)
    expected = []
    for turn in range(6):
        producer.begin_transaction()
        for number in range(50):
            value = b"%d-%d" % (turn, number)
            producer.produce("transactions", value, partition=0)
            expected += [value] if turn % 2 == 0 else []
        producer.flush()
        (producer.commit_transaction if turn % 2 == 0 else producer.abort_transaction)(60)
    produce(broker, "transactions", [b"plain"])
    producer.begin_transaction()
    producer.produce("transactions", b"open", partition=0)
    producer.flush()
    produce(broker, "transactions", [b"behind"])
    with source.open("transactions") as reader:
        blocks = read_all(reader)
        assert values(blocks) == [*expected, b"plain"]
        assert reader.read_to_end() == {}
        assert blocks[-1].last_stable_offset < blocks[-1].high_watermark
        producer.abort_transaction(60)
        assert values(read_until(reader, {0: 310})) == [b"behind"]
        wait_until(lambda: set(reader.read_to_end()) == {0}, "the end")
    uncommitted = broker.properties | {"isolation.level": "read_uncommitted"}
    with KafkaSource(uncommitted) as source, source.open("transactions") as reader:
        assert len(values(read_all(reader))) == 303


def test_a_topic_of_aborted_records_only_moves_on(broker, source):
    broker.create_topic("aborted")
    producer = broker.producer(transactional_id="a")
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce("aborted", b"never", partition=0)
    producer.flush()
    producer.abort_transaction(60)
    with source.open("aborted") as reader:
        blocks = read_until(reader, {0: 2})
    assert values(blocks) == []
    assert blocks[-1].next_offset == 2


@pytest.mark.parametrize("how", ["tls", "mutual", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "all"])
def test_security(broker, how):
    properties = {
        "tls": broker.tls,
        "mutual": lambda: broker.tls(client=True),
        "all": lambda: broker.sasl("SCRAM-SHA-512", tls=True),
    }.get(how, lambda: broker.sasl(how))()
    topic = f"secure-{how}"
    broker.create_topic(topic, 2)
    produce(broker, topic, numbers(1000, 3000), compression_type="zstd")
    with KafkaSource(properties) as source, source.open(topic) as reader:
        assert values(read_all(reader)) == numbers(1000, 3000)


def test_wrong_credentials_and_strangers_are_told(broker):
    broker.create_topic("no-entry")
    stranger = {"ssl.truststore.location": str(broker.secrets.stranger)}
    for properties, message in (
        (broker.sasl("PLAIN", password="wrong"), "does not let bitlake in"),
        (broker.sasl("SCRAM-SHA-256", password="wrong"), "does not let bitlake in"),
        (broker.tls() | stranger, "no TLS connection"),
        (broker.tls() | {"bootstrap.servers": broker.bootstrap()}, "no TLS connection"),
    ):
        with KafkaSource(properties) as source, pytest.raises(BadConfiguration, match=message):
            source.open("no-entry")


def test_a_missing_topic_is_told(source):
    with pytest.raises(BadConfiguration, match="there is no topic missing"):
        source.open("missing")


def test_partitions_added_while_running_are_read_from_their_beginning(broker):
    broker.create_topic("growing")
    produce(broker, "growing", numbers(5))
    late = SLOW_FOR_TESTS | {"auto.offset.reset": "latest"}
    with KafkaSource(broker.properties | late) as source, source.open("growing") as reader:
        assert reader.positions() == {0: 5}
        broker.add_partitions("growing", 3)
        produce(broker, "growing", [b"added"], 2)
        assert values(read_until(reader, {2: 1})) == [b"added"]
        assert reader.partitions == (0, 1, 2)


def test_a_compacted_topic_has_holes(broker, source):
    broker.create_topic(
        "compacted",
        cleanup_policy="compact",
        min_cleanable_dirty_ratio="0.01",
        segment_bytes=1 << 20,
        max_compaction_lag_ms=100,
        segment_ms=200,
        min_compaction_lag_ms=0,
    )
    for turn in range(3):
        produce(broker, "compacted", [(b"k%d" % n, b"%d" % turn, None) for n in range(100)])

    def compacted():
        # A segment is closed by the first append after its time.
        produce(broker, "compacted", [(b"tick", b"", None)])
        with source.open("compacted") as reader:
            found = offsets(read_all(reader))
        return found[:100] == list(range(200, 300))

    wait_until(compacted, "compaction")
    with source.open("compacted", {0: 150}) as reader:
        assert offsets(read_all(reader))[:100] == list(range(200, 300))


def test_one_message_per_batch(broker, source):
    broker.create_topic("tiny", 2)
    for codec in CODECS:
        produce(broker, "tiny", numbers(500), batch_num_messages=1, compression_type=codec)
    with source.open("tiny") as reader:
        assert values(read_all(reader)) == numbers(500) * 5


def test_a_record_larger_than_every_limit(broker):
    broker.create_topic("large", max_message_bytes=32 << 20)
    sent = [b"a", b"x" * (10 << 20), b"b", b"y" * (11 << 20), b"c"]
    produce(broker, "large", sent, message_max_bytes=32 << 20)
    small = {"fetch.max.bytes": 1000, "max.partition.fetch.bytes": 1000}
    properties = broker.properties | small
    with KafkaSource(properties, buffer_bytes=1 << 20) as source, source.open("large") as reader:
        assert values(read_all(reader)) == sent


def test_retention_that_passed_a_position_is_a_refusal(broker, source):
    broker.create_topic("retained", retention_ms=-1, segment_bytes=1 << 20)
    produce(broker, "retained", [b"x" * 100_000 for _ in range(40)], linger_ms=0)
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

    entry = ConfigEntry("retention.bytes", "1500000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource("TOPIC", "retained", incremental_configs=[entry])
    broker.admin.incremental_alter_configs([resource])[resource].result(30)
    consumer = Consumer(broker.properties | {"group.id": "x", "log_level": 0})
    where = TopicPartition("retained", 0)
    wait_until(lambda: consumer.get_watermark_offsets(where, timeout=10)[0] > 5, "retention")
    consumer.close()
    with pytest.raises(Refused, match="retention has deleted"):
        source.open("retained", {0: 5})
    with source.open("retained") as reader:
        blocks = read_all(reader)
        assert blocks[0].first_offset > 5
        assert blocks[-1].next_offset == 40


def test_a_position_beyond_the_end_is_a_refusal(broker, source):
    broker.create_topic("short")
    produce(broker, "short", numbers(3))
    with source.open("short", {0: 17}) as reader, pytest.raises(Refused, match="which ends at 3"):
        while True:
            reader.poll(1)


def test_a_topic_made_anew_is_a_refusal(broker, source):
    broker.create_topic("anew")
    produce(broker, "anew", numbers(3))
    with source.open("anew") as reader:
        identity = reader.topic_id
        assert values(read_all(reader)) == numbers(3)
        broker.delete_topic("anew")
        broker.create_topic("anew")
        produce(broker, "anew", numbers(10))
        with pytest.raises(Refused, match="made anew"):
            while True:
                reader.poll(1)
    with pytest.raises(Refused, match="made anew"):
        source.open("anew", {0: 3}, topic_id=identity)
    with source.open("anew") as reader:
        assert reader.topic_id != identity


def test_a_topic_that_nobody_polls_holds_up_no_other(broker):
    for topic in ("idle", "busy"):
        broker.create_topic(topic, 2)
        produce(broker, topic, numbers(2000, 2000), 1)
    with (
        KafkaSource(broker.properties, buffer_bytes=1 << 20) as source,
        source.open("idle") as idle,
        source.open("busy") as busy,
    ):
        assert len(values(read_all(busy))) == 2000
        assert idle.positions() == {0: 0, 1: 0}
        assert len(values(read_all(idle))) == 2000


def test_queues_are_bounded(broker):
    broker.create_topic("bounded", 4)
    for partition in range(4):
        produce(broker, "bounded", [os.urandom(2000) for _ in range(2000)], partition)
    with KafkaSource(broker.properties, buffer_bytes=2 << 20) as source, source.open("bounded") as reader:
        flow = source.flows()[0]
        wait_until(lambda: all(one.queued for one in flow.partitions.values()), "queues to fill")
        before = None
        while before != (before := sum(one.queued for one in flow.partitions.values())):
            with source.changed:
                source.changed.wait(0.5)
        assert before < 6 << 20
        blocks = reader.poll(1)
        assert {block.partition for block in blocks} == {0, 1, 2, 3}
        assert len(values(blocks)) + len(values(read_all(reader))) == 8000


def test_a_login_that_ends_is_renewed(broker):
    broker.create_topic("renewed")
    with KafkaSource(broker.sasl("PLAIN")) as source, source.open("renewed") as reader:
        end = time.monotonic() + 3 * RELOGIN_SECONDS
        while time.monotonic() < end:
            reader.poll(0.5)
        produce(broker, "renewed", numbers(3))
        assert values(read_all(reader)) == numbers(3)
