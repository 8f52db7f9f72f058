"""Keys that leave the job's state for the tables, and come back from there: `state_ttl`."""

import logging
import time

import numpy as np

from pipeline.engine.rebuild import read_back
from pipeline.engine.timelines import Timelines
from pipeline.errors import Unavailable
from pipeline.flink.plan import DatasetPlan
from pipeline.sink.lake_sink import LakeSink
from pipeline.temporal.marks import read_marks
from pipeline.temporal.store import Ints

log = logging.getLogger(__name__)

LOOKS = 10
"""Looks for idle keys while a key becomes idle."""
LEAST_SECONDS = 60.0
"""Between two looks, unless that is more than a tenth of `state_ttl`."""


class IdleKeys:
    """Tells which keys of a dataset are idle, by what its tables hold, and reads keys back from them.

    Args:
        plan: the dataset.
    """

    def __init__(self, plan: DatasetPlan) -> None:
        self._plan, self._ttl = plan, plan.config.state_ttl_us
        self._checkpoint, self._idle_since = -1, None if self._ttl is None else 0
        self._looked, self._horizon = 0.0, 0
        self._opened: LakeSink | None = None

    def since(self, checkpoint: int) -> int | None:
        """The system time before which keys were last changed that may leave the state with a checkpoint.

        Everything up to the horizon is committed in every table, and so are all changes of such a key.

        Returns:
            Microseconds; None: none may. The same for all key groups.
        """
        if self._ttl is not None and checkpoint != self._checkpoint:
            self._checkpoint, self._idle_since = checkpoint, self._look(self._ttl)
        return self._idle_since

    def _look(self, ttl: int) -> int | None:
        now, least = time.monotonic(), min(LEAST_SECONDS, ttl / LOOKS / 1e6)
        if now - self._looked < least:
            return None
        self._looked = now
        try:
            position = self._sink.committed(self._plan.schema)
        except Unavailable as error:
            log.warning("no keys leave the state now: %s", error)
            return None
        if position is None or position.horizon - self._horizon < ttl // LOOKS:
            return None
        self._horizon = position.horizon
        return position.horizon - ttl

    def read_back(self, timelines: Timelines, numbers: Ints) -> None:
        """Bring keys back by number that left the state, which keeps no marks of their rows."""
        plan = self._plan
        log.info("reading keys back", extra={"dataset": plan.config.name, "keys": numbers.size})
        nowhere = np.zeros(numbers.size, np.int64)
        without = read_marks(np.empty(0, np.uint8), nowhere, nowhere)
        read_back(self._sink, plan.schema, timelines, numbers, without, plan.seed)

    @property
    def _sink(self) -> LakeSink:
        if self._opened is None:
            self._opened = LakeSink.at(self._plan.catalog, self._plan.dead_letters)
        return self._opened
