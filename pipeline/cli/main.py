"""The command `bitlake`: exit status 0 is done, 1 failed, 2 wrong usage, 130 interrupted."""

import atexit
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import inspection, loading, questions, running
from pipeline.cli.config_commands import config_app, infer, init
from pipeline.cli.dead_letters import dead_letters_app
from pipeline.cli.options import (
    Config,
    Debug,
    Logs,
    Quiet,
    Settings,
    Verbose,
    answering,
    asking,
    errors_told,
    settings,
    with_common_options,
)
from pipeline.cli.plugins import Commands

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("bitlake"))
        raise typer.Exit


@app.callback()
def bitlake(
    config: Config = None,
    verbose: Verbose = 0,
    quiet: Quiet = False,
    log_format: Logs = None,
    debug: Debug = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """JSON records in, bi-temporal Iceberg tables out: what was true when, and what was known when."""
    settings.add(config=config, verbose=verbose, quiet=quiet, log_format=log_format, debug=debug)
    settings.configure_logs()


@app.command()
@with_common_options
def demo(
    directory: Annotated[Path, typer.Argument(help="Where the demo's lake goes.")] = Path("bitlake-demo"),
    force: Annotated[bool, typer.Option("--force", help="Load again, although it was done.")] = False,
) -> None:
    """Real data, questions, answers and a picture, all on this machine."""
    from rich.console import Console

    from pipeline.demo import run

    logging.getLogger("pipeline.lake").setLevel(logging.ERROR)
    run(directory, Console(), force=force)


app.command()(answering(loading.load))
app.command()(answering(running.run))
for _command in (
    questions.asof,
    questions.timeline,
    questions.history,
    questions.diff,
    questions.sql,
    inspection.status,
):
    app.command()(asking(_command))
app.command()(answering(inspection.views))
app.command()(answering(inspection.relocate))
app.command()(init)
app.command()(infer)
app.add_typer(config_app, name="config")
app.add_typer(dead_letters_app, name="dead-letters")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line and exit."""
    settings.__dict__.update(Settings().__dict__)
    try:
        with errors_told():
            app(arguments, prog_name="bitlake")
    except SystemExit as ended:
        # DuckDB would tell of objects that it calls leaked.
        if arguments is None and (settings.answered or "duckdb" in sys.modules):
            _leave(ended.code)
        raise


def _leave(code: object) -> None:
    """End the process without taking a thousand modules apart, which costs a fifth of a question's time."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # the interpreter tells of it
        return
    atexit._run_exitfuncs()
    os._exit(code if isinstance(code, int) else int(code is not None))
