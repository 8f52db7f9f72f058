"""The process that runs a stack in the background: ``python -m stack.supervisor FOLDER [PID STARTED]``.

It does what `request.json` in the folder says: at its start, and on SIGHUP. SIGTERM ends it and its
servers; should it be killed, the kernel ends them. It also ends soon after the process it is told, if any.
"""

import json
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

from pipeline.errors import BitlakeError, Category
from stack.plan import Wanted
from stack.processes import Identity
from stack.stack import Stack

REQUEST = "request.json"
_LOOK_SECONDS = 1.0
_MOST_TEXT = 500


def supervise(
    folder: Path, told: Callable[[Stack, BitlakeError | None], None], bound_to: Identity | None = None
) -> None:
    """Run the stack of a folder until SIGTERM or SIGINT.

    Args:
        folder: the stack's, with `request.json`.
        told: is called after each request: with the error, if it could not be met; what runs goes on.
        bound_to: a process with whose end this ends, too.
    """
    again: SimpleQueue[None] = SimpleQueue()
    again.put(None)
    signal.signal(signal.SIGHUP, lambda *_: again.put(None))
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)
    with Stack(folder) as stack:
        while bound_to is None or bound_to.alive:
            try:
                again.get(timeout=None if bound_to is None else _LOOK_SECONDS)
            except Empty:
                continue
            told(stack, _meet(stack))


def _meet(stack: Stack) -> BitlakeError | None:
    request = json.loads((stack.folder / REQUEST).read_text())
    try:
        stack.up(Wanted.read(request["wanted"]), request["id"])
    except Exception as error:  # noqa: BLE001 - told to who asked; what runs must not end with it
        told = error if isinstance(error, BitlakeError) else _fault(error)
        stack.failed(request["id"], told)
        return told
    return None


def _fault(error: Exception) -> BitlakeError:
    """An error that nobody raised on purpose, in short."""
    fault = BitlakeError(f"{type(error).__name__}: {str(error)[:_MOST_TEXT]}")
    fault.__cause__ = error
    return fault


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave the stack's context, once: what else asks for it meanwhile changes nothing."""
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    raise SystemExit(128 + number if number == signal.SIGINT else 0)


def _log(stack: Stack, error: BitlakeError | None) -> None:
    names = ", ".join(stack.servers)
    print(time.strftime("%FT%TZ", time.gmtime()), error or f"ready: {names}", flush=True)
    if error is not None and error.category is Category.INTERNAL:
        traceback.print_exception(error)


if __name__ == "__main__":
    bound = [int(number) for number in sys.argv[2:]]
    supervise(Path(sys.argv[1]), _log, Identity(*bound) if bound else None)
