"""The timelines of a subtask: all its keys in memory, and in Flink's state before each checkpoint."""

import numpy as np

from pipeline.engine.timelines import Lookups, Timelines
from pipeline.temporal import transfer
from pipeline.temporal.store import DIRTY, FLAGS, Bytes, Ints
from state.flink import FlinkKeys

PART = 50_000
"""Keys written at a time."""


class FlinkTimelines(Timelines):
    """Timelines whose keys come from the map state of the key group that Flink is at, and go there.

    Args:
        state: that map state.
        dated, next_change: as `Timelines` takes them.
    """

    def __init__(self, state: FlinkKeys, *, dated: bool, next_change: bool) -> None:
        super().__init__(None, dated=dated, next_change=next_change)  # type: ignore[arg-type]
        self._state = state

    def bring(self, numbers: Ints) -> Lookups:
        """Bring new keys of one key group in, as far as the state has them."""
        if not numbers.size:
            return Lookups()
        values = self._state.keys(self._names(numbers))
        known = [value or b"" for value in values]
        ends = np.cumsum([len(value) for value in known])
        data = np.frombuffer(b"".join(known) or b"\0", np.uint8).copy()
        starts = ends - np.array([len(value) for value in known])
        transfer.install(self.current.store, numbers, starts, ends, data)
        new = values.count(None)
        return Lookups(restored=numbers.size - new, new=new)

    def write_keys(self, numbers: Ints) -> None:
        """Write those of a key group's keys to the state that changed since they were last written."""
        flags = self.current.store.keys[:, FLAGS]
        dirty = numbers[flags[numbers] & DIRTY != 0]
        for part in np.array_split(dirty, max(1, dirty.size // PART)):
            values, starts = self.current.export(part)
            self._state.store(self._names(part), _cut(values, starts))
        flags[dirty] &= ~DIRTY

    def _names(self, numbers: Ints) -> list[bytes]:
        at, length = self.current.key_bytes(numbers)
        arena = self.current.keys.arena
        return [arena[i : i + n].tobytes() for i, n in zip(at.tolist(), length.tolist(), strict=True)]


def _cut(data: Bytes, starts: Ints) -> list[bytes]:
    whole, edges = data.tobytes(), starts.tolist()
    return [whole[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]
