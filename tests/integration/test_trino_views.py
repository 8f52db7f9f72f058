"""`bitlake views` on a real Trino: its views answer as the commands do."""

import itertools
import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import BadInput
from pipeline.lake import Lake
from pipeline.views.trino_client import Answer, TrinoClient
from stack.plan import Wanted
from stack.stack import Stack
from tests.model.strategies import Stream, random_stream
from tests.property.differential import load, objects, random_way

pytestmark = pytest.mark.servers

COMMAND = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]
HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}
NO_END = "9999-12-31T00:00:00.000000Z"
POINTS = 3


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Only what these tests use, so that they need not wait for the whole of it."""
    wanted = Wanted(("seaweedfs", "trino"), trino_heap="1g")
    with Stack(tmp_path_factory.mktemp("trino"), wanted) as stack:
        yield stack


@pytest.fixture(scope="module")
def trino(stack: Stack) -> TrinoClient:
    return TrinoClient(stack.trino.address)


def lake_of(stack: Stack, folder: Path, stream: Stream, *, mode: str, seed: int) -> Lake:
    """A lake in a namespace of its own, with a stream in it, and its views in Trino."""
    namespace = f"n{uuid.uuid4().hex[:12]}"
    stream = replace(stream, entry={**stream.entry, "table": f"{namespace}.bonds"})
    settings = {
        "catalog": {"name": "lake", **stack.seaweedfs.rest_catalog},
        "dead_letters": {"table": f"{namespace}.dead_letters"},
    }
    lake, _ = load(folder, stream, random_way(seed, len(stream.records), mode=mode), settings)
    return lake


def views(address: str, folder: Path) -> list[dict[str, str]]:
    """Make the views, by the command."""
    words = ["views", "--catalog", "lake", "--trino", address, "--output", "json"]
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env={**os.environ, **HERE},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told: list[dict[str, str]] = json.loads(done.stdout)
    return told


def spelled(answer: Answer) -> list[str]:
    """Rows as the commands spell them, in an order of their own."""
    types, rows = dict(answer.columns), answer.objects()
    for row in rows:
        for name, value in row.items():
            if types[name].startswith("timestamp") and value is not None:
                row[name] = value.replace(" UTC", "Z").replace(" ", "T")
        for name in ("valid_to", "system_to"):
            row[name] = None if row[name] in (NO_END, NO_END[:10]) else row[name]
    return as_set(rows)


def as_set(rows: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def moments(lake: Lake, table: str) -> tuple[list[str], list[str]]:
    """Boundaries of valid time and of system time, as text."""
    rows = objects(lake.history(table))
    valids = {row[name] for row in rows for name in ("valid_from", "valid_to") if row[name]}
    systems = {row[name] for row in rows for name in ("system_from", "system_to") if row[name]}
    return sorted(valids) or ["2024-01-01"], sorted(systems) or ["2024-01-01"]


def literal(moment: str) -> str:
    if len(moment) == 10:
        return f"DATE '{moment}'"
    return f"TIMESTAMP '{moment.replace('T', ' ').replace('Z', ' UTC')}'"


def asof_sql(lake: Lake, table: str, points: Sequence[tuple[str, str]]) -> str:
    """The question as documented, about some points of valid and system time."""
    asked = []
    for number, (valid, system) in enumerate(points):
        at, known = literal(valid), literal(system)
        asked.append(
            f"SELECT {number} AS point, * FROM {name_of(lake, table)}_history"
            f" WHERE valid_from <= {at} AND valid_to > {at} AND system_from <= {known} AND system_to > {known}"
        )
    return " UNION ALL ".join(asked)


def name_of(lake: Lake, table: str) -> str:
    return f"lake.{lake.tables[table].identifier}"


def check_views(lake: Lake, folder: Path, trino: TrinoClient, address: str, seed: int) -> None:
    """Make a lake's views, and ask them what is asked of the lake."""
    made = {view["view"].replace('"', "") for view in views(address, folder)}
    assert made == {
        f"{name_of(lake, table)}_{view}" for table in lake.tables for view in ("history", "current")
    }
    choose, answered = random.Random(seed), 0
    for table in lake.tables:
        name = name_of(lake, table)
        history = trino.ask(f"SELECT * FROM {name}_history")
        assert spelled(history) == as_set(objects(lake.history(table, provenance=True)))
        current = trino.ask(f"SELECT * FROM {name}_current")
        assert spelled(current) == as_set(objects(lake.timeline(table, provenance=True)))
        valids, systems = moments(lake, table)
        points = [(choose.choice(valids), choose.choice(systems)) for _ in range(POINTS)]
        mine = [
            {"point": number, **row}
            for number, (valid, system) in enumerate(points)
            for row in objects(lake.asof(table, valid=valid, system=system, provenance=True))
        ]
        assert spelled(trino.ask(asof_sql(lake, table, points))) == as_set(mine), (table, points)
        answered += len(mine)
    assert answered


def cases() -> Iterator[Any]:
    """Seeds whose datasets have children, and modes."""
    quick = ((33, "append"), (34, "upsert"))
    yield from quick
    for case in itertools.product(range(32, 45), ("append", "upsert")):
        if case not in quick:
            yield pytest.param(*case, marks=pytest.mark.long)


@pytest.mark.parametrize(("seed", "mode"), [*cases()])
def test_views_answer_as_the_commands_do(
    stack: Stack, trino: TrinoClient, tmp_path: Path, seed: int, mode: str
) -> None:
    lake = lake_of(stack, tmp_path, random_stream(seed, 60), mode=mode, seed=seed)
    check_views(lake, tmp_path, trino, stack.trino.address, seed)


def test_views_made_again_have_columns_that_were_added(
    stack: Stack, trino: TrinoClient, tmp_path: Path
) -> None:
    entry = {"name": "bonds", "table": "", "key": ["isin"], "valid_from": "at", "on_new_field": "evolve"}
    lake = lake_of(
        stack, tmp_path, replace(random_stream(1, 1), entry=entry, records=[]), mode="append", seed=1
    )
    lake.load("bonds", [{"isin": "A", "at": "2024-01-01", "n": 1}])
    views(stack.trino.address, tmp_path)
    lake.load("bonds", [{"isin": "A", "at": "2024-02-01", "n": 2, "rating": "AA"}])
    views(stack.trino.address, tmp_path)
    rows = trino.ask(f"SELECT n, rating FROM {name_of(lake, 'bonds')}_current ORDER BY valid_from").rows
    assert rows == [[1, None], [2, "AA"]]


def test_what_trino_refuses_is_told(trino: TrinoClient) -> None:
    with pytest.raises(BadInput, match=r"SCHEMA_NOT_FOUND"):
        trino.ask("SELECT 1 FROM lake.nowhere.nothing")
