"""Following topics, each dataset on threads of its own: until stopped, or until the end at the start."""

import gc
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.config import DatasetConfig, LakeConfig
from pipeline.engine.arrival import topic_offsets
from pipeline.engine.dataset import DatasetWriter, Terms
from pipeline.engine.epoch import Summary
from pipeline.engine.following import Following
from pipeline.engine.memory import EpochMemory
from pipeline.engine.patience import Patience, StoppedEarly
from pipeline.engine.watching import Committed, Watcher
from pipeline.sink.lake_sink import LakeSink
from pipeline.source.kafka import KafkaSource, open_source
from state import LocalState

log = logging.getLogger(__name__)

COLLECT_SECONDS = 60.0
"""Between full collections: pyiceberg's commits leave cycles with tables' metadata in them, and Python by
itself would look for them only once they are a quarter of all objects."""
PATIENCE_SECONDS = 300.0
"""For servers that are away, where the end is waited for; a service waits until it is stopped."""
LEAST_BUFFER, BUFFER_OF_EACH, MOST_BUFFER = 32 << 20, 4 << 20, 256 << 20
"""Bytes of records that wait to be decoded: for small batches cost more than large ones."""


class Run:
    """One call of `Engine.run`."""

    def __init__(
        self,
        lake: LakeConfig,
        open_sink: Callable[[], LakeSink],
        backend: LocalState,
        datasets: Sequence[DatasetConfig],
        watching: Callable[[str], Watcher],
        *,
        take_over: bool,
    ) -> None:
        self._lake, self._open_sink, self._backend = lake, open_sink, backend
        self._take_over = take_over
        self._watchers = {dataset.name: watching(dataset.name) for dataset in datasets}
        self._datasets = datasets
        self._memory = EpochMemory.of(lake.commit.memory, len(datasets))
        self._summary, self._lock = Summary(), threading.Lock()
        self._failures: list[BaseException] = []

    def run(self, stop: threading.Event, *, until_end: bool) -> Summary:
        """Follow all topics; see `Engine.run`."""
        patience = Patience(PATIENCE_SECONDS if until_end else math.inf, stop, self._tell_all)
        log.info("following topics", extra={"topics": [dataset.topic for dataset in self._datasets]})
        room = min(LEAST_BUFFER + len(self._datasets) * BUFFER_OF_EACH, MOST_BUFFER)
        with open_source(self._lake.kafka, buffer_bytes=room) as source:
            try:
                with patience.opening():
                    sink = patience.call_apart(self._open_sink)
            except StoppedEarly:
                return self._summary
            threads = [
                threading.Thread(
                    target=self._follow,
                    args=(source, sink, dataset, patience),
                    kwargs={"until_end": until_end},
                    name=dataset.name,
                )
                for dataset in self._datasets
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(COLLECT_SECONDS)
                    gc.collect()
        if self._failures:
            raise self._failures[0]
        return self._summary

    def _tell_all(self, reason: str | None) -> None:
        for watcher in self._watchers.values():
            watcher.waiting(reason)

    def _follow(
        self,
        source: KafkaSource,
        sink: LakeSink,
        dataset: DatasetConfig,
        patience: Patience,
        *,
        until_end: bool,
    ) -> None:
        watcher = self._watchers[dataset.name]
        patience = replace(patience, told=watcher.waiting)
        try:
            with patience.opening():
                writer = patience.call(lambda: self._writer(source, sink, dataset, patience))
            begun = time.perf_counter()
            try:
                Following(source, dataset.topic, writer, patience, watcher).run(until_end=until_end)
            finally:
                writer.close()
            seconds = round(time.perf_counter() - begun, 3)
            log.info("ended", extra={"dataset": dataset.name, "seconds": seconds})
            watcher.ended(None)
        except StoppedEarly:
            watcher.ended(None)
        except BaseException as failure:  # noqa: BLE001 - raised by `run`, once the others have committed
            log.error("stopped by a failure", extra={"dataset": dataset.name, "error": str(failure)})
            watcher.ended(failure)
            self._failures.append(failure)
            patience.stop.set()

    def _writer(
        self, source: KafkaSource, sink: LakeSink, dataset: DatasetConfig, patience: Patience
    ) -> DatasetWriter:
        watcher = self._watchers[dataset.name]

        def committed(epoch: Committed) -> None:
            with self._lock:
                self._summary += epoch.summary
            source.show(dataset.topic, topic_offsets(epoch.position))
            watcher.committed(epoch)

        terms = Terms(
            share=len(self._datasets),
            memory=self._memory,
            patience=patience,
            take_over=self._take_over,
            closely=watcher.closely,
        )
        return DatasetWriter(self._lake, dataset, sink, self._backend, committed=committed, terms=terms)
