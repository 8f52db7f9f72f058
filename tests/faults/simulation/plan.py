"""What a seed chooses before anything happens."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.faults.simulation.outside import Weather
from tests.faults.stories import KINDS, PARTITIONED
from tests.model.choices import Seeded
from tests.model.decoding import Record
from tests.model.generate import Entry, make_entry
from tests.model.strategies import random_stream

POISONS = (
    b"",
    b"null",
    b"\x00",
    b"\xff\xfe{",
    b"7",
    b'{"isin": {}}',
    b'{"isin": "K", "at": "2024-0',
    b'{"isin": "K", "at": "2024-01-01", "deep": ' + b"[" * 700 + b"]" * 700 + b"}",
)
TTLS = ("1s", "3s", "20s")


@dataclass(frozen=True)
class Plan:
    """A seed's story before it is told.

    Attributes:
        runtime: ``load`` or ``run``.
        entry, settings: the dataset's, and the rest of lake.yaml.
        partitions: of the topic.
        lifts: clocks are lifted.
        parts: how many records come before each judgement.
        lives: processes that something may befall, before each judgement.
        checkpoint_records: logged records after which keys are stored.
        risk: how likely a process dies at a fault point.
        weather: how likely servers fail.
        restless: how often something befalls a process from outside, per second.
        tampering: how likely the state is lost, or an old one, after a life.
        others: how likely others compact tables or expire snapshots after a life.
    """

    seed: int
    runtime: str
    entry: Entry = field(repr=False)
    settings: Mapping[str, Any]
    partitions: int
    lifts: bool
    parts: tuple[int, ...]
    lives: int
    checkpoint_records: int
    risk: float
    weather: Weather
    restless: float
    tampering: float
    others: float

    @staticmethod
    def of(seed: int, runtime: str = "") -> "Plan":
        """A seed's plan; of this runtime, if one is given."""
        random = Random(seed)
        runtime = runtime or random.choice(("load", "run", "run"))
        partitions = random.choice((1, 2, 3)) if runtime == "run" else 1
        lifts = runtime == "run" and random.random() < 0.4
        return Plan(
            seed,
            runtime,
            _entry(seed, random, partitions),
            _settings(random, lifts=lifts),
            partitions,
            lifts,
            tuple(random.randint(8, 30) for _ in range(random.choice((1, 2, 2)))),
            random.randint(1, 6),
            random.choice((4, 15, 8_000_000)),
            random.choice((0.0, 0.01, 0.03, 0.1)),
            _weather(random),
            random.choice((0.0, 0.05, 0.3)),
            random.choice((0.0, 0.0, 0.3)),
            random.choice((0.0, 0.0, 0.3)),
        )

    def records(self, part: int) -> list[Record]:
        """The records of a part, without partitions and offsets; some are poison."""
        seed = self.seed * 1000 + part
        stream = random_stream(seed, self.parts[part], entry=self.entry)
        random, records = Random(seed), []
        for record in stream.records:
            records.append(record)
            if random.random() < 0.05:
                records.append(replace(record, value=random.choice(POISONS)))
            if random.random() < 0.02:
                records.append(Record(None, record.timestamp, random.choice((None, b"", b"\xff\xfe"))))
        return records


def _entry(seed: int, random: Random, partitions: int) -> Entry:
    if random.random() < 0.5:
        entry = make_entry(Seeded(seed))
    else:
        entry = dict(KINDS[random.choice(("append", "cold"))][0])
        if random.random() < 0.3:
            entry |= PARTITIONED
    if partitions > 1 and entry["on_new_field"] == "evolve":
        # What type a new column gets depends on which partition is read first.
        entry["on_new_field"] = "ignore"
    if random.random() < 0.3:
        entry["mode"] = "upsert"
    if random.random() < 0.3:
        entry["state_ttl"] = random.choice(TTLS)
    return entry


def _settings(random: Random, *, lifts: bool) -> dict[str, Any]:
    commit = {"records": random.choice((3, 7, 12)), "seconds": random.choice((0.5, 5, 60))}
    margin = random.choice(("0s", "1s", "5s")) if lifts else "36500d"
    memory = {"state_memory": "3KB"} if random.random() < 0.3 else {}
    return {"commit": commit, "time": {"idle_margin": margin, "max_ahead": "36500d"}, **memory}


def _weather(random: Random) -> Weather:
    often = random.choice((0.0, 0.0, 0.002, 0.01))
    return Weather(
        before=often * random.random(),
        after=often * random.random(),
        refused=random.choice((0.0, 0.05, 0.3)),
        disk=random.choice((0.0, 0.0, 0.01)),
    )
