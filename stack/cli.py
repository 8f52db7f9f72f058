"""`bitlake stack`: real servers on this machine."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import answering, settings, with_common_options
from pipeline.cli.output import Format
from pipeline.errors import BadInput
from stack.flink_home import FlinkOptions
from stack.plan import USUAL, Catalog, Wanted, in_order

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
    str | None, typer.Option(help="Of each TaskManager's process; 1728m.", show_default=False)
]
TrinoMemory = Annotated[str | None, typer.Option(help="Trino's heap; 2g.", show_default=False)]
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

    stack = Background(_folder())
    runs = stack.wanted()
    usual = runs or Wanted(USUAL)
    flink = FlinkOptions(
        usual.flink.task_managers if task_managers is None else task_managers,
        task_manager_memory=task_manager_memory or usual.flink.task_manager_memory,
        pinned=pin or usual.flink.pinned,
    )
    catalog = catalog or usual.catalog
    names = {*(_names(only) if only else usual.only), *(runs.only if runs else ())}
    names |= {"seaweedfs", "postgres"} if catalog is Catalog.POSTGRES else set()
    wanted = Wanted(in_order(names), catalog, flink=flink, trino_heap=trino_memory or usual.trino_heap)
    wanted.fetch()
    if settings.format is Format.TABLE and not settings.quiet:
        typer.echo(f"Starting {', '.join(wanted.only)}: half a minute.", err=True)
    if foreground:
        stack.run_here(wanted, lambda: _tell(stack))
        return
    stack.up(wanted)
    _tell(stack)


def _down(
    only: Only = None,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="And what is in them.")] = False,
) -> None:
    """Stop all servers; their data stays for the next start."""
    from stack.control import Background

    stack = Background(_folder())
    runs = stack.wanted()
    if only and delete_data:
        raise BadInput("--delete-data is for all servers.", next_step="Leave out --only.")
    left = set(runs.only) - {*_names(only)} if runs and only else set()
    if runs and left:
        stack.up(replace(runs, only=in_order(left)))
        settings.output.records([_row(server) for server in stack.servers()])
        return
    stopped = stack.down()
    if delete_data:
        stack.delete()
    settings.output.record({"stopped": stopped})


def _status() -> None:
    """How each server is, and where."""
    from stack.control import Background

    rows = [_row(server) for server in Background(_folder()).servers()]
    if not rows and settings.format is Format.TABLE:
        typer.echo("No stack runs here: `bitlake stack up` starts one.")
        return
    settings.output.records(rows)


def _logs(
    servers: Annotated[list[str] | None, typer.Argument(help="Names as status tells; default: all.")] = None,
    lines: Annotated[int, typer.Option(min=1, help="So many of each.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
) -> None:
    """What the servers have printed."""
    from stack.control import Background

    logs = Background(_folder()).logs()
    unknown = [name for name in servers or () if name not in logs]
    if unknown:
        raise BadInput(
            f"No server is called {', '.join(unknown)}.", next_step=f"There are {', '.join(logs) or 'none'}."
        )
    chosen = [str(logs[name]) for name in servers or logs]
    if chosen:
        subprocess.run(
            ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *chosen], check=False
        )


def _names(only: str) -> tuple[str, ...]:
    """What --only names."""
    return Wanted(tuple(name.strip() for name in only.split(",") if name.strip())).only


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
    stack_app.command(_name)(_options(_command))
