"""The timelines of a dataset: all keys in memory, brought back from the state backend when first met."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.batch import Batch
from pipeline.engine.changes import changes_of, from_log
from pipeline.engine.journal import Journal
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US, DatasetSchema
from pipeline.temporal import apply as kernel
from pipeline.temporal import keys as numbering
from pipeline.temporal import transfer
from pipeline.temporal.change import ROW_FIELDS, Changes, Rows
from pipeline.temporal.children import new_scratch
from pipeline.temporal.store import DIRTY, FLAGS, LENGTH_BITS, Bytes, Ints, new_store, reserve
from pipeline.versions.columns import Layout

ROW_ROOM = 1 << 26
ROW_LIMIT = 1 << 23
"""Version rows at which an epoch is full. One change may leave many more, hence the room beyond."""


def new_rows() -> Rows:
    """An empty buffer of version rows; memory is taken as it fills."""
    return Rows(reserve((ROW_ROOM, ROW_FIELDS), np.int64), np.zeros(1, np.int64))  # type: ignore[arg-type]


@dataclass
class Applied:
    """A batch on its way through the kernel: the changes, those applied so far, and the clock after them."""

    changes: Changes
    partition: int
    clock: int
    done: int = 0


class Timelines:
    """Applies batches to the timelines of one dataset."""

    def __init__(self, journal: Journal, *, dated: bool, next_change: bool) -> None:
        self.store, self.keys = new_store(), numbering.new_keys()
        self._journal = journal
        self._scratch = new_scratch()
        self._stored = journal.has_keys()
        self._end = END_OF_TIME_DAY if dated else END_OF_TIME_US
        self._next_change = next_change

    def admit(self, batch: Batch, offsets: Ints, timestamps: Ints, partition: int, clock: int) -> Applied:
        """Make a batch of one partition ready to be applied: its keys are numbered and in memory.

        Args:
            batch: decoded records.
            offsets, timestamps: int64[n], per record.
            partition: all records' partition.
            clock: the partition's clock before, in microseconds.
        """
        changes = changes_of(batch, offsets, timestamps)
        self._number(changes, batch.keys, batch.key_start, batch.key_hash.view(np.int64))
        return Applied(changes, partition, clock)

    def apply(self, admitted: Applied, schema: DatasetSchema, rows: Rows) -> slice:
        """Apply what is left of a batch in record order, until `rows` is full; which records that were."""
        first = admitted.done
        admitted.done, admitted.clock = kernel.apply(
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
        return count

    def checkpoint(self) -> None:
        """Write the keys changed since the last time to the journal, which then needs its log no more."""
        flags = self.store.keys[: int(self.keys.used[0]), FLAGS]
        dirty = np.flatnonzero(flags & DIRTY)
        for part in np.array_split(dirty, max(1, dirty.size // 50_000)):
            keys, values = self._export(part)
            self._journal.store_keys(keys, values, then_drop_log=False)
        self._journal.store_keys([], [], then_drop_log=True)
        flags &= ~DIRTY
        self._stored = True

    def key_bytes(self, number: int) -> bytes:
        """A key's canonical bytes."""
        reference = int(self.keys.known[number, numbering.REFERENCE])
        at = (reference >> LENGTH_BITS) << 3
        return self.keys.arena[at : at + (reference & ((1 << LENGTH_BITS) - 1))].tobytes()

    def _rules(self, schema: DatasetSchema) -> kernel.Rules:
        return kernel.Rules(self._end, self._next_change, Layout(schema.parent.values).widths)

    def _number(self, changes: Changes, keys: Bytes, starts: Ints, hashes: Ints) -> None:
        self.keys = numbering.with_room(self.keys, changes.key.size)
        before = numbering.number_all(self.keys, changes.skip, hashes, keys, starts, changes.key)
        count = int(self.keys.used[0])
        if self._stored and count > before:
            self._install(np.arange(before, count))

    def _install(self, numbers: Ints) -> None:
        wanted = [self.key_bytes(int(n)) for n in numbers]
        found = [value or b"" for value in self._journal.keys(wanted)]
        starts = np.zeros(len(found) + 1, np.int64)
        np.cumsum([len(value) for value in found], out=starts[1:])
        data: NDArray[np.uint8] = np.frombuffer(b"".join(found) or b"\0", np.uint8)
        transfer.install(self.store, numbers, starts, data)

    def _export(self, numbers: Ints) -> tuple[list[bytes], list[bytes]]:
        starts = np.zeros(numbers.size + 1, np.int64)
        transfer.sizes(self.store, numbers, starts)
        out = np.empty(int(starts[-1]), np.uint8)
        transfer.export(self.store, numbers, starts, out)
        data, at = out.tobytes(), starts.tolist()
        values = [data[at[i] : at[i + 1]] for i in range(numbers.size)]
        return [self.key_bytes(int(n)) for n in numbers], values
