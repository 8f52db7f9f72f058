"""What epochs hold of memory, shared out among the datasets of a process: no dataset grows for all."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from pipeline.temporal.store import physical_memory

LEAST = 8 << 20
"""Bytes that the epochs of a dataset may hold however much those of others do."""
_KEPT = 4
"""Row buffers that are kept, to be filled again, hold less than one part in so many of all."""
_TICK = 0.2


class EpochMemory:
    """The epochs in the making and being committed, of all datasets, hold about `total` bytes.

    Not more than `total` + `LEAST` for each dataset, and the batch that crosses the limit.

    Args:
        total: bytes.
        datasets: how many share it.

    Attributes:
        writing: to be held while data files are written, by as many datasets as there are processors.
    """

    def __init__(self, total: int, datasets: int = 1) -> None:
        self._total, self._held = total, 0
        self._kept = total // (_KEPT * datasets)
        self._changed = threading.Condition()
        self.writing: AbstractContextManager[object] = threading.Semaphore(max(2, os.cpu_count() or 1))

    @staticmethod
    def of(total: int | None, datasets: int = 1) -> "EpochMemory":
        """For `commit.memory` as lake.yaml has it; by default a quarter of the machine's memory."""
        return EpochMemory(total or physical_memory() // 4, datasets)

    def keeps(self, nbytes: int) -> bool:
        """Whether a row buffer of which so many bytes were filled is kept."""
        return nbytes <= self._kept

    def share(self) -> "Share":
        """One dataset's part."""
        return Share(self)

    def _add(self, nbytes: int) -> None:
        with self._changed:
            self._held += nbytes
            if nbytes < 0:
                self._changed.notify_all()


class Share:
    """What the epochs of one dataset hold; one thread fills and cuts, another one releases."""

    def __init__(self, memory: EpochMemory) -> None:
        self.memory, self._held, self._making = memory, 0, 0

    @property
    def short(self) -> bool:
        """Whether nothing is to be added: all memory is in use, and this dataset has more than its least."""
        return self._held >= LEAST and self.memory._held >= self.memory._total

    def fill(self, nbytes: int) -> None:
        """The epoch in the making holds so much now."""
        self._add(nbytes - self._making)
        self._making = nbytes

    def cut(self) -> int:
        """The epoch in the making is handed over, and another one begun; what it holds, to be released."""
        handed, self._making = self._making, 0
        return handed

    def release(self, nbytes: int) -> None:
        """An epoch is committed."""
        self._add(-nbytes)

    def close(self) -> None:
        """Let go of all."""
        self._add(-self._held)

    def wait(self, check: Callable[[], None]) -> None:
        """Wait while memory is short; `check` raises what went wrong meanwhile."""
        while self.short and self._held > self._making:
            check()
            with self.memory._changed:
                self.memory._changed.wait_for(lambda: not self.short, _TICK)

    def _add(self, nbytes: int) -> None:
        with self.memory._changed:
            self._held += nbytes
            self.memory._add(nbytes)
