"""Faults that befall a Flink job: afterwards the rows are the naive model's, each once."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.client import client
from tests.faults.runs import BONDS
from tests.integration.flink.cluster import FaultyCluster, clear, faulty_cluster
from tests.integration.flink.place import FlinkPlace
from tests.kafka_broker import wait_until

pytestmark = pytest.mark.servers
long = pytest.mark.long
ENTRY = BONDS | {"on_new_field": "ignore"}
RECORDS = 30
SNAPSHOT = b'"add-snapshot"'
"""In the request of a commit."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyCluster]:
    with faulty_cluster(tmp_path_factory.mktemp("flink") / "stack") as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: FaultyCluster) -> Iterator[FaultyCluster]:
    yield shared
    clear(shared)


class Story:
    """A job that has read some records when something befalls it."""

    def __init__(self, cluster: FaultyCluster, folder: Path, seed: int, mode: str = "append") -> None:
        self.cluster = cluster
        self.place = FlinkPlace(folder, cluster.stack, ENTRY | {"mode": mode}, seed, cluster.settings())
        self.place.topic.grow(RECORDS)
        self.job = self.place.submit()
        self.place.read_all()

    def grow(self) -> None:
        self.place.topic.grow(RECORDS)

    def while_it(self, does: str) -> None:
        """Get to a moment: the line that it needs is stalled."""
        before = self.cluster.checkpoints(self.job)["completed"]
        if does == "checkpoints":
            self.cluster.store.stall()
            self.grow()
            self._until(lambda now: now["in_progress"] > 0, "a checkpoint to be made")
        elif does == "commits":
            self.cluster.catalog.stall()
            self.grow()
            self._until(lambda now: now["completed"] >= before + 2, "a checkpoint to be committed")
        else:
            self.grow()

    def _until(self, reached: object, what: str) -> None:
        wait_until(lambda: reached(self.cluster.checkpoints(self.job)), what, 60)  # type: ignore[operator]

    def ends_well(self) -> None:
        """Everything is mended: the job goes on by itself, and the rows are the model's."""
        self.cluster.mend()
        self.grow()
        self.place.read_all()
        self.place.check()

    def succeeded(self) -> None:
        """Everything is mended: another job goes on, and the rows are the model's."""
        self.cluster.mend()
        self.job = self.place.submit()
        self.ends_well()


MOMENTS = [
    "commits",
    pytest.param("works", marks=long),
    pytest.param("checkpoints", marks=long),
]


@pytest.mark.parametrize("moment", MOMENTS)
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
    before = cluster.checkpoints(story.job)["total"]
    cluster.store.stall()
    story.grow()
    with story.place.starting("submit", "--stop") as stopping:
        wait_until(lambda: cluster.checkpoints(story.job)["total"] > before + 1, "the savepoint to begin", 60)
        cluster.kill(cluster.worker(story.job))
        cluster.mend()
        stopping.wait(120)
    if cluster.flink.state(story.job) == "FINISHED":
        story.job = story.place.submit()
    story.ends_well()


def test_a_commit_whose_answer_is_lost_and_then_a_new_job(cluster: FaultyCluster, tmp_path: Path) -> None:
    """The new job has another id than the one that committed (iceberg #16008)."""
    story = Story(cluster, tmp_path, 54)
    cluster.catalog.lost = 0
    cluster.catalog.lose_answers(*[SNAPSHOT] * 3)
    story.grow()
    wait_until(lambda: cluster.catalog.lost == 3, "answers to be lost")
    cluster.flink.cancel(story.job)
    cluster.flink.wait(story.job)
    story.succeeded()


@long
def test_a_commit_whose_answer_is_lost(cluster: FaultyCluster, tmp_path: Path) -> None:
    story = Story(cluster, tmp_path, 55, mode="upsert")
    cluster.catalog.lost = 0
    cluster.catalog.lose_answers(*[SNAPSHOT] * 3)
    story.grow()
    wait_until(lambda: cluster.catalog.lost == 3, "answers to be lost")
    story.ends_well()


@pytest.mark.parametrize("from_", ["nothing", pytest.param("an older savepoint", marks=long)])
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


@long
def test_rescaled_under_load(cluster: FaultyCluster, tmp_path: Path) -> None:
    story = Story(cluster, tmp_path, 59)
    for parallelism in (4, 2):
        story.grow()
        told = story.place.bitlake("rescale", "--parallelism", str(parallelism))
        assert told["parallelism"] == parallelism
        story.job = told["job"]
        story.grow()
    story.ends_well()


@long
def test_a_job_that_cannot_be_rescaled_goes_on(cluster: FaultyCluster, tmp_path: Path) -> None:
    story = Story(cluster, tmp_path, 60)
    refused = story.place.bitlake("rescale", "--parallelism", "9", fails=True)
    assert "slots" in refused["error"]
    assert cluster.flink.state(story.job) == "RUNNING"
    story.ends_well()
