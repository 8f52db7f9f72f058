"""What came for the key groups since their keys were last written whole, in Flink's state.

A checkpoint so writes as much as came since the last one, however long the histories are that it changed.
Once a log is about as large as its keys, these are written, and it goes: each change is written twice in all.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import zstandard

from pipeline.flink.errors import OtherVersion

LEAST_BYTES = 256 << 10
"""A log that is shorter is never too long."""
_STAGGER = 8
"""Of so many key groups, each writes its keys at another time."""
_SIZE = struct.Struct("<I")
_FORMAT = b"\x02"
"""What entries begin with: another byte for each form that frames had (zstd's own mark before 2026-11-30)."""


class LogState(Protocol):
    """The log of the key group that Flink is at: `state.flink.FlinkLog`."""

    def entries(self) -> list[bytes]:
        """All entries, in order."""
        ...

    def append(self, number: int, entry: bytes) -> None:
        """Add one; numbers rise from 0."""
        ...

    def clear(self) -> None:
        """Forget them all."""
        ...


@dataclass
class _Log:
    waiting: list[bytes] = field(default_factory=list)
    entries: int = 0
    nbytes: int = 0
    unfit: bool = False


class GroupLogs:
    """The logs of a subtask's key groups; but for `note` and `rewrite`, of the one that Flink is at.

    Args:
        state: where they are kept.
    """

    def __init__(self, state: LogState) -> None:
        self._state = state
        self._logs = defaultdict[object, _Log](_Log)
        self._compressor, self._decompressor = zstandard.ZstdCompressor(1), zstandard.ZstdDecompressor()

    def read(self, group: object) -> Iterator[bytes]:
        """The frames since the keys were written; once, before any others are noted."""
        log = self._logs[group]
        for entry in self._state.entries():
            if not entry.startswith(_FORMAT):
                raise OtherVersion
            frames = self._decompressor.decompress(memoryview(entry)[1:])
            log.entries += 1
            log.nbytes += len(frames)
            yield from _frames(frames)

    def note(self, group: object, frame: bytes) -> None:
        """Keep a frame for the next checkpoint."""
        log = self._logs[group]
        log.waiting.append(frame)
        log.nbytes += len(frame)

    def rewrite(self, group: object) -> None:
        """Have the keys written at the next checkpoint: some have changes that did not come in frames."""
        self._logs[group].unfit = True

    def due(self, group: object, number: int, used: int) -> bool:
        """Whether the keys are to be written now, instead of the log.

        Args:
            number: the key group's.
            used: about how many bytes its keys take.
        """
        log = self._logs[group]
        most = max(used, LEAST_BYTES) * (_STAGGER + number % _STAGGER) // _STAGGER
        return log.unfit or log.nbytes > most

    def write(self, group: object) -> None:
        """Write what came since the last checkpoint."""
        log = self._logs[group]
        if log.waiting:
            self._state.append(log.entries, _FORMAT + self._compressor.compress(_entry(log.waiting)))
            log.entries += 1
            log.waiting = []

    def drop(self, group: object) -> None:
        """The keys are written: forget the log."""
        if self._logs[group].entries:
            self._state.clear()
        self._logs[group] = _Log()


def _entry(frames: Sequence[bytes]) -> bytes:
    return b"".join([piece for frame in frames for piece in (_SIZE.pack(len(frame)), frame)])


def _frames(entry: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(entry):
        (size,) = _SIZE.unpack_from(entry, at)
        at += _SIZE.size + size
        yield entry[at - size : at]
