"""Runs a function in processes that a fault point may kill, without paying for imports each time.

A process of its own imports what the function needs and then only forks, so no thread is ever copied.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self

from pipeline import faults

SECONDS = 240
"""After so long a process that hangs is ended, by SIGALRM."""


class Forks:
    """Runs ``module:function`` in forked processes.

    Args:
        target: the function, as ``package.module:name``; its arguments are text.
        prepare: a function of the same module that is called once, before any fork: to have kernels loaded.
    """

    def __init__(self, target: str, *, prepare: str = "") -> None:
        self._command = [sys.executable, "-m", "tests.forks", target, prepare]
        self._process = self._start()

    def run(self, *arguments: str, fault: str = "") -> int:
        """Run once with ``BITLAKE_FAULT`` set; the exit status, negative for the signal that killed it."""
        status, stopped = self._ask("run", fault, *arguments)
        assert stopped is None, "it stopped itself"
        return status

    def run_until_stopped(self, *arguments: str) -> int:
        """Run until the process stops itself; its id, for `resume`."""
        status, stopped = self._ask("run", "", *arguments)
        assert stopped is not None, f"ended with {status} and never stopped"
        return stopped

    def resume(self, process: int) -> int:
        """Have a stopped process go on to its end; its exit status."""
        return self._ask("resume", str(process))[0]

    def _ask(self, *words: str) -> tuple[int, int | None]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            status, stopped = json.loads(self._process.stdout.readline())
        except BaseException:
            # A test that ran out of time: the answer, if it comes, must not be taken for the next one's.
            self._process.kill()
            self._process.communicate()
            self._process = self._start()
            raise
        return status, stopped

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)


def _serve(target: str, prepare: str) -> None:
    place, _, name = target.partition(":")
    module = importlib.import_module(place)
    function = getattr(module, name)
    if prepare:
        getattr(module, prepare)()
    for line in sys.stdin:
        word, *rest = json.loads(line)
        if word == "resume":
            child = int(rest[0])
            os.kill(child, signal.SIGCONT)
        elif (child := os.fork()) == 0:
            _run(function, *rest)
        _, status = os.waitpid(child, os.WUNTRACED)
        stopped = child if os.WIFSTOPPED(status) else None
        print(json.dumps([0 if stopped else os.waitstatus_to_exitcode(status), stopped]), flush=True)


def _run(function: Callable[..., None], fault: str, *arguments: str) -> NoReturn:
    signal.alarm(SECONDS)
    os.environ[faults.VARIABLE] = fault
    importlib.reload(faults)
    try:
        function(*arguments)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
