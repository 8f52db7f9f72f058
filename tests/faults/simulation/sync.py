"""What the engine's modules import as `threading`, `queue`, `time` and the like, on a virtual clock."""

import math
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Generic, Self, TypeVar

from tests.faults.simulation.world import START, Thread, World

T = TypeVar("T")


class SimulatedTime:
    """The module `time`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def monotonic(self) -> float:
        return 1000.0 + (self._world.now - START) / 1e6

    perf_counter = monotonic

    def time_ns(self) -> int:
        return (self._world.now + self._world.skew) * 1000

    def time(self) -> float:
        return self.time_ns() / 1e9

    def sleep(self, seconds: float) -> None:
        self._world.wait(lambda: False, seconds)


class _Once:
    """Base of what knows its world."""

    world: World


def threading_in(world: World) -> Any:
    """The module `threading`, as far as the engine uses it."""

    class Simulated:
        Thread = type("Thread", (SimulatedThread,), {"world": world})
        Event = type("Event", (SimulatedEvent,), {"world": world})
        Lock = RLock = type("RLock", (SimulatedLock,), {"world": world})
        Condition = type("Condition", (SimulatedCondition,), {"world": world})
        Semaphore = type("Semaphore", (SimulatedSemaphore,), {"world": world})

    return Simulated


def queue_in(world: World) -> Any:
    """The module `queue`, as far as the engine uses it."""

    class Simulated:
        Queue = type("Queue", (SimulatedQueue,), {"world": world})
        SimpleQueue, Empty, Full = queue.SimpleQueue, queue.Empty, queue.Full

    return Simulated


def executor_in(world: World) -> Any:
    """`concurrent.futures.ThreadPoolExecutor`."""
    return type("Executor", (SimulatedExecutor,), {"world": world})


class SimulatedThread(_Once):
    def __init__(
        self,
        target: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str = "",
        daemon: bool = False,
    ) -> None:
        self._thread = Thread(self.world, self.world.process, name, daemon=daemon)
        self._call = partial(target, *args, **(kwargs or {}))

    def start(self) -> None:
        self._thread.start(self._call)

    def join(self, timeout: float | None = None) -> None:
        process = self._thread.process
        # Generators are closed while a dead process is unwound, where nothing can be raised.
        if process is None or not process.dead:
            self.world.wait(lambda: self._thread.ended, timeout)

    def is_alive(self) -> bool:
        return not self._thread.ended


class SimulatedEvent(_Once):
    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def wait(self, timeout: float | None = None) -> bool:
        return self.world.wait(self.is_set, timeout)


class SimulatedLock(_Once):
    def __init__(self) -> None:
        self._owner: Any = None
        self._depth = 0

    def __enter__(self) -> Self:
        me = self.world.here.thread
        if self._owner is not me:
            self.world.wait(lambda: self._owner is None)
        self._owner, self._depth = me, self._depth + 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None


class SimulatedCondition(SimulatedLock):
    def wait_for(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        self._owner, self._depth = None, 0
        try:
            return self.world.wait(ready, timeout)
        finally:
            self.__enter__()

    def notify_all(self) -> None:
        pass


class SimulatedSemaphore(_Once):
    def __init__(self, value: int = 1) -> None:
        self._left = value

    def __enter__(self) -> Self:
        self.world.wait(lambda: self._left > 0)
        self._left -= 1
        return self

    def __exit__(self, *_: object) -> None:
        self._left += 1


class SimulatedQueue(_Once):
    def __init__(self, maxsize: int = 0) -> None:
        self._items: deque[Any] = deque()
        self._room = maxsize or math.inf
        self.unfinished_tasks = 0
        self.all_tasks_done = _AllDone(self)

    def put(self, item: Any, timeout: float | None = None) -> None:
        if not self.world.wait(lambda: len(self._items) < self._room, timeout):
            raise queue.Full
        self._items.append(item)
        self.unfinished_tasks += 1

    def get(self, timeout: float | None = None) -> Any:
        if not self.world.wait(lambda: bool(self._items), timeout):
            raise queue.Empty
        return self._items.popleft()

    def task_done(self) -> None:
        self.unfinished_tasks -= 1


class _AllDone:
    def __init__(self, of: SimulatedQueue) -> None:
        self._of = of

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, timeout: float | None = None) -> bool:
        return self._of.world.wait(lambda: not self._of.unfinished_tasks, timeout)


class SimulatedFuture(_Once, Generic[T]):
    def __init__(self, world: World, call: Callable[[], T]) -> None:
        self.world, self._call = world, call
        self._done, self._result, self._error = False, None, None

    def run(self) -> None:
        try:
            self._result = self._call()
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            self._error = error
        self._done = True

    def done(self) -> bool:
        return self._done

    def result(self, timeout: float | None = None) -> T:
        self.world.wait(self.done)
        if self._error is not None:
            raise self._error
        return self._result


class SimulatedExecutor(_Once):
    """Up to `workers` calls at a time, in the order in which they were submitted."""

    def __init__(self, workers: int, prefix: str = "") -> None:
        self._calls: deque[SimulatedFuture[Any]] = deque()
        self._closed, self._workers, self._prefix = False, workers, prefix
        self._threads: list[SimulatedThread] = []

    def submit(self, call: Callable[..., T], *args: Any) -> SimulatedFuture[T]:
        future = SimulatedFuture(self.world, lambda: call(*args))
        self._calls.append(future)
        if len(self._threads) < self._workers:
            thread = type("Thread", (SimulatedThread,), {"world": self.world})(
                self._work, name=f"{self._prefix}-{len(self._threads)}"
            )
            self._threads.append(thread)
            thread.start()
        return future

    def _work(self) -> None:
        while self.world.wait(lambda: bool(self._calls) or self._closed) and self._calls:
            self._calls.popleft().run()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        for thread in self._threads:
            thread.join()


class Inline:
    """pyiceberg's executor: it does everything at once, on the thread that asks."""

    def __init__(self, world: World) -> None:
        self._world = world

    def submit(self, call: Callable[..., T], *args: Any) -> SimulatedFuture[T]:
        future = SimulatedFuture(self._world, lambda: call(*args))
        future.run()
        return future

    def map(self, call: Callable[..., T], *items: Iterable[Any]) -> Iterator[T]:
        return iter([call(*each) for each in zip(*items, strict=False)])
