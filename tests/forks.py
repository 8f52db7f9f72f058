"""Runs functions in processes of their own that may be killed, without paying for imports each time.

One process imports what a lake needs and loads the kernels, and then only forks, so no thread is ever copied.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, NoReturn, Self

from pipeline import faults

SECONDS = 240
"""After so long a process that hangs is ended, by SIGALRM."""
_MOST_BYTES = 1 << 16


class Child:
    """A process that goes on beside the test, as `subprocess.Popen` has it.

    Attributes:
        pid: its id.
        stdin: what it reads.
        returncode: once it was waited for.
    """

    def __init__(self, forks: "Forks", pid: int, stdin: BinaryIO, out: BinaryIO, err: BinaryIO) -> None:
        self.pid, self.stdin, self.returncode = pid, stdin, 0
        self._forks, self._out, self._err = forks, out, err

    def ends_within(self, seconds: float) -> bool:
        """Whether it has ended, or does so within that time."""
        watched = os.pidfd_open(self.pid)
        try:
            return bool(select.select([watched], [], [], seconds)[0])
        finally:
            os.close(watched)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def communicate(self) -> tuple[bytes, bytes]:
        """Close its input and wait for its end; what it wrote to its output and its errors."""
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.returncode = self._forks.wait(self.pid)
        written = []
        for file in (self._out, self._err):
            file.seek(0)
            written.append(file.read())
            file.close()
        return written[0], written[1]


class Forks:
    """Runs ``module:function`` in forked processes; its arguments are text."""

    def __init__(self) -> None:
        self._start()

    def run(self, target: str, *arguments: str, fault: str = "") -> int:
        """Run once with ``BITLAKE_FAULT`` set; the exit status, negative for the signal that killed it."""
        status, stopped = self._ask("run", target, fault, *arguments)
        assert stopped is None, "it stopped itself"
        return status

    def run_until_stopped(self, target: str, *arguments: str) -> int:
        """Run until the process stops itself; its id, for `resume`."""
        status, stopped = self._ask("run", target, "", *arguments)
        assert stopped is not None, f"ended with {status} and never stopped"
        return stopped

    def resume(self, process: int) -> int:
        """Have a stopped process go on to its end; its exit status."""
        return self._ask("resume", str(process))[0]

    def start(self, target: str, *arguments: str) -> Child:
        """Start a process that goes on by itself, with input, output and errors of its own."""
        reading, writing = os.pipe()
        out, err = (os.fdopen(os.memfd_create(name), "w+b") for name in ("out", "err"))
        _, pid = self._ask("start", target, "", *arguments, files=(reading, out.fileno(), err.fileno()))
        os.close(reading)
        assert pid is not None
        return Child(self, pid, os.fdopen(writing, "wb"), out, err)

    def wait(self, process: int) -> int:
        """Wait for the end of a process that was started; its exit status."""
        return self._ask("wait", str(process))[0]

    def _ask(self, *words: str, files: Sequence[int] = ()) -> tuple[int, int | None]:
        try:
            socket.send_fds(self._channel, [json.dumps(words).encode()], files)
            status, child = json.loads(self._channel.recv(_MOST_BYTES))
        except BaseException:
            # A test that ran out of time: the answer, if it comes, must not be taken for the next one's.
            self._process.kill()
            self._end()
            self._start()
            raise
        return status, child

    def _start(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.forks", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        theirs.close()

    def _end(self) -> None:
        self._channel.close()
        self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def command_line(folder: str, *words: str) -> NoReturn:
    """A command line of bitlake in a folder."""
    from pipeline.cli.main import main

    os.chdir(folder)
    main(list(words))
    sys.exit(0)


def _serve(channel: socket.socket) -> None:
    _function("tests.faults.runs:warm_up")()
    importlib.import_module("pipeline.cli.main")
    gc.freeze()  # a collection in a child would touch, and so copy, all that there is
    left: set[int] = set()
    while True:
        data, files, _, _ = socket.recv_fds(channel, _MOST_BYTES, 3)
        if not data:
            break
        word, what, *rest = json.loads(data)
        child = int(what) if what.isdigit() else 0
        if word == "resume":
            os.kill(child, signal.SIGCONT)
        elif word != "wait":
            function = _function(what)
            child = os.fork()
            if child == 0:
                channel.close()
                _run(function, files, *rest)
            for file in files:
                os.close(file)
        status, stopped = (0, child) if word == "start" else _wait(child)
        (left.discard if stopped is None else left.add)(child)
        channel.send(json.dumps([status, stopped]).encode())
    for child in left:
        os.kill(child, signal.SIGKILL)
    os._exit(0)


def _wait(child: int) -> tuple[int, int | None]:
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return 0, child
    return os.waitstatus_to_exitcode(status), None


def _function(target: str) -> Callable[..., Any]:
    place, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(place), name)
    return function


def _run(function: Callable[..., Any], files: Sequence[int], fault: str, *arguments: str) -> NoReturn:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    signal.alarm(SECONDS)
    os.environ[faults.VARIABLE] = fault
    importlib.reload(faults)
    status = 0
    try:
        function(*arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
