"""Runs a function in processes that a fault point may kill, without paying for imports each time.

A process of its own imports what the function needs and then only forks, so no thread is ever copied.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from types import TracebackType
from typing import Self

from pipeline import faults


class Forks:
    """Runs ``module:function`` in forked processes.

    Args:
        target: the function, as ``package.module:name``; its arguments are text.
        prepare: a function of the same module that is called once, before any fork: to have kernels loaded.
    """

    def __init__(self, target: str, *, prepare: str = "") -> None:
        command = [sys.executable, "-m", "tests.forks", target, prepare]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *arguments: str, fault: str = "") -> int:
        """Run once with ``BITLAKE_FAULT`` set; the exit status, negative for the signal that killed it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([fault, *arguments]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

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
        fault, *arguments = json.loads(line)
        if (child := os.fork()) == 0:
            os.environ[faults.VARIABLE] = fault
            importlib.reload(faults)
            try:
                function(*arguments)
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
