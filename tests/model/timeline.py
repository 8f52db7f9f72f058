"""The operations on one key's rows, as pure functions over small lists of segments.

A key has one list per table row: its parent row, and each (child table, child key). An edit returns a new
list in which untouched segments are the same objects, so that the rows to append are what came and went.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .decoding import Change, Values

Place = tuple[int, tuple[Any, ...]]
"""A table row of a key: (table index, child keys); the parent's is ``(0, ())``."""
PARENT: Place = (0, ())


@dataclass(frozen=True, eq=False)
class Segment:
    """[valid_from, valid_to) with its values. Compared by identity: a segment rewritten is another one."""

    valid_from: int
    valid_to: int
    values: Values


Line = list[Segment]
Lines = dict[Place, Line]


def boundaries(lines: Lines, end: int) -> set[int]:
    """Starts and ends of all the rows of a key; "no end" is none."""
    return {b for line in lines.values() for s in line for b in (s.valid_from, s.valid_to)} - {end}


def next_boundary(lines: Lines, after: int, end: int) -> int:
    """The nearest boundary of any table after an instant, else no end."""
    return min((b for b in boundaries(lines, end) if b > after), default=end)


def at(line: Line, point: int) -> Segment | None:
    """The segment that holds at a point."""
    return next((s for s in line if s.valid_from <= point < s.valid_to), None)


def holds(line: Line, a: int, b: int, values: Values) -> bool:
    """Whether the values hold on the whole of [a, b)."""
    inside = _overlapping(line, a, b)
    return not _gaps(inside, a, b) and all(s.values == values for s in inside)


def clear(line: Line, a: int, b: int) -> Line:
    """Nothing on [a, b)."""
    return [piece for s in line for piece in _without(s, a, b)]


def put(line: Line, a: int, b: int, values: Values) -> Line:
    """One new segment on [a, b)."""
    return _sorted([*clear(line, a, b), Segment(a, b, values)])


def patch(line: Line, a: int, b: int, change: Callable[[Values], Values], gap: Values) -> Line:
    """Every overlapped segment gets its changed values on the overlap, every gap the values ``gap``."""
    result = [Segment(low, high, gap) for low, high in _gaps(_overlapping(line, a, b), a, b)]
    for s in line:
        low, high = max(a, s.valid_from), min(b, s.valid_to)
        if low >= high or change(s.values) == s.values:
            result.append(s)
        else:
            result += [*_without(s, low, high), Segment(low, high, change(s.values))]
    return _sorted(result)


def cut(line: Line, point: int) -> Line:
    """The segment around a point becomes two with the same values."""
    return _sorted([piece for s in line for piece in _halves(s, point)])


def retract(line: Line, a: int, q: int) -> Line:
    """On [a, q) the line is as it is just before a: no segment starts or ends at a."""
    before, here = at(line, a - 1), at(line, a)
    if before is here:
        return line
    if before is None:
        return clear(line, a, q)
    rest = [s for s in clear(line, a, q) if s is not before]
    return _sorted([*rest, replace(before, valid_to=q)])


def _overlapping(line: Line, a: int, b: int) -> Line:
    return [s for s in line if s.valid_from < b and a < s.valid_to]


def _gaps(inside: Line, a: int, b: int) -> list[tuple[int, int]]:
    edges = [a, *(edge for s in inside for edge in (s.valid_from, s.valid_to)), b]
    return [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high]


def _without(s: Segment, a: int, b: int) -> Iterator[Segment]:
    if s.valid_to <= a or b <= s.valid_from:
        yield s
        return
    if s.valid_from < a:
        yield replace(s, valid_to=a)
    if b < s.valid_to:
        yield replace(s, valid_from=b)


def _halves(s: Segment, point: int) -> Iterator[Segment]:
    if s.valid_from < point < s.valid_to:
        yield replace(s, valid_to=point)
        yield replace(s, valid_from=point)
    else:
        yield s


def _sorted(line: Line) -> Line:
    return sorted(line, key=lambda s: s.valid_from)


