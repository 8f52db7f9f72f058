"""Following topics, each dataset on threads of its own: until stopped, or until the end at the start."""

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.config import DatasetConfig, LakeConfig
from pipeline.engine.dataset import HEARTBEAT_SECONDS, DatasetWriter, Terms
from pipeline.engine.epoch import Summary
from pipeline.engine.following import Following
from pipeline.engine.patience import Patience
from pipeline.engine.watching import Committed, Watcher
from pipeline.sink.lake_sink import LakeSink
from pipeline.source.kafka import KafkaSource
from state import StateBackend

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""For servers that are away, where the end is waited for; a service waits until it is stopped."""
LEASE_SECONDS = 3 * HEARTBEAT_SECONDS
"""After so long without an epoch, another writer may take a dataset."""


class Run:
    """One call of `Engine.run`."""

    def __init__(
        self,
        lake: LakeConfig,
        sink: LakeSink,
        backend: StateBackend,
        datasets: Sequence[DatasetConfig],
        watching: Callable[[str], Watcher],
        *,
        take_over: bool,
    ) -> None:
        self._lake, self._sink, self._backend = lake, sink, backend
        self._take_over = take_over
        self._datasets, self._watching = datasets, watching
        self._summary, self._lock = Summary(), threading.Lock()
        self._failures: list[BaseException] = []

    def run(self, stop: threading.Event, *, until_end: bool) -> Summary:
        """Follow all topics; see `Engine.run`."""
        with KafkaSource(self._lake.kafka) as source:
            threads = [
                threading.Thread(
                    target=self._follow, args=(source, dataset, stop, until_end), name=dataset.name
                )
                for dataset in self._datasets
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]
        return self._summary

    def _follow(
        self, source: KafkaSource, dataset: DatasetConfig, stop: threading.Event, until_end: bool
    ) -> None:
        watcher = self._watching(dataset.name)

        def committed(epoch: Committed) -> None:
            with self._lock:
                self._summary += epoch.summary
            watcher.committed(epoch)

        try:
            patience = Patience(PATIENCE_SECONDS if until_end else math.inf, stop)
            writer = DatasetWriter(
                self._lake,
                dataset,
                self._sink,
                self._backend,
                committed=committed,
                terms=Terms(
                    share=len(self._datasets),
                    patience=replace(patience, told=watcher.waiting),
                    lease_seconds=max(LEASE_SECONDS, 3 * self._lake.commit.seconds),
                    take_over=self._take_over,
                    closely=watcher.closely,
                ),
            )
            try:
                Following(source, dataset.topic, writer, patience, watcher).run(until_end=until_end)
            finally:
                writer.close()
            watcher.ended(None)
        except BaseException as failure:  # noqa: BLE001 - raised by `run`, once the others have committed
            log.error("stopped by a failure", extra={"dataset": dataset.name, "error": str(failure)})
            watcher.ended(failure)
            self._failures.append(failure)
            stop.set()
