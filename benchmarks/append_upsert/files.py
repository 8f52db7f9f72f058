"""What a table's files are, by Trino's view of its metadata; and its compaction there."""

import time
from typing import Any

from pipeline.views.trino_client import TrinoClient

_CONTENT = {0: "data", 1: "position_deletes", 2: "equality_deletes"}


def tables_of(trino: TrinoClient, table: str) -> list[str]:
    """A subject's table and its child tables."""
    namespace, _, name = table.partition(".")
    found = trino.ask(
        f"SELECT table_name FROM lake.information_schema.tables WHERE table_schema = '{namespace}'"
        " AND table_type = 'BASE TABLE'"
    )
    names = sorted(row[0] for row in found.rows)
    return [f"{namespace}.{one}" for one in names if one == name or one.startswith(f"{name}__")]


def drop(trino: TrinoClient, table: str) -> None:
    """Drop what an earlier time left of a subject: its tables and their views."""
    for one in tables_of(trino, table):
        for view in ("history", "current"):
            trino.ask(f"DROP VIEW IF EXISTS lake.{one}_{view}")
        trino.ask(f"DROP TABLE lake.{one}")


def size(trino: TrinoClient, tables: list[str]) -> dict[str, Any]:
    """Files, bytes and rows of tables' current snapshots by what files hold; and how many snapshots are."""
    total: dict[str, Any] = {kind: {"files": 0, "bytes": 0, "rows": 0} for kind in _CONTENT.values()}
    total["snapshots"] = 0
    for table in tables:
        namespace, _, name = table.partition(".")
        rows = trino.ask(
            "SELECT content, count(*), sum(file_size_in_bytes), sum(record_count)"
            f' FROM lake.{namespace}."{name}$files" GROUP BY content'
        ).rows
        for content, *figures in rows:
            part = total[_CONTENT[content]]
            for kind, figure in zip(("files", "bytes", "rows"), figures, strict=True):
                part[kind] += figure
        total["snapshots"] += trino.ask(f'SELECT count(*) FROM lake.{namespace}."{name}$snapshots"').rows[0][
            0
        ]
    return total


def compact(trino: TrinoClient, tables: list[str]) -> float:
    """Let Trino write small files, and what deletes left of others, together; the seconds that took."""
    begun = time.monotonic()
    for table in tables:
        trino.ask(f"ALTER TABLE lake.{table} EXECUTE optimize")
    return round(time.monotonic() - begun, 3)
