"""A path that is declared under another name: the old column keeps what it has, whatever becomes of its rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake import Lake
from tests.property.differential import objects

ENTRY: dict[str, Any] = {
    "name": "reports",
    "table": "ref.reports",
    "key": ["id"],
    "valid_from": "from",
    "valid_to": "to",
    "valid_time": "date",
    "operation": "op",
    "columns": {"note": "string", "income": {"path": "terms.income", "type": "decimal(18,4)"}},
    "children": [{"path": "parts", "key": ["name"], "columns": {"amount": "long"}}],
}
OTHERWISE = ENTRY | {
    "columns": {"note": "string", "exact": {"path": "terms.income", "type": "decimal(18,8)"}},
    "children": [
        {"path": "parts", "key": ["name"], "columns": {"text": {"path": "amount", "type": "string"}}}
    ],
}


def record(key: str, start: str, income: str | None, *amounts: object, **more: str) -> dict[str, object]:
    parts = [{"name": f"p{i}", "amount": amount} for i, amount in enumerate(amounts)]
    terms = {} if income is None else {"terms": {"income": income}}
    return {"id": key, "from": start, **terms, **({"parts": parts} if amounts else {}), **more}


def lake_of(folder: Path, entry: dict[str, Any]) -> Lake:
    (folder / "lake.yaml").write_text(json.dumps({"datasets": [entry]}))
    return Lake.open(folder / "lake.yaml", {})


def load(lake: Lake, folder: Path, *lines: object) -> None:
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lake.load_files("reports", [folder / "records.jsonl"])


def told(lake: Lake, table: str) -> dict[tuple[object, ...], dict[str, object]]:
    """What was believed: rows by what no later record changes."""
    rows = objects(lake.history(table))
    identity = ("id", "name", "valid_from", "system_from")
    return {
        tuple(row.get(n) for n in identity): {n: v for n, v in row.items() if n != "system_to"}
        for row in rows
    }


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_what_was_known_stays_known(tmp_path: Path, mode: str) -> None:
    before = lake_of(tmp_path, ENTRY | {"mode": mode})
    load(
        before,
        tmp_path,
        record("A", "2024-01-01", "10.5000", 1, 2, to="2025-01-01"),
        record("B", "2024-01-01", "20.2500", 3),
        record("C", "2024-01-01", "30.1250", 4),
    )
    known = {table: told(before, table) for table in before.tables}
    after = lake_of(tmp_path, OTHERWISE | {"mode": mode})
    load(
        after,
        tmp_path,
        record("A", "2024-03-01", "11.12345678", "x", to="2024-04-01"),  # leaves two pieces of the old row
        record("B", "2024-06-01", None, note="late", op="patch"),
        record("D", "2024-01-01", "1.00000001", "y"),
    )
    for table, rows in known.items():
        now = told(after, table)
        for identity, row in rows.items():
            assert now[identity].items() >= row.items()
    now = {
        (r["id"], r["valid_from"]): (r["income"], r["exact"], r["note"])
        for r in objects(after.history("reports"))
        if r["system_to"] is None
    }
    assert now == {
        ("A", "2024-01-01"): ("10.5000", None, None),
        ("A", "2024-03-01"): (None, "11.12345678", None),
        ("A", "2024-04-01"): ("10.5000", None, None),
        ("B", "2024-01-01"): ("20.2500", None, None),
        ("B", "2024-06-01"): ("20.2500", None, "late"),
        ("C", "2024-01-01"): ("30.1250", None, None),
        ("D", "2024-01-01"): (None, "1.00000001", None),
    }
    parts = {
        (r["id"], r["name"], r["valid_from"]): (r["amount"], r["text"])
        for r in objects(after.history("reports__parts"))
        if r["system_to"] is None
    }
    assert parts[("A", "p0", "2024-03-01")] == (None, "x")
    assert parts[("A", "p1", "2024-04-01")] == (2, None)
    assert parts[("B", "p0", "2024-01-01")] == (3, None)


def test_a_column_that_is_declared_again_gets_values_again(tmp_path: Path) -> None:
    load(lake_of(tmp_path, ENTRY), tmp_path, record("A", "2024-01-01", "1.0000"))
    load(lake_of(tmp_path, OTHERWISE), tmp_path, record("A", "2024-02-01", "2.00000001"))
    again = lake_of(tmp_path, ENTRY)
    load(again, tmp_path, record("A", "2024-03-01", "3.0000"))
    rows = [row for row in objects(again.history("reports")) if row["system_to"] is None]
    assert [
        (row["income"], row["exact"]) for row in sorted(rows, key=lambda row: str(row["valid_from"]))
    ] == [
        ("1.0000", None),
        (None, "2.00000001"),
        ("3.0000", None),
    ]
