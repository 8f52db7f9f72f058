"""Loading files: blocks are read and decoded ahead on threads of their own, applied on the caller's."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import numba
import pyarrow as pa

from pipeline.config import LakeConfig
from pipeline.engine.ahead import ahead
from pipeline.engine.arrival import Arrival, clock_of
from pipeline.engine.dataset import DatasetWriter, Terms
from pipeline.engine.envelopes import refuse_envelopes, tell_late
from pipeline.engine.epoch import Summary
from pipeline.engine.patience import apart
from pipeline.engine.progress import Progress
from pipeline.engine.replay import Replay
from pipeline.engine.waiting import waiting
from pipeline.engine.watching import Committed, Watcher
from pipeline.errors import BadInput, Unavailable
from pipeline.faults import reach
from pipeline.sink.lake_sink import LakeSink
from pipeline.source.block import Block
from pipeline.source.files import FileSource
from state import LocalState, open_state

log = logging.getLogger(__name__)

LEASES_SECONDS = 10.0
"""How long the catalog has to end the leases."""
TICK = 0.5
"""Seconds after which a source that gives nothing is left, to see whether an epoch is due."""


class Engine:
    """The embedded runtime of one lake: a context manager that holds its state.

    Args:
        lake: its configuration.
        wait: how long to wait for another process that has the state open; None: not at all.
        stop: no longer than until this is set.

    Raises:
        StateLocked: another process has the state open.
    """

    def __init__(
        self, lake: LakeConfig, *, wait: timedelta | None = None, stop: threading.Event | None = None
    ) -> None:
        self._lake = lake
        self._backend: LocalState = open_state(lake.state, None, waiting(wait, stop))
        self._sink: LakeSink | None = None
        if not numba.config.DISABLE_JIT and not Path(numba.config.CACHE_DIR).exists():
            log.warning("compiling for this processor: a minute or two, once")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._sink is not None:
                end_claims(self._sink)
        finally:
            self._backend.close()

    def open(self) -> LakeSink:
        """The sink; its catalog is opened the first time.

        Raises:
            Unavailable: the catalog does not answer.
        """
        if self._sink is None:
            self._sink = LakeSink.at(self._lake.catalog, self._lake.dead_letters.table)
        return self._sink

    def load_files(
        self,
        dataset: str,
        files: Sequence[str | Path],
        *,
        envelope: bool = False,
        take_over: bool = False,
        named: bool = True,
        watcher: Watcher | None = None,
    ) -> Summary:
        """Load JSON Lines files in order; each is new records, but an unfinished load of them goes on.

        Args:
            dataset: its name.
            files: paths; ``-`` is standard input.
            envelope: each line is ``{"timestamp": ..., "key": ..., "value": ...}``.
            take_over: take the dataset from a writer that holds it.
            named: dead letters tell the files' names, and not lines alone.
            watcher: is told how it gets on.

        Raises:
            BadInput: a file can't be read, or holds envelopes and is not said to; what came before it is
                committed.
            Unavailable: the catalog does not answer.
        """
        terms = Terms(envelope=envelope, take_over=take_over)
        load = _Load(self._lake, self.open(), self._backend, dataset, terms, watcher or Watcher())
        return load.run(files, named=named)

    def replay(
        self,
        dataset: str,
        waiting: Callable[[], Iterable[pa.Table]],
        *,
        take_over: bool = False,
        watcher: Watcher | None = None,
    ) -> Summary:
        """Apply dead letters of a dataset again; those that become changes or no-ops are marked as replayed.

        Args:
            dataset: its name.
            waiting: gives the letters, rows of `DEAD_LETTERS` by partition and offset. It is called when the
                dataset is open and an epoch left half done is settled, so that none is replayed twice.
            take_over: take the dataset from a writer that holds it.
            watcher: is told how it gets on.
        """
        terms = Terms(take_over=take_over)
        replay = Replay(self._lake, self.open(), self._backend, dataset, terms, watcher or Watcher())
        return replay.run(waiting)

    def run(
        self,
        datasets: Sequence[str] = (),
        *,
        until_end: bool = False,
        stop: threading.Event | None = None,
        take_over: bool = False,
        watching: Callable[[str], Watcher] | None = None,
    ) -> Summary:
        """Follow the topics of datasets until `stop` is set; then what was read is committed.

        Args:
            datasets: their names; none: all of the lake.
            until_end: stop by itself where the topics end now.
            stop: to be set by another thread.
            take_over: take datasets from writers that hold them.
            watching: gives each dataset who is told how it gets on.

        Raises:
            BadConfiguration: a topic is missing, or a client property is wrong.
            Refused: stored offsets are not in the topic any more, or it was made anew.
            Unavailable: Kafka or the catalog does not answer.
        """
        from pipeline.engine.run import Run

        chosen = [self._lake.dataset(name) for name in datasets] or list(self._lake.datasets)
        told = watching or (lambda _: Watcher())
        run = Run(self._lake, self.open, self._backend, chosen, told, take_over=take_over)
        return run.run(stop or threading.Event(), until_end=until_end)


def end_claims(sink: LakeSink) -> None:
    """Let go of all datasets, unless the catalog has stalled: leases end by themselves."""
    stopped = threading.Event()
    stopped.set()
    try:
        apart(sink.end_claims, stopped, LEASES_SECONDS)
    except Unavailable as error:
        log.warning("leases were not ended: %s", error.message)


class _Load:
    """One call of `Engine.load_files`."""

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
        self._dataset, self._records, self._envelope = dataset, 0, terms.envelope
        self._config = lake.dataset(dataset)
        self._writer = DatasetWriter(
            lake, self._config, sink, backend, committed=self._committed, terms=terms
        )

    def run(self, files: Sequence[str | Path], *, named: bool) -> Summary:
        begin = time.perf_counter()
        try:
            sources = [FileSource(path) for path in files]
            identities = [source.identity for source in sources]
            begun = Progress.begin(self._writer.remembered(), identities, time.time_ns() // 1000)
            begun = replace(begun, envelope=self._envelope)
            done = list(begun.done)
            for source in sources:
                if source.identity in done:
                    done.remove(source.identity)
                else:
                    begun = self._load(source, begun, source.given if named else None)
            finished = replace(begun, finished=True)
            self._writer.finish(finished)
        except BadInput:
            # A file that ends in the middle: the records before are as good as any.
            self._writer.cut()
            raise
        finally:
            self._writer.close()
        reach("before-report")
        self._writer.report(finished)
        self._log(time.perf_counter() - begin)
        return self._summary

    def _log(self, seconds: float) -> None:
        counts = dataclasses.asdict(self._summary)
        log.info("loaded", extra={"dataset": self._dataset, "seconds": round(seconds, 3), **counts})

    def _load(self, source: FileSource, begun: Progress, file: str | None) -> Progress:
        identity = source.identity
        if identity is not None and identity == begun.current:
            source.skip(begun.line)
        blocks = (block for block in ahead(source) if block is not None)
        for item in ahead(((block, self._writer.decode(block)) for block in blocks), tick=TICK):
            # Before a batch, not after it: the last epoch of a load is the one that says it is finished.
            self._writer.cut_if_full()
            if item is None:
                continue
            block, decoded = item
            if block.first_line == 0 and not self._envelope:
                refuse_envelopes(block, self._config, source.name)

            def progress(done: int, block: Block = block) -> dict[str, Any]:
                return begun.at(identity, block.first_line + done).to_json()

            started = None if self._envelope else begun.started
            arrival = Arrival.of_lines(self._writer.position, len(block), started, file)
            if self._envelope and self._records == 0:
                tell_late(decoded.batch, self._dataset, clock_of(self._writer.position, arrival.partition))
            self._writer.apply(decoded, block, arrival, progress)
            self._records += len(block)
            self._watcher.read(self._records, block.bytes_done, source.size)
        return begun.after(identity)

    def _committed(self, epoch: Committed) -> None:
        with self._lock:
            self._summary += epoch.summary
        self._watcher.committed(epoch)
