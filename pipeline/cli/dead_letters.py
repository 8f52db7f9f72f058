"""`bitlake dead-letters`: what could not be applied, and why."""

import dataclasses
import sys
from collections.abc import Sized
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pipeline.cli.options import TakeOver, Wait, answering, asking, settings
from pipeline.cli.output import Format
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipeline.query.dead_letters import DeadLetters, Wanted

Answer = TypeVar("Answer", bound=Sized)
dead_letters_app = typer.Typer(no_args_is_help=True, help="Records that could not become changes, and why.")
Dataset = Annotated[str | None, typer.Option("--dataset", help="Only of this dataset.", show_default=False)]
Stage = Annotated[
    str | None, typer.Option("--stage", help="Only those that this step refused.", show_default=False)
]
File = Annotated[
    str | None,
    typer.Option(
        "--file", metavar="NAME", help="Only of this file: as it was loaded, or its name.", show_default=False
    ),
]
_BYTES = ("key", "value")
_MOST_FILE = 40
"""Characters of a file's name in tables: the last ones."""


class Listed(StrEnum):
    """What `list --status` takes."""

    DEAD = "dead"
    REPLAYED = "replayed"
    DISMISSED = "dismissed"
    ALL = "all"


@dead_letters_app.command("list")
@asking
def list_(
    dataset: Dataset = None,
    stage: Stage = None,
    file: File = None,
    status: Annotated[
        Listed, typer.Option("--status", help="Those that wait (dead), or what became of them.")
    ] = Listed.DEAD,
    every: Annotated[bool, typer.Option("--all", help="The same as --status all.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the oldest.")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Only how many there are, by reason.")] = False,
) -> None:
    """Dead letters that wait: neither replayed nor dismissed, the oldest first."""
    from pipeline.query.dead_letters import STATUSES

    chosen = next((known for known in STATUSES if known == status and not every), None)
    wanted = dataclasses.replace(_wanted(dataset, stage, None, limit, file), status=chosen)
    if summary:
        causes = _asked(wanted, lambda letters: letters.causes(wanted))
        settings.output.records([dataclasses.asdict(cause) for cause in causes or ()])
        return
    rows = _told(_found(wanted))
    settings.output.rows(_first(rows) if settings.format is Format.TABLE else rows)


@dead_letters_app.command()
@asking
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `bitlake dead-letters list` tells.")],
    raw: Annotated[bool, typer.Option("--raw", help="Only the record's value, byte for byte.")] = False,
) -> None:
    """One dead letter with everything that is known of it."""
    from pipeline.cli.plain import plain_rows
    from pipeline.query.dead_letters import Wanted

    rows = _found(Wanted(ids=(letter,), status=None))
    if not rows.num_rows:
        raise BadInput(
            f"There is no dead letter '{letter}'.", next_step="`bitlake dead-letters list --all` lists them."
        )
    if raw:
        sys.stdout.buffer.write(rows["value"][0].as_py() or b"")
        return
    told = _told(rows)
    settings.output.record(dict(zip(told.column_names, next(plain_rows(told)), strict=True)))


@dead_letters_app.command()
@answering
def replay(
    letters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Only these; default: all.", show_default=False),
    ] = None,
    dataset: Dataset = None,
    stage: Stage = None,
    take_over: TakeOver = False,
    wait: Wait = None,
    file: File = None,
    fail_on_dead_letters: Annotated[
        bool, typer.Option("--fail-on-dead-letters", help="Exit with status 1 if any is refused again.")
    ] = False,
) -> None:
    """Apply dead letters again, after their cause was mended; those refused again get their new reason."""
    from pipeline.cli.progress import watching
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    wanted = _wanted(dataset, stage, tuple(letters) if letters else None, file=file)
    with watching(dataset or "dead letters", quiet=settings.quiet) as watcher:
        summary = lake.replay_dead_letters(wanted, take_over=take_over, watcher=watcher, wait=wait)
    settings.output.record(dataclasses.asdict(summary))
    if summary.dead_letters and settings.format is Format.TABLE:
        typer.echo("What is still refused, and why: bitlake dead-letters list", err=True)
    refused = summary.dead_letters
    if refused and (refused == summary.records or fail_on_dead_letters):
        raise typer.Exit(1)


@dead_letters_app.command()
@answering
def dismiss(
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; `list --status dismissed` tells it.")
    ],
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="These.", show_default=False)
    ] = None,
    dataset: Dataset = None,
    stage: Stage = None,
    file: File = None,
    every: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
) -> None:
    """Dismiss dead letters whose records were sent again, corrected, or are not wanted."""
    from pipeline.lake import Lake

    if not (letters or dataset or stage or file or every):
        raise typer.BadParameter("Give the IDs of letters, or --dataset, --stage or --file, or --all.")
    lake = Lake.open(settings.config)
    wanted = _wanted(dataset, stage, tuple(letters) if letters else None, file=file)
    dismissed = lake.dismiss_dead_letters(wanted, reason)
    if not dismissed and dataset is not None:  # else it may be one that lake.yaml has no more
        lake.config.dataset(dataset)
    settings.output.record({"dismissed": dismissed})


def _wanted(
    dataset: str | None,
    stage: str | None,
    ids: tuple[str, ...] | None,
    limit: int | None = None,
    file: str | None = None,
) -> "Wanted":
    from pipeline.query.dead_letters import Wanted
    from pipeline.sink.dead_letter_table import STAGES

    if stage is not None and stage not in STAGES:
        raise BadInput(f"No step is called '{stage}'.", next_step=f"One of: {', '.join(STAGES)}.")
    return Wanted(dataset, stage, ids, limit, file)


def _asked(wanted: "Wanted", ask: "Callable[[DeadLetters], Answer]") -> "Answer | None":
    """An answer about dead letters; None if there is no table of them, as before the first load."""
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    letters = lake.dead_letters()
    found = ask(letters) if letters is not None else None
    if wanted.dataset is not None and not found:  # else it may be one that lake.yaml has no more
        lake.config.dataset(wanted.dataset)
    return found


def _found(wanted: "Wanted") -> "pa.Table":
    from pipeline.query.dead_letters import LETTERS

    return _asked(wanted, lambda letters: letters.find(wanted)) or LETTERS.empty_table()


def _first(rows: "pa.Table") -> "pa.Table":
    """The columns for a terminal: those without a value are left out, but for the main ones."""
    import pyarrow as pa

    names = [_end(name) for name in rows["file"].to_pylist()]
    rows = rows.set_column(rows.schema.get_field_index("file"), "file", pa.array(names, pa.string()))
    status = set(rows["status"].to_pylist()) - {"dead"}
    columns = ["id", "dataset"]
    columns += [name for name in ("file", "line") if rows[name].null_count < rows.num_rows]
    columns += ["status", "status_at", "dismissed_by", "dismissed_reason"] if status else []
    columns += ["tries", "last_try"] if rows["last_try"].null_count < rows.num_rows else []
    return rows.select([*columns, "stage", "reason", "advice", "value"])


def _end(file: str | None) -> str | None:
    return file if file is None or len(file) <= _MOST_FILE else f"…{file[1 - _MOST_FILE :]}"


def _told(rows: "pa.Table") -> "pa.Table":
    """With records as text where they are; what is not UTF-8 is replaced by U+FFFD."""
    import pyarrow as pa

    for name in _BYTES:
        text = [None if value is None else _text(value) for value in rows[name].to_pylist()]
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(text, pa.string()))
    return rows


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", errors="replace")
