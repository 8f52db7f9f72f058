"""Replaying dead letters: the same bytes once more, read as the configuration says today."""

import threading
import time
from collections.abc import Callable, Iterable

import pyarrow as pa

from pipeline.config import LakeConfig
from pipeline.engine.dataset import DatasetWriter, Terms
from pipeline.engine.epoch import Summary
from pipeline.engine.letters import in_parts
from pipeline.engine.watching import Committed, Watcher
from pipeline.sink.lake_sink import LakeSink
from state import LocalState


class Replay:
    """One call of `Engine.replay`.

    A letter that is a change or a no-op now is marked as replayed in the same epoch, one that is refused
    again gets its new reason there. An epoch of refused letters alone moves neither offsets nor clocks. The
    replay's time is the system time of all that is applied.
    """

    def __init__(
        self,
        lake: LakeConfig,
        sink: LakeSink,
        backend: LocalState,
        dataset: str,
        terms: Terms,
        watcher: Watcher,
    ) -> None:
        self._summary, self._watcher, self._lock = Summary(), watcher, threading.Lock()
        config = lake.dataset(dataset)
        self._writer = DatasetWriter(lake, config, sink, backend, committed=self._committed, terms=terms)

    def run(self, waiting: Callable[[], Iterable[pa.Table]]) -> Summary:
        """Replay the letters that `waiting` gives; see `Engine.replay`."""
        records = 0
        try:
            now = time.time_ns() // 1000
            for letters in (part for rows in waiting() for part in in_parts(rows)):
                self._writer.cut_if_full()
                self._writer.replay(letters, now)
                records += len(letters.rows)
                self._watcher.read(records, 0, None)
            self._writer.cut()
        finally:
            self._writer.close()
        return self._summary

    def _committed(self, epoch: Committed) -> None:
        with self._lock:
            self._summary += epoch.summary
        self._watcher.committed(epoch)
