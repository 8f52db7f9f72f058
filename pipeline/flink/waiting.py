"""Changes that wait to be applied together: frames hold a hundred, and each call costs as much as those."""

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.engine.timelines import Applied
from pipeline.flink.log import GroupLogs
from pipeline.flink.timelines import Met, admit


class _Frame(NamedTuple):
    group: object
    frame: bytes
    met: Met


class Waiting:
    """Frames of changes whose keys are in memory, of all key groups of a subtask.

    Args:
        logs: have the frames in the order in which they are taken.

    Attributes:
        changes: how many wait.
    """

    def __init__(self, logs: GroupLogs) -> None:
        self._logs, self._frames, self.changes = logs, list[_Frame](), 0

    def add(self, group: object, frame: bytes, met: Met) -> None:
        """Have a frame of a key group wait."""
        self._frames.append(_Frame(group, frame, met))
        self.changes += met.keys.size

    def take(self) -> Iterator[Applied]:
        """All that wait, those of one partition together: in any order but that of a partition's records."""
        frames = sorted(self._frames, key=lambda one: one.met.frame.partition)
        self._frames, self.changes = [], 0
        for one in frames:
            self._logs.note(one.group, one.frame)
        return admit([one.met for one in frames])
