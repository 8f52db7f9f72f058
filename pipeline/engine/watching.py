"""Who is told how the engine gets on."""

from typing import Protocol

from pipeline.engine.epoch import Summary
from pipeline.sink.epoch import Position


class Watcher(Protocol):
    """Is told how records of one dataset get on; from several threads."""

    def read(self, records: int, bytes_done: int, bytes_total: int | None) -> None:
        """So much is applied: records since the start, bytes of the files as stored."""

    def committed(self, position: Position, summary: Summary) -> None:
        """An epoch is in every table."""


class Silent:
    """A watcher that says nothing."""

    def read(self, records: int, bytes_done: int, bytes_total: int | None) -> None:
        """Nothing."""

    def committed(self, position: Position, summary: Summary) -> None:
        """Nothing."""
