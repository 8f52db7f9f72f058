"""A record to a change: key, operation, valid range and typed values, the children's included."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .dataset import Column, Dataset, Path, Rejected, Table
from .reading import (
    check,
    convert,
    infer,
    instant,
    json_text,
    key_value,
    read_json,
    utc_day,
    valid_time,
)

Values = dict[str, Any]
"""Typed values by column name; a null is a missing entry."""
OPERATIONS = ("put", "patch", "delete", "terminate", "retract")


@dataclass(frozen=True)
class Record:
    """One message. ``value`` None is a tombstone; ``key`` is the record's own key, as bytes."""

    value: bytes | None
    timestamp: int
    key: bytes | None = None
    partition: int = 0
    offset: int = 0
    topic: str | None = None


@dataclass(frozen=True)
class Change:
    """A decoded record.

    Attributes:
        valid_to: None when the record gives none; the dataset's end when it gives "no end".
        values: the parent's values that are not null.
        given: names of the parent's columns that the record gives, explicit nulls included.
        anything_given: the record gives some field or array, be it a null.
        arrays: indexes of the child tables whose array (or an array around it) the record gives.
        children: values by (table index, own keys from the outermost array inwards).
    """

    key: tuple[Any, ...]
    operation: str
    valid_from: int
    valid_to: int | None
    values: Values = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    anything_given: bool = False
    arrays: frozenset[int] = frozenset()
    children: dict[tuple[int, tuple[Any, ...]], Values] = field(default_factory=dict)


def decode(dataset: Dataset, record: Record) -> Change:
    """Decode one record; new columns are added to the dataset only when the whole record is good."""
    if record.value is None:
        return _tombstone(dataset, record)
    sizes = [len(t.columns) for t in dataset.tables]
    try:
        return _decode_value(dataset, record.value)
    except (Rejected, RecursionError) as error:
        for table, size in zip(dataset.tables, sizes, strict=True):
            del table.columns[size:]
        if isinstance(error, Rejected):
            raise
        raise Rejected("decode", "nested too deeply") from None


def _tombstone(dataset: Dataset, record: Record) -> Change:
    columns = dataset.parent.own_key
    value = _message_key(record.key)
    if isinstance(value, dict):
        parts = [value.get(c.name) for c in columns]
    elif len(columns) == 1:
        parts = [value]
    else:
        raise Rejected("decode", "the record's key is not an object of the key columns")
    key = tuple(key_value(c, part) for c, part in zip(columns, parts, strict=True))
    at = utc_day(record.timestamp) if dataset.dated else record.timestamp
    if at >= dataset.end:
        raise Rejected("decode", "valid_from at the end of time")
    return Change(key, "terminate", at, None)


def _message_key(key: bytes | None) -> Any:
    """JSON, or plain text as most producers write a string key."""
    if key is None:
        raise Rejected("decode", "a tombstone without a key")
    try:
        value = read_json(key)
    except Rejected:
        try:
            return key.decode("utf-8")
        except UnicodeDecodeError:
            raise Rejected("decode", "the record's key is not UTF-8") from None
    check(value)
    return value


def _decode_value(dataset: Dataset, data: bytes) -> Change:
    document = read_json(data)
    check(document)
    if not isinstance(document, dict):
        raise Rejected("decode", "not a JSON object")
    key = tuple(key_value(c, _at(document, c.path)) for c in dataset.parent.own_key)
    operation = _operation(dataset, document)
    valid_from, valid_to = _valid_range(dataset, document, operation)
    walk = _Walk(dataset)
    values, given = walk.fields(dataset.parent, document, ())
    arrays = frozenset(walk.arrays)
    return Change(key, operation, valid_from, valid_to, values, given, walk.anything, arrays, walk.children)


def _at(document: Any, path: Path) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _operation(dataset: Dataset, document: dict[str, Any]) -> str:
    value = _at(document, dataset.operation) if dataset.operation else None
    if value is None:
        return "put"
    if not isinstance(value, str) or value not in OPERATIONS:
        raise Rejected("decode", "unknown operation")
    return value


def _valid_range(dataset: Dataset, document: dict[str, Any], operation: str) -> tuple[int, int | None]:
    given = _at(document, dataset.valid_from)
    if given is None:
        raise Rejected("decode", "no valid_from")
    start = valid_time(given, dataset.valid_unit, dataset.dated)
    if start >= dataset.end:
        raise Rejected("decode", "valid_from at the end of time")
    until = _at(document, dataset.valid_to) if dataset.valid_to else None
    if until is None or operation in ("terminate", "retract"):
        return start, None
    end = min(valid_time(until, dataset.valid_unit, dataset.dated), dataset.end)
    if end <= start:
        raise Rejected("decode", "valid_to is not after valid_from")
    return start, end


