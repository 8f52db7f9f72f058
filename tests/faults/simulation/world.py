"""A virtual clock, and threads of which one runs at a time: whose turn it is, is the seed's choice.

Every wait and every call to the world outside goes through `World.wait`. Time passes only there, and so what
happens depends on the seed alone. A process that is killed never gets beyond the wait that it is in: `Killed`
unwinds its threads, and what their ``finally`` clauses try to do is refused by the same exception.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

START = 1_706_745_600_000_000
"""2024-02-01 in microseconds: when the records of `tests.model.generate` begin."""
LAST_EVENTS = 200
MOST_EVENTS = 200_000


class Killed(BaseException):
    """The process is dead."""


class Stuck(AssertionError):
    """Every thread waits, and for nothing that time could bring; or there is no end to it."""


class Process:
    """What lives and dies as one.

    Attributes:
        name: for the trace.
        dead: it was killed.
        resumes: it does nothing before this time.
        risk: how likely it dies at a fault point, and how much likelier there than elsewhere.
        fragile: the world outside may fail it.
        last_change: how many changes there had been to the world outside when it died.
    """

    def __init__(self, name: str, *, risk: float = 0.0, fragile: bool = False) -> None:
        self.name, self.risk, self.fragile = name, risk, fragile
        self.dead, self.resumes, self.last_change = False, 0, 0
        self.threads: list[Thread] = []

    @property
    def over(self) -> bool:
        """Whether it has come to its end, or was killed and is unwound."""
        return all(thread.daemon and not self.dead for thread in self.threads)


class Thread:
    """One thread of a process, which does not wait for its daemons; the world's own belongs to none."""

    def __init__(self, world: "World", process: Process | None, name: str, *, daemon: bool = False) -> None:
        self.process, self.name, self.daemon, self.ended = process, name, daemon, False
        self.ready: Callable[[], bool] = lambda: True
        self.deadline: int | None = None
        self.baton = threading.Semaphore(0)
        self._world = world

    def able(self, now: int) -> bool:
        """Whether it may go on."""
        if self.process is not None:
            if self.process.dead:
                return True
            if now < self.process.resumes:
                return False
        return self.ready() or (self.deadline is not None and self.deadline <= now)

    def wakes(self) -> int | None:
        """When it may go on though nothing happens."""
        resumes = self.process.resumes if self.process is not None else 0
        if self.ready():
            return resumes
        return None if self.deadline is None else max(self.deadline, resumes)

    def start(self, target: Callable[[], None]) -> None:
        """Have it run, when its turn comes."""
        self._world.threads.append(self)
        if self.process is not None:
            self.process.threads.append(self)
        threading.Thread(target=self._run, args=(target,), daemon=True).start()

    def _run(self, target: Callable[[], None]) -> None:
        self.baton.acquire()
        self._world.here.thread = self
        try:
            if self.process is None or not self.process.dead:
                target()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - told on the world's own thread
            self._world.failure = self._world.failure or error
        finally:
            self.ended = True
            self._world.threads.remove(self)
            if self.process is not None:
                self.process.threads.remove(self)
            self._world.next_turn().baton.release()


class World:
    """Time, chance and the trace.

    Args:
        seed: of all choices.

    Attributes:
        random: where choices come from.
        now: microseconds.
        skew: what the clocks on the walls say beyond that.
        calm: nothing fails, and time does not pass by itself.
        changes: how often something was changed that outlives a process.
    """

    def __init__(self, seed: int) -> None:
        self.random, self.now, self.skew, self.calm = Random(seed), START, 0, False
        self.threads: list[Thread] = []
        self.failure: BaseException | None = None
        self.here = threading.local()
        self.last: deque[str] = deque(maxlen=LAST_EVENTS)
        self.changes = self.events = 0
        self._hash = hashlib.sha256()
        self._own = self.here.thread = Thread(self, None, "world")
        self.threads.append(self._own)

    @property
    def trace(self) -> str:
        """A hash of everything that happened so far."""
        return self._hash.hexdigest()

    @property
    def process(self) -> Process | None:
        """Whose thread is running."""
        process: Process | None = self.here.thread.process
        return process

    def note(self, what: str) -> None:
        """Write down that something happened."""
        thread = self.here.thread
        who = thread.name if thread.process is None else f"{thread.process.name}/{thread.name}"
        line = f"{(self.now - START) / 1e6:.6f} {who}: {what}"
        self._hash.update(line.encode() + b"\n")
        self.last.append(line)
        self.events += 1
        if self.events > MOST_EVENTS:
            raise Stuck("there is no end to it")

    def wait(self, ready: Callable[[], bool], seconds: float | None = None) -> bool:
        """Let others go on until something is so, or time has passed; whether it is so.

        Raises:
            Killed: the process has died meanwhile.
        """
        me: Thread = self.here.thread
        self.check()
        me.ready, me.deadline = ready, None if seconds is None else self.now + max(0, round(seconds * 1e6))
        following = self.next_turn()
        if following is not me:
            following.baton.release()
            me.baton.acquire()
        me.ready, me.deadline = (lambda: True), None
        self.check()
        return ready()

    def check(self) -> None:
        """Unwind a thread whose process is dead."""
        process = self.process
        if process is not None and process.dead:
            raise Killed
        if process is None and self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def next_turn(self) -> Thread:
        """The thread that is to go on; time passes until there is one."""
        if self.failure is not None:
            return self._own
        while True:
            able = [thread for thread in self.threads if thread.able(self.now)]
            if able:
                return self.random.choice(able) if len(able) > 1 else able[0]
            times = [at for thread in self.threads if (at := thread.wakes()) is not None]
            if not times:
                waiting = ", ".join(thread.name for thread in self.threads)
                self.failure = Stuck(f"all of them wait: {waiting}")
                return self._own
            self.now = max(self.now, min(times))

    def pass_by(self, what: str, *, point: bool = False) -> None:
        """Come to a place where time passes, others go on, and a process may die."""
        self.note(what)
        process = self.process
        if process is None or self.calm:
            return
        if process.risk and self.random.random() < process.risk * (1.0 if point else 0.04):
            self.kill(process)
        self.check()
        self.wait(lambda: False, self._delay())

    def kill(self, process: Process) -> None:
        """kill -9."""
        self.note(f"{process.name} is killed")
        process.dead, process.last_change = True, self.changes

    def _delay(self) -> float:
        chance = self.random.random()
        if chance < 0.98:
            return chance / 100
        return self.random.uniform(0.1, 3.0) if chance < 0.998 else self.random.uniform(5.0, 90.0)

    @contextmanager
    def calmly(self) -> Iterator[None]:
        """Nothing fails."""
        before, self.calm = self.calm, True
        try:
            yield
        finally:
            self.calm = before
