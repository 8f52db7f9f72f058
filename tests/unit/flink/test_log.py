"""The state of a subtask of the Flink job: after a failure at any time it goes on as if there had been none."""

import copy
import json
import random
from collections import defaultdict

import numpy as np
import pytest
import zstandard

from pipeline.decode import Decoder
from pipeline.engine.changes import changes_of
from pipeline.engine.timelines import new_rows
from pipeline.flink.change_frames import split
from pipeline.flink.errors import OtherVersion
from pipeline.flink.log import GroupLogs
from pipeline.flink.timelines import FlinkTimelines
from pipeline.flink.waiting import Waiting
from pipeline.temporal.change import OPEN, R_BY_OFFSET, R_START, R_TO
from pipeline.temporal.store import Ints
from tests.faults.state import plain
from tests.unit.decode.reading import column, dataset, decode, options

SCHEMA = dataset(column("a", "long"), column("b"))
GROUPS = np.arange(4)
OPERATIONS = ("put", "put", "patch", "retract", "delete", "terminate")


class States:
    """Keyed state of all key groups; the `state.flink` that timelines and logs take, of the one at hand."""

    def __init__(self) -> None:
        self.at = -1
        self.values = defaultdict[int, dict[bytes, bytes]](dict)
        self.logs = defaultdict[int, dict[int, bytes]](dict)
        self.written = 0

    def keys(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.values[self.at].get(key) for key in keys]

    def store(self, keys: list[bytes], values: list[bytes]) -> None:
        self.values[self.at] |= zip(keys, values, strict=True)
        self.written += sum(map(len, values))

    def entries(self) -> list[bytes]:
        return [entry for _, entry in sorted(self.logs[self.at].items())]

    def append(self, number: int, entry: bytes) -> None:
        assert number not in self.logs[self.at]
        self.logs[self.at][number] = entry
        self.written += len(entry)

    def clear(self) -> None:
        self.logs[self.at].clear()


class Subtask:
    """Applies frames as the job does, without Flink."""

    def __init__(self, states: States) -> None:
        self.states, self.logs = states, GroupLogs(states)
        self.timelines = FlinkTimelines(states, dated=False, next_change=True)  # type: ignore[arg-type]
        self.rows, self.own = new_rows(), defaultdict[int, list[Ints]](list)
        self.waiting = Waiting(self.logs)

    def take(self, group: int, frame: bytes) -> None:
        before = self.begin(group)
        self.waiting.add(group, frame, self.timelines.meet(frame))
        self.own[group].append(np.arange(before, self.timelines.current.count))

    def taken(self, frames: list[tuple[int, bytes]]) -> list[list[int]]:
        for frame in frames:
            self.take(*frame)
        return self.settle()

    def settle(self) -> list[list[int]]:
        """Apply what waits; the version rows that it leaves, without what refers to memory."""
        for admitted in self.waiting.take():
            self.timelines.apply(admitted, SCHEMA, self.rows)
        fields = self.rows.fields[: int(self.rows.filled[0])]
        rows = [row[R_START : R_BY_OFFSET if row[R_TO] == OPEN else None] for row in fields.tolist()]
        self.timelines.empty(self.rows, self.timelines.current.life)
        return rows

    def begin(self, group: int) -> int:
        self.states.at = group
        before = self.timelines.current.count
        if group not in self.own:
            self.timelines.restore(self.logs.read(group), SCHEMA)
            self.own[group].append(np.arange(before, self.timelines.current.count))
        return self.timelines.current.count

    def mark(self) -> None:
        assert not self.waiting.changes
        for group in GROUPS.tolist():
            self.begin(group)
            if self.logs.due(group, group, used=0):
                self.write_keys(group)
            else:
                self.logs.write(group)

    def write_keys(self, group: int) -> None:
        self.timelines.write_keys(np.concatenate(self.own[group]))
        self.logs.drop(group)

    def all_keys(self) -> dict[bytes, bytes]:
        """All keys, written whole: some may not be in memory since it failed last."""
        for group in GROUPS.tolist():
            self.begin(group)
            self.write_keys(group)
        return {key: value for group in self.states.values.values() for key, value in group.items()}


