"""A record to a change: key, operation, valid range and typed values, the children's included."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .dataset import Column, Dataset, Path, Rejected, Table
from .parse import MOST_DEPTH, NULL, Json, Members, NotJson, read_json
from .reading import convert, in_years, infer, instant, key_value, utc_day, valid_time

Key = tuple[Any, ...]
Values = dict[str, Any]
"""Typed values by column name; a null is a missing entry."""
OPERATIONS = ("put", "patch", "delete", "terminate", "retract")


@dataclass(frozen=True)
class Record:
    """One message. ``value`` None is a tombstone; ``key`` is the record's own key, as bytes: an envelope's is JSON."""

    value: bytes | None
    timestamp: int
    key: bytes | None = None
    partition: int = 0
    offset: int = 0
    topic: str | None = None
    json_key: bool = False


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
        change = _decode_value(dataset, record.value)
        if sizes != [len(t.columns) for t in dataset.tables]:
            change = _decode_value(dataset, record.value)  # now that its fields are known
        return change
    except Rejected:
        for table, size in zip(dataset.tables, sizes, strict=True):
            del table.columns[size:]
        raise


def _tombstone(dataset: Dataset, record: Record) -> Change:
    columns = dataset.parent.own_key
    text = len(columns) == 1 and columns[0].type.name in ("string", "binary") and not record.json_key
    given = _message_key(record.key, single=len(columns) == 1, text=text)
    if isinstance(given.value, Members):
        parts = [_key_part(given.value, c, [o for o in columns if o is not c]) for c in columns]
    elif len(columns) == 1:
        parts = [given]
    else:
        raise Rejected("decode", "the record's key is not an object of the key columns")
    key = tuple(key_value(c, part) for c, part in zip(columns, parts, strict=True))
    at = utc_day(record.timestamp) if dataset.dated else record.timestamp
    if at >= dataset.end:
        raise Rejected("decode", "valid_from at the end of time")
    return Change(key, "terminate", at, None)


def _key_part(members: Members, column: Column, others: list[Column]) -> Json:
    """A key column's value by its name, or by a spelling of its path that can mean no other column."""
    taken = {n for o in others for n in (o.name, ".".join(o.path), o.path[-1])}
    names = {column.name} | ({".".join(column.path), column.path[-1]} - taken)
    if members.doubled() & names:
        raise Rejected("decode", "duplicate members")
    nested = column.path[0] not in taken | names
    found = NULL
    for name, value in members.pairs:
        if name in names:
            found = value
        elif nested and name == column.path[0] and value.at(column.path[1:]) is not NULL:
            found = value.at(column.path[1:])
    return found


def _message_key(key: bytes | None, *, single: bool, text: bool) -> Json:
    """JSON; or, where one column is the key, a text, as many producers write it.

    For a column of text, what is no JSON string or object is a text also where it is JSON.
    """
    if key is None:
        raise Rejected("decode", "a tombstone without a key")
    try:
        if text and key.decode("utf-8").lstrip(" \t\n\r")[:1] not in ('"', "{"):
            return Json(key.decode("utf-8"), "")
        return read_json(key)
    except UnicodeDecodeError:
        raise Rejected("decode", "not UTF-8") from None
    except NotJson:
        if not single:
            raise
        return Json(key.decode("utf-8"), "")


def _decode_value(dataset: Dataset, data: bytes) -> Change:
    document = read_json(data)
    if not isinstance(document.value, Members):
        raise Rejected("decode", "not a JSON object")
    _check_known_once(dataset.parent, document.value, dataset.specials)
    key = tuple(key_value(c, document.at(c.path)) for c in dataset.parent.own_key)
    operation = _operation(dataset, document)
    valid_from, valid_to = _valid_range(dataset, document, operation)
    if operation not in ("put", "patch"):
        return Change(key, operation, valid_from, valid_to)
    walk = _Walk(dataset)
    values, given = walk.fields(dataset.parent, document.value, ())
    arrays = frozenset(walk.arrays)
    return Change(key, operation, valid_from, valid_to, values, given, walk.anything, arrays, walk.children)


def _paths(table: Table) -> set[Path]:
    """Paths of the table's columns, keys and arrays."""
    return {c.path for c in (*table.columns, *table.own_key)} | {t.array for t in table.children}


def _check_known_once(table: Table, members: Members, more: frozenset[Path], prefix: Path = ()) -> None:
    """Whatever the operation: no member that is known, or leads to one, is there twice."""
    known = _paths(table) | more
    doubled = members.doubled()
    for name, member in members.pairs:
        path = (*prefix, name)
        below = {p for p in known if p[: len(path)] == path}
        if below and name in doubled:
            raise Rejected("decode", "duplicate members")
        if below - {path} and isinstance(member.value, Members):
            _check_known_once(table, member.value, more, path)
        child = next((t for t in table.children if t.array == path), None)
        for element in member.value if child and isinstance(member.value, list) else ():
            if isinstance(element.value, Members) and not child.scalars:
                _check_known_once(child, element.value, frozenset())


