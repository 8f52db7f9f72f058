"""The Flink job with its tables in PostgreSQL's catalog."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.control import Background
from stack.plan import Wanted
from stack.postgres import PostgreSQL
from stack.seaweedfs import SeaweedFS
from stack.stack import Stack
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.usefixtures("job")]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    wanted = Wanted(("postgres",))
    wanted.fetch()
    with Stack(tmp_path_factory.mktemp("postgres"), wanted) as stack:
        (server,) = (one for one in stack.servers.values() if isinstance(one, PostgreSQL))
        yield server


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_rows_are_the_models_and_pass_from_runtime_to_runtime(
    stack: Background, postgres: PostgreSQL, tmp_path: Path, mode: str
) -> None:
    catalog = {"name": "lake", **postgres.sql_catalog(stack.server(SeaweedFS))}
    entry = BONDS | {"mode": mode, "on_new_field": "ignore"}
    place = FlinkPlace(tmp_path, stack, entry, seed=91, settings={"catalog": catalog})
    place.write_in_turn(80, 30)
    place.topic.grow(30)
    place.submit()
    place.read_all()
    savepoint = place.bitlake("submit", "--stop")["savepoint"]
    place.topic.grow(30)
    job = place.submit()
    place.read_all()
    assert place.cluster.restored_from(job) == savepoint
    place.bitlake("submit", "--stop")
    place.check()
