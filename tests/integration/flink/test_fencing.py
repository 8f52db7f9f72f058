"""A Flink job and embedded writers that meet at one dataset: docs/fencing.md's rows with a job in them."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from stack.seaweedfs import SeaweedFS
from tests.integration.flink.cluster import FaultyCluster
from tests.integration.flink.place import FlinkPlace
from tests.integration.flink.story import ENTRY, Story
from tests.kafka_broker import wait_until
from tests.matrix import ALIVE, DEAD, HALF, STALLED
from tests.model.decoding import Record

pytestmark = pytest.mark.servers
fencing, long = pytest.mark.fencing, pytest.mark.long
BROKEN = Record(b"{", key=b"K", timestamp=1_706_745_700_000_000, partition=0)


def place_of(cluster: FaultyCluster, folder: Path, seed: int) -> FlinkPlace:
    """A dataset that nobody writes yet, with a record that becomes a dead letter."""
    place = FlinkPlace(folder, cluster.stack, ENTRY, seed, cluster.settings())
    place.topic.grow(30)
    place.topic.add([BROKEN])
    return place


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("between-commits:2", marks=[fencing("run", "job", HALF), long], id="two tables have it"),
        pytest.param("between-commits:4", marks=fencing("run", "job", HALF), id="all but the dead letters"),
        pytest.param("after-file-list", marks=[fencing("run", "job", DEAD), long], id="none has it"),
        pytest.param("between-claims:2", marks=[fencing("run", "job", DEAD), long], id="a claim"),
    ],
)
def test_a_job_goes_on_where_a_run_died(cluster: FaultyCluster, tmp_path: Path, point: str) -> None:
    """It finishes the epoch that is in some tables, and the dead letters that are in none."""
    place = place_of(cluster, tmp_path, 61)
    place.killed_at(point, "run", "--until-end")
    place.topic.grow(10)
    place.submit("--until-end", "--wait")
    place.check()


@long
@fencing("load", "job", HALF)
@fencing("replay", "job", HALF)
def test_a_job_goes_on_where_a_load_and_a_replay_died(cluster: FaultyCluster, tmp_path: Path) -> None:
    entry: dict[str, Any] = {
        "key": ["isin"],
        "valid_from": "at",
        "on_new_field": "dead_letter",
        "columns": {"n": "long"},
        "children": [{"path": "legs", "key": ["leg"]}],
    }
    place = FlinkPlace(tmp_path, cluster.stack, entry, 1, cluster.settings())
    name = place.topic.entry["name"]
    good = {"isin": "A", "at": "2024-01-01", "n": 1, "legs": [{"leg": "L"}]}
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps(v) + "\n" for v in (good, good | {"isin": "B", "extra": 1}))
    )
    place.killed_at("between-commits", "load", name, "a.jsonl")
    place.submit("--until-end", "--wait")
    place.topic.entry["on_new_field"] = "ignore"
    place.write()
    place.killed_at("between-commits", "dead-letters", "replay", "--take-over")
    place.submit("--until-end", "--wait")
    rows = place.lake.timeline(name, system="now").to_pylist()
    assert [row["isin"] for row in rows] == ["A", "B"]
    assert [row["isin"] for row in place.lake.timeline(f"{name}__legs").to_pylist()] == ["A", "B"]
    letters = place.lake.dead_letters()
    assert letters is not None
    assert letters.counts().get(name, 0) == 0


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(ALIVE, marks=fencing("run", "job", ALIVE)),
        pytest.param(STALLED, marks=[fencing("run", "job", STALLED), long]),
    ],
)
def test_a_job_takes_the_dataset_of_a_run(cluster: FaultyCluster, tmp_path: Path, how: str) -> None:
    place = place_of(cluster, tmp_path, 62)
    with place.starting("run") as run:
        place.read_all()
        if how == STALLED:
            run.send_signal(signal.SIGSTOP)
        refused = place.bitlake("submit", fails=True)
        assert "is being written by process" in refused["error"]
        place.submit("--take-over")
        place.topic.grow(10)
        if how == STALLED:
            place.read_all()
            run.send_signal(signal.SIGCONT)
        told = run.communicate(timeout=120)[1]
        assert run.returncode == 1
        assert "was taken over by a Flink job" in told
    place.read_all()
    place.check()


@pytest.mark.parametrize(
    ("successor", "how"),
    [
        pytest.param("run", STALLED, marks=[fencing("job", "run", STALLED), long]),
        pytest.param("load", ALIVE, marks=fencing("job", "load", ALIVE)),
    ],
)
def test_an_embedded_writer_takes_the_dataset_of_a_job(
    cluster: FaultyCluster, tmp_path: Path, successor: str, how: str
) -> None:
    story = Story(cluster, tmp_path, 63)
    place, name = story.place, story.place.topic.entry["name"]
    (tmp_path / "none.jsonl").touch()
    words = ["run", "--until-end"] if successor == "run" else ["load", name, "none.jsonl"]
    assert "is held by a Flink job" in place.bitlake(*words, fails=True)["error"]
    worker = cluster.worker(story.job)
    if how == STALLED:
        cluster.kill(worker, signal.SIGSTOP)
        story.grow()
    place.bitlake(*words, "--take-over")
    if how == STALLED:
        cluster.kill(worker, signal.SIGCONT)
    else:
        story.grow()
    assert "has taken it over" in place.cluster.wait_failed(story.job)
    place.bitlake("run", "--until-end")
    place.check()


@long
@fencing("job", "run", HALF)
def test_a_run_takes_the_dataset_of_a_job_that_is_committing(cluster: FaultyCluster, tmp_path: Path) -> None:
    """The job's commits are held back. Those that come after the claim conflict with it and are seen again."""
    story = Story(cluster, tmp_path, 64)
    story.while_it("commits")
    content = json.loads((tmp_path / "lake.yaml").read_text())
    content["catalog"] = {"name": "lake", **cluster.stack.server(SeaweedFS).rest_catalog}
    (tmp_path / "lake.yaml").write_text(json.dumps(content))
    with story.place.starting("run", "--until-end", "--take-over") as run:
        wait_until(lambda: _claimed(story.place), "the run's claim", 60)
        cluster.mend()
        told = run.communicate(timeout=240)[1]
        assert run.returncode == 0, told
    assert "has taken it over" in story.place.cluster.wait_failed(story.job)
    story.place.check()


def _claimed(place: FlinkPlace) -> bool:
    from pipeline.sink.ledger import writer_of

    table = place.lake._known(place.topic.entry["name"])
    return "process" in writer_of(table, place.topic.entry["name"])


@long
@fencing("job", "job", DEAD)
@fencing("job", "job", ALIVE)
def test_a_job_takes_the_place_of_one_that_is_gone(cluster: FaultyCluster, tmp_path: Path) -> None:
    """A second job is refused while the first runs, and goes on from its checkpoint once it is dead."""
    story = Story(cluster, tmp_path, 65)
    assert story.job in story.place.bitlake("submit", fails=True)["error"]
    story.grow()
    cluster.flink.cancel(story.job)
    cluster.flink.wait(story.job)
    story.succeeded()
