"""From a dataset's schema to the flat arrays that the kernel walks along."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.decode.layout import (
    BODY,
    C_FIELDS,
    E_FIELDS,
    ENVELOPE_KEY,
    KIND_BODY,
    KIND_OPERATION,
    KIND_SPAN,
    KIND_STAMP,
    KIND_VALID,
    N_FIELDS,
    OPERATION,
    ROLES,
    STAMP,
    T_FIELDS,
    T_MASK,
    VALID_FROM,
    VALID_TO,
)
from pipeline.decode.names import fill_lookup
from pipeline.decode.options import DecodeOptions, Path
from pipeline.decode.spellings import key_spellings
from pipeline.decode.structures import Plan
from pipeline.errors import BadConfiguration
from pipeline.schema import Column, ColumnType, DatasetSchema, Kind, TableSchema

_ROLE_KINDS = (KIND_VALID, KIND_VALID, KIND_OPERATION, KIND_STAMP, KIND_SPAN, KIND_BODY)
MAX_CHILD_TABLES = 62
_ANY = -(2**63), -(2**63)


@dataclass
class _Entry:
    """A member of a known object, or the elements of a known array."""

    name: bytes = b""
    parent: int = -1
    node: int = -1
    table: int = -1
    refused: int = 0
    actions: list[int] = field(default_factory=list)


@dataclass
class _Node:
    """A known object."""

    members: dict[str, int] = field(default_factory=dict)
    open: bool = True


def _least(type_: ColumnType, widths: list[int]) -> tuple[int, int]:
    """The least number of a column that can be rounded down to multiples of all widths within its type.

    Returns:
        Its lower half, which is all of it but for decimals, and its upper half.
    """
    limits = {Kind.INT: 2**31, Kind.LONG: 2**63, Kind.DECIMAL: 10**type_.precision - 1}
    if not widths or type_.kind not in limits:
        return _ANY
    limit = limits[type_.kind]
    least = max(-(limit // width * width) for width in widths)
    low = least % 2**64
    return low - 2**64 if low >= 2**63 else low, least >> 64


@dataclass(frozen=True)
class Compiled:
    """A plan and where it begins.

    Attributes:
        plan: the arrays.
        root: the entry that a line is.
        key_entry: the entry that an envelope's key is.
        nested: whether any child table has child tables.
    """

    plan: Plan
    root: int
    key_entry: int
    nested: bool


class _Builder:
    def __init__(
        self, dataset: DatasetSchema, options: DecodeOptions, labels: dict[tuple[int, str], int]
    ) -> None:
        self.dataset, self.options, self.labels = dataset, options, labels
        self.entries: list[_Entry] = []
        self.nodes: list[_Node] = []
        self.columns = np.zeros(
            (ROLES + sum(len(t.own_key + t.values) for t in dataset.tables), C_FIELDS), np.int64
        )
        self.tables = np.zeros((len(dataset.tables), T_FIELDS), np.int64)

    def entry(self, new: _Entry) -> int:
        self.entries.append(new)
        return len(self.entries) - 1

    def node(self, entry: int) -> int:
        """The node of the objects at an entry."""
        if self.entries[entry].node < 0:
            self.nodes.append(_Node())
            self.entries[entry].node = len(self.nodes) - 1
        return self.entries[entry].node

    def at(self, entry: int, path: Path) -> int:
        """The entry at a path below another one."""
        for name in path:
            parent = self.node(entry)
            members = self.nodes[parent].members
            if name not in members:
                members[name] = self.entry(_Entry(name.encode("utf-8", "surrogatepass"), parent))
            entry = members[name]
        return entry

    def refuse(self, entry: int, path: Path, code: int) -> None:
        """Enter a field that can't become a column, unless that would make known what is not."""
        for name in path[:-1]:
            node = self.entries[entry].node
            if node < 0 or name not in self.nodes[node].members:
                return
            entry = self.nodes[node].members[name]
        if self.entries[entry].node >= 0:
            self.entries[self.at(entry, path[-1:])].refused = code

    def role(self, slot: int, entry: int) -> None:
        truncate = self.options.truncate_valid and slot in (VALID_FROM, VALID_TO)
        self.columns[slot] = (_ROLE_KINDS[slot], 0, 0, 8, 1, 0, slot, *_ANY, truncate)
        self.entries[entry].actions.append(slot)

    def column(self, slot: int, table: int, column: Column, *, key: bool) -> None:
        kind = column.type.kind
        if key and kind is Kind.UNKNOWN:
            kind = Kind.STRING
        loose = not column.declared and (kind is Kind.JSON or (key and kind is Kind.STRING))
        label = self.labels.setdefault((table, column.name), ROLES + len(self.labels))
        firm = key and table == 0
        type_ = column.type
        least = _least(type_, [w for name, w in self.options.truncated if name == column.name])
        truncate = (self.dataset.tables[table].arrays, column.path) in self.options.truncated_times
        sizes = (type_.precision, type_.scale, type_.width)
        self.columns[slot] = (kind, *sizes, firm, loose, label, *least, truncate)

    def table(self, index: int, table: TableSchema, element: int, first: int) -> int:
        """Enter a table's columns; returns the slot behind them."""
        slot = first
        for key, columns in ((True, table.own_key), (False, table.values)):
            for column in columns:
                self.column(slot, index, column, key=key)
                if not (key and table.by_position) and not column.retired:
                    self.entries[self.at(element, column.path)].actions.append(slot)
                slot += 1
        position = index > 0 and table.by_position
        bare = position and not table.values and not self._has_children(table)
        self.tables[index] = (element, first, first + len(table.own_key), slot, 0, position, bare)
        return slot

    def _has_children(self, table: TableSchema) -> bool:
        size = len(table.arrays)
        return any(len(t.arrays) > size and t.arrays[:size] == table.arrays for t in self.dataset.tables)

    def array(self, index: int, table: TableSchema, elements: dict[tuple[Path, ...], int]) -> int:
        """Enter the array of a child table; returns the entry of its elements."""
        if table.arrays[:-1] not in elements:
            raise BadConfiguration(
                f"the array of table {table.name} lies in an array that is not a child table",
                next_step="declare the outer array under children first, and this one under its children",
            )
        array = self.at(elements[table.arrays[:-1]], table.arrays[-1])
        self.entries[array].table = index
        return self.entry(_Entry())

    def masks(self) -> None:
        """Per table the bits of itself and the tables in it."""
        for index, table in enumerate(self.dataset.tables[1:], 1):
            size = len(table.arrays)
            for below, other in enumerate(self.dataset.tables[1:], 1):
                if other.arrays[:size] == table.arrays:
                    self.tables[index, T_MASK] |= 1 << below