class _Walk:
    """Reads the columns of one record, table by table."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.anything = False
        self.arrays: set[int] = set()
        self.children: dict[tuple[int, tuple[Any, ...]], Values] = {}

    def fields(
        self, table: Table, element: dict[str, Any], above: tuple[Any, ...]
    ) -> tuple[Values, frozenset[str]]:
        """Values and given columns of one object; its arrays go to `children`, below the keys ``above``."""
        values: Values = {}
        given: set[str] = set()
        for path, value in self._leaves(table, element, ()):
            child = next((t for t in table.children if t.array == path), None)
            if child:
                self._array(child, value, above)
                continue
            column = table.column_at(path) or self._new_column(table, path, value)
            if column:
                given.add(column.name)
                typed = convert(column, value)
                if typed is not None:
                    values[column.name] = typed
        self.anything |= bool(given)
        return values, frozenset(given)

    def _leaves(self, table: Table, element: dict[str, Any], prefix: Path) -> Iterator[tuple[Path, Any]]:
        """Every (path, value) that is a column or an array; a null object is a null in each path below it."""
        leaves = self._leaf_paths(table)
        skipped = {c.path for c in table.own_key} | (self.dataset.specials if table.index == 0 else set())
        for name, value in element.items():
            path = (*prefix, name)
            if path in leaves:
                yield path, value
            elif path in skipped:
                continue
            elif isinstance(value, dict):
                yield from self._leaves(table, value, path)
            elif value is None and any(p[: len(path)] == path for p in leaves | skipped):
                yield from ((p, None) for p in leaves if p[: len(path)] == path)
            elif any(p[: len(path)] == path for p in leaves | skipped):
                raise Rejected("flatten", f"{'.'.join(path)} is an object elsewhere")
            else:
                yield path, value

    @staticmethod
    def _leaf_paths(table: Table) -> set[Path]:
        return {c.path for c in table.columns} | {t.array for t in table.children}

    def _new_column(self, table: Table, path: Path, value: Any) -> Column | None:
        if self.dataset.on_new_field == "ignore":
            return None
        if value is None:
            self.anything |= self.dataset.on_new_field == "evolve"
            return None
        if self.dataset.on_new_field == "dead_letter":
            raise Rejected("flatten", f"the field {'.'.join(path)} is new")
        return table.add_inferred(path, infer(value))

    def _array(self, table: Table, array: Any, above: tuple[Any, ...]) -> None:
        if array is not None and not isinstance(array, list):
            raise Rejected("flatten", f"{'.'.join(table.array)} is not an array")
        self.anything = True
        self._give(table)
        for position, element in enumerate(array or ()):
            fields = element if isinstance(element, dict) else self._scalar(table, element)
            if table.positional:
                own: tuple[Any, ...] = (position,)
            else:
                own = tuple(key_value(c, _at(fields, c.path)) for c in table.own_key)
            key = (*above, *own)
            if (table.index, key) in self.children:
                raise Rejected("flatten", f"two elements of {'.'.join(table.array)} have the same key")
            self.children[table.index, key] = {}
            self.children[table.index, key] = self.fields(table, fields, key)[0]

    @staticmethod
    def _scalar(table: Table, value: Any) -> dict[str, Any]:
        """An array of scalars has the column ``value``, whatever on_new_field says of other fields."""
        path = ("value",)
        known = table.column_at(path) or any(c.path == path for c in table.own_key)
        if value is not None and not known:
            table.add_inferred(path, infer(value))
        return {"value": value}

    def _give(self, table: Table) -> None:
        self.arrays.add(table.index)
        for child in table.children:
            self._give(child)


def read_envelope(line: bytes, offset: int) -> Record:
    """The record in a line of ``load --envelope``; a line without one is `Rejected` and has no timestamp."""
    document = read_json(line)
    if not isinstance(document, dict):
        raise Rejected("source", "not an envelope")
    if not isinstance(document.get("timestamp"), str):
        raise Rejected("source", "no timestamp")
    if "value" not in document:
        raise Rejected("source", "no value")
    at = instant(document["timestamp"])
    return Record(_bytes(document["value"]), at, _bytes(document.get("key")), offset=offset)


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    try:
        return json_text(value).encode("utf-8", "surrogatepass")
    except RecursionError:
        raise Rejected("decode", "nested too deeply") from None
