"""A stream of random records, one file of them, and what the naive model makes of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.place import Place
from tests.faults.runs import BONDS, MANY, Load
from tests.forks import Forks
from tests.model import Model
from tests.model.generate import Entry
from tests.model.strategies import random_stream

RECORDS = 24
EPOCHS = 3
"""Epochs of so many records: one ends before the block that would be its fourth, blocks having three lines."""
PARTITIONED = {"partition_by": ["bucket(3, isin)", "month(valid_from)"]}
UPSERT = {"mode": "upsert"}
COLD = {"state_memory": "3KB"}
"""Room for one or two of the keys of `MANY`."""
KINDS: dict[str, tuple[Entry, dict[str, Any]]] = {
    "append": (BONDS, {}),
    "upsert": (BONDS | UPSERT, {}),
    "partitioned": (BONDS | PARTITIONED, {}),
    "upsert-partitioned": (BONDS | UPSERT | PARTITIONED, {}),
    "cold": (MANY, COLD),
    "upsert-cold": (MANY | UPSERT, COLD),
}
"""Datasets of different modes, each with settings of its lake."""


class Story:
    """One file of random records into a lake of one dataset.

    Args:
        folder, forks: as `Place` takes them.
        seed: of the records.
        kind: of `KINDS`.
        settings: more of lake.yaml.
        table: the Iceberg identifier of the dataset's table, if not the usual one.
        records: how many there are.
        checkpoint_records: as `Load` takes them.
        broken: the number of a line in whose place comes one that is a dead letter.
    """

    def __init__(
        self,
        folder: Path,
        forks: Forks,
        seed: int,
        *,
        kind: str = "append",
        settings: dict[str, Any] | None = None,
        table: str = "ref.bonds",
        records: int = RECORDS,
        checkpoint_records: int = 8_000_000,
        broken: int | None = None,
    ) -> None:
        entry, own = KINDS[kind]
        entry, self.seed = entry | {"table": table}, seed
        self.lines = random_stream(seed, records, entry=entry).envelope_lines()
        if broken is not None:
            self.lines[broken] = b"{"
        self.place = Place(folder, forks, entry, settings=own | (settings or {}))
        self.load = Load(
            "bonds", [self.place.file("a.jsonl", self.lines)], checkpoint_records=checkpoint_records
        )
        self.model = Model(entry).load(self.lines, started=0, envelope=True)

    def kill(self, *points: str) -> "Story":
        """Have the load killed at one point after the other."""
        for point in points:
            self.place.kill(self.load, point)
        return self

    def mishap(self, text: str) -> Load:
        """The load, with something that befalls it (see `tests.faults.mishaps`)."""
        return replace(self.load, mishap=text)

    def ends_well(self) -> None:
        """The load goes on to its end, and the tables are as if nothing had happened."""
        self.place.finish(self.load)
        self.place.check(self.model)

    def ends_as_resumed(self, process: int) -> None:
        """The load, stopped before, goes on to its end; and so do others."""
        outcome = self.place.resume(process)
        assert "error" not in outcome, outcome
        self.goes_on()

    def goes_on(self) -> None:
        """More records go on from where the tables are."""
        lines = random_stream(self.seed + 1, 15, entry=self.place.entries[0]).envelope_lines()
        self.place.finish(Load("bonds", [self.place.file("more.jsonl", lines)]))
        self.place.check(self.model.load(lines, started=0, envelope=True, first=self.model.records))

    def proceeds(self) -> None:
        """The same, and more loads go on from there, with and without the state."""
        self.place.finish(self.load)
        self.place.proceeds(self.model, seed=self.seed + 1)


def seed_of(*points: str) -> int:
    """A seed for a test with these parameters."""
    return sum(map(ord, "".join(points)))
