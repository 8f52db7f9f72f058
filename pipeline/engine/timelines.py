"""The timelines of a dataset: keys in memory, brought back from the key files when they are met."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.decode.batch import Batch
from pipeline.engine.changes import changes_of, from_log
from pipeline.engine.generation import Generation
from pipeline.engine.journal import Journal
from pipeline.errors import BitlakeError
from pipeline.faults import reach
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US, DatasetSchema
from pipeline.temporal import apply as kernel
from pipeline.temporal import keys as numbering
from pipeline.temporal import transfer
from pipeline.temporal.change import ROW_FIELDS, Changes, Rows
from pipeline.temporal.marks import Marks, read_marks
from pipeline.temporal.matching import new_scratch
from pipeline.temporal.store import DIRTY, FLAGS, LAST, NEVER, Bytes, Ints, reserve
from pipeline.versions.columns import Layout

ROW_ROOM = 1 << 26
ROW_LIMIT = 1 << 23
"""Version rows at which an epoch is full. One change may leave many more, hence the room beyond."""
ROOM = 128 << 20
"""Bytes by which a generation may be larger than its half of the memory: it ends with an epoch."""
IDLE_SHARE = 0.1
"""Where no more of the keys in memory are idle, they may stay there."""


def new_rows() -> Rows:
    """An empty buffer of version rows; memory is taken as it fills."""
    fields, gone = reserve((ROW_ROOM, ROW_FIELDS), np.int64), reserve((ROW_ROOM,), np.int64)
    return Rows(fields, np.zeros(1, np.int64), gone, np.zeros(1, np.int64))  # type: ignore[arg-type]


@dataclass
class Applied:
    """A batch on its way through the kernel.

    Attributes:
        changes: what is in it.
        partition: where it came from.
        done: how many are.
        strayed: keys of these that were met in a second partition for the first time.
    """

    changes: Changes
    partition: int
    done: int = 0
    strayed: int = 0


@dataclass(frozen=True)
class Lookups:
    """Where keys of records were found.

    Attributes:
        met: in memory.
        restored: in the key files.
        read_back: in the tables, to which they were left.
        new: nowhere.
    """

    met: int = 0
    restored: int = 0
    read_back: int = 0
    new: int = 0

    def __add__(self, other: "Lookups") -> "Lookups":
        return Lookups(
            self.met + other.met,
            self.restored + other.restored,
            self.read_back + other.read_back,
            self.new + other.new,
        )


class Timelines:
    """Applies batches to the timelines of one dataset.

    Keys come into memory in generations. When the current one has grown enough, `freeze` begins another: what
    is met again moves there; the frozen one is written (`write`), by another thread, once its last epoch is
    committed, and makes room at the next `freeze`.

    Args:
        journal: the dataset's.
        dated: valid time is in days.
        next_change: a change without an end holds until the next one.
        read_back: brings keys back by number that were left to the tables, given their marks.

    Attributes:
        current: the keys that were met since the last `freeze`.
        frozen: those before; None before the first `freeze`.
        replayed: how many changes the log held when it was replayed; it still holds them.
        lookups: what became of the records' look-ups of their keys so far.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        dated: bool,
        next_change: bool,
        read_back: Callable[["Timelines", Ints, Marks], None] | None = None,
    ) -> None:
        self._read_back = read_back
        self.current = Generation()
        self.frozen: Generation | None = None
        self._journal = journal
        self._scratch = new_scratch()
        self._end = END_OF_TIME_DAY if dated else END_OF_TIME_US
        self._next_change = next_change
        self.replayed = 0
        self.lookups = Lookups()

    def admit(self, batch: Batch, offsets: Ints, clocks: Ints, partition: int) -> Applied:
        """Make a batch of one partition ready to be applied: its keys are numbered and in memory.

        Args:
            batch: decoded records.
            offsets: int64[n], per record.
            clocks: int64[n], the partition's clock at each, in microseconds.
            partition: all records' partition.
        """
        changes = changes_of(batch, offsets, clocks)
        found = self._number(changes, batch.keys, batch.key_start, batch.key_hash.view(np.int64))
        self._count_lookups(found, changes.skip.size - int(np.count_nonzero(changes.skip)))
        return Applied(changes, partition)

    def apply(self, admitted: Applied, schema: DatasetSchema, rows: Rows) -> slice:
        """Apply what is left of a batch in record order, until `rows` is full; which records that were."""
        first = admitted.done
        admitted.done, strayed = kernel.apply(
            self.current.store,
            rows,
            self._scratch,
            admitted.changes,
            first,
            admitted.changes.key.size,
            ROW_LIMIT,
            admitted.partition,
            self._rules(schema),
            False,
        )
        admitted.strayed += strayed
        return slice(first, admitted.done)

    def replay(self, schema: DatasetSchema) -> int:
        """Apply the journal's log to the stored keys; how many changes it holds."""
        rows, rules, count = new_rows(), self._rules(schema), 0
        for entry in self._journal.log():
            partition, keys, starts, hashes, changes = from_log(entry)
            self._number(changes, keys, starts, hashes)
            size = changes.key.size
            store, scratch = self.current.store, self._scratch
            kernel.apply(store, rows, scratch, changes, 0, size, ROW_LIMIT, partition, rules, True)
            count += size
        self.replayed = count
        return count

    def empty(self, rows: Rows, life: object) -> None:
        """Have rows be filled anew that were written, of a generation whose `life` was this."""
        if life is not self.current.life:
            rows.gone_filled[0] = 0
        kernel.empty(self.current.store, rows)

    def checkpoint(self) -> None:
        """Write the keys changed since the last time to the journal, which then needs its log no more.

        Every epoch so far must be committed.
        """
        self.write_some(self.current.dirty())
        self.adopt(None)

    def write_some(self, numbers: Ints) -> None:
        """Write keys beside the journal's log, which is needed until `adopt`; a frozen generation is written.

        Their changes may be logged, too, committed or not: `replay` passes over those that a key has already.
        """
        self.settle()
        reach("before-keys")
        self.current.write(self._journal.files, numbers)
        self.current.store.keys[numbers, FLAGS] &= ~DIRTY

    def adopt(self, epoch: int | None) -> None:
        """Have what was written stand for the journal's log up to an epoch (None: all of it).

        All keys changed until then must be written, with no change that is not committed now.
        """
        reach("between-keys")
        self._journal.drop_log(epoch)
        reach("after-keys")

    def settle(self) -> None:
        """Take note of where the frozen generation was put; it must be written."""
        if self.frozen is not None:
            self.current.settle(self.frozen)

    def freeze(self, memory: int) -> None:
        """Begin a new generation, after `settle`.

        Args:
            memory: as for `full`; the one before leaves its own to the new one if it took no more than half.
        """
        before, self.frozen = self.frozen, self.current
        if before is not None and before.used() <= self._half(memory) + ROOM:
            before.clear()
            self.current = before
        else:
            self.current = Generation()

    def write(self, generation: Generation, epoch: int) -> None:
        """Write a frozen generation to the journal, which then needs its log no more up to an epoch.

        That is the generation's last one, and must be committed.
        """
        reach("before-keys")
        generation.write(self._journal.files, generation.dirty())
        self.adopt(epoch)
        generation.written.set()
        reach("after-shrinking")

    def leave(self, idle_since: int) -> int:
        """Leave keys to the tables that were last changed before a system time; how many.

        Right after a checkpoint: the journal and the tables must hold all of their changes. Nothing may
        refer to the generations or to keys by number.
        """
        left = self._journal.leave_keys(idle_since - NEVER)
        lasts = self.current.store.keys[: self.current.count, LAST]
        if np.count_nonzero(lasts + NEVER < idle_since) > IDLE_SHARE * lasts.size:
            self.current.clear()
        self.frozen = None
        return left

    def used(self) -> int:
        """Bytes of memory that the timelines take, with the index of those on disk."""
        frozen = self.frozen
        return self.current.used() + (frozen.used() if frozen else 0) + self._journal.files.index_bytes()

    def full(self, memory: int) -> bool:
        """Whether the current generation takes its half of what the index leaves of the memory."""
        return self.current.used() > self._half(memory)

    def in_memory(self) -> int:
        """How many keys are in memory; those that moved count twice."""
        return self.current.count + (self.frozen.count if self.frozen else 0)

    def bring(self, numbers: Ints) -> Lookups:
        """Bring keys into the current generation that it has nothing of yet; where they were found."""
        if self.frozen is not None and numbers.size:
            numbers = numbers[~self.current.take_in(numbers, self.frozen)]
        if not numbers.size:
            return Lookups()
        current = self.current
        at, length = current.key_bytes(numbers)
        found = self._journal.files.find(current.hashes(numbers), current.keys.arena, at, length)
        current.places[numbers] = found.places
        left = found.left.astype(bool)
        ends = np.where(left, found.starts, found.ends)
        transfer.install(current.store, numbers, found.starts, ends, found.data)
        if left.any():
            if self._read_back is None:
                raise BitlakeError("keys were left to the tables; nothing here can read them back")
            marks = read_marks(found.data, found.starts[left], found.ends[left])
            self._read_back(self, numbers[left], marks)
        known, read_back = int(np.count_nonzero(found.places)), int(np.count_nonzero(left))
        return Lookups(restored=known - read_back, read_back=read_back, new=numbers.size - known)

    def _count_lookups(self, found: Lookups, changes: int) -> None:
        """Count the look-ups of changes; those whose keys were not found elsewhere had them in memory."""
        self.lookups += replace(found, met=changes - found.restored - found.read_back - found.new)

    def _half(self, memory: int) -> int:
        return (memory - self._journal.files.index_bytes()) // 2

    def _rules(self, schema: DatasetSchema) -> kernel.Rules:
        widths = Layout(schema.parent.values).widths
        return kernel.Rules(self._end, self._next_change, widths)

    def _number(self, changes: Changes, keys: Bytes, starts: Ints, hashes: Ints) -> Lookups:
        """Number the keys; where those were found that were not in memory."""
        current = self.current
        current.keys = numbering.with_room(current.keys, changes.key.size)
        before = numbering.number_all(current.keys, changes.skip, hashes, keys, starts, changes.key)
        return self.bring(np.arange(before, current.count))
