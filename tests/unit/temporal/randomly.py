"""Random changes by seed, and what the naive model makes of them."""

import random
from typing import Any

from tests.model.decoding import Change
from tests.model.timeline import Lines, apply
from tests.unit.temporal.machine import END, Do

_OPERATIONS = ("put", "put", "put", "patch", "patch", "delete", "terminate", "retract", "retract")


def random_changes(seed: int, count: int, *, instants: int, keys: int = 1) -> list[Do]:
    """Changes of few values, so that much is equal; terminates are rare and late, so that much stays."""
    choose = random.Random(seed)
    changes = []
    for system in range(count):
        operation = choose.choice(_OPERATIONS)
        start = choose.randrange(instants)
        if operation == "terminate":
            start = instants - choose.randrange(1, 4)
        end = start + choose.randrange(1, 12) if choose.random() < 0.6 else None
        children = _children(choose) if operation in ("put", "patch") else None
        values = tuple(choose.choice(("A", "B", None)) for _ in range(choose.randrange(3)))
        changes.append(Do(operation, start, end, values, children, system // 3, choose.randrange(keys)))
    return changes


def close_changes(seed: int, count: int, *, instants: int = 12) -> list[Do]:
    """Changes that hardly differ, of ranges over many segments: puts find their values there, cut in pieces."""
    choose = random.Random(seed)
    changes = []
    for system in range(count):
        operation = choose.choice(("put", "put", "put", "put", "patch", "delete", "retract"))
        start = choose.randrange(instants)
        end = start + choose.randrange(1, instants) if choose.random() < 0.7 else None
        values = choose.choice("AAAAB") if operation in ("put", "patch") else None
        children = None
        if operation == "put" or (operation == "patch" and choose.random() < 0.5):
            share = choose.choice((0.0, 0.6, 0.6))
            children = {
                t: {k: choose.choice("11112") for k in "uvw" if choose.random() < share} for t in (1, 2)
            }
        changes.append(Do(operation, start, end, values, children, system // 3))
    return changes


def _children(choose: random.Random) -> dict[int, dict[str, str]] | None:
    if choose.random() < 0.3:
        return None
    tables = [table for table in (1, 2) if choose.random() < 0.7]
    return {t: {key: choose.choice("12") for key in "uvwxyz" if choose.random() < 0.3} for t in tables}


def model_timeline(changes: list[Do], *, next_change: bool) -> list[Any]:
    """The open segments that the naive model ends with: (label, from, to), the parent's first."""
    lines: Lines = {}
    for do in changes:
        lines = apply(lines, _change(do), next_change=next_change, end=END)
    found = [
        ("=".join((*place[1], _label(s.values))), s.valid_from, None if s.valid_to == END else s.valid_to)
        for place in sorted(lines)
        for s in lines[place]
    ]
    parents = len(lines.get((0, ()), []))
    return found[:parents] + sorted(found[parents:], key=str)


def _label(values: dict[str, str]) -> str:
    count = max((int(name) + 1 for name in values), default=0)
    return ".".join(values.get(str(i), "-") for i in range(count))


def _change(do: Do) -> Change:
    listed = {
        (table, (key,)): {"0": text}
        for table, rows in (do.children or {}).items()
        for key, text in rows.items()
    }
    return Change(
        key=(),
        operation=do.operation,
        valid_from=do.start,
        valid_to=None if do.operation in ("terminate", "retract") else do.end,
        values={str(i): text for i, text in enumerate(do.texts) if text is not None},
        given=frozenset(str(i) for i in range(len(do.texts))),
        anything_given=bool(do.texts or do.children),
        arrays=frozenset(do.children or ()),
        children=listed,
    )
