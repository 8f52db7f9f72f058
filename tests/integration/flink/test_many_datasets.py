"""Many datasets in one job: they share a TaskManager, and two tables that all of them commit to at once."""

from pathlib import Path

import pytest

from stack.flink import TaskManager
from tests.faults.runs import BONDS
from tests.integration.flink.cluster import FaultyCluster
from tests.integration.flink.place import FlinkPlace
from tests.kafka_broker import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]
DATASETS, CHECKPOINTS = 8, 4
ENTRY = {name: value for name, value in BONDS.items() if name != "children"} | {"on_new_field": "ignore"}


def test_many_datasets_in_one_job(cluster: FaultyCluster, tmp_path: Path) -> None:
    settings = {"flink": {"execution.checkpointing.interval": "3s"}}
    place = FlinkPlace(tmp_path, cluster.stack, ENTRY, 81, settings)
    for number in range(1, DATASETS):
        place.add_dataset(ENTRY, 81 + number)
    for topic in place.topics:
        topic.grow(40)
    job = place.submit()
    place.read_all()
    completed = f"{CHECKPOINTS} checkpoints"
    wait_until(lambda: cluster.checkpoints(job)["completed"] >= CHECKPOINTS, completed, 120)
    assert cluster.checkpoints(job)["restored"] == 0
    lost = cluster.stack.server(TaskManager).log.read_text().count("CommitFailedException")
    assert lost < DATASETS  # more than a hundred, if they did not take turns
    place.bitlake("submit", "--stop")
    place.check()
