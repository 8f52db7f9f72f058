"""New fields: the columns that one record's undeclared fields would become."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from pipeline.decode.layout import Code
from pipeline.decode.options import DecodeOptions, Path
from pipeline.schema import RESERVED, Column, ColumnType, DatasetSchema, Kind, TableSchema

_LONGEST_NAME = 255


class _Members(list[tuple[str, Any]]):
    """An object's members in their order, duplicates included."""


class _Integer(str):
    """An integer's text."""

    __slots__ = ()


class _Fraction(str):
    """The text of a number with a fraction or an exponent."""

    __slots__ = ()


@dataclass
class Misfit(Exception):
    """A record whose new fields can't become columns.

    Attributes:
        code: why.
        table, path: the field.
        lasting: whatever comes, as long as the schema's columns stay.
    """

    code: Code
    table: int
    path: Path
    lasting: bool = False


def _kind(value: Any, table: int, path: Path) -> Kind:
    """The type that a first value gives its column."""
    if isinstance(value, _Integer):
        if len(value) > 20 or not -(2**63) <= int(value) < 2**63:
            raise Misfit(Code.BIG_NUMBER, table, path)
        return Kind.LONG
    if isinstance(value, _Fraction):
        return Kind.DOUBLE
    if isinstance(value, bool):
        return Kind.BOOLEAN
    return Kind.STRING if isinstance(value, str) else Kind.JSON


def _content(value: Any) -> bool:
    """Whether a field is more than null or an object of nulls."""
    if isinstance(value, _Members):
        return any(_content(member) for _, member in value)
    return value is not None


class _Table:
    """One table's paths, and the columns found for it."""

    def __init__(self, dataset: DatasetSchema, index: int, options: DecodeOptions) -> None:
        self.index, self.table = index, dataset.tables[index]
        self.evolve = options.on_new_field == "evolve"
        own = self.table.values if self.table.by_position else self.table.own_key + self.table.values
        self.columns = {c.path: c for c in own if not c.retired}
        self.taken = {c.name.lower() for c in self.table.columns} | RESERVED | options.reserved
        above = self.table.key if self.table.by_position else self.table.inherited
        self.above = {c.name.lower() for c in above}
        self.names = set[str]()
        self.arrays = {
            other.arrays[-1]: position
            for position, other in enumerate(dataset.tables)
            if position > 0 and other.arrays[:-1] == self.table.arrays
        }
        self.whole = {p for p, c in self.columns.items() if c.declared and c.type.kind is Kind.JSON}
        self.known = set(self.columns) | set(self.arrays)
        if index == 0:
            roles = (options.valid_from, options.valid_to, options.operation)
            self.known |= {path for path in roles if path is not None}
        self.prefixes = {path[:size] for path in self.known for size in range(len(path))}
        self.added: list[Column] = []
        self.typed: dict[Path, ColumnType] = {}

    @property
    def bare(self) -> bool:
        """Nothing is known of the array's elements yet, not even whether they are objects."""
        return self.table.by_position and not self.known and not self.added

    def add(self, path: Path, value: Any) -> None:
        """Make a column of a field nobody declared."""
        name = "__".join(path) if path else "value"
        if name.lower() in self.above:
            name = "__".join((*self.table.arrays[-1], name))
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise Misfit(Code.BAD_NAME, self.index, path, lasting=True)
        if name.lower() in self.taken:
            raise Misfit(Code.NAME_COLLIDES, self.index, path, lasting=True)
        if name.lower() in self.names:
            raise Misfit(Code.NAME_COLLIDES, self.index, path)
        column = Column(name, path, ColumnType(_kind(value, self.index, path)), declared=False)
        self.names.add(name.lower())
        self.known.add(path)
        self.columns[path] = column
        self.prefixes |= {path[:size] for size in range(len(path))}
        self.added.append(column)

    def settle(self, path: Path, value: Any) -> None:
        """Give a declared column without a type its type."""
        column = self.columns.get(path)
        if column and column.type.kind is Kind.UNKNOWN and path not in self.typed:
            self.typed[path] = ColumnType(_kind(value, self.index, path))

    def result(self) -> TableSchema:
        """The table with what was found."""
        values = self.table.values
        if self.typed:
            values = tuple(
                c if c.retired else replace(c, type=self.typed.get(c.path, c.type)) for c in values
            )
        return replace(self.table, values=values + tuple(self.added))


class _Walk:
    def __init__(self, dataset: DatasetSchema, options: DecodeOptions) -> None:
        self.tables = [_Table(dataset, index, options) for index in range(len(dataset.tables))]

    def members(self, table: _Table, path: Path, members: _Members) -> None:
        times = Counter(name for name, _ in members)
        for name, value in members:
            below = (*path, name)
            if times[name] > 1 and table.evolve and below not in table.known and _content(value):
                raise Misfit(Code.DUPLICATE, table.index, below)
            self.value(table, below, value)

    def value(self, table: _Table, path: Path, value: Any) -> None:
        if value is None or path in table.whole:
            return
        if isinstance(value, list) and not isinstance(value, _Members) and path in table.arrays:
            self.elements(self.tables[table.arrays[path]], value)
        elif isinstance(value, _Members) and (path in table.prefixes or path not in table.known):
            self.members(table, path, value)
        elif path in table.known:
            table.settle(path, value)
        elif table.evolve and path not in table.prefixes:
            table.add(path, value)

    def elements(self, table: _Table, values: list[Any]) -> None:
        for value in values:
            if isinstance(value, _Members):
                self.value(table, (), value)
            elif value is not None and table.bare:
                table.add((), value)
            elif value is not None:
                table.settle((), value)


def evolved(record: bytes, dataset: DatasetSchema, options: DecodeOptions) -> DatasetSchema:
    """The schema with the columns that a record's new fields need.

    Args:
        record: valid JSON.
        dataset: the schema until now.
        options: the dataset's.

    Raises:
        Misfit: if they can't become columns.
    """
    value = json.loads(record, object_pairs_hook=_Members, parse_int=_Integer, parse_float=_Fraction)
    if options.envelope:
        value = dict(value)["value"]
    walk = _Walk(dataset, options)
    walk.members(walk.tables[0], (), value)
    if sum(len(t.table.own_key + t.table.values) + len(t.added) for t in walk.tables) > options.max_columns:
        first = next(t for t in walk.tables if t.added)
        raise Misfit(Code.TOO_MANY_COLUMNS, first.index, first.added[0].path)
    return replace(dataset, tables=tuple(table.result() for table in walk.tables))
