"""How a load gets on, while it does: live on a terminal, a line every few seconds elsewhere."""

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from pipeline.engine.epoch import Summary
from pipeline.engine.watching import Committed, Watcher
from pipeline.sink.epoch import Position

_SECONDS_PER_LINE = 5.0


@dataclass
class Load:
    """What is known of a load."""

    dataset: str
    started: float
    records: int = 0
    bytes_done: int = 0
    bytes_total: int | None = None
    committed: Summary = field(default_factory=Summary)

    def text(self, now: float) -> str:
        """One line."""
        seconds = max(now - self.started, 1e-9)
        part = f" ({self.bytes_done / self.bytes_total:.0%} of the file)" if self.bytes_total else ""
        return (
            f"{self.dataset}: {self.records:,} records{part}, {self.records / seconds:,.0f}/s,"
            f" {self.committed.epochs:,} epochs, {self.committed.dead_letters:,} dead letters"
        )


class Display(ABC):
    """Shows a load."""

    @abstractmethod
    def show(self, load: Load) -> None:
        """Something is new; called often, by one thread at a time."""


class Silence(Display):
    """Shows nothing."""

    def show(self, load: Load) -> None:
        """Nothing."""


class Lines(Display):
    """A line on standard error every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def show(self, load: Load) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS_PER_LINE:
            self._last = now
            sys.stderr.write(f"{load.text(now)}\n")
            sys.stderr.flush()


class Live(Display):
    """A bar with rates at the bottom of a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, load: Load) -> None:
        text = load.text(time.monotonic())
        self._progress.update(
            self._task, description=text, completed=load.bytes_done, total=load.bytes_total or None
        )


class LoadWatcher(Watcher):
    """The engine's watcher that feeds a display.

    Attributes:
        position: where the last epoch of this load ends; None before the first.
        summary: what its epochs hold.
    """

    def __init__(self, dataset: str, display: Display) -> None:
        self._load = Load(dataset, time.monotonic())
        self._display = display
        self.position: Position | None = None
        self._lock = threading.Lock()

    def read(self, records: int, bytes_done: int, bytes_total: int | None) -> None:
        """So much of the files is applied."""
        with self._lock:
            self._load.records, self._load.bytes_done, self._load.bytes_total = (
                records,
                bytes_done,
                bytes_total,
            )
            self._display.show(self._load)

    @property
    def summary(self) -> Summary:
        """See above."""
        return self._load.committed

    def committed(self, epoch: Committed) -> None:
        """An epoch is in every table."""
        with self._lock:
            self.position = epoch.position
            self._load.committed += epoch.summary
            self._display.show(self._load)


@contextmanager
def watching(dataset: str, *, quiet: bool) -> Iterator[LoadWatcher]:
    """A watcher whose display suits standard error."""
    if quiet:
        yield LoadWatcher(dataset, Silence())
    elif sys.stderr.isatty():
        with Live() as live:
            yield LoadWatcher(dataset, live)
    else:
        yield LoadWatcher(dataset, Lines())
