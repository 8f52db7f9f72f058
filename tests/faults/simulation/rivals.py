"""One seed's story of two writers: each has a state of its own, as on two machines, and wants the same dataset."""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.engine.epoch import Summary
from pipeline.errors import BitlakeError, Unavailable
from pipeline.sink.commit import Fenced
from pipeline.sink.lease import Leased
from tests.faults.simulation.outside import Disk, Weather
from tests.faults.simulation.parts import Stretch
from tests.faults.simulation.plan import Plan
from tests.faults.simulation.story import LEASE_SECONDS, Outcome, Story
from tests.faults.simulation.sync import threading_in
from tests.faults.simulation.world import Process, Thread
from tests.model import Model

EXPECTED = (Fenced, Leased, Unavailable)
"""How a life may end that a rival, or the world outside, got in the way of."""


@dataclass
class Life:
    """A process that lives while its rival does.

    Attributes:
        process: it.
        stop: set when it is to end.
        end: when that is.
        found: what came of it, once it is over.
    """

    process: Process
    stop: Any
    end: int
    found: list[Summary | BitlakeError]


class Rivals(Story):
    """The story of one seed, with two writers in it.

    Both follow the topic. Whoever wrote an epoch, the rows are those of the naive model: they depend on the
    partitions' records alone.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.disks = (self.disk, Disk())
        self._side: dict[Process, int] = {}
        self.fenced = self.leased = 0

    def _planned(self, seed: int) -> Plan:
        return replace(Plan.of(seed, runtime="run"), tampering=0.0)

    def tell(self) -> Outcome:
        """All lives, the last of them in peace, and the judgement of both states."""
        model, plan = Model(self.plan.entry), self.plan
        with self._engine():
            for number in range(len(plan.parts)):
                part = Stretch(plan, number, self._topic, self.world.now)
                for _ in range(plan.lives):
                    self._live_together(part)
                    self._look_after(plan.others)
                part.tell(model)
                for side in self.world.random.sample((0, 1), 2):
                    self._end_in_peace(part, side)
                    self._judge.check(model, self.disks[side].open(self.world, Process("judge")))
                    self.disks[side].holder = None
        world = self.world
        return Outcome(world.trace, world.events, self._lives, self._deaths, self._failures, model.records)

    def _live_together(self, part: Stretch) -> None:
        """Two processes, or one after the other, and what befalls them."""
        world, random = self.world, self.world.random
        self.outside.weather = replace(self.plan.weather, away=self.outside.weather.away)
        lives = []
        for side in random.sample((0, 1), 2):
            lives.append(self._begin(part, side, take_over=random.random() < 0.7))
            self._wait(random.choice((0.0, 0.0, 0.3, 3.0)))
        while any(not life.process.over for life in lives):
            ends = [life.end for life in lives if not life.stop.is_set()]
            left = (min(ends) - world.now) / 1e6 if ends else 1e6
            seconds = min(left, random.expovariate(self.plan.restless or 1e-6))
            world.wait(lambda: all(life.process.over for life in lives), max(seconds, 0.0))
            for life in lives:
                if world.now >= life.end:
                    life.stop.set()
            alive = [life for life in lives if not life.process.over]
            if alive and world.now < min(ends, default=0):
                self._befall((life := random.choice(alive)).process, life.stop)
        for life in lives:
            self._close(life)

    def _begin(self, part: Stretch, side: int, *, take_over: bool, mortal: bool = True) -> Life:
        world = self.world
        self._lives += 1
        risk = self.plan.risk if mortal else 0.0
        process = Process(f"p{self._lives}-{side}", risk=risk, fragile=mortal)
        self._side[process] = side
        end = world.now + world.random.randint(1, 1_000_000) * world.random.choice((1, 30, 300))
        life = Life(process, threading_in(world).Event(), end, [])

        def main() -> None:
            try:
                life.found.append(part.deed(self.lake, life.stop, not mortal, take_over=take_over))
            except BitlakeError as error:
                life.found.append(error)

        world.note(f"{process.name} begins{', taking over' if take_over else ''}")
        Thread(world, process, "main").start(main)
        return life

    def _close(self, life: Life) -> None:
        process = life.process
        if process.dead:
            self._deaths += 1
            self.disks[self._side[process]].cut_power(
                self.world.random.randint(0, len(self.disks[self._side[process]].unsynced))
            )
            return
        (outcome,) = life.found
        self._end_daemons(process)
        self.world.note(f"{process.name}: {outcome}")
        if isinstance(outcome, BitlakeError):
            self._failures += 1
            self.fenced += isinstance(outcome, Fenced)
            self.leased += isinstance(outcome, Leased)
            if not isinstance(outcome, EXPECTED):
                raise outcome

    def _end_in_peace(self, part: Stretch, side: int) -> None:
        """One process alone, until all is read."""
        self._wait(max((self._topic.last - self.world.now) / 1e6, 0.0) + LEASE_SECONDS)
        self.outside.weather = Weather()
        life = self._begin(part, side, take_over=self.world.random.random() < 0.5, mortal=False)
        self.world.wait(lambda: life.process.over)
        self._close(life)
        (outcome,) = life.found
        if isinstance(outcome, BitlakeError):
            raise outcome

    def _open_disk(self, process: Process) -> Any:
        return self.disks[self._side.get(process, 0)].open(self.world, process)
