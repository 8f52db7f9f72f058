"""Committing epochs, one after the other, on a thread of its own: the commit protocol of design.md."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.engine.epoch import ROW_BYTES, Draft
from pipeline.engine.generation import Generation
from pipeline.engine.journal import Journal
from pipeline.engine.layout import layout_of
from pipeline.engine.memory import Share
from pipeline.engine.outgoing import Outgoing
from pipeline.engine.timelines import Timelines, new_rows
from pipeline.engine.watching import Committed
from pipeline.faults import reach
from pipeline.sink.epoch import Epoch, Position, TableRows
from pipeline.sink.file_list import FileList
from pipeline.sink.lake_sink import LakeSink
from pipeline.temporal.change import Rows
from pipeline.versions.gather import gather

log = logging.getLogger(__name__)

STOPPING_SECONDS = 20.0
"""How long, once the run is stopped, a catalog that has stalled may take to answer."""


@dataclass(frozen=True)
class Cut:
    """A whole epoch and where it ends.

    Attributes:
        draft, position: these.
        nbytes: what it holds of memory, which is released once it is committed.
        generation: of the keys that its rows are of.
        last: it is the generation's last one.
        written: the epoch up to which keys are written: no log is needed once this one is committed.
    """

    draft: Draft
    position: Position
    nbytes: int
    generation: Generation
    last: bool = False
    written: int | None = None


class Committer:
    """Takes epochs in order and makes each durable in every table, one at a time.

    Args:
        sink: where rows go.
        journal, timelines: the state that the rows came from.
        topic: the records' topic, for provenance.
        committed: called on the committing thread after each epoch.
        outgoing: where dead letters go, and how long servers that are away are waited for.
        share: of the memory for epochs.
    """

    def __init__(
        self,
        sink: LakeSink,
        journal: Journal,
        timelines: Timelines,
        topic: str,
        committed: Callable[[Committed], None],
        outgoing: Outgoing,
        share: Share,
    ) -> None:
        self._share = share
        self._outgoing, self._patience = outgoing, outgoing.patience
        self._sink, self._journal, self._timelines = sink, journal, timelines
        self._topic, self._committed = topic, committed
        self._waiting: queue.Queue[Cut | None] = queue.Queue()
        self._spare: queue.SimpleQueue[tuple[Rows, object]] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="commit")
        self._thread.start()

    def commit(self, cut: Cut) -> None:
        """Hand over an epoch; waits for the one before: two hold memory at a time, this one and the next.

        Raises:
            BitlakeError: an earlier epoch failed.
        """
        self.drain()
        self._waiting.put(cut)

    @property
    def busy(self) -> bool:
        """Whether an epoch handed over is being committed; no more once one has failed."""
        return self._waiting.unfinished_tasks > 0 and self._thread.is_alive()

    def spare_rows(self) -> Rows:
        """An empty buffer of version rows; one that a committed epoch has left, if there is one.

        Between two epochs: what only that epoch's rows referred to is given back.
        """
        try:
            rows, life = self._spare.get_nowait()
        except queue.Empty:
            return new_rows()
        self._timelines.empty(rows, life)
        return rows if rows.fields.size else new_rows()

    def drain(self) -> None:
        """Wait until every epoch handed over is committed.

        Raises:
            BitlakeError: an epoch failed.
        """
        while self.busy:
            with self._waiting.all_tasks_done:
                self._waiting.all_tasks_done.wait(0.2)
        self.check()

    def wait_for(self, generation: Generation) -> None:
        """Wait until a generation, whose last epoch was handed over, is written.

        Raises:
            BitlakeError: an epoch failed.
        """
        while not generation.written.wait(0.2):
            self.check()

    def close(self) -> None:
        """Wait until every epoch handed over is committed, or one has failed.

        Raises:
            BitlakeError: an epoch failed.
        """
        self._waiting.put(None)
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what went wrong with an epoch, once.

        Raises:
            BitlakeError: it failed.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _run(self) -> None:
        try:
            while self._commit_next():
                self._waiting.task_done()
        except BaseException as failure:  # noqa: BLE001 - raised on the thread that hands epochs over
            self._failure = failure

    def _commit_next(self) -> bool:
        cut = self._waiting.get()
        if cut is not None:
            self._commit(cut)
        return cut is not None

    def _commit(self, cut: Cut) -> None:
        begun, position = time.perf_counter(), cut.position
        self._journal.begin(position)
        reach("after-intent")
        # Rows are gathered anew for another try: they are made while they are written.
        files = self._patience.call_apart(lambda: self._write(cut), STOPPING_SECONDS)
        reach("before-file-list")
        self._journal.record_files(files, cut.draft.log, layout_of(cut.draft.dataset))
        reach("after-file-list")
        written = time.perf_counter()
        # What is left behind may land yet: whoever settles this epoch next finds that as after a kill.
        self._patience.call_apart(lambda: self._sink.commit(files), STOPPING_SECONDS)
        # Before the mark: who dies between the two sends them again.
        self._outgoing.send(cut.draft.dead_letters(position))
        self._journal.finish(position)
        reach("after-state")
        told = _told(cut, written - begun, time.perf_counter() - written)
        summary = told.summary
        log.info(
            "committed",
            extra={
                "dataset": cut.draft.dataset.name,
                "epoch": position.epoch,
                "offsets": position.offsets,
                "records": summary.records,
                "changes": summary.changes,
                "no_ops": summary.no_ops,
                "dead_letters": summary.dead_letters,
                "versions": summary.versions,
                "write_seconds": round(told.write_seconds, 3),
                "commit_seconds": round(told.commit_seconds, 3),
            },
        )
        rows = cut.draft.rows
        if not self._share.memory.keeps(int(rows.filled[0]) * ROW_BYTES):
            rows = rows._replace(fields=rows.fields[:0].copy())
        self._spare.put((rows, cut.generation.life))
        self._share.release(cut.nbytes)
        self._committed(told)
        if cut.last:
            self._timelines.write(cut.generation, position.epoch)
        elif cut.written is not None:
            self._timelines.adopt(cut.written)

    def _write(self, cut: Cut) -> FileList:
        with self._share.memory.writing:
            return self._sink.write(self._epoch(cut))

    def _epoch(self, cut: Cut) -> Epoch:
        draft, generation = cut.draft, cut.generation
        fields = draft.rows.fields[: draft.rows.filled[0]]
        versions = gather(draft.dataset, self._topic, generation.store, generation.keys, fields)
        tables = tuple(TableRows(v.schema, v.open, v.closed) for v in versions)
        return Epoch(draft.dataset, cut.position, tables, draft.dead_letters(cut.position))


def _told(cut: Cut, write_seconds: float, commit_seconds: float) -> Committed:
    draft, summary = cut.draft, cut.draft.total()
    return Committed(
        cut.position,
        summary,
        draft.versions(summary),
        draft.tally,
        0.0 if draft.first is None else time.monotonic() - draft.first,
        write_seconds,
        commit_seconds,
    )