def compile_plan(
    dataset: DatasetSchema,
    options: DecodeOptions,
    labels: dict[tuple[int, str], int],
    refused: dict[tuple[int, Path], int],
    seed: np.uint64,
) -> Compiled:
    """Compile a schema.

    Args:
        dataset: the schema.
        options: the dataset's other paths.
        labels: numbers of columns, by (table, name); new ones are added.
        refused: fields that can't become columns, by (table, path), with the code of the reason.
        seed: of the hash table of names.
    """
    if len(dataset.tables) > MAX_CHILD_TABLES + 1:
        raise BadConfiguration(
            f"dataset {dataset.name} has more than {MAX_CHILD_TABLES} child tables",
            next_step="leave some arrays undeclared: they are kept as JSON text",
        )
    builder = _Builder(dataset, options, labels)
    record, root, key_entry = _roots(builder, options)
    slot = ROLES
    elements: dict[tuple[Path, ...], int] = {(): record}
    for index, table in enumerate(dataset.tables):
        if index > 0:
            elements[table.arrays] = builder.array(index, table, elements)
        slot = builder.table(index, table, elements[table.arrays], slot)
    _roles(builder, options, record)
    _envelope_key(builder, key_entry)
    for table in dataset.tables:
        _open_elements(builder, elements[table.arrays])
        _close_json(builder, table, elements[table.arrays])
    builder.masks()
    for (index, path), code in refused.items():
        builder.refuse(elements[dataset.tables[index].arrays], path, code)
    nested = any(len(table.arrays) > 1 for table in dataset.tables)
    return Compiled(_arrays(builder, seed), root, key_entry, nested)


def _roots(builder: _Builder, options: DecodeOptions) -> tuple[int, int, int]:
    """The entries of the record, of the line, and of an envelope's key."""
    root = builder.entry(_Entry())
    key_entry = builder.entry(_Entry())
    builder.node(key_entry)
    record = root
    if options.envelope:
        builder.nodes[builder.node(root)].open = False
        for slot, name in ((STAMP, "timestamp"), (ENVELOPE_KEY, "key"), (BODY, "value")):
            builder.role(slot, builder.at(root, (name,)))
        record = builder.at(root, ("value",))
    builder.node(record)
    return record, root, key_entry