def _operation(dataset: Dataset, document: Json) -> str:
    value = document.at(dataset.operation).value if dataset.operation else None
    if value is None:
        return "put"
    if not isinstance(value, str) or value not in OPERATIONS:
        raise Rejected("decode", "unknown operation")
    return value


def _valid_range(dataset: Dataset, document: Json, operation: str) -> tuple[int, int | None]:
    given = document.at(dataset.valid_from)
    if given.value is None:
        raise Rejected("decode", "no valid_from")
    start = valid_time(given, dataset.valid_unit, dataset.dated, dataset.truncate)
    if start >= dataset.end:
        raise Rejected("decode", "valid_from at the end of time")
    until = document.at(dataset.valid_to) if dataset.valid_to else NULL
    if until.value is None or operation in ("terminate", "retract"):
        return start, None
    end = valid_time(until, dataset.valid_unit, dataset.dated, dataset.truncate)
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

    def fields(self, table: Table, members: Members, above: Key) -> tuple[Values, frozenset[str]]:
        """Values and given columns of one object; its arrays go to `children`, below the keys ``above``."""
        values: Values = {}
        given: set[str] = set()
        for path, value in self._leaves(table, members, ()):
            child = next((t for t in table.children if t.array == path), None)
            if child:
                self._array(child, value, above)
                continue
            column = table.column_at(path) or table.add_inferred(path, infer(value.value))
            given.add(column.name)
            typed = convert(column, value)
            if typed is not None:
                values[column.name] = typed
        self.anything |= bool(given)
        return values, frozenset(given)

    def _leaves(self, table: Table, members: Members, prefix: Path) -> Iterator[tuple[Path, Json]]:
        """Every (path, value) that is a column or an array; a null object is a null in each path below it."""
        leaves = {c.path for c in table.columns} | {t.array for t in table.children}
        skipped = _paths(table) - leaves | (self.dataset.specials if table.index == 0 else set())
        for name, value in members.pairs:
            path = (*prefix, name)
            below = {p for p in leaves | skipped if p[: len(path)] == path}
            if path in leaves:
                yield path, value
            elif path in skipped:
                continue
            elif not below:
                yield from self._new(table, path, value, name in members.doubled())
            elif isinstance(value.value, Members):
                yield from self._leaves(table, value.value, path)
            elif value.value is None:
                yield from ((p, NULL) for p in below & leaves)
            else:
                raise Rejected("flatten", f"{'.'.join(path)} is an object elsewhere")

    def _new(self, table: Table, path: Path, value: Json, doubled: bool) -> Iterator[tuple[Path, Json]]:
        """A field that no column takes; one that holds nothing but nulls is nothing yet."""
        if not value.content or self.dataset.on_new_field == "ignore":
            return
        if self.dataset.on_new_field == "dead_letter" or doubled:
            raise Rejected("flatten", f"the field {'.'.join(path)} is new, or there twice")
        if isinstance(value.value, Members):
            yield from self._leaves(table, value.value, path)
        else:
            yield path, value

    def _array(self, table: Table, array: Json, above: Key) -> None:
        if array.value is not None and not isinstance(array.value, list):
            raise Rejected("flatten", f"{'.'.join(table.array)} is not an array")
        self.anything = True
        self._give(table)
        for position, element in enumerate(array.value or ()):
            own = (
                (position,)
                if table.positional
                else tuple(key_value(c, element.at(c.path)) for c in table.own_key)
            )
            key = (*above, *own)
            if (table.index, key) in self.children:
                raise Rejected("flatten", f"two elements of {'.'.join(table.array)} have the same key")
            self.children[table.index, key] = {}
            self.children[table.index, key] = self._element(table, element, key)

    def _element(self, table: Table, element: Json, key: Key) -> Values:
        """An element's values: a scalar, or an array in the array, is in the column ``value``."""
        if element.value is None:
            return {}
        if table.scalars or (table.bare and not isinstance(element.value, Members)):
            known = any(c.path == () for c in table.own_key)
            column = None if known else table.column_at(()) or table.add_inferred((), infer(element.value))
            return {column.name: convert(column, element)} if column else {}
        if not isinstance(element.value, Members):
            raise Rejected("flatten", f"an element of {'.'.join(table.array)} is not an object")
        return self.fields(table, element.value, key)[0]

    def _give(self, table: Table) -> None:
        self.arrays.add(table.index)
        for child in table.children:
            self._give(child)


def read_envelope(line: bytes, offset: int) -> Record:
    """The record in a line of ``load --envelope``; `Rejected` knows the timestamp, if the line has just one."""
    document = read_json(line, MOST_DEPTH + 1)
    if not isinstance(document.value, Members):
        raise Rejected("source", "not an envelope")
    stamp, value, key = (document.at((name,)) for name in ("timestamp", "value", "key"))
    if not isinstance(stamp.value, str) or "timestamp" in document.value.doubled():
        raise Rejected("source", "no timestamp")
    at = in_years(instant(stamp.value))
    if value is NULL or document.value.doubled() & {"value", "key"}:
        raise Rejected("source", "no value, or a member twice", at)
    return Record(_bytes(value), at, _bytes(key), offset=offset, json_key=True)


def _bytes(given: Json) -> bytes | None:
    return None if given.value is None else given.text.encode()
