"""What the command line does to a stack that runs in the background."""

import json
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import BadInput, BitlakeError, Unavailable
from stack import lake, processes
from stack.plan import KINDS, Wanted
from stack.processes import Identity
from stack.server import Server
from stack.stack import STATE, Stack, already_runs
from stack.supervisor import REQUEST, supervise
from stack.turns import turn

_TURN = "turn"
_STOP_SECONDS = 90.0
Kind = TypeVar("Kind", bound=Server)


@dataclass(frozen=True)
class Known:
    """A server as the state of its stack describes it."""

    name: str
    health: str
    pid: int | None
    addresses: Mapping[str, str]
    log: Path
    memory: str


class Background:
    """The stack of a folder, whether it runs or not.

    Args:
        folder: the stack's.
        bound_to: a process with whose end a stack that is started here ends, too.
    """

    def __init__(self, folder: Path, bound_to: Identity | None = None) -> None:
        self.folder = folder.absolute()
        self._bound_to = bound_to

    @property
    def supervisor(self) -> Identity | None:
        """The process that runs it; None: it does not run."""
        owner = _identity(self._state().get("owner"))
        return owner if owner and owner.alive else None

    def turn(self, waits: Callable[[], None]) -> AbstractContextManager[None]:
        """Be the only process that changes the stack: two at once would overwrite each other's request.

        Args:
            waits: is called if another process does so now, and this one has to wait.
        """
        return turn(self.folder / _TURN, waits)

    def request(self, wanted: Wanted) -> str:
        """Write down what should run; gives the request's name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        fresh = self.folder / f"{REQUEST}.new"
        fresh.write_text(json.dumps({"id": name, "wanted": wanted.written()}, indent=1))
        fresh.rename(self.folder / REQUEST)
        return name

    def wanted(self) -> Wanted | None:
        """What runs, or should; None: nothing does."""
        return None if self.supervisor is None else self._wanted()

    def up(self, wanted: Wanted) -> None:
        """Let this run, and wait until it does.

        Raises:
            Unavailable: a server did not start.
        """
        request = self.request(wanted)
        supervisor = self.supervisor
        if supervisor is None:
            supervisor = self._start_supervisor()
        else:
            supervisor.signal(signal.SIGHUP)
        while (state := self._state()).get("request") != request:
            if not supervisor.alive:
                raise Unavailable(
                    "The process that runs the servers has ended.", next_step=f"See {self._log}."
                )
            time.sleep(0.1)
        if "error" in state:
            raise Unavailable(
                state["error"], next_step=state["next_step"] or f"Other servers go on. See {self._log}."
            )

    def run_here(self, wanted: Wanted, ready: Callable[[], None]) -> None:
        """Run it in this process, until SIGTERM or SIGINT; `ready` is called once, when all servers are.

        Raises:
            Unavailable: a server did not start.
            Refused: it runs already.
        """
        is_ready = False

        def told(_stack: Stack, error: BitlakeError | None) -> None:
            nonlocal is_ready
            if is_ready:  # another command has asked for more, and tells how that went
                return
            if error is not None:
                raise error
            is_ready = True
            ready()

        if self.supervisor is not None:
            raise already_runs(self.folder)
        self.request(wanted)
        supervise(self.folder, told)

    def down(self) -> bool:
        """End it, and what is left of it; gives whether there was anything."""
        supervisor = self.supervisor
        if supervisor is not None:
            supervisor.end(_STOP_SECONDS)
        left = list(processes.marked(self.folder))
        processes.sweep(self.folder)
        (self.folder / STATE).unlink(missing_ok=True)
        return supervisor is not None or bool(left)

    def delete(self) -> bool:
        """Remove the data and logs of a stack that does not run; gives whether there were any."""
        if not self.folder.exists():
            return False
        for one in self.folder.iterdir():
            if one.is_dir() and not one.is_symlink():
                shutil.rmtree(one)
            elif one.name != _TURN:
                one.unlink()
        (self.folder / _TURN).unlink(missing_ok=True)
        with suppress(OSError):  # a command that waited for its turn has made it again
            self.folder.rmdir()
        return True

    def servers(self) -> list[Known]:
        """All servers that should run, and how they are."""
        return [_known(one) for one in self.described()]

    def described(self) -> Sequence[Mapping[str, Any]]:
        """The servers as the stack has written them down."""
        servers: Sequence[Mapping[str, Any]] = self._state().get("servers", ())
        return servers

    def server(self, kind: type[Kind]) -> Kind:
        """The first server of a kind, as one that knows its addresses; it can't be stopped by this.

        Raises:
            BadInput: there is none.
        """
        for described in self.described():
            server = _server(described)
            if isinstance(server, kind):
                return server
        raise BadInput(f"No {kind.kind} runs here.", next_step="`bitlake stack up` starts it.")

    def sections(self) -> dict[str, dict[str, Any]]:
        """What a lake.yaml says of them."""
        servers = [_server(one) for one in self.described()]
        return lake.sections(servers, self._wanted().catalog)

    def logs(self) -> dict[str, Path]:
        """The logs of the servers that run, or of those of the last time; and of the supervisor."""
        found = {file.parent.name: file for file in sorted(self.folder.glob("*/log"))}
        return {**found, "supervisor": self._log} if self._log.exists() else found

    @property
    def _log(self) -> Path:
        return self.folder / "supervisor.log"

    def _start_supervisor(self) -> Identity:
        bound = [] if self._bound_to is None else [self._bound_to.pid, self._bound_to.started]
        argv = [sys.executable, "-m", "stack.supervisor", str(self.folder), *(str(one) for one in bound)]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            sys.executable,
            argv,
            os.environ,
            setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._log), append, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        return processes.identity(pid) or Identity(pid, 0)

    def _wanted(self) -> Wanted:
        """What was asked for last; once that has failed, with the options of before."""
        request, state = json.loads((self.folder / REQUEST).read_text()), self._state()
        met = state.get("request") == request["id"]
        return Wanted.read((met and state.get("wanted")) or request["wanted"])

    def _state(self) -> Mapping[str, Any]:
        try:
            state: Mapping[str, Any] = json.loads((self.folder / STATE).read_text())
        except FileNotFoundError:
            return {}
        return state


def _server(described: Mapping[str, Any]) -> Server:
    return KINDS[described["kind"]](described["name"], Path(described["folder"]), described["ports"])


def _known(described: Mapping[str, Any]) -> Known:
    server = _server(described)
    process = _identity(described["process"])
    health, pid = "ended", None
    if process is not None and process.alive:
        health, pid = "healthy" if server.healthy() else "unhealthy", process.pid
    return Known(server.name, health, pid, described["addresses"], server.log, described.get("memory", ""))


def _identity(written: Mapping[str, int] | None) -> Identity | None:
    return None if written is None else Identity(written["pid"], written["started"])
