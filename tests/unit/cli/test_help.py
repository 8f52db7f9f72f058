"""The help of the command line."""

import re

import pytest
import typer

from pipeline.cli.main import app


@pytest.mark.parametrize("columns", [80, 140])
def test_every_command_stands_in_the_help_by_its_name(bitlake, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    command = typer.main.get_command(app)
    names = command.list_commands(typer.Context(command))
    assert {"bench", "load", "rescale", "stack", "submit"} <= set(names)

    shown = bitlake("--help").out.partition("Commands")[2]

    assert re.findall(r"^│ (\S+)", shown, re.MULTILINE) == names
