"""Datasets and records in which everything collides: few keys, few days, few values."""

import json
from typing import Any

from .choices import Chooser, chance, pick
from .decoding import Record

Entry = dict[str, Any]
Json = dict[str, Any]

DAYS = 9
"""The grid: 1 to 9 January 2024."""
START_US = 1_706_745_600_000_000
"""2024-02-01, the first system time of a stream; later ones are a few microseconds or seconds on."""
_TICKS = (0, 0, 1, 1, 2, 3, 5, 1_000_000, 2_000_000)


def make_entry(choose: Chooser) -> Entry:
    """A dataset: any mixture of keys, valid times, operations, columns and children."""
    nested = chance(choose, 2)
    entry: Entry = {
        "name": "bonds",
        "table": "ref.bonds",
        "key": pick(choose, [["isin"], ["isin", "venue"], ["id.code"], ["number"]]),
        "valid_from": "effective.from" if nested else "at",
        "valid_end": pick(choose, ["next_change", "next_change", "forever"]),
        "valid_time": pick(choose, ["date", "timestamp"]),
        "columns": _make_columns(choose),
        "on_new_field": pick(choose, ["evolve", "evolve", "evolve", "ignore", "dead_letter"]),
    }
    if entry["key"] == ["number"]:
        entry["columns"]["number"] = "long"
    if chance(choose, 4):
        entry["valid_unit"] = pick(choose, ["s", "ms", "us", "ns"])
    if not chance(choose, 3):
        entry["valid_to"] = "effective.to" if nested else "until"
    if not chance(choose, 4):
        entry["operation"] = "action"
    if chance(choose, 3):
        entry["time_precision"] = "truncate"
    if chance(choose, 3):
        _make_tight(entry)
    children = [dict(c) for c in _CHILDREN if chance(choose, 2)]
    if children:
        entry["children"] = children
    return entry


def _make_tight(entry: Entry) -> None:
    """So few values that parents are often equal and only children, or boundaries, differ."""
    entry |= {"key": ["isin"], "columns": {"callable": "boolean"}, "on_new_field": "ignore"}
    entry["valid_end"] = "next_change"


def make_close_entry(choose: Chooser) -> Entry:
    """A dataset for `make_close_record`: children by key and by position, and children of children."""
    children = [dict(_CHILDREN[i]) for i in (0, 1, 3)]
    return {
        "name": "bonds",
        "table": "ref.bonds",
        "key": ["isin"],
        "valid_from": "at",
        "valid_to": "until",
        "valid_end": pick(choose, ["forever", "next_change"]),
        "valid_time": pick(choose, ["date", "timestamp"]),
        "operation": "action",
        "columns": {"callable": "boolean"},
        "on_new_field": "ignore",
        "children": children[: choose.integer(1, 3)],
    }


def make_close_record(choose: Chooser, entry: Entry) -> Record:
    """One of records that hardly differ and are of many days: a put finds its values there, in several segments."""
    start = choose.integer(1, DAYS)
    operation = pick(choose, [*["put"] * 9, "patch", "patch", "delete", "retract", "retract"])
    document: Json = {"isin": "K", "at": _time(choose, entry, start), "action": operation}
    if not chance(choose, 3):
        document["until"] = _time(choose, entry, choose.integer(start + 1, DAYS + 2))
    if operation == "put" or not chance(choose, 3):
        document["callable"] = not chance(choose, 6)
    if operation == "put" or chance(choose, 2):
        document["calls"] = [{"call_date": "2030-01-01", "price": 1 + chance(choose, 9)}] * choose.integer(
            0, 1
        )
        document["tags"] = ["x"] * choose.integer(0, 1)
        document["lots"] = [{"quantity": 1, "parts": [1] * choose.integer(0, 1)}] * choose.integer(0, 1)
    return Record(_dump(document), START_US + choose.integer(0, 2))


