"""Records and rows in few characters, for cases worked out by hand. Days are of January 2024."""

import json
from typing import Any

from .decoding import Record
from .oracle import Model, Row

DAY0 = 19_722
"""31 December 2023, so that day 1 is 1 January 2024."""


def entry(**more: Any) -> dict[str, Any]:
    """A dated next_change dataset with the key ``k`` and the value ``v``."""
    base = {"name": "x", "key": ["k"], "valid_from": "at", "valid_to": "to", "operation": "op"}
    return base | {"valid_time": "date", "columns": {"v": "string", "w": "long"}} | more


CHILDREN = [{"path": "c", "key": ["id"], "columns": {"id": "string", "n": "long"}}]


def rec(system: int, at: int, op: str = "put", **fields: Any) -> Record:
    """A record of key K at a day; ``to`` may be a day. Children: ``c=["x"]`` or ``c={"x": 1}``."""
    document: dict[str, Any] = {"k": "K", "at": f"2024-01-{at:02}", "op": op} | fields
    if isinstance(document.get("to"), int):
        document["to"] = f"2024-01-{document['to']:02}"
    if isinstance(document.get("c"), dict):
        document["c"] = [{"id": i, "n": n} for i, n in document["c"].items()]
    return Record(json.dumps(document).encode(), system, offset=system)


def run(*records: Record, **more: Any) -> Model:
    """The model of `entry` after some records."""
    return Model(entry(**more)).run(records)


def short(row: Row) -> tuple[Any, ...]:
    """(own key and values, from, to, system from, system to): days, None for no end."""
    label = ".".join(str(part) for part in (*row.key[1:], *row.values.values()))
    ends = (row.valid_from - DAY0, None if row.valid_to == 2_932_896 else row.valid_to - DAY0)
    return (label, *ends, row.system_from, row.system_to)


def appended(model: Model, system: int, table: str = "x") -> list[tuple[Any, ...]]:
    """The rows that the change at a system time appended to a table."""
    rows = [r for r in model.rows if r.table == table]
    return [short(r) for r in rows if (r.system_to or r.system_from) == system]


def final(model: Model, table: str = "x") -> list[tuple[Any, ...]]:
    """(label, from, to) of the open segments."""
    return [short(r)[:3] for r in model.timeline(2**62, table)]
