"""Keys written beside the log of their changes: a kill at any epoch leaves a state that is the same."""

import json
import random

import numpy as np
import pytest

from pipeline.decode import Decoder
from pipeline.engine.changes import to_log
from pipeline.engine.checkpoints import Checkpoints
from pipeline.engine.journal import Journal
from pipeline.engine.layout import layout_of
from pipeline.engine.timelines import Timelines, new_rows
from pipeline.sink.epoch import Position
from pipeline.sink.file_list import FileList
from pipeline.temporal.apply import CHANGED, NO_OP
from state import MemoryState
from tests.faults.state import held, keys_in_memory, plain
from tests.unit.decode.reading import column, dataset, decode, options

SCHEMA = dataset(column("a", "long"), column("b"))
Record = tuple[str, int, str, int]
"""A key, a day, the operation, and the value."""


class Process:
    """Timelines of two partitions whose clocks know nothing of each other, with epochs of one batch."""

    def __init__(self, backend: MemoryState) -> None:
        self.journal = Journal(backend, "d")
        self.timelines = Timelines(self.journal, dated=False, next_change=True)
        self.checkpoints = Checkpoints(self.timelines)
        self.decoder, self.clocks, self.epoch, self.offset = Decoder(SCHEMA, options()), [0, 0], 0, 0
        self.rounds = 0

    def epoch_of(self, partition: int, time: int, *records: Record) -> list[int]:
        """Apply a batch that comes at a time, and commit it; its outcomes."""
        lines = [
            json.dumps({"k": key, "v": f"2024-01-{day:02}", "op": operation, "a": value, "b": "x"})
            for key, day, operation, value in records
        ]
        batch, n = decode(self.decoder, *lines), len(lines)
        assert not batch.status.any()
        offsets = np.arange(self.offset, self.offset + n)
        self.offset += n
        self.clocks[partition] = max(self.clocks[partition], time)
        admitted = self.timelines.admit(batch, offsets, np.full(n, self.clocks[partition]), partition)
        done = self.timelines.apply(admitted, SCHEMA, new_rows())
        self.epoch += 1
        log = to_log(batch, admitted.changes, done, partition)
        self.checkpoints.note(n)
        written = self.checkpoints.written()
        position = Position(self.epoch, {}, {}, 0)
        self.journal.record_files(FileList("d", "w", position), [log], layout_of(SCHEMA))
        if written is None:
            self.checkpoints.go_on(self.epoch)
        else:
            self.timelines.adopt(written)
            self.rounds += 1
        return admitted.changes.outcome.tolist()


OPERATIONS = ("put", "put", "patch", "retract", "delete", "terminate")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engine.checkpoints.LEAST_RECORDS", 3)
    monkeypatch.setattr("pipeline.engine.checkpoints.MOST", 1)
    monkeypatch.setattr("pipeline.engine.checkpoints.LEAST_KEYS", 1)
    monkeypatch.setattr("pipeline.engine.checkpoints.SPREAD", 9)


def same_after_a_kill(before: Process, backend: MemoryState) -> None:
    after = Timelines(Journal(backend, "d"), dated=False, next_change=True)
    after.replay(SCHEMA)
    assert plain(held(after)) == plain(keys_in_memory(before.timelines))


@pytest.mark.parametrize("seed", range(24))
def test_the_state_is_the_same_after_a_kill_at_any_epoch(seed: int) -> None:
    luck, backend = random.Random(seed), MemoryState()
    process = Process(backend)
    for _ in range(luck.randrange(5, 40)):
        records = [
            (luck.choice("ABCDE"), luck.randrange(1, 9), luck.choice(OPERATIONS), luck.randrange(3))
            for _ in range(luck.randrange(1, 4))
        ]
        process.epoch_of(luck.randrange(2), luck.randrange(1000), *records)
    same_after_a_kill(process, backend)


def test_what_was_no_change_is_none_to_later_changes_either() -> None:
    """It comes of a clock that is ahead of that of the change which its key has already."""
    backend = MemoryState()
    process = Process(backend)
    process.epoch_of(0, 100, *((key, 1, "put", 1) for key in "ABC"))
    # The others are written before A, which has its later change then.
    assert process.epoch_of(1, 900, ("A", 1, "put", 1)) == [NO_OP]
    assert process.epoch_of(0, 101, ("A", 1, "put", 2)) == [CHANGED]
    assert process.rounds == 0
    process.epoch_of(0, 102, ("B", 1, "put", 2))
    assert process.rounds == 1
    same_after_a_kill(process, backend)
