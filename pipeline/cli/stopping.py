"""Stopping a command by Ctrl-C or SIGTERM: told, and without a traceback."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import typer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPING = b"\nStopping once what is done is committed. Again: at once; nothing is lost then either.\n"


class Stopped(KeyboardInterrupt):
    """The command is to stop.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stopping(tell: Callable[[], str]) -> Iterator[None]:
    """Let a command that writes epochs be stopped: exit status 130 by Ctrl-C, 143 by SIGTERM.

    A second signal ends the process where it is.

    Args:
        tell: says, once all is at rest, what is done and what to do next.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, _stop_once())) for number in _SIGNALS]
    try:
        yield
    except Stopped as stopped:
        typer.echo(tell(), err=True)
        raise SystemExit(128 + stopped.number) from None
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _stop_once() -> Callable[[int, FrameType | None], None]:
    def handle(number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, _end)
        # Not by print: the signal may have come in the middle of one.
        os.write(2, _STOPPING)
        raise Stopped(number)

    return handle


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
