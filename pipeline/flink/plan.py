"""What a job is told of each dataset when it is submitted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config import DatasetConfig
from pipeline.schema import DatasetSchema
from pipeline.sink.epoch import DATASET, FLINK, TABLES, FlinkRun, Position
from pipeline.sink.ledger import TOKEN, tag_of


@dataclass(frozen=True)
class DatasetPlan:
    """One dataset in a job.

    Attributes:
        config, schema: of the dataset, its tables as they are now.
        token: the job's writer token in the dataset's tables.
        run: names the line of jobs that go on from one another's savepoints and checkpoints.
        seed: of the keys' hashes; the same in all jobs of a run.
        start: where a job without a savepoint goes on from: the tables' position.
        snapshots: by table, the snapshot that holds what was believed there; the state is built from them.
        catalog, dead_letters: the catalog as lake.yaml has it, and the table of dead letters.
        groups: for each key group, the key by which Flink sends frames of it.
        max_ahead: microseconds; a later record of a create-time topic is a dead letter.
        idle_margin: microseconds; so far behind "now" the clock of a partition stays that is read to its end.
        letters: the Kafka topic that dead letters go to, too.
    """

    config: DatasetConfig
    schema: DatasetSchema
    token: int
    run: str
    seed: int
    start: Position
    snapshots: Mapping[str, int]
    catalog: Mapping[str, str]
    dead_letters: str
    groups: tuple[int, ...]
    max_ahead: int
    idle_margin: int
    letters: str | None = None

    def summary(self, sinks: int) -> dict[str, str]:
        """What every snapshot says of a table that so many of the job's sinks write to."""
        own = json.dumps(sorted(table.identifier for table in self.schema.tables))
        start = self.start.to_summary(self.config.name) | {TABLES: own}
        return {
            DATASET: self.config.name,
            FLINK: FlinkRun(self.run, sinks, start).to_json(),
            TOKEN: str(self.token),
        }

    @property
    def tag(self) -> str:
        """The tag that the job's commits move; each of its sinks has one that begins so."""
        return tag_of(self.config.name)
