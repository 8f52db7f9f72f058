"""Answers as small tables on a terminal."""

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

MOST_ROWS = 8
NOTHING = "(no rows: nothing is known)"


def table_of(rows: pa.Table, show: tuple[str, ...]) -> RenderableType:
    """The first rows of an answer, the given columns only."""
    if not rows.num_rows:
        return f"  [yellow]{NOTHING}[/]"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold cyan")
    for name in show:
        kind = rows.schema.field(name).type
        right = pa.types.is_decimal(kind) or pa.types.is_integer(kind)
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in rows.select(show).slice(0, MOST_ROWS).to_pylist():
        table.add_row(*(cell(row[name], name) for name in show))
    if rows.num_rows > MOST_ROWS:
        return Group(table, f"  ... and {rows.num_rows - MOST_ROWS} more")
    return table


def cell(value: object, name: str) -> str:
    """A value as a person reads it; no end is an infinity sign, and decimals lose padding zeros."""
    match value:
        case None:
            return "∞" if name in ("valid_to", "system_to") else "-"
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case date():
            return value.isoformat()
        case dict():
            return ", ".join(f"{key} {cell(item, key)}" for key, item in value.items())
        case _:
            return str(value)
