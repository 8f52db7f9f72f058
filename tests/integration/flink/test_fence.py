"""A job that may not write any more ends for good, with the reason, and has written nothing beside its successor."""

from pathlib import Path

import pytest

from stack.control import Background
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace
from tests.model.decoding import Record

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("job")]


def test_an_embedded_writer_takes_the_dataset_of_a_running_job(stack: Background, tmp_path: Path) -> None:
    place = FlinkPlace(tmp_path, stack, BONDS | {"on_new_field": "ignore"}, seed=41)
    place.topic.grow(40)
    job = place.submit()
    place.read_all()
    refused = place.bitlake("run", "--until-end", fails=True)
    assert "is being written by a Flink job" in refused["error"]
    place.bitlake("run", "--until-end", "--take-over")
    place.topic.grow(20)
    assert "has taken the lease" in place.cluster.wait_failed(job)
    place.bitlake("run", "--until-end")
    place.check()


def test_a_new_field_ends_a_job_that_nobody_stays_with(stack: Background, tmp_path: Path) -> None:
    entry = {"key": ["isin"], "valid_from": "at", "on_new_field": "evolve", "columns": {"n": "long"}}
    place = FlinkPlace(tmp_path, stack, entry, seed=1)
    values = (
        b'{"isin": "A", "at": "2024-01-01", "n": 1}',
        b'{"isin": "A", "at": "2024-02-01", "n": 2, "rating": "AA"}',
    )
    times = [1_700_000_000_000_000 + i for i in range(len(values))]
    records = [Record(v, key=b"A", timestamp=t, partition=1) for v, t in zip(values, times, strict=True)]
    place.topic.add(records[:1])
    job = place.submit()
    place.read_all()
    place.topic.add(records[1:])
    assert "new fields in the stream" in place.cluster.wait_failed(job)
    place.submit("--until-end", "--wait")
    rows = place.lake.timeline(place.topic.entry["name"], system="now").to_pylist()
    assert [(row["n"], row["rating"]) for row in rows] == [(1, None), (2, "AA")]
