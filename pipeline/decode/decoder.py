"""The decoder of a dataset: JSON records in, arrays of changes out."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.arrays import doubled, grown, new_output, to_batch
from pipeline.decode.batch import Batch
from pipeline.decode.block import decode_block
from pipeline.decode.hashing import PROCESS_SEED
from pipeline.decode.infer import Misfit, evolved
from pipeline.decode.key_text import key_text
from pipeline.decode.layout import (
    FULL_OWN_KEYS,
    FULL_PLACES,
    FULL_WHOLE_KEYS,
    R_EQUAL,
    R_FIELDS,
    R_FINAL_KEYS,
    R_FULL,
    R_KEYS,
    R_MARKS,
    R_NESTED,
    R_NEXT,
    R_ROW_KEYS,
    R_ROWS,
    R_VALUES,
    STAMP,
    STOP_FULL,
    X_KEY,
    X_KEY_END,
    X_TABLE,
    Code,
)
from pipeline.decode.options import DecodeOptions
from pipeline.decode.place import paths
from pipeline.decode.ready import ROLE_NAMES, Ready, Workshop, full_path
from pipeline.decode.structures import Output
from pipeline.schema import DatasetSchema

_SCRATCH = {FULL_OWN_KEYS: "own_keys", FULL_WHOLE_KEYS: "whole_keys", FULL_PLACES: "places"}
_MOST_REFUSED = 1000
NEVER_AHEAD = 2**63 - 1
"""A latest timestamp that refuses none."""
_NO_TIMESTAMP = -(2**63)
_MESSAGE_KEY = "the message's key"


def _aliased(buffer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same memory as an array that may be written to, so that kernels are compiled for one type only."""
    if buffer.flags.writeable or len(buffer) == 0:
        return np.array(buffer, np.uint8, copy=True if len(buffer) == 0 else None)
    return np.ctypeslib.as_array((ctypes.c_uint8 * len(buffer)).from_address(buffer.ctypes.data))


_Spans = tuple[Any, Any, Any, Any, Any, Any]


