"""Answers as small tables on a terminal."""

import pyarrow as pa
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from pipeline.demo.spelling import decimals_of, spell

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
    shown = rows.slice(0, MOST_ROWS)
    columns = [_cells(name, shown[name], show) for name in show]
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    if rows.num_rows > MOST_ROWS:
        return Group(table, f"  ... and {rows.num_rows - MOST_ROWS} more")
    return table


def _cells(name: str, column: pa.ChunkedArray, told: tuple[str, ...]) -> list[str]:
    nothing = "∞" if name in ("valid_to", "system_to") else "-"
    decimals = decimals_of(column)
    return [
        nothing if value is None else spell(_untold(value, told), decimals) for value in column.to_pylist()
    ]


def _untold(value: object, told: tuple[str, ...]) -> object:
    """A struct without the members that other columns of the table tell."""
    if isinstance(value, dict):
        return {name: item for name, item in value.items() if name not in told}
    return value
