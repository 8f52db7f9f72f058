"""The model's answers as the JSON rows that ``bitlake history --output json --provenance`` prints."""

import base64
import datetime as dt
import itertools
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from .dataset import Column, Table
from .oracle import Model, Origin, Row

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def history_json(model: Model, table: str | None = None, *, provenance: bool = True) -> list[dict[str, Any]]:
    """`Model.history` as JSON objects, in the order in which the command prints them."""
    return rows_json(model, model.history(table), provenance=provenance)


def timeline_json(model: Model, system: int, table: str | None = None) -> list[dict[str, Any]]:
    """`Model.timeline` as JSON objects."""
    return rows_json(model, model.timeline(system, table), provenance=False)


def asof_json(model: Model, valid: int, system: int, table: str | None = None) -> list[dict[str, Any]]:
    """`Model.asof` as JSON objects; ``valid`` in days where valid time is a date."""
    return rows_json(model, model.asof(valid, system, table), provenance=False)


def rows_json(model: Model, rows: Iterable[Row], *, provenance: bool) -> list[dict[str, Any]]:
    """Rows as JSON objects: the columns, valid and system time, then provenance if asked for."""
    return [_row(model, model.dataset.table(row.table), row, provenance) for row in rows]


def without(rows: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """Rows less some columns, e.g. where two runs read the same records from different topics."""
    return [{n: v for n, v in row.items() if n not in names} for row in rows]


def instant_json(us: int) -> str:
    """``2024-01-31T00:00:00.000000Z``."""
    return (_EPOCH + dt.timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def date_json(days: int) -> str:
    """``2024-01-31``."""
    return (_EPOCH + dt.timedelta(days=days)).date().isoformat()


def _row(model: Model, table: Table, row: Row, provenance: bool) -> dict[str, Any]:
    valid = date_json if model.dataset.dated else instant_json
    result = {c.name: _value(c, v) for c, v in zip(table.key, row.key, strict=True)}
    result |= {c.name: _value(c, row.values.get(c.name)) for c in table.columns}
    result["valid_from"] = valid(row.valid_from)
    result["valid_to"] = None if row.valid_to == model.dataset.end else valid(row.valid_to)
    result["system_from"] = instant_json(row.system_from)
    result["system_to"] = None if row.system_to is None else instant_json(row.system_to)
    return result | _provenance(row.opened, row.closed) if provenance else result


def _provenance(opened: Origin, closed: Origin | None) -> dict[str, Any]:
    return {
        "operation": opened.operation,
        "source_topic": opened.topic,
        "source_partition": opened.partition,
        "source_offset": opened.offset,
        "closed_by_operation": closed.operation if closed else None,
        "closed_by_partition": closed.partition if closed else None,
        "closed_by_offset": closed.offset if closed else None,
    }


def _value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.type.name == "date":
        return date_json(value)
    if column.type.name == "timestamp":
        return instant_json(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, uuid.UUID):
        return str(value)
    return value


def diff_json(model: Model, before: int, after: int, table: str | None = None) -> list[dict[str, Any]]:
    """What ``bitlake diff`` prints: the pieces of valid time, cell by cell, that are believed to be others."""
    sides = [model.timeline(system, table) for system in (before, after)]
    columns = model.dataset.table(table or model.dataset.name)
    valid = date_json if model.dataset.dated else instant_json
    result: list[dict[str, Any]] = []
    for key in sorted({row.key for rows in sides for row in rows}):
        own = [[row for row in rows if row.key == key] for rows in sides]
        edges = sorted({edge for rows in own for row in rows for edge in (row.valid_from, row.valid_to)})
        names = {c.name: _value(c, v) for c, v in zip(columns.key, key, strict=True)}
        for low, high in itertools.pairwise(edges):
            old, new = (_believed(columns, names, rows, low) for rows in own)
            end = None if high == model.dataset.end else valid(high)
            change = "added" if old is None else "removed" if new is None else "changed"
            piece = {"change": change, "old": old, "new": new}
            if old == new:
                continue
            last = result[-1] if result else {}
            if last.get("valid_to") == valid(low) and last == {**last, **names, **piece}:
                last["valid_to"] = end
            else:
                result.append({**names, "valid_from": valid(low), "valid_to": end, **piece})
    return result


def _believed(table: Table, names: dict[str, Any], rows: Sequence[Row], at: int) -> dict[str, Any] | None:
    for row in rows:
        if row.valid_from <= at < row.valid_to:
            return names | {c.name: _value(c, row.values.get(c.name)) for c in table.columns}
    return None
