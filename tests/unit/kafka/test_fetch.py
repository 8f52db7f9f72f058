"""Answers to fetch requests, as kafka-python writes them."""

import random
from uuid import UUID

import pytest
from kafka.protocol.consumer.fetch import FetchResponse

from pipeline.source.kafka.fetch import Unreadable, read_answer
from tests.unit.kafka.building import aligned

TOPIC, ID = "bonds", UUID(int=7)
VERSIONS = [4, 5, 7, 10, 11, 12, 13]
kind = FetchResponse.FetchableTopicResponse


def answer(version: int) -> bytes:
    partitions = [
        kind.PartitionData(
            partition_index=number,
            error_code=6 * number,
            high_watermark=100,
            last_stable_offset=90,
            log_start_offset=1,
            aborted_transactions=[
                kind.PartitionData.AbortedTransaction(producer_id=5, first_offset=80),
                kind.PartitionData.AbortedTransaction(producer_id=4, first_offset=70),
            ]
            if number == 0
            else None,
            preferred_read_replica=3,
            records=b"records" if number == 0 else b"",
        )
        for number in range(2)
    ]
    response = FetchResponse(
        version=version,
        throttle_time_ms=1,
        error_code=0,
        session_id=9,
        responses=[kind(topic=TOPIC, topic_id=ID, partitions=partitions)],
    )
    response.with_header(correlation_id=1)
    return bytes(response.encode(header=True))


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_of_every_version(version):
    raw = answer(version)
    error, (first, second) = read_answer(aligned(raw), len(raw), version)
    assert error == 0
    assert first.topic == (ID if version >= 13 else TOPIC)
    assert (first.partition, second.partition, first.error, second.error) == (0, 1, 0, 6)
    assert (first.high_watermark, first.last_stable_offset) == (100, 90)
    assert first.preferred == (3 if version >= 11 else -1)
    assert first.aborted.tolist() == [[4, 70, 0], [5, 80, 0]]
    assert raw[first.begin : first.end] == b"records"
    assert second.begin == second.end
    assert len(second.aborted) == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_hostile_answers_are_told_or_stay_inside(version):
    chance = random.Random(version)
    raw = answer(version)
    told = 0
    for _ in range(2000):
        hurt = bytearray(raw)
        hurt[chance.randrange(len(hurt))] = chance.randrange(256)
        end = chance.randrange(4, len(hurt) + 1)
        try:
            _, found = read_answer(aligned(bytes(hurt)), end, version)
        except Unreadable:
            told += 1
            continue
        assert all(0 <= one.begin <= one.end <= end for one in found)
    assert told > 100