def frames_of(
    luck: random.Random, decoder: Decoder, first: int, clock: int, partitions: int = 2
) -> list[tuple[int, bytes]]:
    n = luck.randrange(1, 12)
    lines = [
        json.dumps(
            {
                "k": luck.choice("ABCDEFGH"),
                "v": f"2024-01-{luck.randrange(1, 20):02}",
                "op": luck.choice(OPERATIONS),
                "a": luck.randrange(3),
                "b": "x" * luck.randrange(300),
            }
        )
        for _ in range(n)
    ]
    batch, offsets = decode(decoder, *lines), np.arange(first, first + n)
    clocks = clock + np.arange(n)
    assert not batch.status.any()
    return split(batch, changes_of(batch, offsets, clocks), luck.randrange(partitions), GROUPS)


@pytest.mark.parametrize("seed", range(12))
def test_a_subtask_that_fails_goes_on_where_its_last_checkpoint_was(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.flink.log.LEAST_BYTES", 6000)
    luck, decoder = random.Random(seed), Decoder(SCHEMA, options())
    turns = [
        frames_of(luck, decoder, 12 * turn, 50 * turn + luck.randrange(50)) for turn in range(120)
    ]  # clocks never go back
    batches = [[frame for frames in turns[i : i + 3] for frame in frames] for i in range(0, len(turns), 3)]
    steady = Subtask(States())
    wanted = [steady.taken(batch) for batch in batches]
    subtask, done, saved, logged = Subtask(States()), 0, (0, States()), 0
    while done < len(batches):
        assert subtask.taken(batches[done]) == wanted[done]
        done += 1
        if luck.random() < 0.3:
            subtask.mark()
            logged += sum(map(len, subtask.states.logs.values()))
            saved = done, copy.deepcopy(subtask.states)
        if luck.random() < 0.15:
            if done < len(batches):
                for frame in batches[done][: luck.randrange(6)]:
                    subtask.take(*frame)
            done, subtask = saved[0], Subtask(copy.deepcopy(saved[1]))
    assert logged > 0
    assert any(subtask.states.values.values()), "no keys were written: the logs were never long"
    assert plain(subtask.all_keys()) == plain(steady.all_keys())


@pytest.mark.parametrize("seed", range(4))
def test_frames_applied_together_leave_the_rows_of_frames_applied_apart(seed: int) -> None:
    luck, decoder = random.Random(seed), Decoder(SCHEMA, options())
    frames = [frame for turn in range(30) for frame in frames_of(luck, decoder, 12 * turn, 50 * turn, 1)]
    together = Subtask(States()).taken(frames)
    apart = Subtask(States())
    assert sorted(together) == sorted(row for frame in frames for row in apart.taken([frame]))


def test_state_of_another_version_is_refused() -> None:
    subtask = Subtask(States())
    subtask.states.logs[0][0] = zstandard.compress(b"frames as they were once")
    with pytest.raises(OtherVersion, match="--fresh"):
        subtask.begin(0)


def test_a_checkpoint_writes_what_came_however_long_the_history_is() -> None:
    decoder, subtask = Decoder(SCHEMA, options()), Subtask(States())

    def send(first: int, days: list[str]) -> None:
        lines = [json.dumps({"k": "A", "v": day, "a": 1, "b": day}) for day in days]
        batch, offsets = decode(decoder, *lines), np.arange(first, first + len(days))
        for frame in split(batch, changes_of(batch, offsets, offsets), 0, GROUPS):
            subtask.take(*frame)
        subtask.settle()

    every_day = np.arange("1990-01-01", "2020-01-01", dtype="datetime64[D]").astype(str).tolist()
    send(0, every_day)
    subtask.mark()
    before = subtask.states.written
    send(len(every_day), ["2001-05-05"])
    subtask.mark()
    assert 0 < subtask.states.written - before < 500
