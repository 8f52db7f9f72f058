"""A dataset's declaration, worked out from a sample."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain, count

from pipeline.infer.fields import Path, Table, take_apart
from pipeline.infer.keys import child_key, choose_key, differing_fields
from pipeline.infer.notes import find_operation, sample_notes, time_notes, too_precise
from pipeline.infer.proposed import Proposal, ProposedColumn, ProposedTable
from pipeline.infer.sample import Sample
from pipeline.infer.times import choose_from, choose_to, times_of
from pipeline.infer.trial import takes_child, tried
from pipeline.infer.types import Guess, guess, guess_key
from pipeline.schema import RESERVED

_LONGEST = 150
"""Of the names of children together: a table's name is a folder's, too."""
_MOST_NAMED = 3
"""Fields told to be a possible key of an array's elements."""


@dataclass(frozen=True)
class _Names:
    """The names of tables: this one's, and all that are taken; and what a column's name must differ from.

    Attributes:
        own: the names of the arrays around.
        taken: by tables.
        inherited: names of the key columns of the tables above, in lower case.
        array: the path of this table's array.
    """

    own: str = ""
    taken: set[str] = field(default_factory=set)
    inherited: frozenset[str] = frozenset()
    array: Path = ()

    def below(self, array: Path, key: Collection[str]) -> "_Names | None":
        """Those of an array's table; takes its name. None if it can't be had.

        Args:
            array: its path.
            key: names of this table's key columns.
        """
        name = "__".join(array)
        whole = f"{self.own}__{name}".lower()
        if not _speakable(name) or len(whole) > _LONGEST or whole in self.taken or not takes_child(array):
            return None
        self.taken.add(whole)
        inherited = self.inherited | {self.effective(name).lower() for name in key}
        return _Names(whole, self.taken, inherited, array)

    def effective(self, name: str) -> str:
        """What a column of this table is called: it gets the array's name where a table above has its own."""
        return "__".join((*self.array, name)) if name.lower() in self.inherited else name

    def free(self, name: str, taken: Collection[str]) -> bool:
        """Whether a column can have a name."""
        found = self.effective(name).lower()
        return found not in taken and found not in RESERVED and found not in self.inherited


def _speakable(name: str) -> bool:
    """Whether a name is made of letters, digits, _ and -, as one of a table and its folder should be."""
    return all(letter.isalnum() or letter in "_-" for letter in name)


def _stand_in(table: Table) -> Path:
    """What stands for a key that was not found: no array's path."""
    names = chain(["id"], (f"id_{number}" for number in count(2)))
    return next((name,) for name in names if (name,) not in {*table.arrays, *table.scalar_arrays})


def propose(sample: Sample, name: str | None = None) -> Proposal:
    """Work out keys, times, types and children from a sample, and try them on it."""
    return tried(_guessed(sample, name), sample)


def _guessed(sample: Sample, name: str | None) -> Proposal:
    table = take_apart(sample.records)
    times = times_of(table)
    chosen = choose_from(times)
    start, from_why = chosen or (None, "TODO: no field has a date or time in most records, name one")
    end = choose_to(times, start) if start else None
    operation, operation_why, notes = find_operation(table)
    apart = {time.path for time in times} | ({operation} if operation else set())
    key = choose_key(table, sample, apart, start.field if start else None)
    roles = {path for path in (start and start.path, end and end.path, operation) if path}
    return Proposal(
        name=name or sample.name,
        table=_table(
            table,
            (),
            tuple(f.path for f in key.fields) or (_stand_in(table),),
            key.why if key.fields else f"TODO: {key.why}",
            roles,
            _Names(),
        ),
        valid_from=start.path if start else ("date",),
        from_why=from_why,
        valid_to=end.path if end else None,
        valid_unit=start.unit if start else "",
        dated=bool(start and start.form == "date" and (end is None or end.form == "date")),
        truncated=too_precise(start, end),
        operation=operation,
        operation_why=operation_why,
        notes=(*notes, *key.notes, *time_notes(times, start, end), *sample_notes(sample)),
    )


def _table(
    table: Table, path: Path, key: tuple[Path, ...], key_why: str, roles: set[Path], above: _Names
) -> ProposedTable:
    taken = {above.effective("position").lower()}
    columns = _columns(table, key, roles, taken, above)
    declared_as = {column.path: column.name for column in columns}
    key_names = [declared_as.get(path, "__".join(path)) for path in key] or ["position"]
    arrays = {array: names for array in table.arrays if (names := above.below(array, key_names))}
    columns += [
        ProposedColumn(
            _free_name("__".join(array), taken, above), array, Guess("json", f"{what}: kept as JSON text")
        )
        for array, what in _nameless(table, arrays, taken, above)
    ]
    declared = {column.path for column in columns}
    return ProposedTable(
        path=path,
        key=key,
        key_why=key_why,
        columns=tuple(columns),
        children=tuple(_child(table.arrays[array], array, names) for array, names in arrays.items()),
        scalar_arrays=tuple(array for array in table.scalar_arrays if array not in declared),
        empty=tuple(path for path in table.empty if path not in declared),
    )


def _child(table: Table, path: Path, names: _Names) -> ProposedTable:
    key = child_key(table)
    if key is None:
        differing = " or ".join(".".join(path) for path in differing_fields(table)[:_MOST_NAMED])
        why = "the position is the key" + (f"; {differing}, if it names an element" if differing else "")
        return _table(table, path, (), why, set(), names)
    return _table(table, path, (key.path,), "differs within every array", set(), names)


def _nameless(
    table: Table, arrays: Collection[Path], taken: set[str], names: _Names
) -> Iterator[tuple[Path, str]]:
    """Arrays that can't be tables, or columns if nobody declares them, because of their names."""
    for array in table.arrays:
        if array not in arrays:
            yield array, "no table can have its name, or another has it"
    for array in (*table.scalar_arrays, *table.empty_arrays):
        name = "__".join(array)
        if name != _clean(name) or not names.free(name, taken):
            yield array, "its name can't be a column's"
        else:
            taken.add(names.effective(name).lower())


def _columns(
    table: Table, key: tuple[Path, ...], roles: set[Path], taken: set[str], names: _Names
) -> list[ProposedColumn]:
    plain = {path for path in key if _is_plain_key(path, table, taken, names)}
    columns = []
    for path, found in table.fields.items():
        if path not in roles - set(key) | plain:
            type_ = guess_key(found) if path in key else guess(found)
            columns.append(ProposedColumn(_free_name("__".join(path), taken, names), path, type_))
    return columns


def _is_plain_key(path: Path, table: Table, taken: set[str], names: _Names) -> bool:
    """Whether a key needs no declaring: it is text, and its name can be a column's. Takes that name."""
    found, name = table.fields.get(path), "__".join(path)
    if (found and guess_key(found).type != "string") or name != _clean(name) or not names.free(name, taken):
        return False
    taken.add(names.effective(name).lower())
    return True


def _clean(wanted: str) -> str:
    name = "".join("_" if c in '."`' or not c.isprintable() else c for c in wanted)[:200]
    return name if name.strip() else "_"


def _free_name(wanted: str, taken: set[str], names: _Names) -> str:
    name = candidate = _clean(wanted)
    number = 1
    while not names.free(candidate, taken):
        number += 1
        candidate = (
            f"{name}_{number}" if names.effective(candidate).lower() not in RESERVED else f"record_{name}"
        )
    taken.add(names.effective(candidate).lower())
    return candidate
