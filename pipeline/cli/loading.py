"""`bitlake load`."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import TakeOver, Wait, settings
from pipeline.cli.output import Format
from pipeline.cli.starting import import_engine

if TYPE_CHECKING:
    from pipeline.cli.progress import LoadWatcher
    from pipeline.engine.epoch import Summary
    from pipeline.lake import Lake


def load(
    dataset: Annotated[str, typer.Argument(help="The dataset that the records are of.")],
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="JSON Lines, also .gz and .zst; - is standard input."),
    ],
    envelope: Annotated[
        bool, typer.Option("--envelope", help='Each line is {"timestamp": ..., "key": ..., "value": ...}.')
    ] = False,
    take_over: TakeOver = False,
    fail_on_dead_letters: Annotated[
        bool, typer.Option("--fail-on-dead-letters", help="Exit with status 1 if there are any.")
    ] = False,
    wait: Wait = None,
) -> None:
    """Load records into a dataset; a load that was stopped goes on where it was."""
    import_engine()
    from pipeline.cli.progress import watching
    from pipeline.cli.stopping import stopping
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    with (
        watching(dataset, quiet=settings.quiet) as watcher,
        stopping(lambda: _told_where(watcher)),
    ):
        summary = lake.load_files(
            dataset, files, envelope=envelope, take_over=take_over, watcher=watcher, wait=wait
        )
    settings.output.record(dataclasses.asdict(summary))
    if summary.dead_letters and settings.format is Format.TABLE:
        typer.echo(_told_why(lake, dataset, summary, watcher), err=True)
    if summary.dead_letters and fail_on_dead_letters:
        raise typer.Exit(1)


def _told_where(watcher: "LoadWatcher") -> str:
    """What a load that was stopped has done, and how it goes on."""
    position = watcher.position
    if position is None:
        return "Stopped before anything new was committed. The same command goes on where the last one was."
    done, file = watcher.summary.records, position.progress["current"]
    if position.progress["finished"]:
        where = "The files were read to their end."
    elif file is None:
        where = (
            "Standard input can't be gone on with; what is sent again is new records:"
            " those that change nothing are no-ops."
        )
    else:
        where = f"The same command goes on after line {position.progress['line']:,} of {file['path']}."
    return f"Stopped. {done:,} records of this load are committed. {where}"


def _told_why(lake: "Lake", dataset: str, summary: "Summary", watcher: "LoadWatcher") -> str:
    """How many records are dead letters, the commonest reason, and what to do."""
    from pipeline.query.dead_letters import Wanted

    letters, count, total = lake.dead_letters(), summary.dead_letters, summary.records
    see = f"See them: bitlake dead-letters list --dataset {dataset}"
    if letters is None or watcher.position is None:
        return see
    cause = letters.causes(Wanted(dataset), since=watcher.position.epoch - summary.epochs + 1)[0]
    if count == total:
        what = f"Nothing was applied: {_are(total)}."
    else:
        what = f"{count:,} of {total:,} records {'is a dead letter' if count == 1 else 'are dead letters'}."
    often = "" if count == 1 else "All: " if cause.letters == count else f"Most often ({cause.letters:,}): "
    replay = f"If lake.yaml was wrong, correct it, then: bitlake dead-letters replay --dataset {dataset}"
    return "\n  ".join(
        (what, f"{often}{cause.stage}: {cause.reason}", f"What to do: {cause.advice}", see, replay)
    )


def _are(total: int) -> str:
    return "the record is a dead letter" if total == 1 else f"all {total:,} records are dead letters"
