"""The views of `bitlake sql`.

For a dataset or child ``bonds`` in the table ``ref.bonds``: ``bonds`` (all versions), ``bonds_current``, the
macros ``bonds_asof(valid, system)`` and ``bonds_timeline(system)``, and under the names that Trino has for
them ``ref.bonds`` (the table's rows, open twins of closed rows included), ``ref.bonds_history`` and
``ref.bonds_current``. Where a column has a parameter's name, the parameter has a ``_`` after it.
No end is 9999-12-31 here, so that plain comparisons work. No two tables of a lake have a name here in common:
see `pipeline.config.check_views`. A namespace that is called like one of DuckDB's own databases has no views:
there the table's rows are ``bonds_rows``.
"""

from pipeline.config.check_views import DATABASES
from pipeline.query import statements
from pipeline.query.instants import LATEST, us_sql
from pipeline.query.scan import plan
from pipeline.query.session import Session
from pipeline.query.shape import Shape, quoted
from pipeline.query.statements import Question
from pipeline.query.stored import StoredTable

MAIN = "main"


def create_views(session: Session, name: str, table: StoredTable) -> None:
    """Make the views of one table, as its current snapshot is.

    Args:
        session: where.
        name: what commands call the table.
        table: it.
    """
    shape = Shape.of(table)
    schema, rows = _names(table)
    foreign = schema.lower() in DATABASES
    if not foreign:
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    own = (schema.lower(), rows.lower()) == (MAIN, name.lower())
    raw = _named(MAIN, f"{name}_rows") if own or foreign else _named(schema, rows)
    session.execute(f"CREATE OR REPLACE VIEW {raw} AS {plan(table, shape.fields).relation(session)}")
    question = Question(shape, f"SELECT * FROM {raw}")
    history, current = statements.history(question), statements.timeline(question, us_sql(LATEST))
    views = {_named(MAIN, name): history, _named(MAIN, f"{name}_current"): current}
    if not foreign:
        views |= {_named(schema, f"{rows}_history"): history, _named(schema, f"{rows}_current"): current}
    for view, statement in views.items():
        session.execute(f"CREATE OR REPLACE VIEW {view} AS {statement}")
    _create_macros(session, name, question)


def create_plain_view(session: Session, table: StoredTable, rows: str) -> None:
    """Make a view of a registered table that has no versions, under its Iceberg name."""
    schema, name = _names(table)
    if schema.lower() in DATABASES:
        schema = MAIN
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    session.execute(f"CREATE OR REPLACE VIEW {_named(schema, name)} AS {rows}")


def _create_macros(session: Session, name: str, question: Question) -> None:
    shape = question.shape
    valid, system = _parameter("valid", shape), _parameter("system", shape)
    at = f"CAST({valid} AS {'DATE' if shape.dated else 'TIMESTAMPTZ'})"
    known = f"CAST({system} AS TIMESTAMPTZ)"
    latest = f"{system} := {us_sql(LATEST)}"
    asof, timeline = statements.asof(question, at, known), statements.timeline(question, known)
    defaults = f"{valid} := current_timestamp, {latest}"
    for macro, parameters, body in (("asof", defaults, asof), ("timeline", latest, timeline)):
        called = _named(MAIN, f"{name}_{macro}")
        session.execute(f"CREATE OR REPLACE MACRO {called}({parameters}) AS TABLE {body}")


def _parameter(name: str, shape: Shape) -> str:
    """A macro's parameter: DuckDB refuses one that is named as a column."""
    columns = {field.name.lower() for field in shape.fields}
    while name in columns:
        name += "_"
    return name


def _named(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"


def _names(table: StoredTable) -> tuple[str, str]:
    *namespace, name = table.identifier
    return ".".join(namespace), name
