"""The views of `bitlake sql`.

For a dataset or child ``bonds`` in the table ``ref.bonds``: ``bonds`` (all versions), ``bonds_current``, the
macros ``bonds_asof(valid, system)`` and ``bonds_timeline(system)``, and under the names that Trino has for
them ``ref.bonds`` (the table's rows, open twins of closed rows included), ``ref.bonds_history`` and
``ref.bonds_current``. Where a column has a parameter's name, the parameter has a ``_`` after it.
No end is 9999-12-31 here, so that plain comparisons work.
"""

from collections.abc import Collection

from pipeline.query import statements
from pipeline.query.instants import LATEST, us_sql
from pipeline.query.scan import plan
from pipeline.query.session import Session
from pipeline.query.shape import Shape, quoted
from pipeline.query.statements import Question
from pipeline.query.stored import StoredTable

MAIN = "main"


def create_views(session: Session, name: str, table: StoredTable, taken: Collection[str] = ()) -> None:
    """Make the views of one table, as its current snapshot is.

    Args:
        session: where.
        name: what commands call the table.
        table: it.
        taken: names of other tables, which win over this one's ``_current`` and ``_history``: those that
            commands use, and Iceberg's.
    """
    shape = Shape.of(table)
    schema, rows = _names(table)
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    raw = f"{quoted(schema)}.{quoted(rows)}" if (schema, rows) != (MAIN, name) else quoted(f"{name}_rows")
    session.execute(f"CREATE OR REPLACE VIEW {raw} AS {plan(table, shape.fields).relation(session)}")
    question = Question(shape, f"SELECT * FROM {raw}")
    others = {_identifier(other) for other in taken}
    history, current = statements.history(question), statements.timeline(question, us_sql(LATEST))
    for view, statement in (
        (quoted(name), history),
        (f"{quoted(schema)}.{quoted(rows + '_history')}", history),
        (quoted(f"{name}_current"), current),
        (f"{quoted(schema)}.{quoted(rows + '_current')}", current),
    ):
        if view not in others:
            session.execute(f"CREATE OR REPLACE VIEW {view} AS {statement}")
    _create_macros(session, name, question)


def create_plain_view(session: Session, table: StoredTable, rows: str) -> None:
    """Make a view of a registered table that has no versions, under its Iceberg name."""
    schema, name = _names(table)
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    session.execute(f"CREATE OR REPLACE VIEW {quoted(schema)}.{quoted(name)} AS {rows}")


def _create_macros(session: Session, name: str, question: Question) -> None:
    shape = question.shape
    valid, system = _parameter("valid", shape), _parameter("system", shape)
    at = f"CAST({valid} AS {'DATE' if shape.dated else 'TIMESTAMPTZ'})"
    known = f"CAST({system} AS TIMESTAMPTZ)"
    latest = f"{system} := {us_sql(LATEST)}"
    asof, timeline = statements.asof(question, at, known), statements.timeline(question, known)
    defaults = f"{valid} := current_timestamp, {latest}"
    session.execute(f"CREATE OR REPLACE MACRO {quoted(name + '_asof')}({defaults}) AS TABLE {asof}")
    session.execute(f"CREATE OR REPLACE MACRO {quoted(name + '_timeline')}({latest}) AS TABLE {timeline}")


def _parameter(name: str, shape: Shape) -> str:
    """A macro's parameter: DuckDB refuses one that is named as a column."""
    columns = {field.name.lower() for field in shape.fields}
    while name in columns:
        name += "_"
    return name


def _identifier(name: str) -> str:
    """A table's name, or its namespace and name, as a view is called here."""
    namespace, _, last = name.rpartition(".")
    return f"{quoted(namespace)}.{quoted(last)}" if namespace else quoted(last)


def _names(table: StoredTable) -> tuple[str, str]:
    *namespace, name = table.identifier
    return ".".join(namespace), name
