"""A dataset of lake.yaml as the model needs it: tables, keys, columns, and how times are read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]

POSITION: Path = ("", "position")
"""A path that no member has."""
END_US = 253_402_214_400_000_000
END_DAY = 2_932_896
RESERVED = frozenset(
    [
        *("valid_from", "valid_to", "system_from", "system_to"),
        *("operation", "source_topic", "source_partition", "source_offset"),
        *("closed_by_operation", "closed_by_partition", "closed_by_offset"),
    ]
)


class Rejected(Exception):
    """A record that can't become a change: the stage that said so, and why."""

    def __init__(self, stage: str, reason: str, timestamp: int | None = None) -> None:
        super().__init__(f"{stage}: {reason}")
        self.timestamp = timestamp
        self.stage = stage
        self.reason = reason


@dataclass(frozen=True)
class Type:
    """A column's type by its name in lake.yaml; precision and scale only for decimals."""

    name: str
    precision: int = 0
    scale: int = 0

    @staticmethod
    def parse(text: str) -> "Type":
        """Read ``long``, ``decimal(12,6)`` and the like."""
        if found := re.fullmatch(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)", text):
            return Type("decimal", int(found[1]), int(found[2]))
        return Type(text)


@dataclass(frozen=True)
class Column:
    """A column, the path of its value inside the table's own JSON object, and who chose its type."""

    name: str
    path: Path
    type: Type
    declared: bool = True
    truncate: bool = False


@dataclass
class Table:
    """One table: the parent (``index`` 0, ``array`` empty) or the table of one declared array."""

    index: int
    name: str
    array: Path
    inherited: tuple[Column, ...]
    own_key: tuple[Column, ...]
    columns: list[Column]
    positional: bool = False
    children: list["Table"] = field(default_factory=list)

    @property
    def key(self) -> tuple[Column, ...]:
        """All key columns, the outermost table's first."""
        return self.inherited + self.own_key

    def column_at(self, path: Path) -> Column | None:
        """The value column read from ``path``."""
        return next((c for c in self.columns if c.path == path), None)

    @property
    def scalars(self) -> bool:
        """The elements of the array are scalars."""
        return any(c.path == () for c in (*self.own_key, *self.columns))

    @property
    def bare(self) -> bool:
        """Nothing is known of the elements yet, not even whether they are objects."""
        return self.positional and not self.columns and not self.children

    def own_name(self, name: str) -> str:
        """The name of one of this table's own columns: prefixed where an inherited key has it already."""
        taken = {c.name.lower() for c in (self.key if self.positional else self.inherited)}
        return "__".join((*self.array, name)) if name.lower() in taken else name

    def add_inferred(self, path: Path, kind: str) -> Column:
        """Evolve: a new column at the end, unless its name can't be told from another one's."""
        name = self.own_name("__".join(path) if path else "value")
        if not 0 < len(name) <= 255 or not name.isprintable():
            raise Rejected("flatten", f"the field {path} can't be a column")
        taken = RESERVED | {c.name.lower() for c in (*self.key, *self.columns)}
        if name.lower() in taken:
            raise Rejected("flatten", f"the new column {name} collides with another column")
        self.columns.append(column := Column(name, path, Type(kind), declared=False))
        return column


@dataclass
class Dataset:
    """One entry of ``datasets:``; inferred columns are added to its tables as records are read."""

    name: str
    tables: list[Table]
    valid_from: Path
    valid_to: Path | None
    operation: Path | None
    valid_unit: str | None
    next_change: bool
    dated: bool
    on_new_field: str
    truncate: bool = False

    @property
    def parent(self) -> Table:
        """The dataset's own table."""
        return self.tables[0]

    @property
    def end(self) -> int:
        """ "No end", in the unit of this dataset's valid time."""
        return END_DAY if self.dated else END_US

    @property
    def specials(self) -> frozenset[Path]:
        """Paths that are no columns unless declared."""
        return frozenset(p for p in (self.valid_from, self.valid_to, self.operation) if p is not None)

    def table(self, name: str) -> Table:
        """A table by the name that commands use: the dataset's, or ``<dataset>__<array>``."""
        return next(t for t in self.tables if t.name == name)

    @staticmethod
    def of(entry: Mapping[str, Any]) -> "Dataset":
        """Build from one entry of ``datasets:`` in lake.yaml."""
        tables: list[Table] = []
        _add_table(tables, entry["name"], (), (), entry)
        return Dataset(
            name=entry["name"],
            tables=tables,
            valid_from=_path(entry["valid_from"]),
            valid_to=_path(entry["valid_to"]) if entry.get("valid_to") else None,
            operation=_path(entry["operation"]) if entry.get("operation") else None,
            valid_unit=entry.get("valid_unit"),
            next_change=entry.get("valid_end", "next_change") == "next_change",
            dated=entry.get("valid_time", "timestamp") == "date",
            on_new_field=entry.get("on_new_field", "evolve"),
            truncate=entry.get("time_precision") == "truncate",
        )


def _path(text: str) -> Path:
    return () if text == "." else tuple(text.split("."))


def _add_table(
    tables: list[Table], name: str, array: Path, inherited: tuple[Column, ...], entry: Mapping[str, Any]
) -> Table:
    keys: Sequence[str] = entry.get("key") or ()
    positional = bool(array) and not keys
    table = Table(len(tables), name, array, inherited, (), [], positional)
    tables.append(table)
    if positional:
        table.own_key = (Column(table.own_name("position"), POSITION, Type("long")),)
    declared = [_declared(table, n, spec) for n, spec in (entry.get("columns") or {}).items()]
    paths = [_path(k) for k in keys]
    if not positional:
        table.own_key = tuple(_key_column(table, path, declared) for path in paths)
    table.columns = [c for c in declared if c.path not in paths]
    for child in entry.get("children") or ():
        below = _path(child["path"])
        child_name = f"{name}__{'__'.join(below)}"
        table.children.append(_add_table(tables, child_name, below, table.key, child))
    return table


def _declared(table: Table, name: str, spec: str | Mapping[str, str]) -> Column:
    if isinstance(spec, str):
        return Column(table.own_name(name), (name,), Type.parse(spec))
    truncate = spec.get("time_precision") == "truncate"
    path = _path(spec.get("path", name))
    return Column(table.own_name(name), path, Type.parse(spec["type"]), truncate=truncate)


def _key_column(table: Table, path: Path, declared: list[Column]) -> Column:
    found = next((c for c in declared if c.path == path), None)
    return found or Column(table.own_name("__".join(path) or "value"), path, Type("string"), declared=False)
