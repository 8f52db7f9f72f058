"""The demo from beginning to end, for a reader at a terminal (or of a log)."""

import time
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from pipeline.demo.answers import table_of
from pipeline.demo.picture import draw
from pipeline.demo.place import DATASETS, Place
from pipeline.demo.questions import FRN, QUESTIONS, Ask, Question
from pipeline.demo.rates import ATTRIBUTION
from pipeline.lake import Lake

_INTRO = """\
[bold]Real data[/]: every euro reference rate of the European Central Bank since 1999, as it was published.
[bold]Small streams[/], invented: a floating-rate bond, corporate actions, quarterly reports, corrected."""
_MORE = """\
  cd {directory}
  bitlake timeline bonds --key isin={frn}   # every segment believed now
  bitlake history bonds --key isin={frn}    # every version, also superseded ones
  bitlake dead-letters list                        # one coupon came with a comma: kept, with the reason
  bitlake sql "select currency, count(*) from rates group by 1 order by 1"
  bitlake --help

  python -c 'from pipeline import Lake; print(Lake.open("lake.yaml").timeline("bonds"))'"""


def show(directory: Path, console: Console, *, force: bool) -> None:
    """See `pipeline.demo.run`."""
    place = Place(directory)
    console.print(Panel(_INTRO, title="bitlake demo", border_style="cyan", padding=(0, 1)))
    if place.finished and not force:
        console.print(f"{directory} holds a finished demo: asking it again (--force loads anew).\n")
        lake = Lake.open(place.config)
    else:
        lake = _load(place, console)
    for number, question in enumerate(QUESTIONS, 1):
        _answer(number, question, lake, console)
    _draw(lake, place)
    _end(place, console)


def _load(place: Place, console: Console) -> Lake:
    with console.status("writing the records ..."):
        place.prepare()
    console.print(f"A lake in [bold]{place.directory}[/]: lake.yaml says what the records mean.\n")
    lake = Lake.open(place.config)
    for dataset in DATASETS:
        started = time.monotonic()
        path = place.file(dataset).relative_to(place.directory)
        console.print(f"[green]$ bitlake load --envelope {dataset} {path}[/]", highlight=False)
        with console.status(f"loading {dataset} ..."):
            done = lake.load_files(dataset, [place.file(dataset)], envelope=True)
        console.print(
            f"  {done.records:,} records in {time.monotonic() - started:.1f} s: {done.changes:,} changes,"
            f" {done.versions:,} versions, {done.no_ops:,} no-ops, {done.dead_letters:,} dead letters",
            highlight=False,
        )
    place.finish()
    return lake


def _answer(number: int, question: Question, lake: Lake, console: Console) -> None:
    console.print(f"\n[bold]{number}. {question.words}[/]", highlight=False)
    for ask in question.asks:
        console.print(Text(f"$ {ask.text}", style="green"), soft_wrap=True)
        console.print(table_of(ask.answer(lake), ask.show))
    if question.remark:
        console.print(f"[dim]{question.remark}[/]", highlight=False)


def _draw(lake: Lake, place: Place) -> None:
    draw(
        Ask("history", "bonds", (), {"isin": FRN}).answer(lake),
        place.picture,
        label="coupon",
        title="The coupon of a floating-rate bond, and what it was believed to be",
        note=f"bitlake demo · bond {FRN} (invented) · drawn from `bitlake history bonds --key isin={FRN}`",
    )


def _end(place: Place, console: Console) -> None:
    console.print(f"\n[bold]The picture[/] of the bond's versions: [bold]{place.picture}[/]")
    console.print("\n[bold]Ask more[/]")
    console.print(Text(_MORE.format(directory=place.directory, frn=FRN)), soft_wrap=True)
    console.print(f"\n[dim]{ATTRIBUTION} Publication at 16:00 Frankfurt time is assumed for every day.[/]\n")
