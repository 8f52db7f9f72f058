"""`bitlake submit` and `bitlake rescale`: the Flink job, from a process that need not have PyFlink."""

import json
import logging
import os
import subprocess
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import answering, settings
from pipeline.errors import BadInput, BitlakeError, Refused, Unavailable

if TYPE_CHECKING:
    from pipeline.config import DatasetConfig, LakeConfig

log = logging.getLogger(__name__)

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
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take datasets from a writer that has died with its lease.")
    ] = False,
    from_savepoint: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Go on from this savepoint or checkpoint.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Go on from the tables, even where there is a checkpoint.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the job that runs, with a savepoint.")] = False,
) -> None:
    """Submit the Flink job that writes datasets; it goes on from its last checkpoint, or from the tables."""
    lake, chosen = _chosen(datasets)
    if stop:
        from pipeline.flink.job import stop as stop_job

        settings.output.record(stop_job(lake, chosen))
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
    job = _started(names, words, parallelism)
    if wait:
        from pipeline.flink.following import Following

        again = [word for word in words if word in ("--until-end", "--take-over")]
        job = Following(lake, chosen, lambda: _started(names, again, parallelism)).wait(job)
    settings.output.record({"job": job})


def _rescale(
    parallelism: Annotated[int, typer.Option(min=1, help="The new one.")],
    datasets: Datasets = None,
) -> None:
    """Change the parallelism of the job that writes datasets, through a savepoint."""
    from pipeline.flink.cluster import Cluster
    from pipeline.flink.job import running, stop

    lake, chosen = _chosen(datasets)
    names = [dataset.name for dataset in chosen]
    before, cluster = running(lake, chosen), Cluster(lake.flink)
    begun, started = time.monotonic(), list[str]()
    stopped = stop(lake, chosen)

    def go_on(wanted: int) -> str:
        started.append(_started(names, [], wanted))
        cluster.wait_running(started[-1])
        return started[-1]

    try:
        job = go_on(parallelism)
    except BitlakeError as error:
        log.warning("going on with a parallelism of %d again: %s", before.parallelism, error.message)
        for failed in started:
            cluster.cancel(failed)
            cluster.wait(failed)
        job = go_on(before.parallelism)
        raise Refused(
            f"the job could not run with a parallelism of {parallelism}: {error.message}",
            next_step=f"it runs on as before, as job {job}; see that the cluster has {parallelism} slots",
        ) from error
    settings.output.record(
        {
            "job": job,
            "parallelism": parallelism,
            "savepoint": stopped["savepoint"],
            "outage_seconds": round(time.monotonic() - begun, 3),
        }
    )


def _chosen(datasets: list[str] | None) -> "tuple[LakeConfig, list[DatasetConfig]]":
    from pipeline.lake import Lake

    lake = Lake.open(settings.config).config
    return lake, [lake.dataset(name) for name in datasets or ()] or list(lake.datasets)


def _started(names: list[str], words: list[str], parallelism: int | None) -> str:
    """Run `jobs.flink_job` by the Python that has PyFlink; the job's id."""
    from stack.client import client

    python, environment = client()
    more = [] if parallelism is None else ["--parallelism", str(parallelism)]
    command = [str(python), "-m", "jobs.flink_job", str(settings.config.absolute()), *names, *words, *more]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    told = _last_json(done.stdout)
    if "job" in told:
        return str(told["job"])
    if "error" in told:
        kinds = {"Unavailable": Unavailable, "BadInput": BadInput}
        raise kinds.get(told["kind"], Refused)(told["error"], next_step=told["next_step"])
    raise BitlakeError(
        f"the job could not be submitted (status {done.returncode}): {done.stderr.strip()[-3000:]}",
        next_step="see the cause above; `bitlake -v submit` tells more",
    )


def _last_json(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {}


submit_app.command()(answering(_submit))
rescale_app.command()(answering(_rescale))
