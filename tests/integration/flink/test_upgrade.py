"""A changed lake.yaml: the job goes on from its savepoint, or from the tables, or says why it does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from stack.control import Background
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace
from tests.model.decoding import Record

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.usefixtures("job")]

ENTRY = BONDS | {"on_new_field": "ignore"}
SMALL = {"key": ["isin"], "valid_from": "at", "on_new_field": "ignore", "columns": {"n": "long"}}


def test_a_new_dataset_begins_beside_one_that_goes_on(stack: Background, tmp_path: Path) -> None:
    place = FlinkPlace(tmp_path, stack, ENTRY, seed=81)
    place.topic.grow(40)
    place.submit()
    place.read_all()
    first = place.topic.entry["name"]
    place.add_dataset(ENTRY | {"mode": "upsert"}, seed=82).grow(40)
    savepoint = place.bitlake("submit", "--stop")["savepoint"]
    place.topic.grow(20)
    job = place.submit()
    place.read_all()
    assert place.cluster.restored_from(job) == savepoint
    place.check()
    place.bitlake("submit", "--stop")
    refused = place.bitlake("submit", first, fails=True)
    assert f"holds the state of {place.topics[1].entry['name']}" in refused["error"]
    refused = place.bitlake("submit", first, "--fresh", "--parallelism", "9", fails=True)
    assert "slots for the job, not 9" in refused["error"]
    place.topic.grow(20)
    place.submit(first, "--fresh", "--until-end", "--wait")
    place.check()


class Growing:
    """A dataset whose entry changes between two jobs."""

    def __init__(self, stack: Background, folder: Path) -> None:
        self.place, self.sent = FlinkPlace(folder, stack, SMALL, seed=1), 0

    def send(self, **fields: Any) -> None:
        value = json.dumps({"isin": "A", **fields}).encode()
        self.sent += 1
        record = Record(value, key=b"A", timestamp=1_700_000_000_000_000 + 1000 * self.sent, partition=1)
        self.place.topic.add([record])

    def stopped(self) -> str:
        """Let a job write what was sent, and stop it; the savepoint."""
        self.place.submit()
        self.place.read_all()
        return str(self.place.bitlake("submit", "--stop")["savepoint"])

    def change(self, **fields: Any) -> None:
        """Change the dataset's entry in lake.yaml."""
        self.place.topic.entry |= fields
        self.place.write()

    def rows(self, child: str = "") -> list[dict[str, Any]]:
        """What is believed now, without times."""
        name = self.place.topic.entry["name"] + child
        rows = self.place.lake.timeline(name, system="now").to_pylist()
        return [{n: v for n, v in row.items() if not n.endswith(("_from", "_to"))} for row in rows]


def test_a_new_column_and_a_new_child(stack: Background, tmp_path: Path) -> None:
    story = Growing(stack, tmp_path)
    story.send(at="2024-01-01", n=1)
    place, savepoint = story.place, story.stopped()
    story.change(columns={"n": "long", "m": "long"}, children=[{"path": "calls", "key": ["on"]}])
    story.send(at="2024-02-01", n=2, m=3, calls=[{"on": "x"}, {"on": "y"}])
    job = place.submit()
    place.read_all()
    assert place.cluster.restored_from(job) == savepoint
    assert story.rows() == [{"isin": "A", "n": 1, "m": None}, {"isin": "A", "n": 2, "m": 3}]
    assert story.rows("__calls") == [{"isin": "A", "on": "x"}, {"isin": "A", "on": "y"}]
    place.bitlake("submit", "--stop")


def test_columns_in_another_order(stack: Background, tmp_path: Path) -> None:
    """The state's bytes would be read wrongly: the job goes on from the tables, which keep their order."""
    story = Growing(stack, tmp_path)
    story.send(at="2024-01-01", n=1)
    place, savepoint = story.place, story.stopped()
    story.change(columns={"m": "long", "n": "long"})
    story.send(at="2024-02-01", m=3)
    refused = place.bitlake("submit", "--from-savepoint", savepoint, fails=True)
    assert "the columns or children" in refused["error"]
    job = place.submit()
    place.read_all()
    assert place.cluster.restored_from(job) is None
    assert [(row["n"], row["m"]) for row in story.rows()] == [(1, None), (None, 3)]
    place.bitlake("submit", "--stop")


def test_a_new_dataset_whose_first_record_has_a_new_field(stack: Background, tmp_path: Path) -> None:
    """The job ends before its first checkpoint: what it began from is gone on from once more."""
    story = Growing(stack, tmp_path)
    story.send(at="2024-01-01", n=1)
    place, savepoint = story.place, story.stopped()
    added = place.add_dataset(SMALL | {"on_new_field": "evolve"}, seed=2)
    value = json.dumps({"isin": "B", "at": "2024-01-01", "n": 5, "m": 6}).encode()
    added.add([Record(value, key=b"B", timestamp=1_700_000_000_000_000, partition=0)])
    ended = place.submit()
    assert "new fields in the stream" in place.cluster.wait_failed(ended)
    story.send(at="2024-02-01", n=2)
    job = place.submit()
    place.read_all()
    assert place.cluster.restored_from(job) == savepoint
    assert [row["n"] for row in story.rows()] == [1, 2]
    (row,) = place.lake.timeline(added.entry["name"], system="now").to_pylist()
    assert (row["isin"], row["n"], row["m"]) == ("B", 5, 6)
    place.bitlake("submit", "--stop")
