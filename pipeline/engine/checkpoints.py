"""Checkpoints: changed keys are written, some after each epoch, so that the log of changes stays short.

A checkpoint begins at an epoch and writes the keys that were changed until then, as they are when their turn
comes: later changes may be in them, which the log holds, too. Once the epoch of the last of these is
committed, the log of up to the beginning can go. What is left of it is applied again after a kill; a change
that its key has already is passed over by its system time.
"""

import math

import numpy as np

from pipeline.engine.timelines import Timelines

LEAST_RECORDS, MOST = 8_000_000, 4
"""A checkpoint begins after twice as many logged records as there are segments, but not before so many, and
after `MOST` times that at the latest: it writes whole keys; what is logged is applied again after a kill."""
SPREAD, LEAST_KEYS = 8_000_000, 1000
"""Records over whose epochs a checkpoint is spread, so that even short ones hardly wait for it; fewer where
an epoch would write few keys."""

_NONE = np.zeros(0, np.int64)


class Checkpoints:
    """The checkpoints of a dataset's timelines; all epochs are told, in order.

    Args:
        timelines: whose log may have been replayed.
    """

    def __init__(self, timelines: Timelines) -> None:
        self._timelines, self._logged = timelines, timelines.replayed
        self._began: int | None = None
        self._due, self._keys_per_record = 0, 0.0
        self._left = _NONE

    def note(self, records: int) -> None:
        """Note that so many records are logged with the epoch being handed over."""
        self._logged += records
        self._due += records

    def written(self) -> int | None:
        """The epoch up to which no log is needed once the one being handed over is committed; mostly None."""
        if self._left.size:
            return None
        began, self._began = self._began, None
        return began

    def go_on(self, epoch: int) -> None:
        """Write some keys, or begin; between two epochs, and not while a log is being dropped."""
        timelines, due, self._due = self._timelines, self._due, 0
        if self._began is None:
            frozen = timelines.frozen
            least = max(LEAST_RECORDS, min(2 * timelines.current.segments, MOST * LEAST_RECORDS))
            if self._logged < least or (frozen is not None and not frozen.written.is_set()):
                return
            self._left = timelines.current.dirty()
            self._keys_per_record = self._left.size / SPREAD
            self._began, self._logged = epoch, 0
        left = max(0, self._left.size - max(LEAST_KEYS, math.ceil(self._keys_per_record * due)))
        timelines.write_some(self._left[left:])
        self._left = self._left[:left]

    def start_anew(self) -> None:
        """All keys are written, or will be: nothing is logged yet."""
        self._logged, self._due, self._began, self._left = 0, 0, None, _NONE
