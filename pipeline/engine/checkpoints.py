"""Checkpoints: changed keys are written, some after each epoch, so that the log of changes stays short.

A checkpoint begins at an epoch and writes the keys that were changed until then, as they are when their turn
comes: later changes may be in them, which the log holds, too. Once the epoch of the last of these is
committed, the log of up to the beginning can go. What is left of it is applied again after a kill; a change
that its key has already is passed over by its system time.
"""

import numpy as np

from pipeline.engine.timelines import Timelines
from pipeline.temporal.store import Ints

LEAST_RECORDS, MOST = 8_000_000, 4
"""A checkpoint begins after as many logged records as there are segments, but not before so many, and after
`MOST` times as many at the latest: it writes whole keys, and what is logged is applied again after a kill."""
SLICES, LEAST_KEYS = 16, 1000
"""Epochs that a checkpoint takes, so that none waits long for it; fewer where one would write few keys."""


class Checkpoints:
    """The checkpoints of a dataset's timelines; all epochs are told, in order.

    Args:
        timelines: whose log may have been replayed.
    """

    def __init__(self, timelines: Timelines) -> None:
        self._timelines, self._logged = timelines, timelines.replayed
        self._began: int | None = None
        self._left: list[Ints] = []

    def note(self, records: int) -> None:
        """Note that so many records are logged with the epoch being handed over."""
        self._logged += records

    def written(self) -> int | None:
        """The epoch up to which no log is needed once the one being handed over is committed; mostly None."""
        if self._left:
            return None
        began, self._began = self._began, None
        return began

    def go_on(self, epoch: int) -> None:
        """Write some keys, or begin; between two epochs, and not while a log is being dropped."""
        timelines = self._timelines
        if self._began is None:
            frozen = timelines.frozen
            least = max(LEAST_RECORDS, min(timelines.current.segments, MOST * LEAST_RECORDS))
            if self._logged < least or (frozen is not None and not frozen.written.is_set()):
                return
            dirty = timelines.current.dirty()
            self._left = np.array_split(dirty, min(SLICES, max(1, dirty.size // LEAST_KEYS)))
            self._began, self._logged = epoch, 0
        timelines.write_some(self._left.pop())

    def start_anew(self) -> None:
        """All keys are written, or will be: nothing is logged yet."""
        self._logged, self._began, self._left = 0, None, []
