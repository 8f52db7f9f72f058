"""A job that has read some records when something befalls it."""

from collections.abc import Callable
from pathlib import Path

from tests.faults.runs import BONDS
from tests.integration.flink.cluster import FaultyCluster
from tests.integration.flink.place import FlinkPlace
from tests.kafka_broker import wait_until

ENTRY = BONDS | {"on_new_field": "ignore"}
RECORDS = 30
SNAPSHOT = b'"add-snapshot"'
"""In the request of a commit."""


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
        if does == "checkpoints":
            self.cluster.store.stall()
            self.grow()
            self._until(lambda now: now["in_progress"] > 0, "a checkpoint to be made")
        elif does == "commits":
            self.cluster.catalog.stall_at(SNAPSHOT)
            self.grow()
            wait_until(lambda: self.cluster.catalog.stalled, "a commit to be held back", 60)
        else:
            self.grow()

    def _until(self, reached: Callable[[dict[str, int]], bool], what: str) -> None:
        wait_until(lambda: reached(self.cluster.checkpoints(self.job)), what, 60)

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
