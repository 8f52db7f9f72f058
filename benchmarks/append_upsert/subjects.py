"""What is compared: tables that the same topic is written to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workload import lake
from stack.lake import sections
from stack.stack import Stack

NAMESPACE = "bench"


@dataclass(frozen=True)
class Subject:
    """A table, and how it is written.

    Attributes:
        name: of the subject, and of its table.
        mode: as `mode` in lake.yaml.
    """

    name: str
    mode: str

    @property
    def table(self) -> str:
        """Its parent table."""
        return f"{NAMESPACE}.{self.name}"

    def write(self, folder: Path, stack: Stack, topic: str, checkpoint: str, *, children: bool) -> None:
        """Write its lake.yaml.

        Args:
            folder: where to.
            stack: the servers.
            topic: the records.
            checkpoint: Flink's interval.
            children: with the child table.
        """
        from ruamel.yaml import YAML

        yaml = YAML(typ="safe")
        content: dict[str, Any] = yaml.load(lake(children=children, topic=topic))
        (dataset,) = content["datasets"]
        dataset |= {"name": self.name, "table": self.table, "mode": self.mode}
        content |= sections(stack.servers.values())
        content["flink"] |= {"execution.checkpointing.interval": checkpoint}
        (folder / "lake.yaml").write_text(json.dumps(content), encoding="utf-8")


SUBJECTS = (Subject("bonds_append", "append"), Subject("bonds_upsert", "upsert"))
