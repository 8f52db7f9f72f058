"""Commands that other packages bring: entry points of the group ``bitlake.commands``, loaded when called."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

GROUP = "bitlake.commands"


def _brought(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUP, name=name)), None)


class Commands(TyperGroup):
    """The commands of the library, then those brought by others."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names."""
        return [*super().list_commands(ctx), *sorted(e.name for e in entry_points(group=GROUP))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        brought = _brought(cmd_name)
        if brought is None:
            return None
        command = typer.main.get_command(brought.load())
        # An app has no name, and a command that of its function; the help shows what the command says.
        command.name = cmd_name
        return command
