"""Brokers that stop, and partitions that get other leaders."""

import signal
import time

import pytest

from pipeline.errors import Unavailable
from pipeline.source.kafka import KafkaSource
from tests.integration.kafka.reading import read_all, read_until, values
from tests.kafka_broker import Kafka, kafka, wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    racks = {
        "broker.rack": "rack-{node}",
        "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    }
    with kafka(tmp_path_factory.mktemp("brokers"), brokers=2, heap="384m", settings=racks) as running:
        yield running


def produce(cluster: Kafka, topic, records):
    producer = cluster.producer(acks="all")
    for record in records:
        producer.produce(topic, record, partition=0)
    assert producer.flush(60) == 0


def test_reading_goes_on_with_another_leader(cluster):
    cluster.create_topic("led", assignment=[[2, 1]])
    produce(cluster, "led", [b"1", b"2"])
    with KafkaSource(cluster.properties) as source, source.open("led") as reader:
        assert values(read_all(reader)) == [b"1", b"2"]
        cluster.broker(2).stop(signal.SIGKILL)
        wait_until(lambda: cluster.leader("led") == 1, "another leader")
        produce(cluster, "led", [b"3"])
        assert values(read_until(reader, {0: 3})) == [b"3"]
        cluster.broker(2).start()
        cluster.wait(2)
        produce(cluster, "led", [b"4"])
        assert values(read_until(reader, {0: 4})) == [b"4"]


def test_the_replica_in_our_rack_is_read(cluster):
    cluster.create_topic("near", assignment=[[2, 1]])
    produce(cluster, "near", [b"1", b"2"])
    near = cluster.properties | {"client.rack": "rack-1"}
    with KafkaSource(near) as source, source.open("near") as reader:
        assert values(read_all(reader)) == [b"1", b"2"]
        partition = source.flows()[0].partitions[0]
        assert (partition.leader.node, partition.node(time.monotonic())) == (2, 1)
        cluster.broker(2).stop(signal.SIGKILL)
        wait_until(lambda: cluster.leader("near") == 1, "another leader")
        produce(cluster, "near", [b"3"])
        assert values(read_until(reader, {0: 3})) == [b"3"]
        cluster.broker(2).start()
        cluster.wait(2)


def test_brokers_away_for_a_while_and_back(cluster):
    cluster.create_topic("away", assignment=[[2]])
    produce(cluster, "away", [b"1"])
    with KafkaSource(cluster.properties, patience=3) as source, source.open("away") as reader:
        assert values(read_all(reader)) == [b"1"]
        cluster.broker(2).stop()
        with pytest.raises(Unavailable, match="could not be read for 3 s"):
            while True:
                reader.poll(1)
        cluster.broker(2).start()
        cluster.wait(2)
        produce(cluster, "away", [b"2"])
        found = []
        while b"2" not in found:
            try:
                found += values(reader.poll(1))
            except Unavailable:
                continue
        assert found == [b"2"]


def test_no_broker_at_all():
    nowhere = {"bootstrap.servers": "127.0.0.1:1"}
    told = pytest.raises(Unavailable, match="Kafka does not answer")
    with KafkaSource(nowhere, patience=0.5) as source, told:
        source.open("any")
