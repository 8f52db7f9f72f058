"""Another parallelism for a job that runs: the rows are the model's, whatever comes of it."""

import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.flink.submission import WARMING
from tests.integration.flink.cluster import FaultyCluster
from tests.integration.flink.story import Story
from tests.kafka_broker import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]
TASK_MANAGERS = 4
PATIENCE = ("--patience", "400")
"""TaskManagers that begin with Python together take their time on a machine of two processors."""


def test_rescaled_under_load(cluster: FaultyCluster, tmp_path: Path) -> None:
    """TaskManagers that the job will begin to use take its steps up first, while it runs as before."""
    story = Story(cluster, tmp_path, 59)
    warmed = cluster.jobs(WARMING)
    for parallelism in (4, 2):
        story.grow()
        told = story.place.bitlake("rescale", "--parallelism", str(parallelism), *PATIENCE)
        assert told["parallelism"] == parallelism
        assert told["state_bytes"] > 0
        story.grow()
    assert cluster.jobs(WARMING) == [*warmed, "FINISHED"]
    story.ends_well()


def test_a_cluster_without_slots_is_refused_while_the_job_runs(
    cluster: FaultyCluster, tmp_path: Path
) -> None:
    story = Story(cluster, tmp_path, 60)
    refused = story.place.bitlake("rescale", "--parallelism", "9", fails=True)
    assert "slots" in refused["error"]
    assert cluster.flink.state(story.job) == "RUNNING"
    story.ends_well()


def test_a_job_that_does_not_run_with_its_new_parallelism_goes_back(
    cluster: FaultyCluster, tmp_path: Path
) -> None:
    """TaskManagers fail between the look at the slots and the start of the new job."""
    story = Story(cluster, tmp_path, 61)
    worker = cluster.worker(story.job)
    with story.place.starting("rescale", "--parallelism", "4") as rescaling:
        wait_until(lambda: cluster.flink.state(story.job) == "FINISHED", "the old job to be stopped")
        for number in range(1, 5):
            if (name := f"flink-taskmanager-{number}") != worker:
                cluster.kill(name)
        assert rescaling.wait(400) == 1
        assert rescaling.stderr is not None
        assert "could not run with a parallelism of 4" in rescaling.stderr.read()
    story.ends_well()


def test_a_job_that_does_not_come_to_run_is_stopped_without_a_savepoint(
    cluster: FaultyCluster, tmp_path: Path
) -> None:
    story = Story(cluster, tmp_path, 63)
    for number in range(1, TASK_MANAGERS + 1):
        cluster.kill(f"flink-taskmanager-{number}")
    wait_until(lambda: cluster.flink.state(story.job) == "RESTARTING", "Flink to miss them", 90)
    assert story.place.bitlake("submit", "--stop")["job"] == story.job
    assert cluster.flink.state(story.job) == "CANCELED"
    story.succeeded()
    assert cluster.flink.restored_from(story.job) is not None


def test_kept_to_a_schedule(cluster: FaultyCluster, tmp_path: Path) -> None:
    story = Story(cluster, tmp_path, 62)
    schedule = tmp_path / "schedule"
    for parallelism, how in ((2, signal.SIGKILL), (1, signal.SIGTERM)):
        schedule.write_text(f"* * * * * {parallelism}\n")
        story.grow()
        with story.place.starting("rescale", "--schedule", str(schedule), *PATIENCE) as keeper:
            _wait_for(story, parallelism, keeper)
            keeper.send_signal(how)
            assert keeper.wait(60) == (0 if how is signal.SIGTERM else -how)
    story.ends_well()


def _wait_for(story: Story, parallelism: int, keeper: "subprocess.Popen[str]") -> None:
    """Wait until the keeper tells of the job."""
    assert keeper.stdout is not None
    line = keeper.stdout.readline()
    assert f'"parallelism": {parallelism}' in line, line
    assert len(story.cluster.flink.running()) == 1