_COLUMNS: dict[str, Any] = {
    "coupon": {"path": "terms.coupon", "type": "decimal(12,6)"},
    "issuer": "string",
    "size": "long",
    "yield": {"path": "terms.yield", "type": "double"},
    "callable": "boolean",
    "issued": "date",
    "raw": "json",
    "priced": {"path": "terms.priced", "type": "timestamp"},
}
_CHILDREN: list[Entry] = [
    {"path": "calls", "key": ["call_date"], "columns": {"call_date": "date", "price": "decimal(9,3)"}},
    {"path": "tags"},
    {
        "path": "terms.legs",
        "key": ["leg"],
        "columns": {"leg": "string", "rate": "double"},
        "children": [{"path": "fees", "columns": {"fee": "long"}}, {"path": "marks", "key": ["leg"]}],
    },
    {"path": "lots", "children": [{"path": "parts"}]},
    {"path": "codes", "columns": {"code": {"path": ".", "type": "long"}}},
    {"path": "sets", "key": ["."]},
]


def _make_columns(choose: Chooser) -> dict[str, Any]:
    columns = {name: spec for name, spec in _COLUMNS.items() if not chance(choose, 4)}
    if "priced" in columns and chance(choose, 2):
        columns["priced"] = {**columns["priced"], "time_precision": "truncate"}
    return columns


def make_record(choose: Chooser, entry: Entry) -> Record:
    """One record of a dataset, now and then a broken one; its timestamp is a step from `START_US`."""
    timestamp = START_US + choose.integer(0, 8) * pick(choose, _TICKS)
    document: Json = {}
    parts = _put_key(choose, entry, document)
    if chance(choose, 25):
        at_valid = chance(choose, 2)
        day_us = START_US + (choose.integer(0, DAYS) - 31) * 86_400_000_000
        return Record(None, day_us if at_valid else timestamp, _message_key(entry, parts))
    operation = _put_operation(choose, entry, document)
    _put_times(choose, entry, document, operation)
    if operation in ("put", "patch") or chance(choose, 4):
        _put_fields(choose, entry, document)
    if chance(choose, 12):
        return Record(_broken(choose, entry, document), timestamp)
    if chance(choose, 12):
        return Record(_odd(choose, entry, document), timestamp)
    return Record(_dump(document, spaced=chance(choose, 4)), timestamp)


def _dump(document: Json, *, spaced: bool = False) -> bytes:
    return json.dumps(document, separators=(", ", ": ") if spaced else (",", ":")).encode()


def _odd(choose: Chooser, entry: Entry, document: Json) -> bytes:
    """A record that some would refuse: what becomes of it depends on the dataset and the operation."""
    kind = choose.integer(0, 7)
    if kind == 0:
        return _dump(document)[:-1] + b',"d":1,"d":2}'
    if kind == 1:
        return _dump(document)[:-1] + b',"e":{"f":null,"f":null},"d":null,"d":null}'
    if kind == 2:
        return _dump(document)[:-1] + b',"issuer":"A","g":{"h":1,"h":{}}}'
    if kind == 3:
        _set_gently(
            document, entry.get("valid_to", "until"), pick(choose, ["soon", 5, [], True, "2024-13-01"])
        )
    if kind == 4:
        document[pick(choose, ["size", "issuer", "callable", "issued", "terms", "extra"])] = 5
    if kind == 5:
        path = pick(choose, [child["path"] for child in entry.get("children", ())] or ["extra.list"])
        _set_gently(
            document,
            path,
            pick(choose, [[None], [5, None], [{}], ["x", {}], [{}, 5], [[1]], {}, 7, [{"isin": 1}]]),
        )
    if kind == 6:
        document[pick(choose, ["Isin", "ISSUER", "valid_from", "", "Callable", "new\n"])] = pick(
            choose, [1, None]
        )
    if kind == 7:
        _set_gently(document, "terms.deep.er", pick(choose, [1, None, {"x": None}, [[]]]))
    return _dump(document)


def _set_gently(document: Json, path: str, value: Any) -> None:
    """Set a value unless something else is in its way."""
    *above, name = path.split(".")
    for part in above:
        document = document.setdefault(part, {})
        if not isinstance(document, dict):
            return
    document[name] = value


def _set(document: Json, path: str, value: Any) -> None:
    *above, name = path.split(".")
    for part in above:
        document = document.setdefault(part, {})
    document[name] = value


def _put_key(choose: Chooser, entry: Entry, document: Json) -> dict[str, Any]:
    """Give the record its key; returns it by column name. 1 and "1" are the same undeclared key."""
    options: list[Any] = [1, 2] if entry["key"] == ["number"] else ["K", "1", 1]
    parts = {path: pick(choose, options) for path in entry["key"]}
    for path, value in parts.items():
        _set(document, path, value)
    return {path.replace(".", "__"): value for path, value in parts.items()}


def _message_key(entry: Entry, parts: dict[str, Any]) -> bytes:
    return json.dumps(parts if len(parts) > 1 else next(iter(parts.values()))).encode()


def _put_operation(choose: Chooser, entry: Entry, document: Json) -> str:
    if "operation" not in entry:
        return "put"
    options = ["put", "put", "put", None, "patch", "patch", "delete", "retract", "retract", "terminate"]
    operation = pick(choose, options)
    if operation is not None or chance(choose, 3):
        document[entry["operation"]] = operation
    return operation or "put"


def _put_times(choose: Chooser, entry: Entry, document: Json, operation: str) -> None:
    start = choose.integer(1, DAYS)
    _set(document, entry["valid_from"], _time(choose, entry, start))
    if "valid_to" in entry and chance(choose, 3):
        low = 1 if operation in ("terminate", "retract") else start + 1
        options = [_time(choose, entry, choose.integer(low, DAYS + 2)), None, "9999-12-31"]
        _set(document, entry["valid_to"], options[min(choose.integer(0, 6) // 4, 1) + chance(choose, 6)])


def _time(choose: Chooser, entry: Entry, day: int) -> Any:
    """A day of the grid in one of its spellings: all the same moment (or the same day, if dated)."""
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    finer = "time_precision" in entry and chance(choose, 2)
    if "valid_unit" in entry and chance(choose, 2):
        unit = entry["valid_unit"]
        return (1_704_067_200 + (day - 1) * 86_400) * scale[unit] + (999 if finer and unit == "ns" else 0)
    date = f"2024-01-{day:02}"
    spellings = [date, date, f"{date}T00:00:00Z", f"{date}T02:30:00.000000+02:30", f"{date} 00:00:00"]
    if entry["valid_time"] == "date":
        spellings.append(f"{date}T23:59:59.999999Z")
    if finer:
        spellings += [f"{date}T00:00:00.000000999Z", f"{date}T02:30:00.00000012345+02:30"]
    return pick(choose, spellings)


_VALUES: dict[str, list[Any]] = {
    "terms.coupon": ["1.5", 1.5, 2, "1.500", "2.25", None],
    "issuer": ["A", "B", "", "\u00e9\u20ac", None],
    "size": [1, 2, 1.0, 9_007_199_254_740_993, None],
    "terms.yield": [0.5, 0.0, -0.0, 2, None],
    "callable": [True, True, False, None],
    "issued": ["2023-12-31", "2024-01-01", None],
    "raw": [[1], {"a": [1, "\u00e9"], "b": None}, 1.50, "x", None],
    "terms.priced": ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00", "2024-01-01", None],
    "note": ["n", "m", None],
    "extra.count": [1, 2, None],
    "extra.list": [[1, 2], [], None],
}
_UNDECLARED_UNSAFE = {"terms.coupon", "terms.yield", "raw"}
"""Mixed JSON types: only columns with a declared type take them all."""


def _put_fields(choose: Chooser, entry: Entry, document: Json) -> None:
    declared = {spec["path"] if isinstance(spec, dict) else n for n, spec in entry["columns"].items()}
    bare = chance(choose, 2)
    for path, values in _VALUES.items():
        if bare and path != "callable":
            continue  # many records differ in their children only
        new = path not in declared
        rare = 5 if new and entry["on_new_field"] == "dead_letter" else 1
        if chance(choose, 2) and (rare == 1 or chance(choose, 12)):
            if path == "terms.priced" and "time_precision" in entry["columns"].get("priced", ()):
                values = [*values, "2024-01-01T00:00:00.000000999Z"]
            _set(document, path, pick(choose, values[:1] if new and path in _UNDECLARED_UNSAFE else values))
    for child in entry.get("children", ()):
        if not chance(choose, 3):
            _set(document, child["path"], _array(choose, child["path"]))
    if chance(choose, 12) and "terms" in document:
        document["terms"] = pick(choose, [None, {}])


def _array(choose: Chooser, path: str) -> list[Any] | None:
    if chance(choose, 6):
        return None
    if path == "tags":
        return [pick(choose, ["x", "x", "y", None]) for _ in range(choose.integer(0, 2))]
    if path == "codes":
        return [pick(choose, [1, 2, 1.0, None]) for _ in range(choose.integer(0, 3))]
    if path == "sets":
        return [s for s in ("a", 1, True) if chance(choose, 2)]
    if path == "calls":
        days = [d for d in (1, 2, 3) if chance(choose, d + 1)]
        return [{"call_date": f"2030-01-0{d}", "price": pick(choose, [1, "1.000", 1, None])} for d in days]
    if path == "lots":
        return [None if chance(choose, 12) else _lot(choose) for _ in range(choose.integer(0, 2))]
    return [_leg(choose, name) for name in ("fix", "float") if chance(choose, 2)]


def _lot(choose: Chooser) -> Json:
    lot: Json = {"quantity": pick(choose, [1, 2, None])}
    if chance(choose, 2):
        lot["parts"] = [pick(choose, [1, 2]) for _ in range(choose.integer(0, 2))]
    return lot


def _leg(choose: Chooser, name: str) -> Json:
    leg: Json = {"leg": name, "rate": pick(choose, [0.25, 0, None])}
    if chance(choose, 2):
        leg["fees"] = [{"fee": pick(choose, [1, 2])} for _ in range(choose.integer(0, 2))]
    if chance(choose, 2):
        leg["marks"] = [{"leg": mark, "note": pick(choose, ["a", "b"])} for mark in "pq" if chance(choose, 2)]
    return leg


def _broken(choose: Chooser, entry: Entry, document: Json) -> bytes:
    """A record that must be a dead letter; what breaks it differs."""
    text = _dump(document)
    whole = [text[:-1], b"", b"null", b"[1]", b"5", text + text, b"\xff" + text, text[:-1] + b',"x":NaN}']
    if chance(choose, 2):
        return pick(
            choose,
            [
                *whole,
                text[:-1] + b',"at":1,"at":1,"effective":1,"effective":1}',
                text[:-1] + b',"u":"\\ud800"}',
            ],
        )
    _break_document(choose, entry, document)
    return _dump(document)


def _break_document(choose: Chooser, entry: Entry, document: Json) -> None:
    kind = choose.integer(0, 5)
    if kind == 0:
        _set(document, entry["key"][-1], None)
    elif kind == 1:
        _set(document, entry["key"][0], pick(choose, [{"a": 1}, [1]]))
    elif kind == 2 and "operation" in entry:
        document[entry["operation"]] = pick(choose, ["upsert", "PUT", 1])
    elif kind == 3 and entry["valid_time"] == "timestamp" and "valid_to" in entry:
        document.pop(entry.get("operation", ""), None)
        _set(document, entry["valid_to"], "2024-01-01T00:00:00Z")
    elif kind == 4 and "size" in entry["columns"]:
        document["size"] = pick(choose, [2**63, "1", 1.5, True])
        document.pop(entry.get("operation", ""), None)
    else:
        times = [None, "2024-02-30", "0000-01-01", "9999-12-31", "soon", "2024-01-01T00:00:00.0000001Z", True]
        _set(document, entry["valid_from"], pick(choose, times))
