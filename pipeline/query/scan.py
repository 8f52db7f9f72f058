"""From an Iceberg table to a relation that DuckDB can read: the data files that a predicate leaves.

DuckDB gets the table's schema by field ids. So a column that a file lacks is null there, and a type that was
widened since is widened in reading.
"""

from dataclasses import dataclass

from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask, Table

from pipeline.query.remote import PREFIX
from pipeline.query.session import Session
from pipeline.query.shape import Field, quoted, text_literal
from pipeline.sink.catalog import explained
from pipeline.sink.durable import is_local

_GLOB = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})
_registered = 0


@dataclass(frozen=True)
class Planned:
    """The files of one snapshot that a predicate leaves."""

    table: Table
    fields: tuple[Field, ...]
    tasks: tuple[FileScanTask, ...]

    def relation(self, session: Session) -> str:
        """The rows as an SQL relation, whole columns, in the order of the fields."""
        plain = [task for task in self.tasks if not task.delete_files]
        parts = [_read_parquet(plain, self.fields, self.table, session)] if plain else []
        if deleted := [task for task in self.tasks if task.delete_files]:
            parts.append(self._with_deletes(deleted, session))
        return " UNION ALL ".join(parts) or _nothing(self.fields)

    def _with_deletes(self, tasks: list[FileScanTask], session: Session) -> str:
        """Files that another program deleted rows from: pyiceberg reads them."""
        global _registered
        _registered += 1
        name = f"_deleted_{_registered}"
        scan = ArrowScan(self.table.metadata, self.table.io, self.table.schema(), AlwaysTrue())
        session.register(name, scan.to_table(tasks))
        return f"SELECT {_casts(self.fields)} FROM {quoted(name)}"


def plan(table: Table, fields: tuple[Field, ...], row_filter: BooleanExpression) -> Planned:
    """The files of the table's current snapshot that may hold rows of the filter.

    The filter must not be on system_to: see "closed wins" in the design.
    """
    with explained(str(table.metadata.location)):
        return Planned(table, fields, tuple(table.scan(row_filter=row_filter).plan_files()))


def _read_parquet(
    tasks: list[FileScanTask], fields: tuple[Field, ...], table: Table, session: Session
) -> str:
    locations = [task.file.file_path for task in tasks]
    if not all(is_local(location) for location in locations):
        session.reach(table.io)
    files = ", ".join(text_literal(_duckdb_path(location)) for location in locations)
    schema = ", ".join(
        f"{f.id}: {{name: {text_literal(f.name)}, type: '{f.duckdb}', default_value: NULL}}" for f in fields
    )
    names = ", ".join(quoted(field.name) for field in fields)
    return (
        f"SELECT {names} FROM read_parquet([{files}], schema = MAP {{{schema}}}, hive_partitioning = false)"
    )


def _duckdb_path(location: str) -> str:
    if not is_local(location):
        return PREFIX + location
    path = location.removeprefix("file:")
    return ("/" + path.lstrip("/") if path.startswith("//") else path).translate(_GLOB)


def _casts(fields: tuple[Field, ...]) -> str:
    return ", ".join(f"CAST({quoted(f.name)} AS {f.duckdb}) AS {quoted(f.name)}" for f in fields)


def _nothing(fields: tuple[Field, ...]) -> str:
    nulls = ", ".join(f"CAST(NULL AS {f.duckdb}) AS {quoted(f.name)}" for f in fields)
    return f"SELECT {nulls} WHERE FALSE"
