"""Checks across settings that are each well formed: names that collide, paths that overlap."""

import re
from collections.abc import Iterator, Mapping

from pipeline.config.check_partitions import check_partitions
from pipeline.config.compile import dataset_schema, walk
from pipeline.config.document import Document, Steps
from pipeline.config.mistakes import spell
from pipeline.config.models import ChildConfig, DatasetConfig, TimePrecision
from pipeline.config.values import spell_path
from pipeline.schema import POSITION, RESERVED, Column, DatasetSchema, Kind, TableSchema

_Read = tuple[tuple[str, ...], Steps, str]
_COLUMN = re.compile(r"[^\x00-\x1f\"`.]{1,255}")


def check_lake(datasets: Mapping[int, DatasetConfig], dead_letters: str | None, document: Document) -> None:
    """Add what is wrong between settings to the document's mistakes.

    Args:
        datasets: the datasets that are well formed, by their place in the file.
        dead_letters: the table of dead letters.
        document: where the mistakes go, and where places come from.
    """
    schemas: dict[int, DatasetSchema] = {}
    for index, dataset in datasets.items():
        base: Steps = ("datasets", index)
        schemas[index] = dataset_schema(dataset)
        _check_times(dataset, base, document)
        for (steps, part), table in zip(walk(dataset), schemas[index].tables, strict=True):
            _check_paths(part, base + steps, document)
            _check_key(part, base + steps, document)
            _check_precision(part, base + steps, document)
            _check_names(part, table, base + steps, document)
        check_partitions(dataset, schemas[index], base, document)
    _check_unique(datasets, schemas, dead_letters, document)


def _check_unique(
    datasets: Mapping[int, DatasetConfig],
    schemas: Mapping[int, DatasetSchema],
    dead_letters: str | None,
    document: Document,
) -> None:
    names: dict[str, str] = {}
    tables = {dead_letters.lower(): "dead_letters"} if dead_letters else {}
    told = {mistake.path for mistake in document.mistakes}
    for index, schema in schemas.items():
        for (steps, _part), table in zip(walk(datasets[index]), schema.tables, strict=True):
            path: Steps = ("datasets", index, *steps)
            owner = f"'{table.name}'"
            if spell((*path, "path")) in told:
                continue
            if table.name.lower() in names:
                message = f"{names[table.name.lower()]} already has the name {owner}"
                document.report((*path, "path" if steps else "name"), message, "rename one")
            elif table.identifier.lower() in tables:
                message = f"{tables[table.identifier.lower()]} already writes the table '{table.identifier}'"
                document.report((*path, "table"), message, "give one of them another table")
            names.setdefault(table.name.lower(), "another dataset or child table")
            tables.setdefault(table.identifier.lower(), owner)


def _check_times(dataset: DatasetConfig, base: Steps, document: Document) -> None:
    roles = {"valid_from": dataset.valid_from, "valid_to": dataset.valid_to, "operation": dataset.operation}
    seen: dict[tuple[str, ...], str] = {}
    for role, path in roles.items():
        if path is None:
            continue
        if not path:
            fix = "name a member of the record"
            document.report((*base, role), "a record itself is no value", fix)
        elif path in seen:
            message = f"{seen[path]} has the same path, '{spell_path(path)}'"
            fix = f"give {role} its own path, or leave it out"
            document.report((*base, role), message, fix)
        seen[path] = role


def _reads(part: DatasetConfig | ChildConfig) -> list[_Read]:
    """Every path that a table's declaration takes a whole value from, with its place and what reads it."""
    columns = [(c.path, ("columns", name, "path"), f"column '{name}'") for name, c in part.columns.items()]
    children = [
        (c.path, ("children", i, "path"), f"children '{spell_path(c.path)}'")
        for i, c in enumerate(part.children)
    ]
    return [*columns, *children]


def _check_paths(part: DatasetConfig | ChildConfig, base: Steps, document: Document) -> None:
    parent = isinstance(part, DatasetConfig)
    reads = _reads(part)
    for path, steps, what in reads:
        if not path and (parent or steps[0] == "children"):
            message = f"{what} reads the whole {'record' if parent else 'element'}"
            document.report(base + steps, message, "name a member of it")
    whole = {column.path for column in part.columns.values() if column.type.kind is Kind.JSON}
    for (shorter, _, owner), (longer, steps, what) in _overlaps(reads):
        if not shorter and (parent or owner.startswith("children")):
            continue
        if shorter in whole and shorter != longer and longer in part.key:
            continue
        if shorter == longer:
            message, fix = f"{owner} already reads '{spell_path(longer)}'", "keep one of the two"
        elif owner.startswith("children"):
            message = f"{what} lies in the array '{spell_path(shorter)}'"
            fix = "declare it under that array's children"
        else:
            message = f"{owner} takes all of '{spell_path(shorter)}', so nothing is left for {what}"
            fix = "keep the one or the other"
        document.report(base + steps, message, fix)
    _check_singles(part, base, document)
    for name, column in part.columns.items():
        if (
            "__" in name
            and column.path == (name,)
            and (*base, "columns", name, "path") not in document.places
        ):
            nested = name.replace("__", ".")
            fix = f"write {{path: {nested}, type: {column.type}}}, or {{path: {name}, ...}} for that name"
            message = "is this a nested value, or a member of just this name?"
            document.report((*base, "columns", name), message, fix)


