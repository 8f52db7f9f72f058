"""Commands that change the stack of a folder take turns."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def turn(file: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Hold a file's lock; it ends with this process at the latest.

    Args:
        file: is made where it is missing.
        waits: is called once if another process holds it.
    """
    told = False
    while True:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as opened:
            if not locked(opened):
                if not told:
                    waits()
                told = True
                fcntl.flock(opened, fcntl.LOCK_EX)
            if _is_there(file, opened):  # else: who had it removed it, and another process may have a new one
                yield
                return


def locked(opened: IO[str]) -> bool:
    """Take the lock of an open file, if nobody has it, until the file is closed; whether that was so."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(file: Path, opened: IO[str]) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False
