"""`bitlake load`."""

import dataclasses
from typing import Annotated

import typer

from pipeline.cli.options import settings
from pipeline.cli.output import Format


def load(
    dataset: Annotated[str, typer.Argument(help="The dataset that the records are of.")],
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="JSON Lines, also .gz and .zst; - is standard input."),
    ],
    envelope: Annotated[
        bool, typer.Option("--envelope", help='Each line is {"timestamp": ..., "key": ..., "value": ...}.')
    ] = False,
    fail_on_dead_letters: Annotated[
        bool, typer.Option("--fail-on-dead-letters", help="Exit with status 1 if there are any.")
    ] = False,
) -> None:
    """Load records into a dataset; a load that was stopped goes on where it was."""
    from pipeline.cli.progress import watching
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    with watching(dataset, quiet=settings.quiet) as watcher:
        summary = lake.load_files(dataset, files, envelope=envelope, watcher=watcher)
    settings.output.record(dataclasses.asdict(summary))
    if summary.dead_letters and settings.format is Format.TABLE:
        typer.echo(f"What was not applied, and why: bitlake dead-letters list --dataset {dataset}", err=True)
    if summary.dead_letters and fail_on_dead_letters:
        raise typer.Exit(1)
