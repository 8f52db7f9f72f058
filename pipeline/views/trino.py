"""The views as SQL for Trino: every version once, and what is believed now."""

from dataclasses import dataclass

from pipeline.query.shape import Shape, quoted
from pipeline.query.stored import StoredTable
from pipeline.sink.conventions import MODE

_NO_END = "TIMESTAMP '9999-12-31 00:00:00 UTC'"


@dataclass(frozen=True)
class View:
    """A view: its name, and the statement that makes it."""

    name: str
    statement: str


def trino_views(table: StoredTable, catalog: str) -> tuple[View, View]:
    """``<table>_history`` and ``<table>_current``.

    In append mode closed wins; a condition on the key, valid time or system_from goes below that to the scan.
    In upsert mode the table has each version once.

    Args:
        table: an Iceberg table of versions.
        catalog: Trino's name for the Iceberg catalog.
    """
    shape = Shape.of(table)
    rows = _qualified(catalog, table.identifier)
    columns = ", ".join(f"o.{quoted(field.name)}" for field in shape.fields)
    versions = f"SELECT {columns}\nFROM {rows} o"
    believed = f"{versions}\nWHERE o.system_to = {_NO_END}"
    if table.properties.get(MODE) == "upsert":
        return (
            _view(catalog, table.identifier, "history", versions),
            _view(catalog, table.identifier, "current", believed),
        )
    twins = " AND ".join(
        f"c.{quoted(name)} = o.{quoted(name)}"
        for name in (*(field.name for field in shape.key), "system_from", "valid_from")
    )
    believed += (
        f"\n  AND NOT EXISTS (\n    SELECT 1 FROM {rows} c\n    WHERE {twins}\n"
        f"      AND c.system_to < {_NO_END})"
    )
    superseded = f"{versions}\nWHERE o.system_to < {_NO_END}"
    return (
        _view(catalog, table.identifier, "history", f"{superseded}\nUNION ALL\n{believed}"),
        _view(catalog, table.identifier, "current", believed),
    )


def _view(catalog: str, identifier: tuple[str, ...], suffix: str, query: str) -> View:
    name = _qualified(catalog, (*identifier[:-1], f"{identifier[-1]}_{suffix}"))
    return View(name, f"CREATE OR REPLACE VIEW {name} AS\n{query}")


def _qualified(catalog: str, identifier: tuple[str, ...]) -> str:
    *namespace, table = identifier
    return ".".join(quoted(part) for part in (catalog, ".".join(namespace), table))