def _roles(builder: _Builder, options: DecodeOptions, record: int) -> None:
    paths = ((VALID_FROM, options.valid_from), (VALID_TO, options.valid_to), (OPERATION, options.operation))
    for slot, path in paths:
        if path is not None:
            builder.role(slot, builder.at(record, path))


def _envelope_key(builder: _Builder, key_entry: int) -> None:
    columns = builder.dataset.parent.own_key
    for slot, column in enumerate(columns, ROLES):
        for path in key_spellings(column, columns):
            builder.entries[builder.at(key_entry, path)].actions.append(slot)
    for node in _below_entry(builder, key_entry):
        node.open = False
    if len(columns) == 1:
        builder.entries[key_entry].actions.append(ROLES)


def _below_entry(builder: _Builder, entry: int) -> Iterator[_Node]:
    """The objects at an entry and in it."""
    if builder.entries[entry].node >= 0:
        node = builder.nodes[builder.entries[entry].node]
        yield node
        for member in node.members.values():
            yield from _below_entry(builder, member)


def _open_elements(builder: _Builder, element: int) -> None:
    """Elements that no column takes as they are must be objects."""
    if not builder.entries[element].actions:
        builder.node(element)


def _close_json(builder: _Builder, table: TableSchema, element: int) -> None:
    """Nothing is new in what a declared json column takes whole, where keys or times lie in it."""
    for column in table.values:
        if column.declared and column.type.kind is Kind.JSON:
            for node in _below_entry(builder, builder.at(element, column.path)):
                node.open = False


def _arrays(builder: _Builder, seed: np.uint64) -> Plan:
    entries = np.zeros((len(builder.entries), E_FIELDS), np.int64)
    words, actions = bytearray(), list[int]()
    for index, entry in enumerate(builder.entries):
        place = len(words) >> 3
        words += entry.name + bytes(-len(entry.name) % 8)
        count = len(entry.actions)
        first = len(actions) if count else 0
        entries[index] = (
            place, len(entry.name), entry.node, entry.table, first, count, entry.refused, entry.parent
        )  # fmt: skip
        actions += entry.actions
    follow = np.full(len(builder.entries) + len(builder.nodes), -1, np.int64)
    nodes, below = _below(builder)
    for index, node in enumerate(builder.nodes):
        last = len(builder.entries) + index
        for member in node.members.values():
            follow[last] = member
            last = member
    names = b"".join(entry.name for entry in builder.entries)
    starts = np.cumsum([0] + [len(entry.name) for entry in builder.entries]).astype(np.int64)
    lookup = np.full(1 << (4 * len(builder.entries)).bit_length(), -1, np.int64)
    with np.errstate(over="ignore"):
        fill_lookup(np.frombuffer(names + b"\0", np.uint8).copy(), starts, entries, lookup, seed)
    return Plan(
        entries,
        np.frombuffer(bytes(words) + bytes(8), np.uint64).copy(),
        lookup,
        follow,
        np.array([*actions, 0], np.int64),
        nodes,
        below,
        builder.tables,
        builder.columns,
    )


def _below(builder: _Builder) -> tuple[np.ndarray, np.ndarray]:
    """The nodes, each with the slots that lie in its objects and the tables whose arrays do."""
    nodes = np.zeros((len(builder.nodes), N_FIELDS), np.int64)
    below: list[int] = []

    def collect(node: int) -> tuple[list[int], int]:
        slots, mask = [], 0
        for member in builder.nodes[node].members.values():
            entry = builder.entries[member]
            slots += entry.actions
            if entry.table >= 0:
                mask |= int(builder.tables[entry.table, T_MASK])
            if entry.node >= 0:
                more, more_mask = collect(entry.node)
                slots += more
                mask |= more_mask
        nodes[node] = (len(builder.entries) + node, builder.nodes[node].open, len(below), len(slots), mask)
        below.extend(slots)
        return slots, mask

    for node in {entry.node for entry in builder.entries if entry.parent < 0 and entry.node >= 0}:
        collect(node)
    return nodes, np.array([*below, 0], np.int64)
