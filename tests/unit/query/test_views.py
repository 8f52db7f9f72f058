"""`bitlake sql` sees the same versions as the questions; Trino gets the same views as SQL."""

import json
import re
from itertools import combinations

import duckdb
import pytest

from pipeline.config import ConfigErrors, parse_config
from pipeline.errors import BadInput
from pipeline.lake import Lake
from pipeline.query.session import Session
from pipeline.query.stored import StoredTable
from pipeline.schema import SYSTEM_COLUMNS, VALID_COLUMNS
from pipeline.sink.conventions import MODE
from pipeline.views.duckdb import create_views
from pipeline.views.trino import trino_views
from tests.unit.query.belief import NO_END, Belief, Change
from tests.unit.query.lakes import (
    answers_of,
    catalog_in,
    create,
    iso_day,
    rows_of,
    system_us,
    table_schema,
    versions_in,
)


@pytest.fixture(scope="module")
def belief():
    belief = Belief()
    for change in (
        Change("A", 0, None, 1),
        Change("A", 5, None, 2),
        Change("B", 2, 8, 7),
        Change("A", 3, 6, None),
        Change("B", 4, 5, 9),
    ):
        belief.apply(change)
    return belief


@pytest.fixture(scope="module")
def table(belief, tmp_path_factory):
    schema = table_schema({"isin": "string"}, {"level": "long"})
    table = create(catalog_in(tmp_path_factory.mktemp("lake")), schema)
    for part in (belief.opened, belief.versions):
        table.append(rows_of(part, schema))
    return table


@pytest.fixture(scope="module")
def session(table):
    session = Session()
    create_views(session, "bonds", StoredTable.of(table))
    return session


def count(session, source):
    return session.ask(f"SELECT count(*) AS n FROM {source}")["n"][0].as_py()


def rows(session, source):
    """All versions of a view, whose ends of time are as the tables have them."""
    found = versions_in(session.ask(f"SELECT * FROM {source}"))
    return sorted(
        v._replace(valid_to=min(v.valid_to, NO_END), system_to=min(v.system_to, NO_END)) for v in found
    )


@pytest.mark.parametrize("view", ["bonds", "ref.bonds_history"])
def test_the_view_has_every_version_once(session, belief, view):
    assert rows(session, view) == sorted(belief.history)
    assert count(session, "ref.bonds") == len(belief.rows)


@pytest.mark.parametrize("view", ["bonds_current", "ref.bonds_current", "bonds_timeline()"])
def test_current_is_what_is_believed_now(session, belief, view):
    assert rows(session, view) == sorted(belief.timelines[-1])


def test_macros_answer_like_the_commands(session, belief, table):
    answers = answers_of(table, session)
    for step in range(belief.step):
        at = f"make_timestamptz({system_us(step)})"
        timeline = sorted(versions_in(answers.timeline(system_us(step))))
        assert rows(session, f"bonds_timeline({at})") == timeline == sorted(belief.timeline(step))
        found = session.ask(f"SELECT isin, level FROM bonds_asof('{iso_day(4)}', {at})").to_pylist()
        assert {(r["isin"], r["level"]) for r in found} == {
            (key, value) for (key, day), value in belief.days[step].items() if day == 4
        }
        named = session.ask(f"SELECT * FROM bonds_asof(valid := DATE '{iso_day(4)}', system := {at})")
        assert named.num_rows == len(found)


def test_a_wrong_query_is_explained(session):
    with pytest.raises(BadInput, match="bunds"):
        session.ask("SELECT * FROM bunds")


@pytest.mark.parametrize("view", ["bonds", "bonds_current", "bonds_asof()", "bonds_timeline()"])
def test_one_key_of_a_view_is_looked_up_not_searched_for(session, view):
    plan = session.ask(f"EXPLAIN SELECT * FROM {view} WHERE isin = 'A'")["explain_value"][0].as_py()
    assert plan.count("READ_PARQUET") == plan.count("isin = 'A'") > 0


def test_sums_of_integers_are_integers(session):
    assert session.ask("SELECT sum(level) AS s FROM bonds").schema.field("s").type == "int64"


def test_trino_views_say_the_same(session, table, belief):
    """Trino's SQL, run by DuckDB but for its timestamp literals and the catalog's name."""
    history, current = trino_views(StoredTable.of(table), "lake")
    assert history.name == '"lake"."ref"."bonds_history"'
    for view, expected in ((history, belief.history), (current, belief.timelines[-1])):
        query = view.statement.partition(" AS\n")[2].replace('"lake".', "")
        query = re.sub(r"TIMESTAMP '9999-12-31 00:00:00 UTC'", "TIMESTAMPTZ '9999-12-31 00:00:00+00'", query)
        assert rows(session, f"({query})") == sorted(expected)


