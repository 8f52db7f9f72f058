"""Messages from before Kafka 0.11, built by kafka-python."""

import pytest
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from pipeline.source.kafka import NO_TIMESTAMP
from tests.unit.kafka.building import Batch, Record, read


def old(magic, compression, values, base=0):
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=compression, batch_size=1 << 20)
    for index, (key, value) in enumerate(values):
        builder.append(base + index, timestamp=1_500_000_000_000 + index, key=key, value=value)
    raw = bytes(builder.build())
    last = (base + len(values) - 1).to_bytes(8, "big")  # as the broker sets it
    return last + raw[8:] if compression else raw


VALUES = [(b"k", b"a"), (None, b"b"), (b"gone", None)]


@pytest.mark.parametrize("compression", [0, 1])
@pytest.mark.parametrize("magic", [0, 1])
def test_old_messages_are_read(magic, compression):
    raw = old(magic, compression, VALUES) + Batch([Record(b"new")], base=3).bytes()
    found, following, log_append = read(raw)
    assert [(found.key(i), found.value(i)) for i in range(3)] == VALUES
    assert found.offsets.tolist() == [0, 1, 2]
    first = 1_500_000_000_000_000 if magic else NO_TIMESTAMP
    assert found.timestamps[0] == first
    assert (following, log_append) == (3, False)


def test_they_begin_at_the_position():
    found, following, _ = read(old(1, 0, VALUES), 1)
    assert found.offsets.tolist() == [1, 2]
    assert following == 3
