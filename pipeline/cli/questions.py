"""`bitlake asof`, `timeline`, `history`, `diff`, `sql`."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import settings
from pipeline.cli.output import Format
from pipeline.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.lake import Lake

_MOMENT = "a date, a timestamp (UTC where it has no offset), or now"
Table = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset, or a child table: DATASET__array.")]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="COL=V", help="Only this key; once per column.", show_default=False),
]
Provenance = Annotated[
    bool, typer.Option("--provenance", help="Also which changes opened and closed a version.")
]
SystemTime = Annotated[
    str | None, typer.Option("--system", metavar="T", help=f"As known then: {_MOMENT}. Default: the latest.")
]


def asof(
    table: Table,
    valid: Annotated[str, typer.Option("--valid", metavar="T", help=f"About then: {_MOMENT}.")] = "now",
    system: SystemTime = None,
    key: Keys = None,
    provenance: Provenance = False,
) -> None:
    """What was believed at one time about another."""
    from pipeline.lake import Lake

    _check_moments(valid=valid, system=system)
    lake = Lake.open(settings.config)
    rows = lake.asof(table, valid=valid, system=system, key=_keys(key, lake, table), provenance=provenance)
    settings.output.rows(rows)


def timeline(
    table: Table,
    system: SystemTime = None,
    key: Keys = None,
    provenance: Provenance = False,
) -> None:
    """All segments believed at a system time."""
    from pipeline.lake import Lake

    _check_moments(system=system)
    lake = Lake.open(settings.config)
    rows = lake.timeline(table, system=system, key=_keys(key, lake, table), provenance=provenance)
    if settings.format is Format.TABLE:
        rows = by_valid_time(rows, [column.name for column in lake.tables[table].key])
    settings.output.rows(rows)


def history(
    table: Table,
    key: Keys = None,
    provenance: Provenance = False,
) -> None:
    """All versions, superseded ones too."""
    from pipeline.lake import Lake

    lake = Lake.open(settings.config)
    settings.output.rows(lake.history(table, key=_keys(key, lake, table), provenance=provenance))


def diff(
    table: Table,
    before: Annotated[
        str, typer.Option("--from", metavar="T", help=f"Belief at this system time: {_MOMENT} ...")
    ],
    after: Annotated[
        str | None, typer.Option("--to", metavar="T", help="... and at this one. Default: the latest.")
    ] = None,
    key: Keys = None,
) -> None:
    """What changed in belief between two system times."""
    from pipeline.lake import Lake

    _check_moments(**{"from": before, "to": after})
    lake = Lake.open(settings.config)
    settings.output.rows(lake.diff(table, before, after, key=_keys(key, lake, table)))


def sql(
    query: Annotated[
        str, typer.Argument(help="SQL of DuckDB, such as SELECT * FROM bonds_asof('2024-01-31').")
    ],
) -> None:
    """Ask in SQL: DATASET, DATASET_current, DATASET_asof(valid, system), DATASET_timeline(system)."""
    from pipeline.lake import Lake

    settings.output.rows(Lake.open(settings.config).sql(query))


def by_valid_time(rows: "pa.Table", key: list[str]) -> "pa.Table":
    """A timeline as people read one, from left to right."""
    import pyarrow as pa

    if not all(name in rows.column_names for name in key) or any(
        isinstance(rows.schema.field(name).type, pa.BaseExtensionType) for name in key
    ):
        return rows
    return rows.sort_by([(name, "ascending") for name in (*key, "valid_from")])


def _keys(given: list[str] | None, lake: "Lake", table: str) -> dict[str, str] | None:
    """The values by column; a key column may have a ``=`` in its name."""
    columns = [column.name for column in lake.tables[table].key] if table in lake.tables else []
    keys = {}
    for text in given or ():
        name, mark, value = text.partition("=")
        for known in (column for column in columns if text.startswith(f"{column}=")):
            if len(known) > len(name):
                name, value = known, text.removeprefix(f"{known}=")
        if not mark or not name:
            raise typer.BadParameter(f"'{text}' is not of the form column=value", param_hint="--key")
        keys[name] = value
    return keys or None


def _check_moments(**given: str | None) -> None:
    from pipeline.query.instants import instant

    for option, text in given.items():
        try:
            instant("now" if text is None else text)
        except BadInput as error:
            raise typer.BadParameter(
                f"{error.message}: {error.next_step}", param_hint=f"--{option}"
            ) from error
