"""Has the engine run in a world: its modules get the world's time, threads, randomness and servers."""

import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import tenacity
import tenacity.nap
import tenacity.wait
from pyiceberg.utils.concurrent import ExecutorFactory

import pipeline.engine.load
import pipeline.engine.run
from pipeline import faults
from state import MemoryState
from tests.faults.simulation import sync
from tests.faults.simulation.outside import OUTSIDE, Outside
from tests.faults.simulation.world import Process, World


class _Point:
    """In the place of what ``BITLAKE_FAULT`` says: at every point the seed decides."""

    left = 0

    def __init__(self, world: World) -> None:
        self._world = world

    def passed(self, name: str) -> None:
        self._world.pass_by(f"at {name}", point=True)


@contextmanager
def engine_in(
    world: World, outside: Outside, state_of: Callable[[Process], Any], **replaced: Any
) -> Iterator[None]:
    """Have the engine live in a world until the block ends.

    Args:
        world, outside: the world.
        state_of: opens a process's state.
        replaced: more of the engine's names, as ``module__name``.
    """
    modules = {
        "time": (time, sync.SimulatedTime(world)),
        "threading": (threading, sync.threading_in(world)),
        "queue": (queue, sync.queue_in(world)),
        "ThreadPoolExecutor": (ThreadPoolExecutor, sync.executor_in(world)),
    }
    luck = random.Random(world.random.random())

    def bytes_of_luck(count: int) -> bytes:
        return luck.randbytes(count)

    def open_state(*_: Any) -> Any:
        process = world.process
        return MemoryState() if process is None else state_of(process)

    with patch.object(faults, "_fault", _Point(world)), patch.object(os, "urandom", bytes_of_luck):
        undo = [_replace(random, "_urandom", bytes_of_luck)]
        undo += [
            _replace(module, name, simulated)
            for module in [
                m for n, m in sys.modules.items() if n.startswith(("pipeline.engine", "pipeline.sink"))
            ]
            for name, (real, simulated) in modules.items()
            if getattr(module, name, None) is real
        ]
        undo += [_replace(module, "time", sync.SimulatedTime(world)) for module in (tenacity, tenacity.nap)]
        undo += [
            _replace(tenacity.wait, "random", luck),
            _replace(ExecutorFactory, "_instance", sync.Inline(world)),
            _replace(ExecutorFactory, "_instance_pid", os.getpid()),
            _replace(pipeline.engine.load, "open_state", open_state),
        ]
        undo += [
            _replace(sys.modules[f"pipeline.engine.{module}"], name, value)
            for (module, name), value in ((key.split("__"), value) for key, value in replaced.items())
        ]
        cores = pa.cpu_count()
        pa.set_cpu_count(1)
        OUTSIDE.append(outside)
        try:
            yield
        finally:
            OUTSIDE.pop()
            pa.set_cpu_count(cores)
            for put_back in reversed(undo):
                put_back()


def _replace(owner: Any, name: str, value: Any) -> Callable[[], None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)
