"""The dense grid: what each operation does to every cell of valid time, without any row algebra.

Valid time is cut into cells at every instant that the changes mention. A row of a key (its parent row, or
one child) is a list with a belief per cell (None: nothing) and the set of cells at which a segment starts.
This is written from the operations' definitions, apart from `timeline`, to be compared with it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from .decoding import Change, Values

Place = tuple[int, tuple[Any, ...]]
_PARENT: Place = (0, ())


@dataclass
class Strip:
    """One row of a key: belief per cell, and where segments start. The last cell runs to no end."""

    cells: list[Values | None]
    starts: set[int] = field(default_factory=set)

    def ends(self) -> set[int]:
        """Cells at which something starts or ends."""
        held = [None, *self.cells]
        return {i for i in range(len(self.cells)) if (held[i] is None) != (held[i + 1] is None)} | self.starts

    def fill(self, cells: range, values: Values | None, *, start: bool) -> None:
        """Believe ``values`` on the cells; what is left of a segment behind them starts there."""
        after = cells.stop
        if after < len(self.cells) and self.cells[after] is not None:
            self.starts.add(after)
        self.starts -= set(cells)
        for i in cells:
            self.cells[i] = values
        if start:
            self.starts.add(cells.start)


def _whole(new: Values, _: Values | None) -> Values:
    return new


class Grid:
    """The belief about one key, cell by cell."""

    def __init__(self, points: Iterable[int], *, next_change: bool, end: int) -> None:
        self.points = sorted(set(points) - {end})
        self.next_change = next_change
        self.end = end
        self.strips: dict[Place, Strip] = {}

    def belief(self) -> dict[int, dict[Place, Values]]:
        """Per cell (by its first instant) the values of each row that exists there."""
        return {
            point: {p: v for p, s in self.strips.items() if (v := s.cells[i]) is not None}
            for i, point in enumerate(self.points)
        }

    def marks(self) -> set[int]:
        """All boundaries, of any row."""
        return {self.points[i] for s in self.strips.values() for i in s.ends()}

    def apply(self, change: Change) -> bool:
        """Apply a change; whether any belief or boundary became another."""
        before, marks = deepcopy(self.strips), self.marks()
        a = self._cell(change.valid_from)
        stop = self._stop(change)
        cells = range(a, stop)
        getattr(self, f"_{change.operation}")(change, cells)
        if self.next_change and change.operation != "put":
            self._keep(change, cells, marks)
        self.strips = {p: s for p, s in self.strips.items() if any(v is not None for v in s.cells)}
        return self.strips != before

    def _cell(self, point: int) -> int:
        return len(self.points) if point == self.end else bisect_left(self.points, point)

    def _stop(self, change: Change) -> int:
        later = sorted(m for m in self.marks() if m > change.valid_from)
        nearest = self._cell(later[0] if later else self.end)
        if change.operation == "retract":
            return nearest
        if change.operation == "terminate":
            return len(self.points)
        if change.valid_to is not None:
            return self._cell(change.valid_to)
        return nearest if self.next_change else len(self.points)

    def _strip(self, place: Place) -> Strip:
        return self.strips.setdefault(place, Strip([None] * len(self.points)))

    def _put(self, change: Change, cells: range) -> None:
        listed = {_PARENT: change.values, **change.children}
        wanted = {place: listed.get(place) for place in self.strips.keys() | listed.keys()}
        equal = {p for p, values in wanted.items() if all(self._strip(p).cells[i] == values for i in cells)}
        if equal == wanted.keys() and (change.valid_from in self.marks() or not self.next_change):
            return
        for place, values in wanted.items():
            strip = self._strip(place)
            if place not in equal or strip.ends() & set(cells[1:]):
                strip.fill(cells, values, start=values is not None)
        if change.valid_from not in self.marks():
            self._strip(_PARENT).fill(cells, change.values, start=True)
        if cells.stop < len(self.points) and self.points[cells.stop] not in self.marks():
            self._strip(_PARENT).starts.add(cells.stop)

    def _patch(self, change: Change, cells: range) -> None:
        def parent(old: Values | None) -> Values | None:
            kept = {n: v for n, v in (old or {}).items() if n not in change.given}
            return {**kept, **change.values}

        if change.anything_given:
            self._patch_strip(_PARENT, cells, parent)
        for place in list(self.strips):
            if place[0] in change.arrays and place not in change.children:
                self._patch_strip(place, cells, lambda _: None)
        for place, values in change.children.items():
            self._patch_strip(place, cells, partial(_whole, values))

    def _patch_strip(self, place: Place, cells: range, new: Callable[[Values | None], Values | None]) -> None:
        strip = self._strip(place)
        edges = sorted({cells.start, cells.stop, *(i for i in strip.ends() if i in cells)})
        for low, high in pairwise(edges):
            old = strip.cells[low]
            if new(old) != old:
                strip.fill(range(low, high), new(old), start=new(old) is not None)

    def _delete(self, change: Change, cells: range) -> None:
        for strip in self.strips.values():
            if any(strip.cells[i] is not None for i in cells):
                strip.fill(cells, None, start=False)

    _terminate = _delete

    def _retract(self, change: Change, cells: range) -> None:
        a = cells.start
        if change.valid_from not in self.marks():
            return
        exists = a > 0 and _PARENT in self.strips and self.strips[_PARENT].cells[a - 1] is not None
        for strip in self.strips.values():
            if a in strip.ends() or not exists:
                strip.fill(cells, strip.cells[a - 1] if exists else None, start=False)

    def _keep(self, change: Change, cells: range, marks: set[int]) -> None:
        parent = self.strips.get(_PARENT)
        if parent is None:
            return
        if change.operation == "patch":
            gone = marks - self.marks()
            inside = [i for i in cells if self.points[i] in gone and i > 0]
            parent.starts |= {i for i in inside if parent.cells[i - 1] is not None is not parent.cells[i]}
        stop = cells.stop
        lost = stop < len(self.points) and self.points[stop] in marks - self.marks()
        if lost and parent.cells[stop] is not None and parent.cells[stop - 1] is not None:
            parent.starts.add(stop)
