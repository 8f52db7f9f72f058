"""Keys and their log in Flink's keyed state: map states, in Flink's RocksDB, of the key group at hand.

Many keys cross to Java and back in one array of bytes (`bitlake.States`): a crossing costs some look-ups.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

LEFT = b"\0"
"""In the place of a key's value: it is in the tables only."""
_LENGTH = struct.Struct("<i")


class FlinkKeys:
    """What the timelines need of a state backend, over a map state from bytes to bytes in thread mode.

    Args:
        state: PyFlink's `MapState`; what it holds depends on the key that Flink is at.
    """

    def __init__(self, state: Any) -> None:
        from pemja import findClass

        self._java, self._state = findClass("bitlake.States"), state._state

    def keys(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Stored keys' values, in the order asked."""
        return list(_parts(self._java.getMany(self._state, _packed(keys))))

    def store(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set keys' values."""
        if keys:
            both = [part for pair in zip(keys, values, strict=True) for part in pair]
            self._java.putMany(self._state, _packed(both))

    def leave(self, before: int) -> int:
        """Put `LEFT` in the place of values that begin with a lesser integer (int64); how many.

        Zero is less than none.
        """
        return int(self._java.leave(self._state, before))


class FlinkLog:
    """Entries of bytes in the order in which they were appended, over a map state as `FlinkKeys` takes it."""

    def __init__(self, state: Any) -> None:
        from pemja import findClass

        self._java, self._state = findClass("bitlake.States"), state._state

    def entries(self) -> list[bytes]:
        """All of them."""
        return [value for value in _parts(self._java.values(self._state)) if value is not None]

    def append(self, number: int, entry: bytes) -> None:
        """Add one; numbers rise from 0."""
        self._java.putMany(self._state, _packed([number.to_bytes(8), entry]))

    def clear(self) -> None:
        """Forget them all."""
        self._state.clear()


def _parts(packed: bytes) -> Iterator[bytes | None]:
    at = 0
    while at < len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size
        yield None if length < 0 else packed[at : at + length]
        at += max(length, 0)


def _packed(parts: Sequence[bytes]) -> bytes:
    return b"".join([piece for part in parts for piece in (_LENGTH.pack(len(part)), part)])