class Decoder:
    """Decodes a dataset's records; its schema grows as new fields are read.

    Not to be used by two threads at once.

    Args:
        dataset: the tables; inferred columns (``declared=False``) of earlier runs included.
        options: how records are to be read.
        seed: of the hashes; decoders whose hashes meet need the same.
    """

    def __init__(self, dataset: DatasetSchema, options: DecodeOptions, seed: int = PROCESS_SEED) -> None:
        self.options = options
        self._seed = np.uint64(seed)
        self._registers = np.zeros(R_FIELDS, np.int64)
        self._workshop = Workshop(options, self._seed)
        self._ready: Ready
        self._switch(self._workshop.ready(dataset, {}))

    @property
    def schema(self) -> DatasetSchema:
        """The dataset's tables, with the columns inferred so far."""
        return self._ready.schema

    def decode(
        self,
        buffer: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        key_spans: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
        timestamps: NDArray[np.int64] | None = None,
        latest: int = NEVER_AHEAD,
    ) -> Batch:
        """Decode the records ``buffer[starts[i]:ends[i]]``.

        Args:
            buffer: the bytes.
            starts, ends: the records' places; a start of -1 is a null value.
            key_spans: starts and ends of the messages' keys in the same buffer, for null values (-1: none).
            timestamps: the messages' timestamps in microseconds; needed for null values.
            latest: records with a later timestamp, of the message or its envelope, are no changes.
        """
        none = np.zeros(0, np.int64)
        given = (starts, ends, *(key_spans or (none, none)), none if timestamps is None else timestamps)
        starts, ends, key_starts, key_ends, stamps = (np.ascontiguousarray(a, np.int64) for a in given)
        output = new_output(len(starts), int((ends - starts).sum()), children=len(self.schema.tables) > 1)
        self._registers[R_ROWS : R_ROWS + R_MARKS] = 0
        self._latest, self._fields = min(latest, NEVER_AHEAD), dict[int, str]()
        longest = max((ends - starts).max(initial=0), (key_ends - key_starts).max(initial=0))
        self._arena = np.empty(int(longest) * self._ready.rewrites + 64, np.uint8)
        spans = (_aliased(buffer), starts, ends, key_starts, key_ends, stamps)
        first = 0
        while True:
            output, stopped = self._run(spans, first, output)
            if stopped == len(starts):
                break
            output = self._learn(spans, stopped, output)
            first = stopped + 1
        if self._registers[R_NESTED]:
            self._registers[R_ROW_KEYS] = self._registers[R_FINAL_KEYS]
        ahead = self._reject_ahead(output)
        self._name_fields(spans, output)
        return to_batch(output, self._registers, ahead, self._ready.columns, self._fields)

    def _reject_ahead(self, output: Output) -> NDArray[np.bool_]:
        """Refuse records that are too far ahead of now; which have such a timestamp."""
        if self.options.envelope:
            # One that is wrong, or there twice, is none: it moves no clock.
            output.timestamp[(output.status != Code.OK) & (output.error_column == STAMP)] = _NO_TIMESTAMP
        ahead: NDArray[np.bool_] = output.timestamp > self._latest
        if ahead.any():
            refused = ahead & ((output.status == Code.OK) | (output.status > Code.DUPLICATE))
            output.status[refused] = Code.AHEAD
            output.error_column[refused] = STAMP
            output.error_at[refused] = -1
        return ahead

    def _name_fields(self, spans: _Spans, output: Output) -> None:
        """Find the paths of what no column stands for, in records that are JSON but no changes."""
        if not output.status.any():
            return
        nameless = (output.status >= Code.DUPLICATE) & (output.error_column < 0) & (output.error_at >= 0)
        buffer, starts = spans[:2]
        records = np.flatnonzero(nameless & (starts >= 0))
        first = starts[records]
        found = paths(
            buffer, first, first + output.error_at[records], outer=1 if self.options.envelope else 0
        )
        self._fields |= zip(records.tolist(), found, strict=True)
        keys = np.flatnonzero((output.status != Code.OK) & (output.error_column < 0) & (starts < 0))
        self._fields |= dict.fromkeys(keys.tolist(), _MESSAGE_KEY)
        equal = np.flatnonzero(output.status == Code.CHILD_KEY_EQUAL).tolist()
        self._fields |= {record: self._equal_key(spans, record) for record in equal}

    def _equal_key(self, spans: _Spans, record: int) -> str:
        """The child table and the key that two elements of a record have: it is decoded again for them."""
        buffer, starts, ends, _, _, stamps = spans
        one = slice(record, record + 1)
        nothing = np.zeros(0, np.int64)
        marks = self._registers[R_ROWS : R_ROWS + R_MARKS].copy()
        self._registers[R_ROWS : R_ROWS + R_MARKS] = 0
        size = int(ends[record] - starts[record])
        output, _ = self._run(
            (buffer, starts[one], ends[one], nothing, nothing, stamps[one]),
            0,
            new_output(1, size, children=True),
        )
        row = output.rows[self._registers[R_EQUAL]]
        self._registers[R_ROWS : R_ROWS + R_MARKS] = marks
        table = self.schema.tables[int(row[X_TABLE])]
        key = output.row_keys[row[X_KEY] : row[X_KEY_END]].tobytes()
        columns = table.key[len(self.schema.parent.own_key) :]
        return f"{table.name} ({full_path(table, ())}), {key_text(key, columns)}"

    def _run(self, spans: _Spans, first: int, output: Output) -> tuple[Output, int]:
        """Decode from a record on, up to the end or to a record with new fields; tells where that is."""
        outcome = STOP_FULL
        while outcome == STOP_FULL:
            scratch = self._ready.scratch._replace(arena=self._arena)
            plan = self._ready.compiled.plan
            with np.errstate(over="ignore"):
                outcome = decode_block(*spans, first, plan, scratch, self._registers, output, self._seed)
            first = int(self._registers[R_NEXT])
            if outcome == STOP_FULL:
                output = self._grow(output)
        return output, first

    def _grow(self, output: Output) -> Output:
        name = _SCRATCH.get(int(self._registers[R_FULL]))
        if name is None:
            return grown(output, int(self._registers[R_FULL]))
        scratch = self._ready.scratch
        self._ready.scratch = scratch._replace(**{name: doubled(getattr(scratch, name))})
        return output

    def _switch(self, ready: Ready) -> None:
        self._ready = ready
        ready.configure(self._registers, self.options)

    def _learn(self, spans: _Spans, index: int, output: Output) -> Output:
        """Decode a record with new fields: as columns, if it becomes a change then; else a dead letter."""
        buffer, starts, ends, key_starts, key_ends, stamps = spans
        before = self._ready
        if output.timestamp[index] > self._latest:
            self._reject(output, index, Code.AHEAD)
            return output
        try:
            schema = evolved(buffer[starts[index] : ends[index]].tobytes(), before.schema, self.options)
        except Misfit as misfit:
            self._reject(output, index, misfit.code)
            self._fields[index] = full_path(before.schema.tables[misfit.table], misfit.path)
            self._refuse(misfit)
            return output
        self._switch(self._workshop.ready(schema, before.labels))
        upto = (buffer, starts[: index + 1], ends[: index + 1], key_starts, key_ends, stamps)
        output, stopped = self._run(upto, index, output)
        if stopped == index:
            self._reject(output, index, Code.UNKNOWN_FIELD)
        if output.status[index] != Code.OK:
            self._switch(before)
            if output.error_column[index] >= len(ROLE_NAMES) + len(before.labels):
                output.error_column[index] = -1
        return output

    def _refuse(self, misfit: Misfit) -> None:
        """Remember a field that can't become a column, for the kernel to know by itself."""
        refused = self._workshop.refused
        if misfit.lasting and len(refused) < _MOST_REFUSED:
            refused[misfit.table, misfit.path] = misfit.code
            self._switch(self._workshop.ready(self.schema, self._ready.labels))

    def _reject(self, output: Output, index: int, code: Code) -> None:
        output.status[index] = code
        output.key_start[index + 1] = self._registers[R_KEYS]
        output.value_start[index + 1] = self._registers[R_VALUES]
        output.child_first[index + 1] = self._registers[R_ROWS]
