"""`bitlake submit` and `bitlake rescale`: the Flink job, from a process that need not have PyFlink."""

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.submitting import submitted
from pipeline.cli.options import TakeOver, answering, settings
from pipeline.cli.running import stopped_by_signals

if TYPE_CHECKING:
    from jobs.rescaling import Rescaling
    from jobs.schedule import Schedule
    from pipeline.config import DatasetConfig, LakeConfig

submit_app = typer.Typer(add_completion=False)
rescale_app = typer.Typer(add_completion=False)

Datasets = Annotated[
    list[str] | None, typer.Argument(metavar="[DATASET]...", help="Default: all of lake.yaml.")
]
Parallelism = Annotated[
    int | None, typer.Option(min=1, help="Default: parallelism.default under flink in lake.yaml.")
]


def _submit(
    datasets: Datasets = None,
    parallelism: Parallelism = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="The job stops where the topics end at its start.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Stay until the job ends; evolve the tables when the stream has new fields."
        ),
    ] = False,
    take_over: TakeOver = False,
    from_savepoint: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Go on from this savepoint or checkpoint.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Go on from the tables, even where there is a checkpoint.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the job that writes them, with a savepoint.")
    ] = False,
) -> None:
    """Submit the Flink job that writes datasets; it goes on from its last checkpoint, or from the tables."""
    lake, chosen = _chosen(datasets)
    if stop:
        from pipeline.flink.job import stop_all

        stopped = stop_all(lake, chosen)
        if len(stopped) == 1:
            settings.output.record(stopped[0])
        else:
            settings.output.records(stopped)
        return
    flags = {
        "--until-end": until_end,
        "--take-over": take_over,
        "--fresh": fresh,
    }
    words = [flag for flag, given in flags.items() if given]
    if from_savepoint:
        words += ["--from-savepoint", from_savepoint]
    names = [dataset.name for dataset in chosen]
    job = submitted(settings.config, names, words, parallelism)
    if wait:
        from pipeline.flink.cluster import Cluster
        from pipeline.flink.following import Following

        again = [word for word in words if word in ("--until-end", "--take-over")]
        job = Following(
            Cluster(lake.flink), lambda: submitted(settings.config, names, again, parallelism)
        ).wait(job)
    settings.output.record({"job": job})


def _rescale(
    datasets: Datasets = None,
    parallelism: Annotated[int | None, typer.Option(min=1, help="The new one.")] = None,
    schedule: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Stay, and keep the job to cron lines with a parallelism each."),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds within which the job has to run; else it goes back.")
    ] = 120.0,
) -> None:
    """Change the parallelism of the job that writes datasets, through a savepoint."""
    from jobs.rescaling import Rescaling

    if (parallelism is None) == (schedule is None):
        raise typer.BadParameter("give either --parallelism or --schedule")
    lake, chosen = _chosen(datasets)
    rescaling = Rescaling(settings.config, lake, chosen, patience)
    if parallelism is not None:
        settings.output.record(rescaling.to(parallelism))
    if schedule is not None:
        from jobs.schedule import Schedule

        _keep(Schedule.read(schedule), rescaling)


def _keep(schedule: "Schedule", rescaling: "Rescaling") -> None:
    """Rescale by a schedule until the process is told to stop."""
    from jobs.schedule import Keeper

    def to(parallelism: int) -> None:
        settings.output.record(rescaling.to(parallelism))
        sys.stdout.flush()

    stop = threading.Event()
    with stopped_by_signals(stop):
        Keeper(schedule, rescaling.current, to).run(lambda: datetime.now(UTC), stop.wait)


def _chosen(datasets: list[str] | None) -> "tuple[LakeConfig, list[DatasetConfig]]":
    from pipeline.lake import Lake

    lake = Lake.open(settings.config).config
    return lake, [lake.dataset(name) for name in datasets or ()] or list(lake.datasets)


submit_app.command()(answering(_submit))
rescale_app.command()(answering(_rescale))
