"""A sample taken apart into tables of fields, by path."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Path = tuple[str, ...]
_MAP_MEMBERS = 64
_MAX_DEPTH = 12


class Missing:
    """Marks a row without a field."""


MISSING = Missing()


@dataclass
class Field:
    """All values of one path, one per row; `MISSING` where the row has none."""

    path: Path
    values: list[Any]
    known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was worked out about it."""

    @cached_property
    def present(self) -> list[Any]:
        """The values that are neither missing nor null."""
        return [value for value in self.values if value is not None and value is not MISSING]

    @cached_property
    def kinds(self) -> frozenset[type]:
        """The Python types among the present values."""
        return frozenset(map(type, self.present))

    @cached_property
    def distinct(self) -> int:
        """How many different present values there are."""
        return len({v if v.__hash__ else repr(v) for v in self.present})

    @property
    def always(self) -> bool:
        """Whether every row has a value."""
        return len(self.present) == len(self.values)


@dataclass
class Table:
    """The rows of one table of a dataset: the records, or the elements of an array.

    Attributes:
        rows: how many.
        fields: scalars and mixed values, by path, in order of appearance.
        arrays: arrays of objects, by path.
        scalar_arrays: paths of arrays of scalars.
        empty: paths whose values are always null or empty arrays.
        empty_arrays: those of them that have an array somewhere.
        groups: for the elements of an array, the number of the row above of each.
    """

    rows: int
    fields: dict[Path, Field] = field(default_factory=dict)
    arrays: dict[Path, "Table"] = field(default_factory=dict)
    scalar_arrays: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    empty_arrays: list[Path] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)


def take_apart(rows: list[dict[str, Any]], groups: list[int] | None = None) -> Table:
    """Sort the values of objects into fields and arrays."""
    table = Table(len(rows), groups=groups or [])
    _members(rows, (), table)
    return table


def _members(rows: list[Any], above: Path, table: Table) -> None:
    columns: dict[str, list[Any]] = defaultdict(lambda: [MISSING] * len(rows))
    for number, row in enumerate(rows):
        if isinstance(row, dict):
            for name, value in row.items():
                columns[name][number] = value
    columns.pop("", None)  # no path leads to a member without a name
    for name, values in columns.items():
        _sort(Field((*above, name), values), table)


def _sort(found: Field, table: Table) -> None:
    kinds = found.kinds
    if not kinds:
        table.empty.append(found.path)
    elif kinds == {dict} and _is_object(found):
        _members(found.values, found.path, table)
    elif kinds == {list}:
        _array(found, table)
    else:
        table.fields[found.path] = found


def _is_object(found: Field) -> bool:
    """Whether the members are names of fields, and not data (as in a map from days to prices)."""
    names = {name for value in found.present for name in value}
    used = sum(map(len, found.present))
    sparse = len(names) > _MAP_MEMBERS and used < 0.2 * len(names) * len(found.present)
    return bool(names - {""}) and not sparse and len(found.path) < _MAX_DEPTH


def _array(found: Field, table: Table) -> None:
    elements, groups = [], []
    for number, value in enumerate(found.values):
        if isinstance(value, list):
            elements += value
            groups += [number] * len(value)
    kinds = set(map(type, elements))
    if not elements:
        table.empty.append(found.path)
        table.empty_arrays.append(found.path)
    elif kinds == {dict} and len(found.path) < _MAX_DEPTH:
        table.arrays[found.path] = take_apart(elements, groups)
    elif dict not in kinds and list not in kinds:
        table.scalar_arrays.append(found.path)
    else:
        table.fields[found.path] = found
