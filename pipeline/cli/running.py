"""`bitlake run`."""

import dataclasses
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from pipeline.cli.options import settings


def run(
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="[DATASET]...", help="Default: all of lake.yaml.")
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop where the topics end at the start.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take datasets from a writer that has died with its lease.")
    ] = False,
    fail_on_dead_letters: Annotated[
        bool, typer.Option("--fail-on-dead-letters", help="Exit with status 1 if there are any.")
    ] = False,
) -> None:
    """Follow Kafka topics until stopped: by SIGTERM or Ctrl-C, once what was read is committed."""
    from pipeline.cli.progress import Lines, LoadWatcher, Silence
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    stop = threading.Event()
    display = Silence if settings.quiet else Lines
    with _stopped_by_signals(stop):
        summary = lake.run(
            datasets or (),
            until_end=until_end,
            stop=stop,
            take_over=take_over,
            watching=lambda name: LoadWatcher(name, display()),
        )
    settings.output.record(dataclasses.asdict(summary))
    if summary.dead_letters and fail_on_dead_letters:
        raise typer.Exit(1)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first signal drains; a second one ends the process as if there were no handler."""

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = [(number, signal.signal(number, handle)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
