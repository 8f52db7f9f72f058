"""How far a load of files has come, as the epochs of a dataset remember it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from pipeline.source.files import FileIdentity


@dataclass(frozen=True)
class Progress:
    """An unfinished load.

    Attributes:
        started: when it started, in microseconds: the system time of records without one of their own.
        done: the files that were read to their end.
        current: the file being read.
        line: lines of it that are committed.
    """

    started: int
    done: tuple[FileIdentity, ...] = ()
    current: FileIdentity | None = None
    line: int = 0

    def to_json(self) -> dict[str, Any]:
        """As an epoch carries it."""
        return {
            "started": self.started,
            "done": [dataclasses.asdict(f) for f in self.done],
            "current": None if self.current is None else dataclasses.asdict(self.current),
            "line": self.line,
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Progress | None":
        """The unfinished load that an epoch carries, if any."""
        if not content:
            return None
        current = content["current"]
        return Progress(
            content["started"],
            tuple(FileIdentity(**f) for f in content["done"]),
            None if current is None else FileIdentity(**current),
            content["line"],
        )

    def concerns(self, files: list[FileIdentity | None]) -> bool:
        """Whether a load of `files` goes on with this one."""
        mine = {*self.done, self.current}
        return any(file is not None and file in mine for file in files)
