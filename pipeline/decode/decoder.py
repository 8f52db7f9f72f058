"""The decoder of a dataset: JSON records in, arrays of changes out."""


import numpy as np
from numpy.typing import NDArray

from pipeline.decode.arrays import grown, new_output, to_batch
from pipeline.decode.batch import Batch
from pipeline.decode.block import Output, Scratch, decode_block
from pipeline.decode.hashing import PROCESS_SEED
from pipeline.decode.layout import (
    DONE,
    F_FIELDS,
    FULL_OWN_KEYS,
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
)
from pipeline.decode.options import DecodeOptions, Path
from pipeline.decode.plan import compile_plan
from pipeline.schema import DatasetSchema

_ON_NEW = {"evolve": NEW_EVOLVE, "ignore": NEW_IGNORE, "dead_letter": NEW_DEAD_LETTER}
_PER_BLOCK = (R_ROWS, R_ROW_KEYS, R_ROW_VALUES, R_KEYS, R_VALUES, R_FINAL_KEYS)
_ROLE_NAMES = ("valid_from", "valid_to", "operation", "timestamp", "key", "value")


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
            key_spans: starts and ends of the messages' keys in the same buffer (-1: none), used for null values.
            timestamps: the messages' timestamps in microseconds; needed for null values.
        """
        none = np.zeros(0, np.int64)
        keys = (none, none) if key_spans is None else key_spans
        stamps = none if timestamps is None else timestamps
        output = new_output(len(starts), int((ends - starts).sum()), children=len(self.schema.tables) > 1)
        self._registers[list(_PER_BLOCK)] = 0
        self._arena = np.empty(int((ends - starts).max(initial=0)) + 64, np.uint8)
        first, outcome = 0, STOP_FULL
        while outcome != DONE:
            arguments = (buffer, starts, ends, *keys, stamps, first, self._plan, self._scratch())
            with np.errstate(over="ignore"):
                outcome = decode_block(*arguments, self._registers, output, self._seed)
            first = int(self._registers[R_NEXT])
            if outcome == STOP_FULL:
                output = self._grow(output)
            elif outcome != DONE:
                first += self._learn(buffer[starts[first] : ends[first]].tobytes(), output, first)
        if self._registers[R_NESTED]:
            self._registers[R_ROW_KEYS] = self._registers[R_FINAL_KEYS]
        return to_batch(output, self._registers, self._column_names())

    def _scratch(self) -> Scratch:
        return Scratch(
            self._slots, self._arena, self._frames, self._seen, self._stack, self._own_keys, self._whole_keys
        )

    def _grow(self, output: Output) -> Output:
        full = int(self._registers[R_FULL])
        if full == FULL_OWN_KEYS:
            self._own_keys = np.empty(2 * len(self._own_keys), np.uint8)
        elif full == FULL_WHOLE_KEYS:
            self._whole_keys = np.empty(2 * len(self._whole_keys), np.uint8)
        else:
            return grown(output, full)
        return output

    def _compile(self) -> None:
        compiled = compile_plan(self.schema, self.options, self._labels, self._refused, self._seed)
        options, registers = self.options, self._registers
        self._plan = compiled.plan
        self._slots = np.zeros((len(compiled.plan.columns), 3), np.int64)
        self._seen = np.zeros(len(compiled.plan.entries), np.int64)
        self._frames = np.zeros((options.max_depth + 2, F_FIELDS), np.int64)
        self._stack = np.zeros(options.max_depth + 2, np.uint8)
        self._own_keys = np.empty(4096, np.uint8)
        self._whole_keys = np.empty(4096, np.uint8)
        registers[R_CLOCK] = 0
        registers[R_MAX_DEPTH] = options.max_depth + (1 if options.envelope else 0)
        registers[R_ON_NEW] = _ON_NEW[options.on_new_field]
        registers[R_UNIT] = UNITS[options.valid_unit] if options.valid_unit else 0
        registers[R_DATED] = options.dated
        registers[R_ENVELOPE] = options.envelope
        registers[R_ROOT] = compiled.root
        registers[R_KEY_ENTRY] = compiled.key_entry
        registers[R_NESTED] = compiled.nested

    def _learn(self, record: bytes, output: Output, index: int) -> int:
        raise NotImplementedError

    def _column_names(self) -> tuple[str, ...]:
        names = [f"{self.schema.tables[table].name}.{name}" for table, name in self._labels]
        return (*_ROLE_NAMES, *names)
