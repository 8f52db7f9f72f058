"""What the job does in Python: decoding, keyed by partition; applying, keyed by business key.

Both work on frames (see `pipeline.flink.frames`), in Flink's thread mode: inside of a TaskManager's process.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueState, ValueStateDescriptor

from pipeline.config import ValidEnd, ValidTime
from pipeline.decode import NEVER_AHEAD, Decoder
from pipeline.engine.arrival import clock_of, clocks_at
from pipeline.engine.changes import changes_of
from pipeline.engine.dead_letters import Buried, Origin, buried, dead_rows
from pipeline.engine.options import decode_options
from pipeline.engine.rebuild import rebuild
from pipeline.engine.timelines import new_rows
from pipeline.errors import BitlakeError
from pipeline.flink.change_frames import group_of, split
from pipeline.flink.errors import NewField
from pipeline.flink.frames import END, End, Mark, end_of, mark_of, records_of
from pipeline.flink.idle import IdleKeys
from pipeline.flink.letters import letters_frame
from pipeline.flink.log import GroupLogs
from pipeline.flink.plan import DatasetPlan
from pipeline.flink.rows import AT, DEAD, framed, stopping
from pipeline.flink.steps import MeasuredTimelines, Steps
from pipeline.flink.waiting import Waiting
from pipeline.sink.flink_positions import POSITIONS
from pipeline.sink.lake_sink import LakeSink
from pipeline.source.kafka import NO_TIMESTAMP, KafkaBlock
from pipeline.temporal.change import NONE_GIVEN
from pipeline.temporal.keys import HASH
from pipeline.temporal.store import Ints
from pipeline.versions.gather import gather
from state.flink import FlinkKeys, FlinkLog

log = logging.getLogger(__name__)

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
EMIT_ROWS = 50_000
"""Version rows that are handed on at once, or fewer before a checkpoint."""
APPLY_CHANGES = 16_384
"""Changes that are applied at once, or fewer before a checkpoint."""
READ_BACK_CHANGES = 200_000
"""Changes that wait, at most and until a checkpoint, for keys to be read back from the tables together."""
DEAD_BYTES = 16 << 20
"""Bytes of dead letters that are handed on before a checkpoint asks for them."""
_APPLY_COUNTERS = ("changes", "version_rows", "keys_left", "keys_read_back")


class Decode(KeyedProcessFunction):
    """Raw frames of a partition to frames of changes; keeps the partition's clock and position."""

    def __init__(self, plan: DatasetPlan) -> None:
        self._plan = plan

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make the decoder and find the state."""
        plan = self._plan
        self._steps = Steps(runtime_context, plan.config.name, "decode", ("records", "dead_letters"))
        self._decoder = Decoder(plan.schema, decode_options(plan.config, envelope=False), plan.seed)
        self._groups = np.array(plan.groups, np.int64)
        self._clock = _longs(runtime_context, "clock")
        self._offset = _longs(runtime_context, "offset")
        self._checkpoint = _longs(runtime_context, "checkpoint")
        self._dead: defaultdict[int, list[Buried]] = defaultdict(list)

    def process_element(self, value: bytes, _: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Decode a frame, or tell before a checkpoint where the partition is."""
        mark = mark_of(value)
        if mark is not None:
            yield from self._told(mark.of, mark.checkpoint)
            return
        end = end_of(value)
        if end is not None:
            self._lift(end)
            return
        block = records_of(value, self._plan.config.topic, time.time_ns() // 1000)
        yield from _stopping(self._decoded(block))

    def _decoded(self, block: KafkaBlock) -> Iterator[bytes]:
        plan, partition, now = self._plan, block.partition, block.fetched_at
        with self._steps.timed("decode"):
            batch = self._decoder.decode(
                block.buffer,
                block.starts,
                block.ends,
                (block.key_starts, block.key_ends),
                np.where(block.timestamps == NO_TIMESTAMP, now, block.timestamps),
                latest=NEVER_AHEAD if block.log_append else now + plan.max_ahead,
            )
        if self._decoder.schema != plan.schema:
            raise NewField.between(plan.schema, self._decoder.schema)
        clocks = clocks_at(batch.ahead, batch.timestamp, self._clock_of(partition))
        changes = changes_of(batch, block.offsets, clocks)
        origin = Origin.of(plan.config, partition, envelope=False)
        letters = buried(batch, block, batch.timestamp, changes, slice(0, len(batch)), origin)
        if letters is not None:
            self._dead[partition].append(letters)
            self._steps.count("dead_letters", len(letters))
        self._steps.count("records", len(batch))
        self._clock.update(int(clocks[-1]))
        self._offset.update(block.next_offset)
        with self._steps.timed("split"):
            parts = split(batch, changes, partition, self._groups)
        for _, part in parts:
            yield part
        if sum(rows.nbytes for rows in self._dead[partition]) > DEAD_BYTES:
            yield from self._buried(partition, (self._checkpoint.value() or 0) + 1)

    def _clock_of(self, partition: int) -> int:
        known = self._clock.value()
        return clock_of(self._plan.start, partition) if known is None else int(known)

    def _lift(self, end: End) -> None:
        """Lift the clock of a partition if all is read that it held: its horizon would wait for records."""
        plan, known = self._plan, self._offset.value()
        offset = plan.start.offsets.get(end.partition, 0) if known is None else known
        if offset >= end.offset:
            self._offset.update(offset)
            self._clock.update(max(end.asked - plan.idle_margin, self._clock_of(end.partition)))

    def _told(self, partition: int, checkpoint: int) -> Iterator[bytes]:
        last, offset, clock = self._checkpoint.value(), self._offset.value(), self._clock.value()
        if checkpoint == END:
            checkpoint = (last or 0) + 1
        self._checkpoint.update(checkpoint)
        yield from self._buried(partition, checkpoint)
        if offset is None:
            return
        plan = self._plan
        stamp = None if clock is None or clock == NONE_GIVEN else clock
        row = [plan.config.name, plan.run, checkpoint, partition, offset, stamp]
        columns = [pa.array([value], field.type) for value, field in zip(row, POSITIONS, strict=True)]
        yield from framed(AT, [pa.Table.from_arrays(columns, schema=POSITIONS)])

    def _buried(self, partition: int, checkpoint: int) -> Iterator[bytes]:
        letters = self._dead.pop(partition, None)
        if letters:
            name = self._plan.config.name
            rows = dead_rows(letters, name, self._plan.start.epoch + checkpoint)
            self._steps.letters(rows)
            yield from framed(DEAD, [rows])
            if self._plan.letters is not None:
                yield letters_frame(rows, name)


class Apply(KeyedProcessFunction):
    """Frames of changes to version rows; timelines are in memory, and in the state before a checkpoint."""

    def __init__(self, plan: DatasetPlan) -> None:
        self._plan = plan

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin with nothing in memory: keys come from the state as they are met."""
        config = self._plan.config
        state = runtime_context.get_map_state(MapStateDescriptor("timelines", BYTES, BYTES))
        self._steps = Steps(runtime_context, config.name, "apply", _APPLY_COUNTERS)
        self._timelines = MeasuredTimelines(
            self._steps,
            FlinkKeys(state),
            dated=config.valid_time is ValidTime.DATE,
            next_change=config.valid_end is ValidEnd.NEXT_CHANGE,
        )
        log_state = runtime_context.get_map_state(MapStateDescriptor("log", BYTES, BYTES))
        self._logs = GroupLogs(FlinkLog(log_state))
        self._begun: ValueState = runtime_context.get_state(ValueStateDescriptor("begun", Types.BOOLEAN()))
        self._rows = new_rows()
        self._own: defaultdict[int, list[Ints]] = defaultdict(list)
        self._met = set[int]()
        self._idle, self._forget = IdleKeys(self._plan), False
        self._waiting = Waiting(self._logs)
        self._group_of = np.array(self._plan.groups, np.int64)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Apply a frame, or write down before a checkpoint what changed."""
        yield from _stopping(self._processed(value, ctx.get_current_key()))

    def _processed(self, value: bytes, group: Any) -> Iterator[bytes]:
        if group not in self._met:
            self._begin(group)
        mark = mark_of(value)
        if mark is not None:
            yield from self._settled()
            yield from self._emitted()
            with self._steps.timed("write_state"):
                self._write(group, mark)
            return
        if self._forget:  # marks of all key groups have come, and so all keys are written
            self._timelines.forget()
            self._own.clear()
            self._forget = False
        timelines = self._timelines
        with self._owned_by(group):
            met = timelines.meet(value)
        if met.left:
            self._logs.rewrite(group)
        self._waiting.add(group, value, met)
        if self._waiting.changes >= (READ_BACK_CHANGES if timelines.incomplete else APPLY_CHANGES):
            yield from self._settled()

    def _settled(self) -> Iterator[bytes]:
        """Apply what waits, once keys that left the state are read back: all with one look."""
        timelines = self._timelines
        self._steps.count("keys_read_back", timelines.read_back(self._idle.read_back))
        for admitted in self._waiting.take():
            while admitted.done < admitted.changes.key.size:
                timelines.apply(admitted, self._plan.schema, self._rows)
                if int(self._rows.filled[0]) >= EMIT_ROWS:
                    yield from self._emitted()
            self._steps.count("changes", int(np.count_nonzero(admitted.changes.outcome)))

    @contextmanager
    def _owned_by(self, group: Any) -> Iterator[None]:
        """Note that keys which are met now are of a key group."""
        current = self._timelines.current
        before = current.count
        yield
        if current.count > before:
            self._own[group].append(np.arange(before, current.count))

    def _write(self, group: Any, mark: Mark) -> None:
        """Write down before a checkpoint what changed in a key group, and leave idle keys to the tables."""
        since, timelines = self._idle.since(mark.checkpoint), self._timelines
        used = timelines.current.used() // len(self._met)
        if since is None and not self._logs.due(group, mark.of, used):
            self._logs.write(group)
            return
        timelines.write_keys(self._numbers(group))
        self._logs.drop(group)
        if since is not None:
            self._steps.count("keys_left", timelines.leave_keys(since))
            self._forget = self._forget or timelines.mostly_idle(since)

    def _begin(self, group: int) -> None:
        """Have in memory what a key group's log tells, or in the state what the tables held at first.

        A key group that no checkpoint has written yet is built from the tables, and so are all others of this
        subtask: they are written before the first checkpoint.
        """
        if self._begun.value():
            with self._owned_by(group):
                self._timelines.restore(self._logs.read(group), self._plan.schema)
        else:
            if not self._met and self._plan.snapshots:
                self._build()
            self._begun.update(True)
        self._met.add(group)

    def _build(self) -> None:
        plan, timelines = self._plan, self._timelines
        sink = LakeSink.at(plan.catalog, plan.dead_letters)
        rebuild(sink, plan.schema, timelines, plan.seed, plan.snapshots)
        count = timelines.current.count
        groups = self._group_of[group_of(timelines.current.keys.known[:count, HASH], len(plan.groups))]
        order = np.argsort(groups, kind="stable")
        edges = np.flatnonzero(np.diff(groups[order])) + 1
        for numbers in np.split(order, edges):
            if numbers.size:
                group = int(groups[numbers[0]])
                self._own[group].append(numbers)
                self._logs.rewrite(group)
        log.info("built the state from the tables", extra={"dataset": plan.config.name, "keys": count})

    def _numbers(self, group: int) -> Ints:
        """The keys of a key group, by number."""
        parts = self._own[group]
        if len(parts) > 1:
            self._own[group] = parts = [np.concatenate(parts)]
        return parts[0] if parts else np.empty(0, np.int64)

    def _emitted(self) -> Iterator[bytes]:
        filled = int(self._rows.filled[0])
        if not filled:
            return
        timelines, plan = self._timelines, self._plan
        fields = self._rows.fields[:filled]
        tables = gather(
            plan.schema, plan.config.topic, timelines.current.store, timelines.current.keys, fields
        )
        for number, table in enumerate(tables):
            yield from self._steps.timed_each("gather", framed(2 * number, table.open))
            yield from self._steps.timed_each("gather", framed(2 * number + 1, table.closed))
        self._steps.count("version_rows", filled)
        timelines.empty(self._rows, timelines.current.life)


def _stopping(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Frames; the job ends for good where they end with an error that would come again and again."""
    try:
        yield from frames
    except BitlakeError as error:
        if error.retryable:
            raise
        yield stopping(str(error))


def _longs(context: RuntimeContext, name: str) -> ValueState:
    return context.get_state(ValueStateDescriptor(name, Types.LONG()))
