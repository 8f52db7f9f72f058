"""`bitlake stack`: real servers on this machine."""

import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import answering, settings, with_common_options
from pipeline.cli.output import Format
from pipeline.errors import BadInput
from stack.asked import Asked, at_least, server_names
from stack.flink import TaskManager
from stack.plan import ALL, Catalog, Wanted, in_order
from stack.told import is_a_folder, places_told
from stack.trino import Trino

if TYPE_CHECKING:
    from stack.control import Background, Known

stack_app = typer.Typer(
    help="Kafka, object store, catalog, Flink and Trino on this machine, without Docker.",
    no_args_is_help=True,
)

Only = Annotated[
    str | None, typer.Option(help="These servers alone, such as kafka,seaweedfs.", show_default=False)
]
TaskManagers = Annotated[
    int | None, typer.Option(min=0, help="Flink's slots: a TaskManager each; 1.", show_default=False)
]
TaskManagerMemory = Annotated[
    str | None,
    # With less, Flink's own needs leave no heap for tasks, and it does not start.
    typer.Option(help="Of each TaskManager's process; 1728m.", show_default=False, callback=at_least("1g")),
]
TrinoMemory = Annotated[
    str | None, typer.Option(help="Trino's heap; 2g.", show_default=False, callback=at_least("512m"))
]
Lists = Annotated[Catalog | None, typer.Option(help="Where the tables are listed; rest.", show_default=False)]
Foreground = Annotated[bool, typer.Option("--foreground", help="Stay, and end the servers with Ctrl-C.")]


def _up(
    only: Only = None,
    task_managers: TaskManagers = None,
    task_manager_memory: TaskManagerMemory = None,
    pin: Annotated[bool, typer.Option("--pin", help="Each TaskManager on a processor of its own.")] = False,
    catalog: Lists = None,
    trino_memory: TrinoMemory = None,
    foreground: Foreground = False,
) -> None:
    """Start the servers, or those that are missing, and write the lake.yaml that fits."""
    from stack.control import Background

    names = None if only is None else server_names(only)
    asked = Asked(names, task_managers, task_manager_memory, pin, catalog, trino_memory)
    if settings.config.is_dir():
        raise is_a_folder(settings.config)
    stack = Background(_folder())
    with ExitStack() as turn:
        turn.enter_context(stack.turn(_tell_that_it_waits))
        runs = stack.wanted()
        wanted = asked.beside(runs)
        wanted.fetch()
        if settings.format is Format.TABLE:
            _say(f"Starting {', '.join(wanted.only)}: half a minute.")

        def ready() -> None:
            _tell(stack)
            turn.close()

        if foreground:
            stack.run_here(wanted, ready)
            return
        _start(stack, wanted)
        ready()
    _tell_what_keeps_its_memory(stack, asked)
    if runs and wanted.catalog is not runs.catalog:
        _say(
            f"lake.yaml's catalog changes from {runs.catalog} to {wanted.catalog}: "
            f"tables of the {runs.catalog} catalog are not in it."
        )


def _start(stack: "Background", wanted: Wanted) -> None:
    try:
        stack.up(wanted)
    except KeyboardInterrupt:
        typer.echo(
            "The servers go on starting: `bitlake stack status` tells how they are, "
            "`bitlake stack up` waits for them, `bitlake stack down` ends them.",
            err=True,
        )
        raise


def _down(
    only: Only = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="And what is in them.")] = False,
) -> None:
    """Stop all servers; their data stays for the next start."""
    from stack.control import Background

    names = None if only is None else server_names(only)
    if names and delete_data:
        raise BadInput("--delete-data is for all servers.", next_step="Leave out --only.")
    stack = Background(_folder())
    with stack.turn(_tell_that_it_waits) if stack.folder.is_dir() else nullcontext():
        runs = stack.wanted()
        left = set(runs.only) - set(names) if runs and names else set()
        if runs and left:
            stack.up(replace(runs, only=in_order(left)))
            settings.output.records([_row(server) for server in stack.servers()])
            return
        told = {"stopped": stack.down()}
        settings.output.record(told | ({"deleted": stack.delete()} if delete_data else {}))


def _status() -> None:
    """How each server is, and where."""
    from stack.control import Background

    rows = [_row(server) for server in Background(_folder()).servers()]
    if not rows and settings.format is Format.TABLE:
        typer.echo("No stack runs here: `bitlake stack up` starts one.")
        return
    settings.output.records(rows)


def _logs(
    servers: Annotated[
        list[str] | None, typer.Argument(help="Names as status tells, or as --only has them; default: all.")
    ] = None,
    lines: Annotated[int, typer.Option(min=1, help="So many of each.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
) -> None:
    """What the servers have printed."""
    from stack.control import Background

    logs = Background(_folder()).logs()
    if not logs:
        typer.echo("There are no logs: no stack has run here. `bitlake stack up` starts one.", err=True)
        return
    chosen = dict.fromkeys(log for name in servers or logs for log in _logs_of(name, logs))
    subprocess.run(["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *chosen], check=False)


def _logs_of(name: str, logs: Mapping[str, Path]) -> list[str]:
    """The logs of a server, or of a name of --only."""
    found = [log for one, log in logs.items() if one == name or (name in ALL and one.startswith(f"{name}-"))]
    if not found:
        raise BadInput(f"There is no log of {name}.", next_step=f"There are {', '.join(logs)}.")
    return [str(log) for log in found]


def _folder() -> Path:
    return settings.config.absolute().parent / ".bitlake" / "stack"


def _row(server: "Known") -> dict[str, Any]:
    return {
        "server": server.name,
        "health": server.health,
        "pid": server.pid,
        "addresses": dict(server.addresses),
        "log": str(server.log),
    }


def _say(text: str) -> None:
    if not settings.quiet:
        typer.echo(text, err=True)


def _tell_that_it_waits() -> None:
    _say("Another `bitlake stack` command changes this stack: this one waits until it is done.")


def _tell_what_keeps_its_memory(stack: "Background", asked: Asked) -> None:
    """Memory that was asked for is given to what is started, not to what runs."""
    for kind, part, memory in (
        (TaskManager.kind, "flink", asked.task_manager_memory),
        (Trino.kind, "trino", asked.trino_memory),
    ):
        if memory is None:
            continue
        kept = [one for one in stack.servers() if one.name.startswith(kind) and one.memory != memory]
        if kept:
            names = ", ".join(f"{one.name} ({one.memory})" for one in kept)
            _say(
                f"These keep the memory they have: {names}. "
                f"For {memory}: `bitlake stack down --only {part}`, then `bitlake stack up --only {part}`."
            )


def _tell(stack: "Background") -> None:
    """Write the lake.yaml, and print how the servers are."""
    from stack import lake

    found = stack.sections()
    file = settings.config
    if not lake.write(file, found):
        file = stack.folder / "lake.yaml"
        file.unlink(missing_ok=True)
        lake.write(file, found)
        typer.echo(
            f"{settings.config} is yours and stays as it is: what fits these servers is in {file}.", err=True
        )
    settings.output.records([_row(server) for server in stack.servers()])


for _name, _command, _options in (
    ("up", _up, answering),
    ("down", _down, answering),
    ("status", _status, answering),
    ("logs", _logs, with_common_options),
):
    stack_app.command(_name)(_options(places_told()(_command)))
