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
from pipeline.decode.layout import (
    E_ACTIONS,
    F_FIELDS,
    FULL_OWN_KEYS,
    FULL_PLACES,
    FULL_WHOLE_KEYS,
    NEW_DEAD_LETTER,
    NEW_EVOLVE,
    NEW_IGNORE,
    R_CLOCK,
    R_DATED,
    R_ENVELOPE,
    R_FIELDS,
    R_FINAL_KEYS,
    R_FULL,
    R_KEY_ENTRY,
    R_KEYS,
    R_MARKS,
    R_MAX_DEPTH,
    R_NESTED,
    R_NEXT,
    R_ON_NEW,
    R_ROOT,
    R_ROW_KEYS,
    R_ROW_VALUES,
    R_ROWS,
    R_UNIT,
    R_VALUES,
    STOP_FULL,
    UNITS,
    Code,
)
from pipeline.decode.options import DecodeOptions, Path
from pipeline.decode.plan import compile_plan
from pipeline.decode.structures import Output, Scratch
from pipeline.schema import DatasetSchema

_ON_NEW = {"evolve": NEW_EVOLVE, "ignore": NEW_IGNORE, "dead_letter": NEW_DEAD_LETTER}
_PER_BLOCK = (R_ROWS, R_ROW_KEYS, R_ROW_VALUES, R_KEYS, R_VALUES, R_FINAL_KEYS)
_SCRATCH = {FULL_OWN_KEYS: "own_keys", FULL_WHOLE_KEYS: "whole_keys", FULL_PLACES: "places"}
_MOST_REFUSED = 1000
_ROLE_NAMES = ("valid_from", "valid_to", "operation", "timestamp", "key", "value")


def _aliased(buffer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same memory as an array that may be written to, so that kernels are compiled for one type only."""
    if buffer.flags.writeable or len(buffer) == 0:
        return np.ascontiguousarray(buffer)
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
        self.schema = dataset
        self.options = options
        self._seed = np.uint64(seed)
        self._labels: dict[tuple[int, str], int] = {}
        self._refused: dict[tuple[int, Path], int] = {}
        self._registers = np.zeros(R_FIELDS, np.int64)
        self._scratch: Scratch
        self._compile()

    def decode(
        self,
        buffer: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        key_spans: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
        timestamps: NDArray[np.int64] | None = None,
    ) -> Batch:
        """Decode the records ``buffer[starts[i]:ends[i]]``.

        Args:
            buffer: the bytes.
            starts, ends: the records' places; a start of -1 is a null value.
            key_spans: starts and ends of the messages' keys in the same buffer, for null values (-1: none).
            timestamps: the messages' timestamps in microseconds; needed for null values.
        """
        none = np.zeros(0, np.int64)
        given = (starts, ends, *(key_spans or (none, none)), none if timestamps is None else timestamps)
        starts, ends, key_starts, key_ends, stamps = (np.ascontiguousarray(a, np.int64) for a in given)
        output = new_output(len(starts), int((ends - starts).sum()), children=len(self.schema.tables) > 1)
        self._registers[list(_PER_BLOCK)] = 0
        longest = max((ends - starts).max(initial=0), (key_ends - key_starts).max(initial=0))
        self._arena = np.empty(int(longest) * self._rewrites + 64, np.uint8)
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
        return to_batch(output, self._registers, self._column_names())

    def _run(self, spans: _Spans, first: int, output: Output) -> tuple[Output, int]:
        """Decode from a record on, up to the end or to a record with new fields; tells where that is."""
        outcome = STOP_FULL
        while outcome == STOP_FULL:
            scratch = self._scratch._replace(arena=self._arena)
            with np.errstate(over="ignore"):
                outcome = decode_block(
                    *spans, first, self._plan, scratch, self._registers, output, self._seed
                )
            first = int(self._registers[R_NEXT])
            if outcome == STOP_FULL:
                output = self._grow(output)
        return output, first

    def _grow(self, output: Output) -> Output:
        name = _SCRATCH.get(int(self._registers[R_FULL]))
        if name is None:
            return grown(output, int(self._registers[R_FULL]))
        self._scratch = self._scratch._replace(**{name: doubled(getattr(self._scratch, name))})
        return output

    def _compile(self) -> None:
        compiled = compile_plan(self.schema, self.options, self._labels, self._refused, self._seed)
        options, registers = self.options, self._registers
        self._plan = compiled.plan
        # Base64 with escapes is rewritten twice, for each column at its path.
        self._rewrites = 2 * int(compiled.plan.entries[:, E_ACTIONS].max())
        self._scratch = Scratch(
            slots=np.zeros((len(compiled.plan.columns), 3), np.int64),
            arena=np.empty(0, np.uint8),
            frames=np.zeros((options.max_depth + 3, F_FIELDS), np.int64),
            seen=np.zeros(len(compiled.plan.entries), np.int64),
            stack=np.zeros(options.max_depth + 3, np.uint8),
            own_keys=np.empty(4096, np.uint8),
            whole_keys=np.empty(4096, np.uint8),
            places=np.empty(1024, np.int64),
            marks=np.zeros(R_MARKS, np.int64),
        )
        registers[R_CLOCK] = 0
        registers[R_MAX_DEPTH] = options.max_depth + (1 if options.envelope else 0)
        registers[R_ON_NEW] = _ON_NEW[options.on_new_field]
        registers[R_UNIT] = UNITS[options.valid_unit] if options.valid_unit else 0
        registers[R_DATED] = options.dated
        registers[R_ENVELOPE] = options.envelope
        registers[R_ROOT] = compiled.root
        registers[R_KEY_ENTRY] = compiled.key_entry
        registers[R_NESTED] = compiled.nested

    def _learn(self, spans: _Spans, index: int, output: Output) -> Output:
        """Decode a record with new fields: as columns, if it becomes a change then; else a dead letter."""
        buffer, starts, ends, key_starts, key_ends, stamps = spans
        before = self.schema, dict(self._labels)
        try:
            record = buffer[starts[index] : ends[index]].tobytes()
            self.schema = evolved(record, self.schema, self.options)
        except Misfit as misfit:
            self._reject(output, index, misfit.code)
            if misfit.lasting and len(self._refused) < _MOST_REFUSED:
                self._refused[misfit.table, misfit.path] = misfit.code
                self._compile()
            return output
        self._compile()
        upto = (buffer, starts[: index + 1], ends[: index + 1], key_starts, key_ends, stamps)
        output, stopped = self._run(upto, index, output)
        if stopped == index:
            self._reject(output, index, Code.UNKNOWN_FIELD)
        if output.status[index] != Code.OK:
            self.schema, self._labels = before
            if output.error_column[index] >= len(_ROLE_NAMES) + len(self._labels):
                output.error_column[index] = -1
            self._compile()
        return output

    def _reject(self, output: Output, index: int, code: Code) -> None:
        output.status[index] = code
        output.key_start[index + 1] = self._registers[R_KEYS]
        output.value_start[index + 1] = self._registers[R_VALUES]
        output.child_first[index + 1] = self._registers[R_ROWS]

    def _column_names(self) -> tuple[str, ...]:
        names = [f"{self.schema.tables[table].name}.{name}" for table, name in self._labels]
        return (*_ROLE_NAMES, *names)
