"""One seed's story: a dataset, its records, lives of processes and what befalls them; then the judgement."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config import LakeConfig, parse_config
from pipeline.engine.epoch import Summary
from pipeline.errors import BitlakeError, Refused, Unavailable
from pipeline.lake import Lake
from pipeline.sink.catalog import open_catalog
from pipeline.sink.epoch import Position
from pipeline.sink.lease import Leased
from tests.faults.mishaps import compact
from tests.faults.simulation.engine import engine_in
from tests.faults.simulation.files import SimulatedFile
from tests.faults.simulation.judge import Judge, needed_snapshots
from tests.faults.simulation.outside import Disk, Outside, Weather, outside
from tests.faults.simulation.parts import File, Stretch
from tests.faults.simulation.plan import Plan
from tests.faults.simulation.sync import threading_in
from tests.faults.simulation.topic import SimulatedSource, Topic
from tests.faults.simulation.world import Process, Thread, World
from tests.invariants import resumed
from tests.model import Model

Part = File | Stretch
CATALOG = {
    "name": "lake",
    "py-catalog-impl": "tests.faults.simulation.outside.SimulatedCatalog",
    "py-io-impl": "tests.faults.simulation.outside.SimulatedIO",
    "warehouse": "sim://warehouse",
}
LEASE_SECONDS = 16 * 60.0
"""After so long another state may go on."""
POWER_CUTS = 0.3


@dataclass(frozen=True)
class Outcome:
    """What a seed led to.

    Attributes:
        trace: a hash of all that happened.
        events: how many things that were.
        lives, deaths, failures: processes; those that were killed; those that ended with an error.
        records: in the tables in the end.
    """

    trace: str
    events: int
    lives: int
    deaths: int
    failures: int
    records: int


class SeedFailed(AssertionError):
    """Something is wrong after what this seed made happen."""


def simulate(seed: int, kind: "type[Story] | None" = None) -> Outcome:
    """Live through what a seed says and judge what is left.

    Args:
        seed: of all that happens.
        kind: whose lives; by default one writer's.

    Raises:
        SeedFailed: with the seed, what was planned and the last events.
    """
    story = (kind or Story)(seed)
    try:
        return story.tell()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = "\n".join(story.world.last)
        raise SeedFailed(
            f"seed {seed}: {type(error).__name__}: {error}\n{story.plan}\nlast events:\n{last}\n"
            f"again: python -m tests.faults.simulation {type(story).__name__.lower()} {seed}"
        ) from error


class Story:
    """The story of one seed."""

    def __init__(self, seed: int) -> None:
        self.world, self.plan = World(seed), self._planned(seed)
        self.outside, self.disk = Outside(self.world), Disk()
        self._lives = self._deaths = self._failures = 0
        self._set_aside: list[Disk] = []
        self._copies: list[Disk] = []
        self._topic = Topic([[] for _ in range(self.plan.partitions)])
        self._files: dict[str, bytes] = {}
        content = {"catalog": CATALOG, "state": "/state", "datasets": [self.plan.entry], **self.plan.settings}
        self.lake = Lake(self._config(content))

    def _planned(self, seed: int) -> Plan:
        return Plan.of(seed)

    @staticmethod
    def _config(content: dict[str, Any]) -> LakeConfig:
        return parse_config(json.dumps(content), base=Path("/"), environ={})

    def tell(self) -> Outcome:
        """All lives, the last of them in peace, and the judgement."""
        model, plan = Model(self.plan.entry), self.plan
        with self._engine():
            for number in range(len(plan.parts)):
                part = self._part(number)
                for _ in range(plan.lives):
                    self._live(part, mortal=True)
                    self._meanwhile(part, model.records + len(part))
                self._come_to_the_end(part)
                part.tell(model)
                self._judge.check(model, self.disk.open(self.world, Process("judge")))
                self.disk.holder = None
        world = self.world
        return Outcome(world.trace, world.events, self._lives, self._deaths, self._failures, model.records)

    def _part(self, number: int) -> Part:
        if self.plan.runtime == "load":
            return File(self.plan, number, self._files)
        return Stretch(self.plan, number, self._topic, self.world.now)

    def _come_to_the_end(self, part: Part) -> None:
        """Lives in which nothing happens, until all is read; a state that is no good is replaced."""
        self._wait((self._topic.last - self.world.now) / 1e6)
        self.outside.weather.away = 0
        while not isinstance(outcome := self._live(part, mortal=False), Summary):
            if isinstance(outcome, Leased):
                self._wait(LEASE_SECONDS)
            elif isinstance(outcome, Refused) and self._set_aside:
                self.world.note("an earlier state is put back")
                self.disk = self._set_aside.pop()
            else:
                raise outcome
        self._set_aside = []

    def _live(self, part: Part, *, mortal: bool) -> Summary | BitlakeError | None:
        """One process; what came of it, or None if it was killed."""
        before, weather = self._judge.position(), self.plan.weather if mortal else Weather()
        self.outside.weather = replace(weather, away=self.outside.weather.away)
        self._lives += 1
        process = Process(f"p{self._lives}", risk=self.plan.risk if mortal else 0.0, fragile=mortal)
        stop, found = threading_in(self.world).Event(), list[Summary | BitlakeError]()

        def main() -> None:
            try:
                found.append(part.deed(self.lake, stop, not mortal))
            except BitlakeError as error:
                found.append(error)

        self.world.note(f"{process.name} begins")
        Thread(self.world, process, "main").start(main)
        self._wait_for(process, stop if mortal else None)
        if process.dead:
            self._bury(process)
            return None
        (outcome,) = found
        self._end_daemons(process)
        self.world.note(f"{process.name}: {outcome}")
        self._judge_life(before, outcome, mortal=mortal)
        return outcome

    def _wait_for(self, process: Process, stop: Any) -> None:
        """Until a process has ended; meanwhile something may befall it."""
        world, restless = self.world, self.plan.restless
        if stop is None:
            world.wait(lambda: process.over)
            return
        end = world.now + world.random.randint(1, 1_000_000) * world.random.choice((1, 30, 300))
        while not process.over:
            seconds = world.random.expovariate(restless or 1e-6)
            left = (end - world.now) / 1e6
            if world.wait(lambda: process.over, min(seconds, left) if left > 0 else seconds):
                break
            if world.now >= end:
                stop.set()
            else:
                self._befall(process, stop)

    def _end_daemons(self, process: Process) -> None:
        process.dead = True
        self.world.wait(lambda: not process.threads)

    def _befall(self, process: Process, stop: Any) -> None:
        random, now = self.world.random, self.world.now
        match random.choice(("SIGTERM", "SIGKILL", "SIGSTOP", "outage", "clock")):
            case "SIGTERM":
                self.world.note("SIGTERM")
                stop.set()
            case "SIGKILL":
                self.world.kill(process)
            case "SIGSTOP":
                process.resumes = now + random.randint(1, 60_000_000)
                self.world.note(f"SIGSTOP until {process.resumes}")
            case "outage":
                self.outside.weather.away = now + random.randint(1, 60_000_000)
                self.world.note(f"servers are away until {self.outside.weather.away}")
            case "clock":
                self.world.skew = random.randint(-3_600_000_000, 0)
                self.world.note(f"clocks are set to {self.world.skew}")

    def _bury(self, process: Process) -> None:
        """A process was killed, perhaps because the power went; nothing it did on its way out came to anything."""
        assert self.world.changes == process.last_change, "the dead did something"
        self._deaths += 1
        unsynced = len(self.disk.unsynced)
        if self.world.random.random() < POWER_CUTS:
            kept = self.world.random.randint(0, unsynced)
            self.world.note(f"the power was cut: {kept} of {unsynced} writes are kept")
            self.disk.cut_power(kept)

    def _judge_life(self, before: Position | None, outcome: Summary | BitlakeError, *, mortal: bool) -> None:
        if isinstance(outcome, Summary):
            after = self._judge.position()
            if after is not None:
                resumed(before, after, asdict(outcome))
            return
        self._failures += 1
        excused = isinstance(outcome, Unavailable) and mortal
        if not excused and not (isinstance(outcome, Refused) and self._set_aside):
            raise outcome

    def _meanwhile(self, part: Part, records: int) -> None:
        """What happens while no process lives: the state is lost or replaced, tables are looked after.

        Args:
            part: what is being read.
            records: that are in the tables once it is read.
        """
        world, random = self.world, self.world.random
        self._copies.append(self.disk.copy())
        position = self._judge.position()
        if position is not None and random.random() < self.plan.tampering:
            self._set_aside.append(self.disk)
            if isinstance(part, File) and sum(position.offsets.values()) == records:
                # Only the state knows that nobody was told; without it a load takes it as told.
                part.over = True
            lost = random.random() < 0.5
            world.note("the state is lost" if lost else "an old state is put in its place")
            self.disk = Disk() if lost else random.choice(self._copies).copy()
        self._look_after(self.plan.others)

    def _look_after(self, often: float) -> None:
        """Others may maintain the tables; then some time goes by."""
        random = self.world.random
        if self._judge.position() is not None and random.random() < often:
            self.world.note("others look after the tables")
            look_after(self.lake, compacting=random.random() < 0.5)
        self._wait(random.choice((0.0, 1.0, 100.0)))

    def _open_disk(self, process: Process) -> Any:
        return self.disk.open(self.world, process)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.world.wait(lambda: False, seconds)

    @contextmanager
    def _engine(self) -> Iterator[None]:
        source = type("Source", (SimulatedSource,), {"world": self.world, "topic": self._topic})
        file = type("File", (SimulatedFile,), {"contents": self._files})
        modules = {"run__open_source": source, "load__FileSource": file}
        modules |= {"checkpoints__LEAST_RECORDS": self.plan.checkpoint_records, "checkpoints__MOST": 1}
        modules |= {"checkpoints__SPREAD": 3 * self.plan.checkpoint_records, "checkpoints__LEAST_KEYS": 1}
        modules |= {"dataset__LEAST_SWEEP_SECONDS": 1.0}
        with engine_in(self.world, self.outside, self._open_disk, **modules):
            self._judge = Judge(self.lake.config, lifts=self.plan.lifts)
            yield


def look_after(lake: Lake, *, compacting: bool) -> None:
    """Others compact the tables, or expire all snapshots that tell of nothing that is needed."""
    catalog = open_catalog(lake.config.catalog)
    if compacting:
        compact(lake)
        return
    for identifier in outside().tables:
        table = catalog.load_table(identifier)
        kept = needed_snapshots(table.metadata)
        old = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id not in kept]
        if old:
            table.maintenance.expire_snapshots().by_ids(old).commit()
