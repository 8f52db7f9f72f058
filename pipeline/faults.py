"""Named points at which a test kills the process, to prove that nothing is lost and nothing doubled.

``BITLAKE_FAULT=between-commits`` kills the process the first time it reaches that point,
``between-commits:3`` the third time. Unset, a point costs one comparison.
"""

import os
import signal
import threading

VARIABLE = "BITLAKE_FAULT"

WRITE_POINTS = ("before-data-file", "after-data-file")
"""Points of the sink while it writes an epoch's data files."""
COMMIT_POINTS = ("before-first-commit", "between-commits", "after-last-commit")
"""Points of the sink while it commits an epoch to its tables."""
EPOCH_POINTS = (
    "after-intent",
    *WRITE_POINTS,
    "before-file-list",
    "after-file-list",
    *COMMIT_POINTS,
    "after-state",
)
"""Points of the epoch protocol, in its order."""
CHECKPOINT_POINTS = ("before-keys", "between-keys", "after-keys")
"""Points of the state's checkpoint: before the keys, between them and dropping the log, after it."""
SHRINK_POINTS = ("after-shrinking",)
"""Points of cold keys leaving memory, after the checkpoint that goes before."""
CLAIM_POINTS = ("between-claims",)
"""Points of taking a dataset: the writer token was raised in one of its tables."""
SETTLE_POINTS = ("before-settling", "after-settling")
"""Points of finishing or forgetting the epoch that the last process left half done."""
REBUILD_POINTS = ("after-clearing", "after-rebuilt-table", "before-rebuilt-mark", "after-rebuilt-mark")
"""Points of rebuilding the state from the tables."""
LOAD_POINTS = ("after-new-table", "before-report")
"""Points of a load outside its epochs: a table was created; all is committed, but the caller not told."""
RELOCATE_POINTS = ("before-relocating", "after-relocating")
"""Points of relocating a moved lake: before and after the catalog's one transaction."""
POINTS = (
    *LOAD_POINTS,
    *CLAIM_POINTS,
    *SETTLE_POINTS,
    *REBUILD_POINTS,
    *EPOCH_POINTS,
    *CHECKPOINT_POINTS,
    *SHRINK_POINTS,
    *RELOCATE_POINTS,
)
"""Every point."""


class _Fault:
    """The point to die at, and how many times it is still to be passed."""

    def __init__(self, text: str) -> None:
        self.name, _, times = text.partition(":")
        if self.name not in POINTS:
            raise ValueError(f"{VARIABLE}={text}: the points are {', '.join(POINTS)}")
        self.left, self._lock = int(times or 1), threading.Lock()

    def passed(self, name: str) -> None:
        if name == self.name:
            with self._lock:
                self.left -= 1
                if self.left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)


_fault = _Fault(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def reach(name: str) -> None:
    """Pass the point `name`; the process dies here when ``BITLAKE_FAULT`` says so."""
    if _fault is not None:
        _fault.passed(name)
