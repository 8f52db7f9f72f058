"""What is proposed, before it is written as YAML."""

from dataclasses import dataclass

from pipeline.infer.fields import Path
from pipeline.infer.types import Guess


@dataclass(frozen=True)
class ProposedColumn:
    """A column to declare."""

    name: str
    path: Path
    guess: Guess


@dataclass(frozen=True)
class ProposedTable:
    """The columns and children to declare for the records, or for an array's elements."""

    path: Path
    key: tuple[Path, ...]
    key_why: str
    columns: tuple[ProposedColumn, ...]
    children: tuple["ProposedTable", ...]
    scalar_arrays: tuple[Path, ...]
    empty: tuple[Path, ...]


@dataclass(frozen=True)
class Proposal:
    """A dataset to declare, with what a person should know about the choices.

    Attributes:
        truncated: why digits of valid times beyond microseconds are dropped; nothing if none are there.
        notes: for comments in the file.
        refused: of the sample's records, how many would become dead letters and why: notes, too.
    """

    name: str
    table: ProposedTable
    valid_from: Path
    from_why: str
    valid_to: Path | None
    valid_unit: str
    dated: bool
    truncated: str
    operation: Path | None
    operation_why: str
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
