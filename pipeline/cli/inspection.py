"""`bitlake status` and `bitlake views`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import settings
from pipeline.cli.output import Format

if TYPE_CHECKING:
    from pipeline.query.status import DatasetStatus


def status() -> None:
    """How far each dataset has come, and what its tables hold."""
    from pipeline.lake import Lake

    told = [_told(dataset) for dataset in Lake.open(settings.config).status()]
    if settings.format in (Format.TABLE, Format.CSV):
        for row in told:
            row.pop("tables")
            row["lag"] = None if row["lag"] is None else sum(row["lag"].values())
    settings.output.records(told)


def views(
    catalog: Annotated[
        str, typer.Option("--catalog", help="What Trino calls the Iceberg catalog.")
    ] = "iceberg",
) -> None:
    """Print the SQL that makes the views in Trino: <table>_history and <table>_current."""
    from pipeline.lake import Lake

    for view in Lake.open(settings.config).trino_views(catalog):
        typer.echo(f"{view.statement};\n")


def _told(status: "DatasetStatus") -> dict[str, Any]:
    from pipeline.query.instants import spelled

    position, size = status.position, status.size
    return {
        "dataset": status.dataset,
        "epoch": position.epoch if position else None,
        "horizon": spelled(position.horizon) if position and position.clocks else None,
        "offsets": {str(p): offset for p, offset in position.offsets.items()} if position else {},
        "clocks": {str(p): spelled(clock) for p, clock in position.clocks.items()} if position else {},
        "lag": {str(p): lag for p, lag in status.lag.items()} if status.lag is not None else None,
        "rows": size.rows,
        "files": size.files,
        "bytes": size.bytes,
        "dead_letters": status.dead_letters,
        "tables": {
            name: {"rows": table.rows, "files": table.files, "bytes": table.bytes}
            for name, table in status.tables.items()
        },
    }
