"""The Flink job on a real cluster: its rows are the naive model's, and so are its successors'."""

from pathlib import Path

import pytest

from stack.control import Background
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace
from tests.model.decoding import Record

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("job")]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_rows_are_the_models_and_pass_from_runtime_to_runtime(
    stack: Background, tmp_path: Path, mode: str
) -> None:
    place = FlinkPlace(tmp_path, stack, BONDS | {"mode": mode}, seed=11)
    place.write_in_turn(120, 40)
    place.topic.grow(40)
    place.submit("--until-end", "--wait")
    place.check()


def test_a_job_is_stopped_and_goes_on_from_its_savepoint(stack: Background, tmp_path: Path) -> None:
    place = FlinkPlace(tmp_path, stack, BONDS | {"on_new_field": "ignore"}, seed=21)
    place.topic.grow(60)
    first = place.submit()
    place.topic.grow(30)
    place.read_all()
    refused = place.bitlake("submit", fails=True)
    assert first in refused["error"]
    stopped = place.bitlake("submit", "--stop")
    assert stopped["savepoint"].startswith("s3://")
    place.topic.grow(30)
    place.submit()
    place.read_all()
    place.check()
    place.bitlake("submit", "--stop")
    place.check()


def test_a_savepoint_older_than_the_tables_is_refused(stack: Background, tmp_path: Path) -> None:
    place = FlinkPlace(tmp_path, stack, BONDS | {"on_new_field": "ignore"}, seed=31)
    place.topic.grow(30)
    place.submit()
    place.read_all()
    older = place.bitlake("submit", "--stop")["savepoint"]
    place.topic.grow(30)
    place.submit()
    place.read_all()
    place.bitlake("submit", "--stop")
    assert "older than the tables" in place.bitlake("submit", "--from-savepoint", older, fails=True)["error"]
    place.topic.grow(10)
    place.submit("--until-end", "--wait")
    place.check()


def test_a_new_field_stops_the_job_until_the_tables_have_it(stack: Background, tmp_path: Path) -> None:
    entry = {"key": ["isin"], "valid_from": "at", "on_new_field": "evolve", "columns": {"n": "long"}}
    place = FlinkPlace(tmp_path, stack, entry, seed=1)
    values = (
        b'{"isin": "A", "at": "2024-01-01", "n": 1}',
        b'{"isin": "A", "at": "2024-02-01", "n": 2, "rating": "AA"}',
    )
    place.topic.add(
        [
            Record(value, key=b"A", timestamp=1_700_000_000_000_000 + i, partition=1)
            for i, value in enumerate(values)
        ]
    )
    place.submit("--until-end", "--wait")
    rows = place.lake.timeline(place.topic.entry["name"], system="now").to_pylist()
    assert [(row["n"], row["rating"]) for row in rows] == [(1, None), (2, "AA")]
