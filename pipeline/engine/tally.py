"""What became of an epoch's records in more detail than its summary tells: for those who watch closely."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.engine.timelines import Applied
from pipeline.temporal.apply import CHANGED
from pipeline.temporal.change import OPERATIONS

MINUTE, HOUR, DAY = 60, 3600, 86_400
LATE_BOUNDS = (0, MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY, 5 * 365 * DAY)
"""Bounds of the bins of late distance, in seconds; the first bin is of what was known before it was valid."""
_BOUNDS = np.array(LATE_BOUNDS, np.int64) * 1_000_000
_DAY_US = DAY * 1_000_000


@dataclass
class Tally:
    """Counts of an epoch in the making.

    Attributes:
        dated: valid time is in days.
        operations: changes by operation, in the order of `OPERATIONS`.
        late: changes by late distance, their system time less their valid_from: how many are at most each of
            `LATE_BOUNDS` and above the one before; the last count is of those above all.
        late_seconds: the sum of these distances.
        stages: dead letters by the step that refused them.
    """

    dated: bool
    operations: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(OPERATIONS), np.int64))
    late: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_BOUNDS) + 1, np.int64))
    late_seconds: float = 0.0
    stages: Counter[str] = field(default_factory=Counter)

    def add(self, applied: Applied, done: slice) -> None:
        """Count the changes among the records `done`."""
        changes = applied.changes
        changed = changes.outcome[done] == CHANGED
        self.operations += np.bincount(changes.operation[done][changed], minlength=len(OPERATIONS))
        valid = changes.valid_from[done][changed]
        late = changes.system[done][changed] - (valid * _DAY_US if self.dated else valid)
        bins = np.searchsorted(_BOUNDS, late)
        self.late += np.bincount(bins, minlength=len(_BOUNDS) + 1)
        self.late_seconds += float(late.sum(dtype=np.float64)) / 1e6

    def bury(self, letters: pa.Table) -> None:
        """Count dead letters."""
        for counted in letters["stage"].value_counts().to_pylist():
            self.stages[counted["values"]] += counted["counts"]