def _check_singles(part: DatasetConfig | ChildConfig, base: Steps, document: Document) -> None:
    """Keys and times are single values: they may lie in a json column, in no other one, and in no array."""
    declared = {column.path for column in part.columns.values()}
    singles: list[_Read] = [
        (path, ("key", i), f"the key '{spell_path(path)}'")
        for i, path in enumerate(part.key)
        if path not in declared
    ]
    if isinstance(part, DatasetConfig):
        roles = {"valid_from": part.valid_from, "valid_to": part.valid_to, "operation": part.operation}
        singles += [(path, (role,), role) for role, path in roles.items() if path]
    arrays = {child.path for child in part.children}
    around = {
        column.path: f"column '{name}'"
        for name, column in part.columns.items()
        if column.type.kind is not Kind.JSON
    }
    for path, steps, what in singles:
        above = next((path[:n] for n in range(len(path)) if path[:n] in around), None)
        if above is not None:
            message = (
                f"{around[above]} is a single value at '{spell_path(above)}', so nothing is left for {what}"
            )
            document.report(base + steps, message, "keep the one or the other, or declare the column as json")
        elif steps[0] != "key" and any(path[:n] in arrays for n in range(1, len(path))):
            document.report(base + steps, f"{what} lies in an array under children", "name another member")


def _overlaps(reads: list[_Read]) -> Iterator[tuple[_Read, _Read]]:
    """Pairs of which the first one's path is the second's, or leads to it."""
    readers: dict[tuple[str, ...], _Read] = {}
    for read in sorted(reads, key=lambda read: len(read[0])):
        path = read[0]
        above = next((readers[path[:n]] for n in range(len(path) + 1) if path[:n] in readers), None)
        if above:
            yield above, read
        readers.setdefault(path, read)


def _check_key(part: DatasetConfig | ChildConfig, base: Steps, document: Document) -> None:
    if isinstance(part, DatasetConfig) and not part.key:
        fix = "write the path of the business key, or a list of paths"
        document.report((*base, "key"), "a dataset needs a key", fix)
    by_path = {column.path for column in part.columns.values()}
    for index, path in enumerate(part.key):
        place = (*base, "key", index)
        column = part.columns.get(path[0]) if len(path) == 1 else None
        if path in part.key[:index]:
            document.report(place, f"'{spell_path(path)}' is already in the key", "remove it")
        elif any(path[: len(child.path)] == child.path for child in part.children):
            document.report(place, "an array under children can't be in the key", "name another member")
        elif not path and isinstance(part, DatasetConfig):
            document.report(place, "the whole record can't be its key", "name a member of it")
        elif column and path not in by_path:
            message = f"'{path[0]}' is a column, but the key is given by paths"
            document.report(place, message, f"write {spell_path(column.path)}")


def _check_precision(part: DatasetConfig | ChildConfig, base: Steps, document: Document) -> None:
    for name, column in part.columns.items():
        if column.time_precision is TimePrecision.TRUNCATE and column.type.kind is not Kind.TIMESTAMP:
            place = (*base, "columns", name, "time_precision")
            message = f"'{name}' is of type {column.type}: only a timestamp has digits to drop"
            document.report(place, message, "remove time_precision, or declare the column as timestamp")


def _check_names(
    part: DatasetConfig | ChildConfig, table: TableSchema, base: Steps, document: Document
) -> None:
    taken = {column.name.lower(): column for column in table.inherited}
    for column in table.own_key + table.values:
        lower = column.name.lower()
        place = _place_of(column, part, base)
        if lower in RESERVED:
            message = f"the name '{column.name}' is taken by bitlake's own columns"
            spec = f"{{path: {spell_path(column.path)}, type: {column.type}}}"
            fix = f"declare it under another name, such as `{lower}_: {spec}`"
            document.report(place, message, fix)
        elif lower in taken and column.name != taken[lower].name:
            message = f"the name '{column.name}' differs from '{taken[lower].name}' by case only"
            document.report(place, message, "give one of them another name")
        elif lower in taken and not _told_by_key(column, part):
            message = f"two columns would have the name '{column.name}'"
            fix = f"declare one under another name: {{path: {spell_path(column.path)}, type: {column.type}}}"
            document.report(place, message, fix)
        elif not _COLUMN.fullmatch(column.name):
            message = f"'{column.name}' can't be a column's name"
            fix = "declare it under a name without dots and quotes: `name: {path: [...], type: ...}`"
            document.report(place, message, fix)
        taken.setdefault(lower, column)


def _told_by_key(column: Column, part: DatasetConfig | ChildConfig) -> bool:
    """Whether the key names this column where a path is wanted, which `_check_key` tells."""
    return column.path not in part.key and (column.name,) in part.key


def _place_of(column: Column, part: DatasetConfig | ChildConfig, base: Steps) -> Steps:
    for name, declared in part.columns.items():
        if declared.path == column.path and column.path != POSITION.path:
            return (*base, "columns", name)
    if column.path in part.key:
        return (*base, "key", part.key.index(column.path))
    return base
