"""A stack: the servers of a folder, run by this process, and what it writes down about them.

with Stack(folder, Wanted(only=("kafka", "seaweedfs"))) as stack:
    stack.kafka.addresses()["bootstrap.servers"]
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from pipeline.errors import BitlakeError, Refused
from stack import processes
from stack.flink import JobManager, TaskManager
from stack.kafka import Broker
from stack.plan import Wanted, lay_out
from stack.ports import Ports
from stack.postgres import PostgreSQL
from stack.seaweedfs import SeaweedFS
from stack.server import Server
from stack.trino import Trino
from stack.turns import locked

STATE = "state.json"
_LOCK = "lock"


class Stack:
    """The servers of a folder. They end with this process, however it ends.

    Raises:
        Refused: another process runs the stack of this folder.
        Unavailable: a server did not start.
    """

    def __init__(self, folder: Path, wanted: Wanted | None = None) -> None:
        self.folder = folder.absolute()
        self.servers: dict[str, Server] = {}
        self._wanted = wanted
        self._met = Wanted(())
        self._ports = Ports(self.folder / "ports.json")
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder / _LOCK)
        try:
            self._write({})  # other commands find us from now on
            processes.sweep(self.folder)
            if self._wanted is not None:
                self.up(self._wanted)
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self, wanted: Wanted, request: str = "") -> None:
        """Let exactly what is wanted run: start what does not, stop what is not wanted.

        Args:
            wanted: what should run.
            request: is in the state that is written when it does.

        Raises:
            Unavailable: a server did not start; the others go on.
        """
        self._met = wanted.with_options_of(self._met)
        running = {name: server for name, server in self.servers.items() if server.running}
        planned = lay_out(wanted, self.folder, self._ports, running)
        for name in reversed([name for name in self.servers if name not in planned]):
            self.servers[name].stop()
        self.servers = planned
        for server in planned.values():
            if not server.running:
                server.start()
                self._write({})
        for server in planned.values():
            server.wait()
        self._met = wanted
        self._write({"request": request})

    def failed(self, request: str, error: BitlakeError) -> None:
        """Write down that a request could not be met: its servers are wanted still, its options are not."""
        self._write({"request": request, "error": error.message, "next_step": error.next_step})

    def down(self) -> None:
        """Stop everything."""
        for server in reversed(self.servers.values()):
            server.stop()
        self.servers = {}
        (self.folder / STATE).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def kafka(self) -> Broker:
        """The broker."""
        return cast(Broker, self.servers[Broker.kind])

    @property
    def seaweedfs(self) -> SeaweedFS:
        """S3 and the REST catalog."""
        return cast(SeaweedFS, self.servers[SeaweedFS.kind])

    @property
    def postgres(self) -> PostgreSQL:
        """The other catalog."""
        return cast(PostgreSQL, self.servers[PostgreSQL.kind])

    @property
    def trino(self) -> Trino:
        """SQL over the tables."""
        return cast(Trino, self.servers[Trino.kind])

    @property
    def job_manager(self) -> JobManager:
        """The Flink cluster's REST API."""
        return cast(JobManager, self.servers[JobManager.kind])

    @property
    def task_managers(self) -> list[TaskManager]:
        """Flink's slots."""
        return [one for one in self.servers.values() if isinstance(one, TaskManager)]

    def _write(self, more: Mapping[str, Any]) -> None:
        state = {
            "owner": _plain(processes.identity(os.getpid())),
            "servers": [_described(server) for server in self.servers.values()],
            "wanted": self._met.written(),
            **more,
        }
        fresh = self.folder / f"{STATE}.new"
        fresh.write_text(json.dumps(state, indent=1))
        fresh.rename(self.folder / STATE)


def _described(server: Server) -> dict[str, Any]:
    return {
        "name": server.name,
        "kind": server.kind,
        "folder": str(server.folder),
        "ports": server.ports,
        "addresses": server.addresses(),
        "memory": server.memory,
        "process": _plain(server.identity),
    }


def _plain(process: processes.Identity | None) -> dict[str, int] | None:
    return None if process is None else {"pid": process.pid, "started": process.started}


def _locked(file: Path) -> IO[str]:
    opened = file.open("w")
    if not locked(opened):
        opened.close()
        raise already_runs(file.parent)
    return opened


def already_runs(folder: Path) -> Refused:
    """The error of a second process that would run the stack of a folder."""
    return Refused(f"Another process runs the stack in {folder}.", next_step="`bitlake stack down` ends it.")
