"""How far loads of files have come, as the epochs of a dataset remember it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.source.files import FileIdentity

PAUSED = 16
"""Unfinished loads of other files that are remembered."""


@dataclass(frozen=True)
class Progress:
    """A load and how far it has come.

    Attributes:
        started: when it started, in microseconds: the system time of records without one of their own.
        done: the files that were read to their end.
        current: the file being read.
        line: lines of it that are committed.
        finished: all files are read; their caller may not know it yet.
        envelope: its records come in envelopes, so that those of later loads may have earlier times.
        paused: loads of other files that were not finished when this one began, the newest first.
    """

    started: int
    done: tuple[FileIdentity, ...] = ()
    current: FileIdentity | None = None
    line: int = 0
    finished: bool = False
    envelope: bool = False
    paused: tuple["Progress", ...] = ()

    @staticmethod
    def begin(before: "Progress | None", files: Sequence[FileIdentity | None], now: int) -> "Progress":
        """The load of `files` that goes on, of those that `before` remembers, or a new one."""
        known = (replace(before, paused=()), *before.paused) if before else ()
        mine = next((load for load in known if load._concerns(files)), None)
        others = tuple(load for load in known if load is not mine and (load.done or load.current))
        if mine is None:
            return Progress(now, paused=others[:PAUSED])
        if mine.current not in files and mine.current is not None:
            others = (replace(mine, done=()), *others)
            mine = replace(mine, current=None, line=0)
        return replace(mine, finished=False, paused=others[:PAUSED])

    def at(self, file: FileIdentity | None, line: int) -> "Progress":
        """The same load, so many lines into a file; what is no file is not remembered."""
        return self if file is None else replace(self, current=file, line=line)

    def after(self, file: FileIdentity | None) -> "Progress":
        """The same load, a file having been read."""
        return self if file is None else replace(self, done=(*self.done, file), current=None, line=0)

    def told(self) -> "Progress | None":
        """What is left to remember once this load's caller knows that it is finished."""
        return replace(self.paused[0], paused=self.paused[1:]) if self.paused else None

    def to_json(self) -> dict[str, Any]:
        """As an epoch carries it."""
        return {
            "started": self.started,
            "done": [dataclasses.asdict(f) for f in self.done],
            "current": None if self.current is None else dataclasses.asdict(self.current),
            "line": self.line,
            "finished": self.finished,
            "envelope": self.envelope,
            "paused": [load.to_json() for load in self.paused],
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Progress | None":
        """The load that an epoch carries, if any."""
        if not content:
            return None
        current = content["current"]
        return Progress(
            content["started"],
            tuple(FileIdentity(**f) for f in content["done"]),
            None if current is None else FileIdentity(**current),
            content["line"],
            content["finished"],
            content["envelope"],
            tuple(load for paused in content["paused"] if (load := Progress.from_json(paused))),
        )

    def _concerns(self, files: Sequence[FileIdentity | None]) -> bool:
        mine = {*self.done, self.current}
        return any(file is not None and file in mine for file in files)
