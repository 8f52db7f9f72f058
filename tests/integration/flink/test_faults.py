"""Faults that befall a Flink job: afterwards the rows are the naive model's, each once."""

import subprocess
from pathlib import Path

import pytest

from stack.client import client
from tests.integration.flink.cluster import FaultyCluster
from tests.integration.flink.place import FlinkPlace
from tests.integration.flink.story import SNAPSHOT, Story
from tests.kafka_broker import wait_until
from tests.model.decoding import Record

pytestmark = pytest.mark.servers
long = pytest.mark.long
TASK_MANAGERS = 2


@pytest.mark.parametrize(
    "moment", ["commits", pytest.param("works", marks=long), pytest.param("checkpoints", marks=long)]
)
def test_a_task_manager_is_killed(cluster: FaultyCluster, tmp_path: Path, moment: str) -> None:
    """With it its Python. What took the place of the sink goes on committing (iceberg #17494)."""
    story = Story(cluster, tmp_path, 51)
    story.while_it(moment)
    cluster.kill(cluster.worker(story.job))
    story.ends_well()


@long
@pytest.mark.parametrize("moment", ["works", "checkpoints", "commits"])
def test_the_job_manager_is_killed(cluster: FaultyCluster, tmp_path: Path, moment: str) -> None:
    story = Story(cluster, tmp_path, 52, mode="upsert")
    story.while_it(moment)
    cluster.kill("flink-jobmanager")
    story.succeeded()


@long
def test_a_task_manager_is_killed_during_a_savepoint(cluster: FaultyCluster, tmp_path: Path) -> None:
    story = Story(cluster, tmp_path, 53)
    worker = cluster.worker(story.job)
    story.grow()
    cluster.store.stall()
    with story.place.starting("submit", "--stop") as stopping:
        _let(5)  # the JobManager tells nothing while it waits for the store
        cluster.kill(worker)
        cluster.mend()
        stopping.wait(120)
    if cluster.flink.state(story.job) == "FINISHED":
        story.job = story.place.submit()
    story.ends_well()


@long
def test_a_commit_whose_answer_is_lost_and_then_a_new_job(cluster: FaultyCluster, tmp_path: Path) -> None:
    """The new job has another id than the one that committed (iceberg #16008)."""
    story = Story(cluster, tmp_path, 54)
    cluster.catalog.lost = 0
    cluster.catalog.lose_answers(SNAPSHOT)
    story.grow()
    wait_until(lambda: cluster.catalog.lost == 1, "an answer to be lost")
    cluster.flink.cancel(story.job)
    cluster.flink.wait(story.job)
    story.succeeded()


@long
def test_a_commit_whose_answer_is_lost(cluster: FaultyCluster, tmp_path: Path) -> None:
    story = Story(cluster, tmp_path, 55, mode="upsert")
    cluster.catalog.lost = 0
    cluster.catalog.lose_answers(SNAPSHOT)
    story.grow()
    wait_until(lambda: cluster.catalog.lost == 1, "an answer to be lost")
    story.ends_well()


@long
@pytest.mark.parametrize("from_", ["nothing", "an older savepoint"])
def test_a_job_that_goes_on_from_less_than_the_tables_hold_stops(
    cluster: FaultyCluster, tmp_path: Path, from_: str
) -> None:
    """Not by our commands, which refuse it: as a cluster may do that has lost its checkpoints.

    Iceberg's sink takes the next checkpoints for committed already, and drops them (#18098, #10892).
    """
    story = Story(cluster, tmp_path, 56)
    older = story.place.bitlake("submit", "--stop")["savepoint"]
    story.place.submit()
    story.ends_well()
    story.place.bitlake("submit", "--stop")
    job = _restarted(story.place, older if from_ == "an older savepoint" else "")
    assert "would be lost or doubled" in cluster.flink.wait_failed(job)
    story.place.check()
    story.succeeded()


def _restarted(place: FlinkPlace, savepoint: str) -> str:
    """A job of the same run, with or without state."""
    script = Path(__file__).with_name("restarted.py")
    python, environment = client()
    done = subprocess.run(
        [str(python), str(script), str(place.folder / "lake.yaml"), savepoint],
        env={**environment, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()[-1]


@long
@pytest.mark.parametrize("seconds", [2, 12])
@pytest.mark.parametrize("what", ["catalog", "store"])
def test_a_server_is_away_and_back(cluster: FaultyCluster, tmp_path: Path, what: str, seconds: int) -> None:
    story = Story(cluster, tmp_path, 57)
    line = getattr(cluster, what)
    line.go_away()
    story.grow()
    _let(seconds)
    story.ends_well()


@long
def test_the_broker_is_away_and_back(cluster: FaultyCluster, tmp_path: Path) -> None:
    story = Story(cluster, tmp_path, 58)
    story.grow()
    cluster.kill("kafka")
    _let(5)
    story.ends_well()


def _let(seconds: int) -> None:
    """Let time pass: a fault that lasts."""
    import time

    time.sleep(seconds)


def test_an_embedded_writer_takes_the_dataset_of_a_running_job(
    cluster: FaultyCluster, tmp_path: Path
) -> None:
    story = Story(cluster, tmp_path, 41)
    place = story.place
    refused = place.bitlake("run", "--until-end", fails=True)
    assert "is held by a Flink job" in refused["error"]
    place.bitlake("run", "--until-end", "--take-over")
    story.grow()
    assert "has taken it over" in place.cluster.wait_failed(story.job)
    place.bitlake("run", "--until-end")
    place.check()


def test_a_new_field_ends_a_job_that_nobody_stays_with(cluster: FaultyCluster, tmp_path: Path) -> None:
    entry = {"key": ["isin"], "valid_from": "at", "on_new_field": "evolve", "columns": {"n": "long"}}
    place = FlinkPlace(tmp_path, cluster.stack, entry, 1, cluster.settings())
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
    place.submit()  # it goes on from the last checkpoint, perhaps committed in part
    place.read_all()
    place.bitlake("submit", "--stop")
    rows = place.lake.timeline(place.topic.entry["name"], system="now").to_pylist()
    assert [(row["n"], row["rating"]) for row in rows] == [(1, None), (2, "AA")]
