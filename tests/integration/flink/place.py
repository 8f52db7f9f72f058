"""A lake on the stack whose datasets a Flink job writes."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import Lake, faults
from pipeline.flink.cluster import Cluster
from stack.control import Background
from stack.flink import JobManager
from stack.flink_home import CHECKPOINTS
from stack.kafka import Broker
from stack.seaweedfs import SeaweedFS
from tests.faults.topics import NO_LIFTS, Topic
from tests.kafka_broker import Kafka, wait_until
from tests.model.compare import history_json
from tests.property.differential import different, objects

_COMMAND = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]
_HERE = {"PYTHONPATH": str(Path(__file__).parents[3])}


class FlinkPlace:
    """Datasets of its own on a stack that others use, too.

    Args:
        folder: of lake.yaml.
        stack: where the servers are.
        entry: the first dataset's, without topic and table.
        seed: of its records.
        settings: more of lake.yaml's sections.

    Attributes:
        topics: of the datasets.
    """

    def __init__(
        self,
        folder: Path,
        stack: Background,
        entry: dict[str, Any],
        seed: int,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.folder, more = folder, settings or {}
        self._kafka = Kafka([stack.server(Broker)], folder)
        flink = {
            "rest.address": "127.0.0.1",
            "rest.port": stack.server(JobManager).ports["rest"],
            "parallelism.default": 1,
            "execution.checkpointing.interval": "1s",
            "execution.checkpointing.dir": CHECKPOINTS,
            **more.get("flink", {}),
        }
        self._content = {
            "catalog": more.get("catalog", {"name": "lake", **stack.server(SeaweedFS).rest_catalog}),
            "kafka": self._kafka.properties,
            "flink": flink,
            "time": more.get("time", NO_LIFTS["time"]),
        }
        self.topics: list[Topic] = []
        self.add_dataset(entry, seed)

    @property
    def topic(self) -> Topic:
        """The first dataset's."""
        return self.topics[0]

    def add_dataset(self, entry: dict[str, Any], seed: int) -> Topic:
        """Add a dataset to lake.yaml; its topic."""
        name = f"d{uuid.uuid4().hex[:12]}"
        self.topics.append(Topic(self._kafka, seed, entry | {"name": name, "table": f"ref.{name}"}))
        self.write()
        return self.topics[-1]

    def write(self) -> None:
        """Write lake.yaml as the datasets' entries are now."""
        content = self._content | {"datasets": [topic.entry for topic in self.topics]}
        (self.folder / "lake.yaml").write_text(json.dumps(content))

    @property
    def lake(self) -> Lake:
        return Lake.open(self.folder / "lake.yaml", {})

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.lake.config.flink)

    def _command(self, *words: str, fault: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*_COMMAND, *words, "--output", "json"],
            cwd=self.folder,
            env={**os.environ, **_HERE, **({faults.VARIABLE: fault} if fault else {})},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def killed_at(self, point: str, *words: str) -> None:
        """A command that dies at a fault point."""
        done = self._command(*words, fault=point)
        assert done.returncode == -signal.SIGKILL, done.stderr[-4000:]

    def bitlake(self, *words: str, fails: bool = False) -> dict[str, Any]:
        """A command; what its last line says."""
        done = self._command(*words)
        assert (done.returncode != 0) == fails, done.stderr[-4000:] + done.stdout[-1000:]
        lines = (done.stderr if fails else done.stdout).splitlines()
        told: dict[str, Any] = json.loads(lines[-1])
        return told

    @contextmanager
    def starting(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """A command that is not waited for; killed if it has not ended with the block."""
        with subprocess.Popen(
            [*_COMMAND, *words, "--output", "json"],
            cwd=self.folder,
            env={**os.environ, **_HERE},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def submit(self, *words: str) -> str:
        return str(self.bitlake("submit", *words)["job"])

    def write_in_turn(self, first: int, then: int) -> None:
        """A job writes to the end of the topic, then `bitlake run`; the rows are the model's each time."""
        self.topic.grow(first)
        self.submit("--until-end", "--wait")
        self.check()
        self.topic.grow(then)
        self.bitlake("run", "--until-end", "--take-over")
        self.check()

    def read_all(self) -> None:
        """Wait until a job that goes on has committed everything."""

        def there(topic: Topic) -> bool:
            position = self._status(topic).position
            return position is not None and sum(position.offsets.values()) == topic.model.records

        for topic in self.topics:
            what = f"{topic.model.records} records to be committed"
            wait_until(lambda topic=topic: there(topic), what, 240, every=0.5)

    def check(self) -> None:
        """Every table's history is the model's, row by row, and so is the number of dead letters."""
        lake = self.lake
        for topic in self.topics:
            name, model = topic.entry["name"], topic.model
            for table in lake.tables:
                if table.partition("__")[0] == name:
                    rows = [
                        row | {"source_topic": None} for row in objects(lake.history(table, provenance=True))
                    ]
                    differences = different(table, rows, history_json(model, table))
                    assert not differences, differences[0]
            assert self._status(topic).dead_letters == model.counts.dead_letters

    def _status(self, topic: Topic) -> Any:
        return next(one for one in self.lake.status() if one.dataset == topic.entry["name"])
