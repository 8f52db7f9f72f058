"""Whether a lake on this machine is still where its tables say: Iceberg's metadata hold whole paths.

This module imports none of Iceberg's library: questions ask it, too.
"""

import os
from collections.abc import Mapping
from typing import Any

from pipeline.errors import Refused
from pipeline.places import is_local, local_path


class Moved(Refused):
    """The lake was moved or copied: its tables name files in another place."""

    def __init__(self, table: str, location: str, warehouse: str) -> None:
        super().__init__(
            f"the lake was moved or copied: the table {table} is at {location}, and not in its warehouse,"
            f" {warehouse}",
            next_step="make the tables name the files that are here: bitlake relocate; nothing was read or"
            " written (if catalog.warehouse in lake.yaml is wrong, correct it instead)",
        )
        self.table = table
        self.location = location
        self.warehouse = warehouse


class Home:
    """The warehouse of a lake on this machine, which all its tables must be in.

    Args:
        properties: the ``catalog`` section of lake.yaml, its places whole paths.
    """

    def __init__(self, properties: Mapping[str, Any]) -> None:
        warehouse = str(properties.get("warehouse") or "")
        local = bool(warehouse) and is_local(warehouse)
        self.folder = os.path.normpath(local_path(warehouse)) if local else None

    def check(self, table: str, *locations: str | None) -> None:
        """Refuse a table that is elsewhere on this machine.

        Raises:
            Moved: it is.
        """
        for location in locations:
            if location is not None and not self.has(location):
                raise Moved(table, location, str(self.folder))

    def has(self, location: str) -> bool:
        """Whether a location is here; one that is not on this machine is nobody's concern."""
        if self.folder is None or not is_local(location):
            return True
        path = local_path(location)
        return is_below(path, self.folder) or self._has_by_another_name(path)

    def _has_by_another_name(self, path: str) -> bool:
        """Whether a folder above a path is this one, by a link or a mount."""
        folder = str(self.folder)
        if not os.path.exists(folder):  # noqa: PTH110
            return False
        while (above := os.path.dirname(path)) != path:  # noqa: PTH120
            path = above
            if os.path.exists(path) and os.path.samefile(path, folder):  # noqa: PTH110, PTH121
                return True
        return False


def is_below(path: str, folder: str) -> bool:
    """Whether a path is in a folder, as they are spelled."""
    return path.startswith(folder.rstrip("/") + "/")
