"""One dataset as the metrics see it: what its epochs held, and how it is now."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.engine.tally import LATE_BOUNDS
from pipeline.engine.watching import Committed, StateCounts, Vitals, Watcher
from pipeline.metrics.families import Families
from pipeline.sink.epoch import Position
from pipeline.temporal.change import OPERATIONS


@dataclass(frozen=True)
class Health:
    """How a dataset is.

    Attributes:
        state: opening, following, stopped or failed.
        epoch, horizon: of the last commit; the horizon in seconds since 1970, None before there is one.
        lag: offsets still to be read, of all partitions; None before a broker told of any.
        uncommitted_seconds: how long records that were read wait for their epoch's commit; 0: there are none.
        waiting_for: why a server that is needed to commit does not answer.
        reading: why the topic can't be read at the moment.
        failure: why it failed.
    """

    state: str
    epoch: int | None = None
    horizon: float | None = None
    lag: int | None = None
    uncommitted_seconds: float = 0.0
    waiting_for: str | None = None
    reading: str | None = None
    failure: str | None = None

    def ready(self, limit: float) -> bool:
        """Whether its topic can be read, and what it read is committed within `limit` seconds."""
        read = self.state == "stopped" or (self.state == "following" and self.lag is not None)
        return read and not self.server_away and self.uncommitted_seconds <= limit

    @property
    def server_away(self) -> bool:
        """Whether a server does not answer that is needed to read or to commit."""
        return self.waiting_for is not None or self.reading is not None


@dataclass(frozen=True)
class Asked:
    """What a running dataset tells of itself; see `Vitals`."""

    lags: Mapping[int, int]
    fetched_bytes: int
    strayed: int
    state: StateCounts


class Watched(Watcher):
    """The watcher that fills the metrics of one dataset, and passes on what it hears.

    Attributes:
        late: how many changes fell in each bin of late distance.
        late_seconds: the sum of their distances.
    """

    closely = True

    def __init__(self, dataset: str, families: Families) -> None:
        self.dataset, self._families, self.passed_on = dataset, families, Watcher()
        self.late, self.late_seconds = np.zeros(len(LATE_BOUNDS) + 1, np.int64), 0.0
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._vitals: Vitals | None = None
        self._state, self._failure, self._waiting_for = "opening", "", ""
        self._read = self._committed = 0
        self._unfinished_since: float | None = None
        self._position: Position | None = None

    def opened(self, vitals: Vitals) -> None:
        """See `Watcher`."""
        with self._lock:
            self._vitals, self._state = vitals, "following"
            self._position = vitals.position()
        self.passed_on.opened(vitals)

    def read(self, records: int, bytes_done: int, bytes_total: int | None) -> None:
        """See `Watcher`."""
        with self._lock:
            self._read = records
            if self._unfinished_since is None and records > self._committed:
                self._unfinished_since = time.monotonic()
        self.passed_on.read(records, bytes_done, bytes_total)

    def committed(self, epoch: Committed) -> None:
        """See `Watcher`."""
        with self._lock:
            self._position = epoch.position
            self._committed += epoch.summary.records
            self._unfinished_since = time.monotonic() if self._read > self._committed else None
            if epoch.tally is not None:
                self.late = self.late + epoch.tally.late
                self.late_seconds += epoch.tally.late_seconds
        self._count(epoch)
        self.passed_on.committed(epoch)

    def waiting(self, reason: str | None) -> None:
        """See `Watcher`."""
        with self._lock:
            self._waiting_for = reason or ""
        self.passed_on.waiting(reason)

    def ended(self, failure: BaseException | None) -> None:
        """See `Watcher`."""
        with self._asking, self._lock:
            self._vitals = None
            if self._state != "failed":
                self._state = "stopped" if failure is None else "failed"
                self._failure = str(failure or "")
        self.passed_on.ended(failure)

    def ask(self) -> Asked | None:
        """What the running dataset tells of itself; None unless it runs. It does not end meanwhile."""
        with self._asking:
            vitals = self._vitals
            if vitals is None:
                return None
            return Asked(vitals.lags(), vitals.fetched_bytes(), vitals.strayed(), vitals.state())

    def health(self) -> Health:
        """How the dataset is now."""
        with self._asking:
            vitals = self._vitals
            lags = vitals.lags() if vitals is not None else {}
            reading = vitals.trouble() if vitals is not None else None
        with self._lock:
            since, position = self._unfinished_since, self._position
            known = position is not None and position.horizon >= 0
            return Health(
                self._state,
                position.epoch if position is not None else None,
                position.horizon / 1e6 if known and position is not None else None,
                sum(lags.values()) if lags else None,
                0.0 if since is None else time.monotonic() - since,
                self._waiting_for or None,
                reading,
                self._failure or None,
            )

    def _count(self, epoch: Committed) -> None:
        families, summary, name = self._families, epoch.summary, self.dataset
        families.records.labels(name).inc(summary.records)
        families.no_ops.labels(name).inc(summary.no_ops)
        families.epochs.labels(name).inc()
        for table, versions in epoch.versions.items():
            families.versions.labels(name, table).inc(versions)
        if epoch.tally is not None:
            for operation, count in zip(OPERATIONS, epoch.tally.operations.tolist(), strict=True):
                families.changes.labels(name, operation).inc(count)
            for stage, count in epoch.tally.stages.items():
                families.dead_letters.labels(name, stage).inc(count)
        if summary.records:
            families.epoch_seconds.labels(name).observe(epoch.seconds)
        families.write_seconds.labels(name).observe(epoch.write_seconds)
        families.commit_seconds.labels(name).observe(epoch.commit_seconds)
        families.last_commit.labels(name).set_to_current_time()
