"""The command `bitlake`."""

from importlib.metadata import version
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("bitlake"))
        raise typer.Exit


@app.callback()
def bitlake(
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """JSON records in, bi-temporal Iceberg tables out."""


def main() -> None:
    """Run the command line."""
    app()
