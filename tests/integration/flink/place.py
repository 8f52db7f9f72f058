"""A topic of random records, a lake on the stack that a Flink job writes, and what the naive model makes of it."""

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline import Lake
from stack.control import Background
from stack.flink import JobManager
from stack.kafka import Broker
from stack.seaweedfs import SeaweedFS
from tests.kafka_broker import wait_until
from tests.model import Model
from tests.model.compare import history_json
from tests.model.decoding import Record
from tests.model.strategies import numbered, random_stream
from tests.property.differential import different, objects

PARTITIONS = 4
NO_LIFTS = {"time": {"idle_margin": "36500d", "max_ahead": "36500d"}}
_COMMAND = [sys.executable, "-c", "from pipeline.cli.main import main; main()"]
_HERE = {"PYTHONPATH": str(Path(__file__).parents[3])}


class FlinkPlace:
    """A dataset of its own on a stack that others use, too.

    Args:
        folder: of lake.yaml.
        stack: where the servers are.
        entry: the dataset's, without topic and table.
        seed: of the records.
        parallelism: of the job.
    """

    def __init__(
        self, folder: Path, stack: Background, entry: dict[str, Any], seed: int, *, parallelism: int = 1
    ) -> None:
        self.folder, self.seed = folder, seed
        name = f"d{uuid.uuid4().hex[:12]}"
        self._plain = entry | {"name": name, "on_new_field": entry.get("on_new_field", "ignore")}
        self.entry = self._plain | {"topic": name, "table": f"ref.{name}"}
        self.model, self._ends = Model(self.entry), Counter[int]()
        self._kafka = dict(stack.server(Broker).addresses())
        flink = {
            "rest.address": "127.0.0.1",
            "rest.port": stack.server(JobManager).ports["rest"],
            "parallelism.default": parallelism,
            "execution.checkpointing.interval": "1s",
            "execution.checkpointing.dir": "s3://data/flink/checkpoints",
        }
        content = {
            "catalog": {"name": "lake", **stack.server(SeaweedFS).rest_catalog},
            "kafka": self._kafka,
            "flink": flink,
            "datasets": [self.entry],
            "state": str(folder / "state"),
            **NO_LIFTS,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lake.yaml").write_text(json.dumps(content))
        admin = AdminClient(self._kafka)
        admin.create_topics([NewTopic(name, PARTITIONS, 1, config={"retention.ms": "-1"})])[name].result(30)

    @property
    def lake(self) -> Lake:
        return Lake.open(self.folder / "lake.yaml", {})

    def grow(self, count: int) -> None:
        """Add random records, a key in one partition."""
        stream = random_stream(self.seed, count, entry=self._plain)
        self.seed += 1
        self.add(numbered(stream.records, PARTITIONS))

    def add(self, records: Sequence[Record]) -> None:
        """Add records to their partitions at the times that they say."""
        producer = Producer({**self._kafka, "linger.ms": 100})
        for record in records:
            stamp = max(record.timestamp, 0) // 1000
            producer.produce(
                self.entry["topic"], record.value, record.key, partition=record.partition, timestamp=stamp
            )
            self.model.apply(replace(record, timestamp=stamp * 1000, offset=self._ends[record.partition]))
            self._ends[record.partition] += 1
        assert producer.flush(60) == 0

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
        ends = {partition: end for partition, end in self._ends.items() if end}

        def there() -> bool:
            position = self.lake.status()[0].position
            return position is not None and all(position.offsets.get(p, 0) == end for p, end in ends.items())

        wait_until(there, f"{self.model.records} records to be committed", seconds=120)

    def check(self) -> None:
        """Every table's history is the model's, row by row, and so is the number of dead letters."""
        lake = self.lake
        for table in lake.tables:
            mine = [row | {"source_topic": None} for row in objects(lake.history(table, provenance=True))]
            assert "\n".join(different(table, mine, history_json(self.model, table))) == ""
        assert lake.status()[0].dead_letters == self.model.counts.dead_letters
