"""Keys that leave the job's state and are read back from the tables: the rows are the same."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from stack.control import Background
from stack.flink import TaskManager
from tests.faults.runs import BONDS
from tests.faults.topics import PARTITIONS
from tests.integration.flink.place import FlinkPlace
from tests.kafka_broker import wait_until
from tests.model.decoding import Record
from tests.model.strategies import numbered, random_stream

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.usefixtures("job")]

ENTRY = BONDS | {"on_new_field": "ignore", "state_ttl": "1s"}


class Story(FlinkPlace):
    """A job whose keys are idle after a second; records are up to some seconds apart."""

    clock = 1_700_000_000_000_000

    def grow(self, seed: int) -> None:
        choose, records = random.Random(seed), []
        for record in random_stream(seed, 25, entry=self.topic.entry).records:
            self.clock += choose.choice((0, 300_000, 2_000_000))
            records.append(replace(record, timestamp=self.clock))
        # What is no change moves a clock, too: the horizon is that of the partition which lags most.
        self.clock += 1_000_000
        ends = [Record(b"{}", key=b"", timestamp=self.clock, partition=i) for i in range(PARTITIONS)]
        self.topic.add([*numbered(records, PARTITIONS), *ends])
        self.read_all()


def counted(stack: Background, name: str) -> float:
    """What a counter of the job's is at."""
    url = f"http://127.0.0.1:{stack.server(TaskManager).ports['metrics']}/metrics"
    lines = requests.get(url, timeout=30).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if f"_{name}{{" in line)


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_rows_are_the_models(stack: Background, tmp_path: Path, mode: str) -> None:
    place = Story(tmp_path, stack, ENTRY | {"mode": mode}, seed=71)
    place.submit()
    place.grow(71)
    for seed in (72, 73):
        wait_until(lambda: counted(stack, "keys_left") > 0, "keys to leave")
        place.grow(seed)
    wait_until(lambda: counted(stack, "keys_read_back") > 0, "keys to be read back")
    place.bitlake("submit", "--stop")
    place.submit()
    for seed in (74, 75):
        place.grow(seed)
    wait_until(lambda: counted(stack, "keys_read_back") > 0, "keys to be read back")
    place.check()
