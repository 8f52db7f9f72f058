"""The timelines of a subtask: its keys in memory, and in Flink's state before each checkpoint."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pipeline.engine.generation import PART
from pipeline.engine.timelines import IDLE_SHARE, Applied, Lookups, Timelines, new_rows
from pipeline.flink.change_frames import ChangesFrame, joined
from pipeline.schema import DatasetSchema
from pipeline.temporal import transfer
from pipeline.temporal.keys import with_room
from pipeline.temporal.store import DIRTY, FLAGS, LAST, NEVER, Bytes, Ints
from state.flink import LEFT, FlinkKeys


@dataclass(frozen=True)
class Met:
    """Changes of a frame whose keys are in memory.

    Attributes:
        frame: what is left of it.
        keys: int64[changes], their keys' numbers.
        left: some of these are to be read back from the tables before anything is applied to them.
    """

    frame: ChangesFrame
    keys: Ints
    left: bool


def admit(met: Sequence[Met]) -> Iterator[Applied]:
    """Make changes ready to be applied, in order: those of one partition that follow each other at once."""
    for partition, some in groupby(met, lambda one: one.frame.partition):
        frames = list(some)
        changes = joined([one.frame for one in frames], [one.keys for one in frames])
        yield Applied(changes, partition)


class FlinkTimelines(Timelines):
    """Timelines whose keys come from the map state of the key group that Flink is at, and go there.

    Args:
        state: that map state.
        dated, next_change: as `Timelines` takes them.
    """

    def __init__(self, state: FlinkKeys, *, dated: bool, next_change: bool) -> None:
        super().__init__(None, dated=dated, next_change=next_change)  # type: ignore[arg-type]
        self._state = state
        self._left: list[Ints] = []
        self._written = new_rows()

    def meet(self, frame: bytes) -> Met:
        """Number the keys of a frame of changes, and bring in those that are new: Flink is at their group."""
        part = ChangesFrame.of(frame)
        self.current.keys = with_room(self.current.keys, part.changes)
        before, keys = part.number(self.current.keys)
        leaving = len(self._left)
        self._count_lookups(self.bring(np.arange(before, self.current.count)), part.changes)
        return Met(part, keys, len(self._left) > leaving)

    def restore(self, frames: Iterable[bytes], schema: DatasetSchema) -> None:
        """Apply frames of one key group again that came since its keys were written; their rows are known."""
        lookups = self.lookups
        for admitted in admit([self.meet(frame) for frame in frames]):
            while admitted.done < admitted.changes.key.size:
                Timelines.apply(self, admitted, schema, self._written)
                self.empty(self._written, self.current.life)
        self.lookups = lookups

    def bring(self, numbers: Ints) -> Lookups:
        """Bring new keys of one key group in, as far as the state has them.

        Those that left it for the tables come with `read_back`, before anything is applied to them.
        """
        if not numbers.size:
            return Lookups()
        values = self._state.keys(self._names(numbers))
        left = np.array([value == LEFT for value in values])
        if left.any():
            self._left.append(numbers[left])
        known = [b"" if value is None or value == LEFT else value for value in values]
        ends = np.cumsum([len(value) for value in known])
        data = np.frombuffer(b"".join(known) or b"\0", np.uint8).copy()
        starts = ends - np.array([len(value) for value in known])
        transfer.install(self.current.store, numbers, starts, ends, data)
        new, back = values.count(None), int(np.count_nonzero(left))
        return Lookups(restored=numbers.size - new - back, read_back=back, new=new)

    @property
    def incomplete(self) -> bool:
        """Whether keys are to be read back before anything is applied."""
        return bool(self._left)

    def read_back(self, read: Callable[[Timelines, Ints], None]) -> int:
        """Read all keys back at once that need it; how many."""
        if not self._left:
            return 0
        numbers = np.concatenate(self._left)
        self._left.clear()
        read(self, numbers)
        return numbers.size

    def write_keys(self, numbers: Ints) -> None:
        """Write those of a key group's keys to the state that changed since they were last written."""
        flags = self.current.store.keys[:, FLAGS]
        dirty = numbers[flags[numbers] & DIRTY != 0]
        for part in np.array_split(dirty, max(1, dirty.size // PART)):
            values, starts = self.current.export(part)
            self._state.store(self._names(part), _cut(values, starts))
        flags[dirty] &= ~DIRTY

    def leave_keys(self, idle_since: int) -> int:
        """Leave keys of a key group to the tables that were last changed before a system time; how many."""
        return self._state.leave(idle_since - NEVER)

    def mostly_idle(self, idle_since: int) -> bool:
        """Whether so many of the keys in memory are idle that it is better to forget them all."""
        lasts = self.current.store.keys[: self.current.count, LAST]
        return bool(np.count_nonzero(lasts + NEVER < idle_since) > IDLE_SHARE * lasts.size)

    def forget(self) -> None:
        """Have no keys in memory; all must be written."""
        self.current.clear()

    def _names(self, numbers: Ints) -> list[bytes]:
        at, length = self.current.key_bytes(numbers)
        arena = self.current.keys.arena
        return [arena[i : i + n].tobytes() for i, n in zip(at.tolist(), length.tolist(), strict=True)]


def _cut(data: Bytes, starts: Ints) -> list[bytes]:
    whole, edges = data.tobytes(), starts.tolist()
    return [whole[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]
