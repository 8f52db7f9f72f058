"""Processes of servers: started so that they end with us, known by their start, found by a mark.

A pid alone may be another process's by now: a process is meant by its pid and the moment it started. What
a server has started itself is found by `MARK` in its environment, which names the server's folder.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import BadInput, Unavailable

MARK = "BITLAKE_SERVER"
_LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Command:
    """How a server is started.

    Attributes:
        argv: the program and its arguments.
        env: what is added to our environment.
        root: whether it may run as root, if we do.
        cpu: the one processor it runs on; None: any.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    root: bool = True
    cpu: int | None = None

    def launched(self) -> list[str]:
        """The command line that ends with this process."""
        more = [] if self.root else ["--not-root"]
        more += [] if self.cpu is None else ["--cpu", str(self.cpu)]
        return [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *more, *self.argv]


@dataclass(frozen=True)
class Identity:
    """A process: its pid, and when it started, in clock ticks since the machine did."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process runs."""
        return identity(self.pid) == self

    def signal(self, how: signal.Signals) -> None:
        """Send a signal, if it is alive.

        Raises:
            BadInput: it is another user's.
        """
        if not self.alive:
            return
        try:
            os.kill(self.pid, how)
        except PermissionError as error:
            raise BadInput(
                f"The process {self.pid} of this stack is another user's.", next_step="Do it as that user."
            ) from error

    def end(self, seconds: float) -> None:
        """Ask it to stop; kill it after so many seconds."""
        self.signal(signal.SIGTERM)
        if not _within(seconds, lambda: not self.alive):
            self.signal(signal.SIGKILL)
            _within(seconds, lambda: not self.alive)


def identity(pid: int) -> Identity | None:
    """The process that has a pid now; None: none, or one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    # Killed, a process with many threads is a zombie while they end: only then its parent is told.
    ended = state in "ZX" and int(fields[16]) <= 1
    return None if ended else Identity(pid, int(fields[18]))


def start(command: Command, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a server in a folder; what it prints is appended to a log.

    It is killed when the calling process ends, and that is what the kernel takes the calling thread for.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "servers are started by the main thread: they end with the thread that starts them"
        )
    with log.open("ab") as output:
        return subprocess.Popen(
            command.launched(),
            cwd=folder,
            env={**os.environ, **command.env, MARK: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run(command: Command, folder: Path, seconds: float = 120) -> str:
    """Run a server's tool to its end and give what it printed.

    Raises:
        Unavailable: it failed.
    """
    done = subprocess.run(
        command.launched(),
        cwd=folder,
        env={**os.environ, **command.env, MARK: str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"{Path(command.argv[0]).name} failed: {_short(done.stderr or done.stdout)}")
    return done.stdout


def _short(printed: str, characters: int = 500) -> str:
    """What a tool printed, up to where in its code it was."""
    return printed.strip().partition("\n\tat ")[0][:characters]


def marked(folder: Path) -> Iterator[Identity]:
    """All processes of the servers in a folder or below it."""
    wanted = str(folder).encode()
    prefix = f"{MARK}=".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        found = identity(int(entry.name))
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        places = [one.removeprefix(prefix) for one in variables if one.startswith(prefix)]
        if found and any(place == wanted or place.startswith(wanted + b"/") for place in places):
            yield found


def sweep(folder: Path, seconds: float = 10) -> None:
    """Kill all processes of the servers in a folder and wait until they are gone."""
    left = list(marked(folder))
    for process in left:
        process.signal(signal.SIGKILL)
    _within(seconds, lambda: not any(process.alive for process in left))


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
