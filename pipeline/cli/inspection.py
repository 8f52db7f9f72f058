"""`bitlake status` and `bitlake views`."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.options import Wait, settings
from pipeline.cli.output import Format
from pipeline.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.query.dead_letters import Cause
    from pipeline.query.status import DatasetStatus

MOST_REASONS, FEW_REASONS = 50, 3
"""Reasons of dead letters that status tells of a dataset; in tables."""


def status() -> None:
    """How far each dataset has come, and what its tables hold."""
    from pipeline.lake import Lake

    told = [_told(dataset) for dataset in Lake.open(settings.config).status()]
    if settings.format in (Format.TABLE, Format.CSV):
        for row in told:
            row.pop("tables")
            row["lag"] = None if row["lag"] is None else sum(row["lag"].values())
            row["job"] = row["job"] and (row["job"]["state"] or "not known").lower()
            reasons = row["dead_letter_reasons"][:FEW_REASONS]
            row["dead_letter_reasons"] = {
                f"{one['stage']}: {one['reason']}": one["letters"] for one in reasons
            }
    settings.output.records(told)


def views(
    catalog: Annotated[
        str, typer.Option("--catalog", help="What Trino calls the Iceberg catalog.")
    ] = "iceberg",
    trino: Annotated[
        str | None, typer.Option(metavar="URL", help="Make the views there: http://HOST:PORT.")
    ] = None,
    user: Annotated[
        str, typer.Option(help="Trino's user; the password is in BITLAKE_TRINO_PASSWORD.")
    ] = "bitlake",
) -> None:
    """The views for Trino, <table>_history and <table>_current: print their SQL, or make them."""
    from pipeline.lake import Lake

    found = list(Lake.open(settings.config).trino_views(catalog))
    if trino is not None:
        from pipeline.views.trino_client import TrinoClient

        client = TrinoClient(trino, user, os.environ.get("BITLAKE_TRINO_PASSWORD"))
        known = [name for (name,) in client.ask("SHOW CATALOGS").rows]
        if catalog not in known:
            raise BadInput(
                f"Trino has no catalog '{catalog}'.",
                next_step=f"Give --catalog; there are {', '.join(known)}.",
            )
        for view in found:
            client.ask(view.statement)
        settings.output.records([{"view": view.name} for view in found])
    elif settings.format is Format.TABLE:
        for view in found:
            typer.echo(f"{view.statement};\n")
    else:
        settings.output.records([{"view": view.name, "statement": view.statement} for view in found])


def relocate(wait: Wait = None) -> None:
    """After a lake on this machine was moved or copied: have its tables name the files that are here."""
    from pipeline.lake import Lake

    done = Lake.open(settings.config).relocate(wait=wait)
    settings.output.records([asdict(table) for table in done])
    if not done:
        typer.echo("The lake is where its tables say: nothing to do.", err=True)


def _reasons(causes: "Sequence[Cause]") -> list[dict[str, Any]]:
    """The most common reasons, and the rest of the letters as one."""
    rest = sum(cause.letters for cause in causes[MOST_REASONS:])
    told: list[dict[str, Any]] = [
        {"stage": cause.stage, "reason": cause.reason, "letters": cause.letters}
        for cause in causes[:MOST_REASONS]
    ]
    if rest:
        told.append({"stage": None, "reason": "other reasons", "letters": rest})
    return told


def _told(status: "DatasetStatus") -> dict[str, Any]:
    from pipeline.query.instants import spelled

    position, size = status.position, status.size
    return {
        "dataset": status.dataset,
        "epoch": position.epoch if position else None,
        "horizon": spelled(position.horizon) if position and position.clocks else None,
        "offsets": {str(p): offset for p, offset in sorted(position.offsets.items())} if position else {},
        "clocks": {str(p): spelled(clock) for p, clock in sorted(position.clocks.items())}
        if position
        else {},
        "lag": {str(p): lag for p, lag in status.lag.items()} if status.lag is not None else None,
        "rows": size.rows,
        "files": size.files,
        "bytes": size.bytes,
        "dead_letters": status.dead_letters,
        "dead_letter_reasons": _reasons(status.causes),
        "job": asdict(status.job) if status.job else None,
        "tables": {
            name: {"rows": table.rows, "files": table.files, "bytes": table.bytes}
            for name, table in status.tables.items()
        },
    }
