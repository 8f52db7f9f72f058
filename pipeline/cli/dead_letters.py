"""`bitlake dead-letters`: what could not be applied, and why."""

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import TakeOver, Wait, answering, asking, settings
from pipeline.cli.output import Format
from pipeline.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query.dead_letters import Wanted

dead_letters_app = typer.Typer(no_args_is_help=True, help="Records that could not become changes, and why.")
Dataset = Annotated[str | None, typer.Option("--dataset", help="Only of this dataset.", show_default=False)]
Stage = Annotated[
    str | None, typer.Option("--stage", help="Only those that this step refused.", show_default=False)
]
_BYTES = ("key", "value")
_FIRST = ("id", "dataset", "stage", "reason", "advice", "value")


@dead_letters_app.command("list")
@asking
def list_(
    dataset: Dataset = None,
    stage: Stage = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the oldest.")] = None,
) -> None:
    """Dead letters that were not replayed, the oldest first."""
    rows = _told(_waiting(_wanted(dataset, stage, None, limit)))
    settings.output.rows(rows.select(list(_FIRST)) if settings.format is Format.TABLE else rows)


@dead_letters_app.command()
@asking
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="As `bitlake dead-letters list` tells.")],
    raw: Annotated[bool, typer.Option("--raw", help="Only the record's value, byte for byte.")] = False,
) -> None:
    """One dead letter with everything that is known of it."""
    from pipeline.cli.plain import plain_rows
    from pipeline.query.dead_letters import Wanted

    rows = _waiting(Wanted(ids=(letter,)))
    if not rows.num_rows:
        raise BadInput(
            f"No dead letter '{letter}' waits here.",
            next_step="`bitlake dead-letters list` lists them; one that was replayed is in the table still,"
            " which `bitlake sql` can ask.",
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
) -> None:
    """Apply dead letters again, after their cause was mended; those refused again stay."""
    from pipeline.cli.progress import watching
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    wanted = _wanted(dataset, stage, tuple(letters) if letters else None)
    with watching(dataset or "dead letters", quiet=settings.quiet) as watcher:
        summary = lake.replay_dead_letters(wanted, take_over=take_over, watcher=watcher, wait=wait)
    settings.output.record(dataclasses.asdict(summary))
    if summary.dead_letters and settings.format is Format.TABLE:
        typer.echo("What is still refused, and why: bitlake dead-letters list", err=True)


def _wanted(
    dataset: str | None, stage: str | None, ids: tuple[str, ...] | None, limit: int | None = None
) -> "Wanted":
    from pipeline.query.dead_letters import Wanted
    from pipeline.sink.dead_letter_table import STAGES

    if stage is not None and stage not in STAGES:
        raise BadInput(f"No step is called '{stage}'.", next_step=f"One of: {', '.join(STAGES)}.")
    return Wanted(dataset, stage, ids, limit)


def _waiting(wanted: "Wanted") -> "pa.Table":
    from pipeline.lake import Lake
    from pipeline.sink.dead_letter_table import DEAD_LETTERS

    lake = Lake.open(settings.config)
    letters = lake.dead_letters()
    found = letters.waiting(wanted) if letters is not None else DEAD_LETTERS.empty_table()
    if wanted.dataset is not None and not found.num_rows:  # else it may be one that lake.yaml has no more
        lake.config.dataset(wanted.dataset)
    return found


def _told(rows: "pa.Table") -> "pa.Table":
    """With records as text where they are; what is not UTF-8 is replaced by U+FFFD."""
    import pyarrow as pa

    for name in _BYTES:
        text = [None if value is None else _text(value) for value in rows[name].to_pylist()]
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(text, pa.string()))
    return rows


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", errors="replace")