def apply(lines: Lines, change: Change, *, next_change: bool, end: int) -> Lines:
    """A key's rows after a change; the same objects where nothing is touched.

    Args:
        lines: the rows before, none of them empty.
        change: what to apply.
        next_change: the dataset's valid_end is next_change, so that boundaries are information.
        end: "no end" of the dataset.
    """
    a = change.valid_from
    b = change.valid_to
    if change.operation == "terminate" or (b is None and not next_change and change.operation != "retract"):
        b = end
    elif b is None or change.operation == "retract":
        b = next_boundary(lines, a, end)
    if change.operation == "put":
        after = _put(lines, change, a, b, end, next_change=next_change)
    else:
        after = _OPERATIONS[change.operation](lines, change, a, b, end)
        if next_change:
            after = _keep_boundaries(lines, after, change, b, end)
    return {place: line for place, line in after.items() if line}


def _keep_boundaries(before: Lines, after: Lines, change: Change, b: int, end: int) -> Lines:
    """In a feed of change points no change takes away the boundary that it ends at.

    A patch takes none away: it is of segments. Where only children had a boundary, the parent is cut.
    """
    if change.operation == "patch":
        for lost in sorted(boundaries(before, end) - boundaries(after, end)):
            after = after | {PARENT: cut(after.get(PARENT, []), lost)}
    elif b in boundaries(before, end) and b not in boundaries(after, end):
        after = after | {PARENT: cut(after.get(PARENT, []), b)}
    return after


def _put(lines: Lines, change: Change, a: int, b: int, end: int, *, next_change: bool) -> Lines:
    """One segment [a, b) in all rows together: none has a boundary inside, and some have them at a and at b.

    Rows that the record lists as they are, and that have no boundary inside, are left alone: so where no
    other row shows a or b, the parent has to.
    """
    listed = _rows_of(change)
    known = all(holds(lines.get(place, []), a, b, values) for place, values in listed.items())
    known = known and not any(_overlapping(line, a, b) for p, line in lines.items() if p not in listed)
    if known and (a in boundaries(lines, end) or not next_change):
        return lines
    after = {place: clear(line, a, b) for place, line in lines.items()}
    for place, values in listed.items():
        line = lines.get(place, [])
        after[place] = line if _holds_as_one(line, a, b, values) else put(line, a, b, values)
    if a not in boundaries(after, end):
        after[PARENT] = put(after[PARENT], a, b, change.values)
    elif b != end and b not in boundaries(after, end):
        after[PARENT] = cut(after[PARENT], b)
    return after


def _holds_as_one(line: Line, a: int, b: int, values: Values) -> bool:
    return holds(line, a, b, values) and len(_overlapping(line, a, b)) == 1


def _rows_of(change: Change) -> dict[Place, Values]:
    return {PARENT: change.values, **change.children}


def _patch(lines: Lines, change: Change, a: int, b: int, end: int) -> Lines:
    after = dict(lines)
    if change.anything_given:
        after[PARENT] = patch(lines.get(PARENT, []), a, b, lambda old: _patched(old, change), change.values)
    for place, line in lines.items():
        if place[0] in change.arrays and place not in change.children:
            after[place] = clear(line, a, b)
    for place, values in change.children.items():
        after[place] = patch(lines.get(place, []), a, b, partial(_whole, values), values)
    return after


def _whole(new: Values, _: Values) -> Values:
    return new


def _patched(old: Values, change: Change) -> Values:
    return {n: v for n, v in old.items() if n not in change.given} | change.values


def _delete(lines: Lines, change: Change, a: int, b: int, end: int) -> Lines:
    return {place: clear(line, a, b) for place, line in lines.items()}


def _retract(lines: Lines, change: Change, a: int, q: int, end: int) -> Lines:
    if a not in boundaries(lines, end):
        return lines
    if at(lines.get(PARENT, []), a - 1) is None:
        return {place: clear(line, a, q) for place, line in lines.items()}
    return {place: retract(line, a, q) for place, line in lines.items()}


_OPERATIONS: dict[str, Callable[[Lines, Change, int, int, int], Lines]] = {
    "patch": _patch,
    "delete": _delete,
    "terminate": _delete,
    "retract": _retract,
}
