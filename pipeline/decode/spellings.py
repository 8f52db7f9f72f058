"""What the key columns are called in a message's key that is an object."""

from pipeline.decode.options import Path
from pipeline.schema import Column


def key_spellings(column: Column, columns: tuple[Column, ...]) -> set[Path]:
    """Where a key column may be in a message's key: its name, and what no other column could mean.

    That is its path, nested as in a record or joined by dots as in lake.yaml, and the path's last name.
    """
    taken = {name for other in columns if other is not column for name in _names(other)}
    names = {column.name} | (_names(column) - taken)
    nested = {column.path} if column.path[0] not in taken | names else set()
    return {(name,) for name in names} | nested


def _names(column: Column) -> set[str]:
    return {column.name, ".".join(column.path), column.path[-1]}
