"""The timelines of a dataset: all keys in memory, brought back from the state backend when first met."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipeline.decode.batch import Batch
from pipeline.engine.changes import changes_of, from_log
from pipeline.engine.journal import LEFT, Journal
from pipeline.errors import BitlakeError
from pipeline.faults import reach
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US, DatasetSchema
from pipeline.temporal import apply as kernel
from pipeline.temporal import keys as numbering
from pipeline.temporal import transfer
from pipeline.temporal.change import ROW_FIELDS, Changes, Rows
from pipeline.temporal.matching import new_scratch
from pipeline.temporal.store import (
    DIRTY,
    FLAGS,
    KEY_FIELDS,
    LAST,
    LENGTH_BITS,
    NEVER,
    NEXT_PAGE,
    NEXT_SEGMENT,
    PAGE_FIELDS,
    SEGMENT_FIELDS,
    USED_SHIFT,
    Bytes,
    Ints,
    Store,
    new_store,
    reserve,
)
from pipeline.versions.columns import Layout

log = logging.getLogger(__name__)

ROW_ROOM = 1 << 26
ROW_LIMIT = 1 << 23
"""Version rows at which an epoch is full. One change may leave many more, hence the room beyond."""
KEPT_SHARE = 0.9
"""Where more of the keys in memory are to stay, all do: leaving some out means to write all others anew."""
PART = 50_000
"""Keys written or moved at a time."""


def new_rows() -> Rows:
    """An empty buffer of version rows; memory is taken as it fills."""
    return Rows(reserve((ROW_ROOM, ROW_FIELDS), np.int64), np.zeros(1, np.int64))  # type: ignore[arg-type]


@dataclass
class Applied:
    """A batch on its way through the kernel.

    Attributes:
        changes: what is in it.
        partition: where it came from.
        clock: the partition's, in microseconds, after those applied so far.
        done: how many are.
        strayed: keys of these that were met in a second partition for the first time.
    """

    changes: Changes
    partition: int
    clock: int
    done: int = 0
    strayed: int = 0


@dataclass(frozen=True)
class Lookups:
    """Where keys of records were found.

    Attributes:
        met: in memory.
        restored: in the state backend.
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

    Args:
        journal: the dataset's.
        dated: valid time is in days.
        next_change: a change without an end holds until the next one.
        read_back: brings keys back by number whose state was left to the tables.

    Attributes:
        replayed: how many changes the log held when it was replayed; it still holds them.
        lookups: what became of the records' look-ups of their keys so far.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        dated: bool,
        next_change: bool,
        read_back: Callable[["Timelines", Ints], None] | None = None,
    ) -> None:
        self._read_back = read_back
        self.store, self.keys = new_store(), numbering.new_keys()
        self._journal = journal
        self._scratch = new_scratch()
        self._stored = journal.has_keys()
        self._end = END_OF_TIME_DAY if dated else END_OF_TIME_US
        self._next_change = next_change
        self._generation = 0
        self.replayed = 0
        self.lookups = Lookups()

    def admit(self, batch: Batch, offsets: Ints, timestamps: Ints, partition: int, clock: int) -> Applied:
        """Make a batch of one partition ready to be applied: its keys are numbered and in memory.

        Args:
            batch: decoded records.
            offsets, timestamps: int64[n], per record.
            partition: all records' partition.
            clock: the partition's clock before, in microseconds.
        """
        changes = changes_of(batch, offsets, timestamps)
        found = self._number(changes, batch.keys, batch.key_start, batch.key_hash.view(np.int64))
        records = changes.skip.size - int(np.count_nonzero(changes.skip))
        met = records - found.restored - found.read_back - found.new
        self.lookups += replace(found, met=met)
        return Applied(changes, partition, clock)

    def apply(self, admitted: Applied, schema: DatasetSchema, rows: Rows) -> slice:
        """Apply what is left of a batch in record order, until `rows` is full; which records that were."""
        first = admitted.done
        admitted.done, admitted.clock, strayed = kernel.apply(
            self.store,
            rows,
            self._scratch,
            admitted.changes,
            first,
            admitted.changes.key.size,
            ROW_LIMIT,
            admitted.partition,
            admitted.clock,
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
            kernel.apply(
                self.store, rows, self._scratch, changes, 0, size, ROW_LIMIT, partition, 0, rules, True
            )
            count += size
        self.replayed = count
        return count

    def checkpoint(self) -> None:
        """Write the keys changed since the last time to the journal, which then needs its log no more."""
        reach("before-keys")
        flags = self.store.keys[: int(self.keys.used[0]), FLAGS]
        dirty = np.flatnonzero(flags & DIRTY)
        for part in np.array_split(dirty, max(1, dirty.size // PART)):
            keys, values = _export(self.store, self.keys, part)
            self._journal.store_keys(keys, values, then_drop_log=False)
        reach("between-keys")
        self._journal.store_keys([], [], then_drop_log=True)
        reach("after-keys")
        flags &= ~DIRTY
        self._stored = True

    def leave(self, idle_since: int) -> None:
        """Leave keys to the tables that were last changed before a system time; the journal marks them.

        Right after a checkpoint: the journal and the tables must hold all of their changes. Nothing may
        refer to the store or to keys by number.
        """
        left = self._journal.leave_keys(lambda value: transfer.last_of(value) + NEVER < idle_since)
        count = int(self.keys.used[0])
        active = np.flatnonzero(self.store.keys[:count, LAST] + NEVER >= idle_since)
        if left:
            log.info("idle keys left the state", extra={"keys": left, "in_memory": count - active.size})
        if active.size <= KEPT_SHARE * count:
            self._keep(active)

    def used(self) -> int:
        """Bytes of memory that the timelines take."""
        store, segment = self.store, 8 * SEGMENT_FIELDS
        segments = int(store.parents.counters[NEXT_SEGMENT] + store.children.counters[NEXT_SEGMENT])
        pages = int(store.parents.counters[NEXT_PAGE] + store.children.counters[NEXT_PAGE])
        keys, key_bytes = (int(n) for n in self.keys.used)
        per_key = 8 * (KEY_FIELDS + numbering.KNOWN_FIELDS) + 4 * self.keys.table.size // max(1, keys)
        return segment * segments + 8 * PAGE_FIELDS * pages + int(store.used[0]) + per_key * keys + key_bytes

    def shrink(self, target: int) -> int:
        """Keep the keys used last, in about `target` bytes of fresh memory; how many are left out.

        The others come back from the journal when they are met: all keys must have been written to it, and
        nothing may refer to the store or to keys by number.
        """
        before, kept = int(self.keys.used[0]), self._used_last(target)
        self._keep(kept)
        return before - kept.size

    def places(self, numbers: Ints) -> Ints:
        """Where the canonical bytes of keys start in the keys' arena."""
        return np.asarray((self.keys.known[numbers, numbering.REFERENCE] >> LENGTH_BITS) << 3)

    def _keep(self, kept: Ints) -> None:
        """Keep only these keys, in fresh memory."""
        store, keys = self.store, self.keys
        self.store, self.keys = new_store(), numbering.with_room(numbering.new_keys(), kept.size)
        for part in np.array_split(kept, max(1, kept.size // PART)):
            names, values = _export(store, keys, part)
            self._adopt(names, values, np.ascontiguousarray(keys.known[part, numbering.HASH]))

    def _used_last(self, target: int) -> Ints:
        """The keys used last that together take about `target` bytes; in order of their numbers."""
        numbers = np.arange(int(self.keys.used[0]))
        starts = np.zeros(numbers.size + 1, np.int64)
        transfer.sizes(self.store, numbers, starts)
        # Pages have room to spare, and a segment is somewhat larger in memory than outside.
        sizes = 2 * np.diff(starts)
        latest_first = np.argsort(-(self.store.keys[: numbers.size, FLAGS] >> USED_SHIFT), kind="stable")
        fitting = int(np.searchsorted(np.cumsum(sizes[latest_first]), target, side="right"))
        return np.sort(latest_first[:fitting])

    def _adopt(self, names: list[bytes], values: list[bytes], hashes: Ints) -> None:
        """Take keys in that were exported from another store."""
        data, starts = _joined(names)
        numbers, skip = np.empty(len(names), np.int64), np.zeros(len(names), np.uint8)
        numbering.number_all(self.keys, skip, hashes, data, starts, numbers)
        content, content_starts = _joined(values)
        transfer.install(self.store, numbers, content_starts, content)

    def _rules(self, schema: DatasetSchema) -> kernel.Rules:
        self._generation += 1
        widths = Layout(schema.parent.values).widths
        return kernel.Rules(self._end, self._next_change, widths, self._generation)

    def _number(self, changes: Changes, keys: Bytes, starts: Ints, hashes: Ints) -> Lookups:
        """Number the keys; where those were found that were not in memory."""
        self.keys = numbering.with_room(self.keys, changes.key.size)
        before = numbering.number_all(self.keys, changes.skip, hashes, keys, starts, changes.key)
        count = int(self.keys.used[0])
        if self._stored and count > before:
            return self._install(np.arange(before, count))
        return Lookups(new=count - before)

    def _install(self, numbers: Ints) -> Lookups:
        found = self._journal.keys(_key_bytes(self.keys, numbers))
        left = np.array([value == LEFT for value in found], bool)
        data, starts = _joined([b"" if value is None or value == LEFT else value for value in found])
        transfer.install(self.store, numbers, starts, data)
        if left.any():
            if self._read_back is None:
                raise BitlakeError("keys were left to the tables; nothing here can read them back")
            self._read_back(self, numbers[left])
        new, read_back = found.count(None), int(np.count_nonzero(left))
        return Lookups(restored=len(found) - new - read_back, read_back=read_back, new=new)


def _joined(parts: list[bytes]) -> tuple[Bytes, Ints]:
    """The parts one after the other, and where each starts; the bytes are never empty."""
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return np.frombuffer(b"".join(parts) or b"\0", np.uint8).copy(), starts


def _key_bytes(keys: numbering.Keys, numbers: Ints) -> list[bytes]:
    """Keys' canonical bytes."""
    references = keys.known[numbers, numbering.REFERENCE]
    starts = (references >> LENGTH_BITS) << 3
    ends = starts + (references & ((1 << LENGTH_BITS) - 1))
    return [
        keys.arena[start:end].tobytes() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


def _export(store: Store, keys: numbering.Keys, numbers: Ints) -> tuple[list[bytes], list[bytes]]:
    """Keys' canonical bytes, and what the journal keeps of each."""
    starts = np.zeros(numbers.size + 1, np.int64)
    transfer.sizes(store, numbers, starts)
    out = np.empty(int(starts[-1]), np.uint8)
    transfer.export(store, numbers, starts, out)
    data, at = out.tobytes(), starts.tolist()
    return _key_bytes(keys, numbers), [data[at[i] : at[i + 1]] for i in range(numbers.size)]
