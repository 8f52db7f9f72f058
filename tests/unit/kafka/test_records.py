"""Record batches: what is in them, and what is wrong with them."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.kafka import NO_TIMESTAMP, read_headers, records
from pipeline.source.kafka.records import BrokenBatch
from tests.unit.kafka.building import (
    CONTROL,
    GZIP,
    LOG_APPEND,
    LZ4,
    NONE,
    SNAPPY,
    TRANSACTIONAL,
    ZSTD,
    Batch,
    Record,
    packed,
    read,
    sealed,
    xerial,
)
from tests.unit.kafka.building import record as record_bytes

CODECS = [NONE, GZIP, SNAPPY, LZ4, ZSTD]
COMMIT, ABORT = Record(b"\0\0\0\0\0\0", b"\0\0\0\1"), Record(b"\0\0\0\0\0\0", b"\0\0\0\0")
MIXED = [
    Record(b'{"a": 1}', b"k", [("h", b"1"), ("h", None), ("\u00e9", b"")]),
    Record(None, b"gone"),
    Record(b"", b""),
    Record(b"x" * 70_000, None, later=300),
    Record(bytes(range(256)) * 9, b"\0" * 200, later=-5, delta=9),
]
parts = st.none() | st.binary(max_size=300)
some_records = st.lists(
    st.builds(
        Record,
        value=parts,
        key=parts,
        headers=st.lists(st.tuples(st.text(max_size=5), parts), max_size=3),
        later=st.integers(-(10**6), 10**6),
    ),
    max_size=20,
)


def as_told(found, index):
    return Record(
        found.value(index), found.key(index), [(n, v) for n, v in read_headers(found.headers(index))]
    )


@pytest.mark.parametrize("codec", CODECS)
def test_all_parts_of_records_come_out_whatever_the_codec(codec):
    raw = Batch(MIXED, base=100, attributes=codec).bytes()
    found, following, log_append = read(raw, 100)
    assert [as_told(found, i) for i in range(5)] == [Record(r.value, r.key, list(r.headers)) for r in MIXED]
    assert found.offsets.tolist() == [100, 101, 102, 103, 109]
    assert found.timestamps.tolist() == [1_700_000_000_000_000 + r.later * 1000 for r in MIXED]
    assert (following, log_append) == (110, False)


@given(st.lists(st.tuples(some_records, st.sampled_from(CODECS)), max_size=4))
def test_any_records_come_out_as_they_went_in(batches):
    raw, expected, base = b"", [], 0
    for chosen, codec in batches:
        raw += Batch(chosen, base=base, attributes=codec).bytes()
        expected += [Record(r.value, r.key, [*r.headers]) for r in chosen]
        base += max(len(chosen), 1)
    found, following, _ = read(raw)
    assert [as_told(found, i) for i in range(len(found))] == expected
    assert following == base


def test_snappy_in_the_frames_of_java():
    body = b"".join(map(record_bytes, MIXED, range(5)))
    raw = sealed(xerial(body), attributes=SNAPPY, last=4, count=5)
    found, _, _ = read(raw)
    assert [found.value(i) for i in range(5)] == [r.value for r in MIXED]


def test_the_brokers_time_holds_for_all_records_of_its_batch():
    raw = Batch(MIXED, attributes=LOG_APPEND | LZ4, max_ms=1_800_000_000_123).bytes()
    found, _, log_append = read(raw)
    assert set(found.timestamps.tolist()) == {1_800_000_000_123_000}
    assert log_append


@pytest.mark.parametrize(
    ("milliseconds", "microseconds"),
    [
        (-1, NO_TIMESTAMP),
        (-2, -2000),
        (0, 0),
        (2**62, (2**63 - 1) // 1000 * 1000),
        (-(2**62), -((2**63 - 1) // 1000) * 1000),
    ],
)
def test_times_that_are_none_or_beyond_measure(milliseconds, microseconds):
    found, _, _ = read(Batch([Record(b"")], first_ms=milliseconds).bytes())
    assert found.timestamps.tolist() == [microseconds]


def test_records_before_the_position_are_left_out():
    raw = (
        Batch([Record(b"%d" % i) for i in range(10)], base=5).bytes() + Batch([Record(b"z")], base=15).bytes()
    )
    found, following, _ = read(raw, 12)
    assert [found.value(i) for i in range(len(found))] == [b"7", b"8", b"9", b"z"]
    assert following == 16


def test_a_batch_cut_off_at_the_end_waits_for_the_next_fetch():
    first, second = Batch([Record(b"a")]).bytes(), Batch([Record(b"b")], base=1).bytes()
    for size in range(len(second)):
        found, following, _ = read(first + second[:size])
        assert (len(found), following) == (1, 1)
    found, following, _ = read(b"", 7)
    assert (len(found), following) == (0, 7)


def test_a_compacted_batch_without_records_moves_the_position():
    found, following, _ = read(Batch([], base=3, changed={"last": 40}).bytes(), 3)
    assert (len(found), following) == (0, 44)


def transactions(*steps):
    """Batches from (producer, value) or (producer, marker)."""
    raw = b""
    for base, (producer, what) in enumerate(steps):
        marker = isinstance(what, Record)
        attributes = TRANSACTIONAL | (CONTROL if marker else 0)
        raw += Batch([what if marker else Record(what)], base, attributes, producer=producer).bytes()
    return raw


def test_aborted_transactions_and_markers_are_left_out():
    raw = transactions(
        (1, b"a"),
        (2, b"b"),
        (1, ABORT),
        (1, b"c"),
        (2, COMMIT),
        (1, COMMIT),
        (2, b"d"),
        (1, b"e"),
        (2, ABORT),
        (1, COMMIT),
    )
    found, following, _ = read(raw + Batch([Record(b"plain")], base=10).bytes(), 0, [(1, 0), (2, 6)])
    assert [found.value(i) for i in range(len(found))] == [b"b", b"c", b"e", b"plain"]
    assert following == 11


def test_a_producer_may_abort_again_and_again():
    raw = transactions((1, b"a"), (1, ABORT), (1, b"b"), (1, COMMIT), (1, b"c"), (1, ABORT), (1, b"d"))
    found, _, _ = read(raw, 0, [(1, 0), (1, 4)])
    assert [found.value(i) for i in range(len(found))] == [b"b", b"d"]


def broken(raw, reason, offset=0):
    with pytest.raises(BrokenBatch, match=reason) as caught:
        read(raw)
    assert caught.value.offset == offset


def test_a_checksum_that_does_not_fit_is_told_once_the_good_ones_are_read():
    good, bad = Batch([Record(b"a")]).bytes(), bytearray(Batch([Record(b"b")], base=1).bytes())
    bad[-2] ^= 1
    found, following, _ = read(good + bytes(bad))
    assert (len(found), following) == (1, 1)
    broken(bytes(bad), "checksum", 1)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (Batch([Record(b"a")], changed={"magic": 3}).bytes(), "newer"),
        (Batch([Record(b"a")], attributes=5).bytes(), "compressed by a method"),
        (Batch([Record(b"a")], changed={"count": 2}).bytes(), "records make no sense"),
        (Batch([Record(b"a")], changed={"count": 0}).bytes(), "records make no sense"),
        (Batch([Record(b"a")], changed={"count": 2**31 - 1}).bytes(), "records make no sense"),
        (Batch([Record(b"a")], changed={"count": -1}).bytes(), "header makes no sense"),
        (Batch([Record(b"a")], base=-5).bytes(), "header makes no sense"),
        (Batch([Record(b"a", delta=3)], changed={"last": 2}).bytes(), "records make no sense"),
        (Batch([Record(b"a", delta=3), Record(b"b", delta=3)]).bytes(), "records make no sense"),
        (sealed(b"\x0e\0\0\0\x80", last=0), "records make no sense"),
        (sealed(b"\xff" * 10, last=0), "records make no sense"),
        (sealed(b"nonsense", attributes=LZ4), "decompressed"),
        (sealed(b"nonsense", attributes=SNAPPY), "decompressed"),
        (sealed(b"nonsense", attributes=GZIP), "decompressed"),
        (sealed(b"nonsense", attributes=ZSTD), "decompressed"),
    ],
    ids=lambda told: told if isinstance(told, str) else "",
)
def test_broken_batches_are_told(raw, reason):
    broken(raw, reason, -5 if raw[:8] == b"\xff\xff\xff\xff\xff\xff\xff\xfb" else 0)


def test_a_length_below_the_least_is_no_endless_loop():
    raw = bytearray(Batch([Record(b"a")]).bytes())
    raw[8:12] = b"\0\0\0\0"
    broken(bytes(raw), "header makes no sense")


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_bomb_is_refused(codec, monkeypatch):
    monkeypatch.setattr(records, "MOST_UNPACKED", 1 << 20)
    broken(Batch([Record(b"\0" * (5 << 20))], attributes=codec).bytes(), "MiB when decompressed")


@pytest.mark.parametrize("codec", CODECS)
def test_hostile_bytes_are_told_or_read_and_nothing_else(codec):
    """Behind a checksum that fits: bytes changed, cut off and doubled, a few thousand times."""
    chance = random.Random(codec)
    body = b"".join(
        map(record_bytes, [Record(b"%d" % i * 9, b"k", [("h", b"v")]) for i in range(30)], range(30))
    )
    told = 0
    for _ in range(1500):
        hurt = bytearray(packed(body, codec) if chance.random() < 0.8 else body)
        for _ in range(chance.randrange(1, 4)):
            hurt[chance.randrange(len(hurt))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        hurt = hurt[: chance.randrange(1, len(hurt) + 1)] if chance.random() < 0.3 else hurt
        try:
            found, _, _ = read(sealed(bytes(hurt), attributes=codec, last=29, count=30))
        except BrokenBatch:
            told += 1
            continue
        limit = len(found.buffer)
        for starts, ends in ((found.starts, found.ends), (found.key_starts, found.key_ends)):
            assert ((starts == -1) | (starts >= 0) & (starts <= ends) & (ends <= limit)).all()
        assert (np.diff(found.offsets) > 0).all()
    assert told > 100
