"""Many datasets in one job: they share a TaskManager, and two tables that all of them commit to at once."""

from pathlib import Path

import pytest
import requests

from stack.control import Background
from stack.flink import JobManager, TaskManager
from tests.faults.runs import BONDS
from tests.integration.flink.place import FlinkPlace
from tests.kafka_broker import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long]
DATASETS, CHECKPOINTS = 8, 4
ENTRY = {name: value for name, value in BONDS.items() if name != "children"} | {"on_new_field": "ignore"}


def test_many_datasets_in_one_job(stack: Background, tmp_path: Path) -> None:
    place = FlinkPlace(tmp_path, stack, ENTRY, 81, {"flink": {"execution.checkpointing.interval": "3s"}})
    for number in range(1, DATASETS):
        place.add_dataset(ENTRY, 81 + number)
    for topic in place.topics:
        topic.grow(40)
    job = place.submit()
    place.read_all()
    checkpoints = f"{stack.server(JobManager).rest}/jobs/{job}/checkpoints"

    def counts() -> dict[str, int]:
        return dict(requests.get(checkpoints, timeout=30).json()["counts"])

    wait_until(lambda: counts()["completed"] >= CHECKPOINTS, f"{CHECKPOINTS} checkpoints", 120)
    assert counts()["restored"] == 0
    lost = stack.server(TaskManager).log.read_text().count("CommitFailedException")
    assert lost < DATASETS  # hundreds, if they did not take turns
    place.bitlake("submit", "--stop")
    place.check()
