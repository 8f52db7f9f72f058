"""A naive lake of one table: belief per key, system step and day, and the version rows that tell it."""

from dataclasses import dataclass, field
from typing import NamedTuple

DAYS = 12
NO_END = 10**6
"""A day and a step that never come."""


class Change(NamedTuple):
    """At a step, a key gets a value (None: nothing) on days [start, end); end None: for good."""

    key: str
    start: int
    end: int | None
    value: int | None


class Version(NamedTuple):
    key: str
    value: int
    valid_from: int
    valid_to: int
    system_from: int
    system_to: int


@dataclass
class Belief:
    """Open segments per key, all rows so far, and per step what was believed on each day."""

    segments: dict[str, dict[int, tuple[int, int, int]]] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    opened: list[Version] = field(default_factory=list)
    days: list[dict[tuple[str, int], int]] = field(default_factory=lambda: [{}])
    timelines: list[set[Version]] = field(default_factory=lambda: [set()])

    @property
    def step(self) -> int:
        return len(self.days)

    def apply(self, change: Change) -> None:
        """Cut the segments that overlap the change, whatever their values."""
        step = self.step
        end = NO_END if change.end is None else change.end
        mine = self.segments.setdefault(change.key, {})
        for start, (stop, value, since) in list(mine.items()):
            if start < end and stop > change.start:
                del mine[start]
                self.versions.append(Version(change.key, value, start, stop, since, step))
                if start < change.start:
                    mine[start] = (change.start, value, step)
                if stop > end:
                    mine[end] = (stop, value, step)
        if change.value is not None:
            mine[change.start] = (end, change.value, step)
        self._remember(change.key, step)

    def _remember(self, key: str, step: int) -> None:
        now = set()
        for name, segments in self.segments.items():
            for start, (stop, value, since) in segments.items():
                version = Version(name, value, start, stop, since, NO_END)
                now.add(version)
                if name == key and since == step:
                    self.opened.append(version)
        self.timelines.append(now)
        self.days.append(
            {(v.key, d): v.value for v in now for d in range(v.valid_from, min(v.valid_to, DAYS))}
        )

    @property
    def rows(self) -> list[Version]:
        """As in an append table: open rows and closed ones, twins included."""
        return self.opened + self.versions

    @property
    def history(self) -> set[Version]:
        """Closed wins."""
        closed = {(v.key, v.system_from, v.valid_from) for v in self.versions}
        return set(self.versions) | {
            v for v in self.opened if (v.key, v.system_from, v.valid_from) not in closed
        }

    def timeline(self, step: int) -> set[Version]:
        """Versions believed at a step, with the ends they have today."""
        return {v for v in self.history if v.system_from <= step < v.system_to}

    def differences(self, before: int, after: int) -> set[tuple[str, int, int, str, int | None, int | None]]:
        """Net pieces per key, neighbours merged, day by day."""
        old, new = self.days[before], self.days[after]
        found = set()
        for key in {name for name, _ in (*old, *new)}:
            start, run = 0, (old.get((key, 0)), new.get((key, 0)))
            for day in range(1, DAYS + 1):
                here = (old.get((key, day)), new.get((key, day))) if day < DAYS else None
                if here != run:
                    if run[0] != run[1]:
                        change = "added" if run[0] is None else "removed" if run[1] is None else "changed"
                        found.add((key, start, day if day < DAYS else NO_END, change, *run))
                    start, run = day, here
        return found
