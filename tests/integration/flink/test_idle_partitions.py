"""Partitions without records: they hold back neither the horizon nor keys that are idle."""

import time
from pathlib import Path

import pytest

from pipeline.sink.epoch import Position
from stack.control import Background
from tests.integration.flink.place import FlinkPlace
from tests.integration.flink.test_idle_keys import counted
from tests.kafka_broker import wait_until

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.usefixtures("job")]

ENTRY = {
    "key": ["isin"],
    "valid_from": "at",
    "on_new_field": "ignore",
    "columns": {"n": "long"},
    "state_ttl": "1s",
}
LONG_AGO = 1_700_000_000_000


class Place(FlinkPlace):
    """A dataset of three partitions, whose clocks are lifted as high and as soon as they can be."""

    def __init__(self, folder: Path, stack: Background) -> None:
        super().__init__(folder, stack, ENTRY, 1, {"time": {"idle_margin": "0s"}})
        self.producer = self.topic.broker.producer(transactional_id=self.topic.name)
        self.producer.init_transactions(60)

    def send(self, key: str, partition: int, milliseconds: int, *, committed: bool = True) -> None:
        """Send a record in a transaction, whose mark is the last in its partition then."""
        value = f'{{"isin": "{key}", "at": "2024-01-01", "n": {milliseconds}}}'
        self.producer.begin_transaction()
        self.producer.produce(
            self.topic.name, value, key.encode(), partition=partition, timestamp=milliseconds
        )
        end = self.producer.commit_transaction if committed else self.producer.abort_transaction
        assert self.producer.flush(60) == 0
        end(60)

    @property
    def position(self) -> Position | None:
        return self.lake.status()[0].position

    @property
    def horizon(self) -> int:
        position = self.position
        return -1 if position is None else position.horizon

    def passes(self, moment: int) -> None:
        wait_until(lambda: self.horizon > moment, "the horizon to pass a moment", 60, every=0.5)

    def system_from(self, key: str) -> int:
        (row,) = self.lake.history(self.topic.entry["name"], key={"isin": key}).to_pylist()
        return int(row["system_from"].timestamp() * 1e6)


def test_they_hold_nothing_back(stack: Background, tmp_path: Path) -> None:
    place = Place(tmp_path, stack)
    place.send("A", 0, time.time_ns() // 1_000_000)
    place.send("B", 1, LONG_AGO, committed=False)
    place.submit()
    place.passes(time.time_ns() // 1000)
    position = place.position
    assert position is not None
    assert position.offsets == {0: 1, 1: 0, 2: 0}
    wait_until(lambda: counted(stack, "keys_left") > 0, "the key to leave the state")

    before = place.horizon
    place.send("C", 2, LONG_AGO)
    wait_until(lambda: (p := place.position) is not None and p.offsets[2] == 1, "the record to be read", 60)
    assert place.system_from("A") < before < place.system_from("C")

    place.bitlake("submit", "--stop")
    before = place.horizon
    place.send("D", 1, LONG_AGO)
    place.submit()
    place.passes(time.time_ns() // 1000)
    assert before < place.system_from("D") <= place.horizon
    place.bitlake("submit", "--stop")
    before = place.horizon
    place.bitlake("run", "--until-end")
    assert place.horizon >= before
