"""A schema compiled, with the memory to decode one record at a time by it."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.batch import Label
from pipeline.decode.layout import (
    E_ACTIONS,
    F_FIELDS,
    NEW_DEAD_LETTER,
    NEW_EVOLVE,
    NEW_IGNORE,
    R_DATED,
    R_ENVELOPE,
    R_KEY_ENTRY,
    R_MARKS,
    R_MAX_DEPTH,
    R_NESTED,
    R_ON_NEW,
    R_ROOT,
    R_UNIT,
    UNITS,
)
from pipeline.decode.options import DecodeOptions, Path
from pipeline.decode.plan import Compiled, compile_plan
from pipeline.decode.structures import Scratch
from pipeline.schema import Column, DatasetSchema, TableSchema

_ON_NEW = {"evolve": NEW_EVOLVE, "ignore": NEW_IGNORE, "dead_letter": NEW_DEAD_LETTER}
ROLE_NAMES = ("valid_from", "valid_to", "operation", "timestamp", "key", "value")


def _scratch(compiled: Compiled, depth: int) -> Scratch:
    return Scratch(
        slots=np.zeros((len(compiled.plan.columns), 3), np.int64),
        arena=np.empty(0, np.uint8),
        frames=np.zeros((depth, F_FIELDS), np.int64),
        seen=np.zeros(len(compiled.plan.entries), np.int64),
        stack=np.zeros(depth, np.uint8),
        own_keys=np.empty(4096, np.uint8),
        whole_keys=np.empty(4096, np.uint8),
        places=np.empty(1024, np.int64),
        marks=np.zeros(R_MARKS, np.int64),
    )


@dataclass
class Ready:
    """A compiled schema.

    Attributes:
        schema: the schema.
        refused: how many fields were known to be refused.
        labels: the numbers of columns in reasons.
        compiled, scratch: what the kernel needs.
        rewrites: how often a string may be rewritten: base64 with escapes twice, for each column at its path.
    """

    schema: DatasetSchema
    refused: int
    labels: dict[tuple[int, str], int]
    compiled: Compiled
    scratch: Scratch
    rewrites: int = field(init=False)

    def __post_init__(self) -> None:
        self.rewrites = 2 * int(self.compiled.plan.entries[:, E_ACTIONS].max())

    @cached_property
    def columns(self) -> tuple[Label, ...]:
        """What labels stand for."""
        roles = (Label(name) for name in ROLE_NAMES)
        tables = [{column.name: column for column in table.columns} for table in self.schema.tables]
        return (
            *roles,
            *(self._label(table, name, tables[table].get(name)) for table, name in self.labels),
        )

    def _label(self, table: int, name: str, column: Column | None) -> Label:
        schema = self.schema.tables[table]
        spelled, key = f"{schema.name}.{name}", column in schema.own_key
        if column is None or column.path in ((), (name,)):
            return Label(spelled, declared=column is None or column.declared, key=key)
        return Label(spelled, full_path(schema, column.path), column.declared, key)

    def configure(self, registers: NDArray[np.int64], options: DecodeOptions) -> None:
        """Set the registers that don't change from record to record."""
        registers[R_MAX_DEPTH] = options.max_depth + (1 if options.envelope else 0)
        registers[R_ON_NEW] = _ON_NEW[options.on_new_field]
        registers[R_UNIT] = UNITS[options.valid_unit] if options.valid_unit else 0
        registers[R_DATED] = options.dated
        registers[R_ENVELOPE] = options.envelope
        registers[R_ROOT] = self.compiled.root
        registers[R_KEY_ENTRY] = self.compiled.key_entry
        registers[R_NESTED] = self.compiled.nested


def full_path(table: TableSchema, path: Path) -> str:
    """A path of a table's element as one of the record."""
    return ".".join((*chain(*table.arrays), *path))


class Workshop:
    """Compiles a dataset's schemas; the last two are kept, since a record with new fields may need both."""

    def __init__(self, options: DecodeOptions, seed: np.uint64) -> None:
        self._options, self._seed = options, seed
        self._kept: tuple[Ready, ...] = ()
        self.refused: dict[tuple[int, Path], int] = {}

    def ready(self, schema: DatasetSchema, labels: dict[tuple[int, str], int]) -> Ready:
        """A schema compiled, with the labels of the one before it kept."""
        for kept in self._kept:
            if kept.refused == len(self.refused) and kept.schema == schema:
                return kept
        labels = dict(labels)
        compiled = compile_plan(schema, self._options, labels, self.refused, self._seed)
        made = Ready(
            schema,
            len(self.refused),
            labels,
            compiled,
            _scratch(compiled, self._options.max_depth + 3),
        )
        self._kept = (made, *(kept for kept in self._kept if kept.schema != schema))[:2]
        return made
