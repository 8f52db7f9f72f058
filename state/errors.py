"""What can go wrong with a state directory."""

from pathlib import Path

from pipeline.errors import Category, Refused, Unavailable

_LASTING = (
    "Permission denied",
    "Operation not permitted",
    "Read-only file system",
    "File name too long",
    "Not a directory",
    "Is a directory",
    "File exists",
)
"""What no later try mends."""


class StateLocked(Unavailable):
    """Another process has the state directory open: trying again can help."""

    def __init__(self, path: Path, owner: str) -> None:
        who = f"process {owner}" if owner else "another process"
        super().__init__(
            f"the state in {path} is open in {who}",
            next_step="try again once it has ended, or queue for it: --wait 10m (in Python: wait=...); to"
            " work beside it, set another `state` in lake.yaml",
        )
        self.path = path
        self.owner = owner


class StateDamaged(Refused):
    """The state directory is not what RocksDB left there."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the state in {path} is damaged: {reason}",
            next_step=f"move {path} away and start again: the state is rebuilt from the tables",
        )
        self.path = path
        self.reason = reason


class StateUnavailable(Unavailable):
    """The disk under the state directory refuses to work."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the state in {path} can't be used: {reason}",
            next_step="make sure that the directory can be written and the disk has room, then start again",
        )
        self.path = path
        self.reason = reason
        if any(sign in reason for sign in _LASTING):
            self.category, self.retryable = Category.BAD_CONFIGURATION, False
