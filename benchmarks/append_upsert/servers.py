"""The servers of a comparison, and what they use of the processors."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack.flink_home import FlinkOptions
from stack.plan import Wanted
from stack.stack import Stack

WRITING = ("kafka", "seaweedfs", "flink")
WANTED = (*WRITING, "trino")
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def servers(
    folder: Path | None,
    parallelism: int,
    memory: str,
    *,
    pinned: bool = False,
    names: Sequence[str] = WANTED,
    trino_heap: str = "3g",
) -> Iterator[Stack]:
    """A stack of its own; in a folder it is left with its data, for the next time."""
    flink = FlinkOptions(parallelism, task_manager_memory=memory, pinned=pinned)
    wanted = Wanted(tuple(names), flink=flink, trino_heap=trino_heap)
    wanted.fetch()
    with (
        tempfile.TemporaryDirectory(prefix="bitlake-stack-") as fresh,
        Stack(folder or Path(fresh), wanted) as stack,
    ):
        yield stack


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """What each kind of server, Python in TaskManagers included, has used of the processors so far."""
    found: dict[str, float] = {}
    for server in stack.servers.values():
        if server.identity is not None:
            spent = _cpu(server.identity.pid)
            found[server.kind] = found.get(server.kind, 0.0) + spent
    return found


def cpu_since(stack: Stack, before: Mapping[str, float]) -> dict[str, float]:
    """What each kind of server has used since `cpu_seconds` gave `before`."""
    return {kind: round(spent - before.get(kind, 0.0), 2) for kind, spent in cpu_seconds(stack).items()}


def _cpu(pid: int) -> float:
    """User and system time of a process and of its children that have ended (see proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS
