"""How a dataset's records are to be read, besides its schema."""

from dataclasses import dataclass
from typing import Literal

Path = tuple[str, ...]


@dataclass(frozen=True)
class DecodeOptions:
    """Where a record's times and operation are, and what new fields do.

    Attributes:
        valid_from: path of the start of the valid range.
        valid_to: path of its end, if the dataset has one.
        valid_unit: unit of integer valid times (s, ms, us, ns); without one integers are dead letters.
        operation: path of the operation, if the dataset has one.
        dated: valid time is a date; timestamps are taken as their UTC day.
        envelope: records are ``{"timestamp": ..., "key": ..., "value": ...}``.
        truncate_valid: digits of valid times beyond microseconds are dropped, not refused.
        truncated_times: columns of times for which the same is true, as (arrays of the table, path).
        on_new_field: what a field without a column does.
        max_depth: objects and arrays inside each other, the record itself included.
        truncated: columns that partition tables rounded down to multiples, each with what of. A number so
            near to its type's least that its multiple does not fit is a dead letter.
        reserved: names in lower case that no new column may have: those of partitions.
        max_columns: of all tables together; a record that would need more is a dead letter.
    """

    valid_from: Path
    valid_to: Path | None = None
    valid_unit: Literal["s", "ms", "us", "ns"] | None = None
    operation: Path | None = None
    dated: bool = False
    envelope: bool = False
    truncate_valid: bool = False
    truncated_times: frozenset[tuple[tuple[Path, ...], Path]] = frozenset()
    on_new_field: Literal["evolve", "ignore", "dead_letter"] = "evolve"
    truncated: tuple[tuple[str, int], ...] = ()
    reserved: frozenset[str] = frozenset()
    max_depth: int = 128
    max_columns: int = 10_000
