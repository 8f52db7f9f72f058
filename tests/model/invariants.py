"""What must be true of any rows, whoever wrote them, checked point by point."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from .decoding import Values
from .grid import Grid
from .oracle import Applied, Key, Model, Row
from .timeline import Place

Belief = dict[int, dict[Place, Values]]


def check_rows(model: Model) -> None:
    """Rows alone: twins, disjoint rectangles, children only where their parents are."""
    for table in model.dataset.tables:
        check_twins([r for r in model.rows if r.table == table.name])
        check_disjoint(model.history(table.name))
    check_children(model)


def check_twins(rows: list[Row]) -> None:
    """Each version was opened once, and closed at most once, after its open row was there."""
    opened: dict[Any, Row] = {}
    closed = set()
    for row in rows:
        if row.system_to is None:
            assert row.identity not in opened
            opened[row.identity] = row
            continue
        twin = opened[row.identity]
        assert row.identity not in closed
        assert (twin.values, twin.valid_to, twin.opened) == (row.values, row.valid_to, row.opened)
        assert row.system_from < row.system_to
        closed.add(row.identity)


def check_disjoint(versions: Iterable[Row]) -> None:
    """No two versions of a key hold at the same point of valid and system time."""
    by_key = defaultdict(list)
    for row in versions:
        assert row.valid_from < row.valid_to
        by_key[row.key].append(row)
    for rows in by_key.values():
        for system in {r.system_from for r in rows}:
            believed = sorted(at_system(rows, system), key=lambda r: r.valid_from)
            assert all(a.valid_to <= b.valid_from for a, b in pairwise(believed))


def check_children(model: Model) -> None:
    """Where a child is believed, so is the row of the table above."""
    for table in model.dataset.tables:
        above = defaultdict(list)
        for row in model.history(table.name):
            above[row.key].append(row)
        for child in table.children:
            for row in model.history(child.name):
                parents = above[row.key[: len(table.key)]]
                systems = {row.system_from, *(p.system_from for p in parents)}
                for system in systems | {p.system_to for p in parents if p.system_to is not None}:
                    if at_system([row], system):
                        assert _covers(at_system(parents, system), row)


def _covers(parents: list[Row], child: Row) -> bool:
    reached = child.valid_from
    for parent in sorted(parents, key=lambda r: r.valid_from):
        if parent.valid_from <= reached:
            reached = max(reached, parent.valid_to)
    return reached >= child.valid_to


def at_system(rows: Iterable[Row], system: int) -> list[Row]:
    """The rows believed at a system time."""
    return [r for r in rows if r.system_from <= system and (r.system_to is None or system < r.system_to)]


def check_grid(model: Model) -> None:
    """The rows give the dense grid's belief at every point of valid and system time."""
    width = len(model.dataset.parent.key)
    tables = {t.name: t.index for t in model.dataset.tables}
    rows: dict[Key, list[tuple[Place, Row]]] = defaultdict(list)
    for table in model.dataset.tables:
        for row in model.history(table.name):
            rows[row.key[:width]].append(((tables[row.table], row.key[width:]), row))
    for key in model.timelines:
        _check_key(model, [d for d in model.decoded if d.change.key == key], rows[key])


def _check_key(model: Model, changes: list[Applied], rows: list[tuple[Place, Row]]) -> None:
    end = model.dataset.end
    points = {p for d in changes for p in (d.change.valid_from, d.change.valid_to) if p is not None}
    grid = Grid(points, next_change=model.dataset.next_change, end=end)
    wrote = {r.system_from for _, r in rows} | {r.system_to for _, r in rows}
    belief, marks, last = grid.belief(), grid.marks(), None
    for applied in changes:
        if not grid.apply(applied.change):
            continue
        assert last is None or last < applied.system
        assert applied.system in wrote
        wrote.discard(applied.system)
        _check_point(rows, applied.system - 1, belief, marks, end)
        belief, marks, last = grid.belief(), grid.marks(), applied.system
        _check_point(rows, applied.system, belief, marks, end)
    assert wrote <= {None}
    _check_point(rows, 2**62, belief, marks, end)


def _check_point(
    rows: list[tuple[Place, Row]], system: int, belief: Belief, marks: set[int], end: int
) -> None:
    believed = [(place, row) for place, row in rows if at_system([row], system)]
    assert {b for _, r in believed for b in (r.valid_from, r.valid_to)} - {end} == marks
    for point, expected in belief.items():
        assert dict(_at(believed, point)) == expected


def _at(believed: list[tuple[Place, Row]], point: int) -> Iterator[tuple[Place, Values]]:
    return ((place, r.values) for place, r in believed if r.valid_from <= point < r.valid_to)
