"""A dataset's declaration, worked out from a sample."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain, count

from pipeline.infer.fields import Path, Table, take_apart
from pipeline.infer.keys import child_key, choose_key, differing_fields
from pipeline.infer.notes import find_operation, sample_notes, time_notes
from pipeline.infer.sample import Sample
from pipeline.infer.times import choose_from, choose_to, times_of
from pipeline.infer.types import Guess, guess
from pipeline.schema import RESERVED

_LONGEST = 150
"""Of the names of children together: a table's name is a folder's, too."""
_MOST_NAMED = 3
"""Fields told to be a possible key of an array's elements."""


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
    """A dataset to declare, with what a person should know about the choices."""

    name: str
    table: ProposedTable
    valid_from: Path
    from_why: str
    valid_to: Path | None
    valid_unit: str
    dated: bool
    operation: Path | None
    operation_why: str
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Names:
    """The names of tables: this one's, and all that are taken."""

    own: str = ""
    taken: set[str] = field(default_factory=set)

    def below(self, array: Path) -> "_Names | None":
        """Those of an array's table; takes its name. None if it can't be had."""
        name = "__".join(array)
        whole = f"{self.own}__{name}".lower()
        if name != _clean(name) or len(whole) > _LONGEST or whole in self.taken:
            return None
        self.taken.add(whole)
        return _Names(whole, self.taken)


def _stand_in(table: Table) -> Path:
    """What stands for a key that was not found: no array's path."""
    names = chain(["id"], (f"id_{number}" for number in count(2)))
    return next((name,) for name in names if (name,) not in {*table.arrays, *table.scalar_arrays})


def propose(sample: Sample, name: str | None = None) -> Proposal:
    """Work out keys, times, types and children from a sample."""
    table = take_apart(sample.records)
    times = times_of(table)
    chosen = choose_from(times)
    start, from_why = chosen or (None, "TODO: no field has a date or time in every record, name one")
    end = choose_to(times, start) if start else None
    operation, operation_why, notes = find_operation(table)
    apart = {time.path for time in times} | ({operation} if operation else set())
    key, key_why = choose_key(table, apart, start.field if start else None)
    roles = {path for path in (start and start.path, end and end.path, operation) if path}
    return Proposal(
        name=name or sample.name,
        table=_table(
            table,
            (),
            tuple(f.path for f in key) or (_stand_in(table),),
            key_why if key else f"TODO: {key_why}",
            roles,
            _Names(),
        ),
        valid_from=start.path if start else ("date",),
        from_why=from_why,
        valid_to=end.path if end else None,
        valid_unit=start.unit if start else "",
        dated=bool(start and start.form == "date" and (end is None or end.form == "date")),
        operation=operation,
        operation_why=operation_why,
        notes=(*notes, *time_notes(times, start, end), *sample_notes(sample)),
    )


def _table(
    table: Table, path: Path, key: tuple[Path, ...], key_why: str, roles: set[Path], above: _Names
) -> ProposedTable:
    arrays = {array: names for array in table.arrays if (names := above.below(array))}
    taken = {"position"}
    columns = _columns(table, key, roles, taken)
    columns += [
        ProposedColumn(
            _free_name("__".join(array), taken), array, Guess("json", f"{what}: kept as JSON text")
        )
        for array, what in _nameless(table, arrays, taken)
    ]
    declared = {column.path for column in columns}
    return ProposedTable(
        path=path,
        key=key,
        key_why=key_why,
        columns=tuple(columns),
        children=tuple(_child(table.arrays[array], array, names) for array, names in arrays.items()),
        scalar_arrays=tuple(array for array in table.scalar_arrays if array not in declared),
        empty=tuple(table.empty),
    )


def _child(table: Table, path: Path, names: _Names) -> ProposedTable:
    key = child_key(table)
    if key is None:
        differing = " or ".join(".".join(path) for path in differing_fields(table)[:_MOST_NAMED])
        why = "the position is the key" + (f"; {differing}, if it names an element" if differing else "")
        return _table(table, path, (), why, set(), names)
    return _table(table, path, (key.path,), "differs within every array", set(), names)


def _nameless(table: Table, arrays: Collection[Path], taken: set[str]) -> Iterator[tuple[Path, str]]:
    """Arrays that can't be tables, or columns if nobody declares them, because of their names."""
    for array in table.arrays:
        if array not in arrays:
            yield array, "no table can have its name, or another has it"
    for array in table.scalar_arrays:
        name = "__".join(array)
        if name != _clean(name) or name.lower() in taken | RESERVED:
            yield array, "its name can't be a column's"


def _columns(table: Table, key: tuple[Path, ...], roles: set[Path], taken: set[str]) -> list[ProposedColumn]:
    plain = {path for path in key if _is_plain_key(path, table, taken)}
    columns = []
    for path, found in table.fields.items():
        if path not in roles | plain:
            columns.append(ProposedColumn(_free_name("__".join(path), taken), path, guess(found)))
    return columns


def _is_plain_key(path: Path, table: Table, taken: set[str]) -> bool:
    """Whether a key needs no declaring: it is text, and its name can be a column's. Takes that name."""
    found, name = table.fields.get(path), "__".join(path)
    if (found and guess(found).type != "string") or name != _clean(name) or name.lower() in taken | RESERVED:
        return False
    taken.add(name.lower())
    return True


def _clean(wanted: str) -> str:
    name = "".join("_" if c in '."`' or not c.isprintable() else c for c in wanted)[:200]
    return name if name.strip() else "_"


def _free_name(wanted: str, taken: set[str]) -> str:
    name = candidate = _clean(wanted)
    number = 1
    while candidate.lower() in taken | RESERVED:
        number += 1
        candidate = f"{name}_{number}" if candidate.lower() not in RESERVED else f"record_{name}"
    taken.add(candidate.lower())
    return candidate
