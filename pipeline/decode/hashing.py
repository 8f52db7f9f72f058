"""A keyed hash of bytes that hostile keys can't be made to collide under: SipHash-1-3.

For kernels, and for Python now and then.
"""

import secrets
from typing import Any

import numpy as np

from pipeline.decode.machine import load8, load64
from pipeline.decode.memory import entry_point, inlined

PROCESS_SEED = secrets.randbits(64)
"""The seed of this process; hashes never leave it."""

_V0, _V1 = np.uint64(0x736F6D6570736575), np.uint64(0x646F72616E646F6D)
_V2, _V3 = np.uint64(0x6C7967656E657261), np.uint64(0x7465646279746573)
_SECOND_KEY = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xFF)
_BYTE = np.uint64(8)
_LENGTH = np.uint64(56)
_WORD = np.uint64(64)
_13, _16, _17, _21, _32 = np.uint64(13), np.uint64(16), np.uint64(17), np.uint64(21), np.uint64(32)


@inlined
def _rotate(word: Any, by: Any) -> Any:
    return (word << by) | (word >> (_WORD - by))


@inlined
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 = v0 + v1
    v1 = _rotate(v1, _13) ^ v0
    v0 = _rotate(v0, _32)
    v2 = v2 + v3
    v3 = _rotate(v3, _16) ^ v2
    v0 = v0 + v3
    v3 = _rotate(v3, _21) ^ v0
    v2 = v2 + v1
    v1 = _rotate(v1, _17) ^ v2
    v2 = _rotate(v2, _32)
    return v0, v1, v2, v3


@entry_point
def hash_bytes(array: Any, start: int, end: int, seed: Any) -> Any:
    """The hash of ``array[start:end]`` (uint8) under a uint64 seed, as uint64."""
    second = seed ^ _SECOND_KEY
    v0, v1, v2, v3 = seed ^ _V0, second ^ _V1, seed ^ _V2, second ^ _V3
    at = start
    while at + 8 <= end:
        word = load64(array, at)
        v3 = v3 ^ word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 = v0 ^ word
        at += 8
    last = np.uint64(end - start) << _LENGTH
    shift = np.uint64(0)
    while at < end:
        last = last | (np.uint64(load8(array, at)) << shift)
        shift = shift + _BYTE
        at += 1
    v3 = v3 ^ last
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 = v0 ^ last
    v2 = v2 ^ _FINAL
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3