def test_trino_views_of_an_upsert_table_hide_nothing(belief, tmp_path):
    table = create(catalog_in(tmp_path), table_schema({"isin": "string"}, {"level": "long"}))
    with table.transaction() as changes:
        changes.set_properties({MODE: "upsert"})
    history, current = trino_views(StoredTable.of(table), "lake")
    assert "EXISTS" not in history.statement + current.statement
    assert "WHERE" not in history.statement
    assert current.statement.endswith("WHERE o.system_to = TIMESTAMP '9999-12-31 00:00:00 UTC'")


NAMES = [("d", "t.d"), ("d_current", "t.e"), ("D_CURRENT", "t.e"), ("x", "t.d_current"), ("x", "T.D_HISTORY")]
NAMES += [("d_rows", "t.f"), ("d_history", "t.g"), ("d_asof", "t.h"), ("e", "main.d"), ("d", "main.d")]
NAMES += [
    ("e", "main.e"),
    ("f", "main.e_current"),
    ("e_rows", "t.i"),
    ("e_current", "main.g"),
    ("d", "main.d_current"),
]
NAMES += [("d", "temp.d"), ("e", "memory.d_rows")]


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_no_view_hides_another_in_a_lake_that_config_check_accepts(tmp_path, one, other):
    """The case `sql-view-shadowed`, and its kind: as many views as each table has alone, and so for Trino."""
    datasets = [{"name": n, "table": t, "key": "isin", "valid_from": "from"} for n, t in {one, other}]
    try:
        tables = Lake(parse_config(json.dumps({"datasets": datasets}), base=tmp_path, environ={})).tables
    except ConfigErrors as refused:
        assert "name" in refused.message or "table" in refused.message  # noqa: PT017
        return
    together, alone, trino = Database(), 0, []
    for name, schema in tables.items():
        table = StoredTable(tuple(schema.identifier.split(".")), METADATA, lambda: None)
        by_itself = Database()
        for session in (together, by_itself):
            create_views(session, name, table)
        alone += views_of(by_itself)
        trino += [schema.identifier, *(v.name.replace('"', "") for v in trino_views(table, "c"))]
    assert views_of(together) == alone
    assert len({name.lower().removeprefix("c.") for name in trino}) == len(trino)


METADATA = {
    "location": "file:///nowhere",
    "properties": {"bitlake.key": '["isin"]'},
    "schemas": [
        {
            "schema-id": 0,
            "fields": [
                {"id": n, "name": name, "type": type_}
                for n, (name, type_) in enumerate(
                    [("isin", "string"), *((t, "timestamptz") for t in (*VALID_COLUMNS, *SYSTEM_COLUMNS))]
                )
            ],
        }
    ],
}


class Database:
    """DuckDB without the settings of a session, which take a tenth of a second."""

    def __init__(self):
        self._connection = duckdb.connect()
        self.execute = self._connection.execute


def views_of(database):
    return database.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone()[0]


SHADOWED = """\
datasets:
  - {name: d, table: t.d, key: [id], valid_from: from, valid_time: date}
  - {name: d_current, table: t.e, key: [id], valid_from: from, valid_time: date}
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SHADOWED, "lake.yaml:3:6: datasets[1].name: 'd' would have the name 'd_current'"),
        (SHADOWED.replace("name: d_current", "name: e").replace("t.e", "T.d_Current"), "lake.yaml:3:"),
        (
            "dead_letters: {table: t.d_history}\n" + SHADOWED.replace("name: d_current", "name: e"),
            "dead_letters",
        ),
        (
            SHADOWED.replace("name: d_current", "name: e").replace("t.e", "pg_catalog.e"),
            "DuckDB's and Trino's",
        ),
        (SHADOWED.replace("date}", "date, children: [{path: a}, {path: a_current}]}"), "'d__a_current'"),
    ],
)
def test_both_names_are_told_at_the_line(tmp_path, text, says):
    with pytest.raises(ConfigErrors) as caught:
        parse_config(text, base=tmp_path, environ={})
    assert says in caught.value.message


def test_names_that_only_look_alike_are_no_mistake(tmp_path):
    text = SHADOWED.replace("name: d_current", "name: d_asof").replace("t.e", "u.d_current")
    assert len(parse_config(text, base=tmp_path, environ={}).datasets) == 2
