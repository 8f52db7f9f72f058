"""`bitlake run`."""

import dataclasses
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import TakeOver, Wait, settings
from pipeline.cli.starting import import_engine

if TYPE_CHECKING:
    from pipeline.engine.watching import Watcher
    from pipeline.lake import Lake

log = logging.getLogger(__name__)


def run(
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="[DATASET]...", help="Default: all of lake.yaml.")
    ] = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop where the topics end at the start.")
    ] = False,
    take_over: TakeOver = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            envvar="BITLAKE_METRICS_PORT",
            min=0,
            max=65535,
            help="Serve /metrics for Prometheus, /healthz and /readyz on this port.",
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option("--metrics-host", help="The address to serve them on.")
    ] = "127.0.0.1",
    fail_on_dead_letters: Annotated[
        bool, typer.Option("--fail-on-dead-letters", help="Exit with status 1 if there are any.")
    ] = False,
    wait: Wait = None,
) -> None:
    """Follow Kafka topics until stopped: by SIGTERM or Ctrl-C, once what was read is committed."""
    # Arrow's own allocator keeps megabytes for threads that came and went, as they do with each epoch.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    import_engine("pipeline.engine.run")
    from pipeline.cli.progress import Lines, LoadWatcher, Silence
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    stop = threading.Event()
    display = Silence if settings.quiet else Lines

    def shown(name: str) -> LoadWatcher:
        return LoadWatcher(name, display())

    served = _served(lake, datasets or (), shown, metrics_host, metrics_port)
    with stopped_by_signals(stop), served as watching:
        summary = lake.run(
            datasets or (),
            until_end=until_end,
            stop=stop,
            take_over=take_over,
            watching=watching,
            wait=wait,
        )
    settings.output.record(dataclasses.asdict(summary))
    if summary.dead_letters and fail_on_dead_letters:
        raise typer.Exit(1)


@contextmanager
def _served(
    lake: "Lake",
    datasets: Sequence[str],
    shown: Callable[[str], "Watcher"],
    host: str,
    port: int | None,
) -> Iterator[Callable[[str], "Watcher"]]:
    """Who is told how datasets get on, while the metrics are served."""
    if port is None:
        yield shown
        return
    from pipeline.metrics import Metrics, serve

    chosen = [lake.config.dataset(name) for name in datasets] or lake.config.datasets
    metrics = Metrics([dataset.name for dataset in chosen], lake.config.commit.seconds)
    with serve(metrics, host, port) as served:
        log.info("serving metrics", extra={"host": host, "port": served})
        yield metrics.watching(shown)


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
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
