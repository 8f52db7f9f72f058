"""A lake on the stack whose dataset a Flink job writes."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from pipeline import Lake
from stack.control import Background
from stack.flink import JobManager
from stack.kafka import Broker
from stack.seaweedfs import SeaweedFS
from tests.faults.topics import NO_LIFTS, Topic
from tests.kafka_broker import Kafka, wait_until
from tests.model.compare import history_json
from tests.property.differential import different, objects

_COMMAND = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]
_HERE = {"PYTHONPATH": str(Path(__file__).parents[3])}


class FlinkPlace:
    """A dataset of its own on a stack that others use, too.

    Args:
        folder: of lake.yaml.
        stack: where the servers are.
        entry: the dataset's, without topic and table.
        seed: of the records.
    """

    def __init__(self, folder: Path, stack: Background, entry: dict[str, Any], seed: int) -> None:
        self.folder, name = folder, f"d{uuid.uuid4().hex[:12]}"
        kafka = Kafka([stack.server(Broker)], folder)
        self.topic = Topic(kafka, seed, entry | {"name": name, "table": f"ref.{name}"})
        flink = {
            "rest.address": "127.0.0.1",
            "rest.port": stack.server(JobManager).ports["rest"],
            "parallelism.default": 1,
            "execution.checkpointing.interval": "1s",
            "execution.checkpointing.dir": "s3://data/flink/checkpoints",
        }
        content = {
            "catalog": {"name": "lake", **stack.server(SeaweedFS).rest_catalog},
            "kafka": kafka.properties,
            "flink": flink,
            "datasets": [self.topic.entry],
            **NO_LIFTS,
        }
        (folder / "lake.yaml").write_text(json.dumps(content))

    @property
    def lake(self) -> Lake:
        return Lake.open(self.folder / "lake.yaml", {})

    def bitlake(self, *words: str, fails: bool = False) -> dict[str, Any]:
        """A command; what its last line says."""
        done = subprocess.run(
            [*_COMMAND, *words, "--output", "json"],
            cwd=self.folder,
            env={**os.environ, **_HERE},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert (done.returncode != 0) == fails, done.stderr[-4000:] + done.stdout[-1000:]
        lines = (done.stderr if fails else done.stdout).splitlines()
        told: dict[str, Any] = json.loads(lines[-1])
        return told

    def submit(self, *words: str) -> str:
        return str(self.bitlake("submit", *words)["job"])

    def read_all(self) -> None:
        """Wait until a job that goes on has committed everything."""

        def there() -> bool:
            position = self.lake.status()[0].position
            return position is not None and sum(position.offsets.values()) == self.topic.model.records

        wait_until(there, f"{self.topic.model.records} records to be committed")

    def check(self) -> None:
        """Every table's history is the model's, row by row, and so is the number of dead letters."""
        lake, model = self.lake, self.topic.model
        for table in lake.tables:
            mine = [row | {"source_topic": None} for row in objects(lake.history(table, provenance=True))]
            assert "\n".join(different(table, mine, history_json(model, table))) == ""
        assert lake.status()[0].dead_letters == model.counts.dead_letters
