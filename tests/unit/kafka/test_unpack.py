"""LZ4 and Snappy, against Arrow's."""

import random

import numpy as np
import pyarrow as pa
import pytest
from numba import njit

from pipeline.source.kafka import unpack
from pipeline.source.kafka.unpack import BROKEN, FULL, SLACK
from tests.unit.kafka.building import aligned

_lz4, _snappy = unpack.lz4, unpack.snappy
KERNELS = {
    "lz4": njit(lambda data, at, end, out, to, limit: _lz4(data, at, end, out, to, limit)),
    "snappy": njit(lambda data, at, end, out, to, limit: _snappy(data, at, end, out, to, limit)),
}


def texts(chance):
    words = [bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40))) for _ in range(20)]
    for size in (0, 1, 4, 5, 12, 13, 15, 16, 17, 60, 64, 100, 1000, 70_000, 300_000):
        yield chance.randbytes(size)
        yield b"\7" * size
        for repeated in range(1, 20):
            yield (chance.randbytes(repeated) * (size // repeated + 1))[:size]
        yield b"".join(chance.choice(words) for _ in range(size // 10))


@pytest.mark.parametrize("codec", KERNELS)
def test_everything_comes_back(codec):
    for text in texts(random.Random(1)):
        raw = pa.compress(text, codec=codec, asbytes=True)
        out = np.empty(len(text) + SLACK, np.uint8)
        assert KERNELS[codec](aligned(raw), 0, len(raw), out, 0, len(text)) == len(text)
        assert out[: len(text)].tobytes() == text
        if text:
            assert KERNELS[codec](aligned(raw), 0, len(raw), out, 0, len(text) - 1) == FULL


@pytest.mark.parametrize("codec", KERNELS)
def test_broken_bytes_write_nothing_beyond_the_room(codec):
    chance = random.Random(2)
    told = 0
    for text in texts(chance):
        raw = pa.compress(text[:2000], codec=codec, asbytes=True)
        for _ in range(20):
            hurt = bytearray(raw)
            hurt[chance.randrange(len(hurt))] = chance.randrange(256)
            end = chance.randrange(len(hurt) + 1)
            limit = chance.randrange(3000)
            out = np.full(limit + SLACK + 100, 0xAB, np.uint8)
            stop = KERNELS[codec](aligned(bytes(hurt)), 0, end, out, 0, limit)
            assert stop in (FULL, BROKEN) or 0 <= stop <= limit
            assert (out[limit + SLACK :] == 0xAB).all()
            told += stop < 0
    assert told > 100


def test_lz4_frames_follow_each_other_and_may_hold_what_is_to_be_skipped():
    one = pa.compress(b"abc" * 50, codec="lz4", asbytes=True)
    raw = one + b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"extra" + one
    out = np.empty(300 + SLACK, np.uint8)
    assert KERNELS["lz4"](aligned(raw), 0, len(raw), out, 0, 300) == 300
    assert out[:300].tobytes() == b"abc" * 100
