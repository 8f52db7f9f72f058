"""Which fields are valid time, and in what form."""

from dataclasses import dataclass
from typing import Any

from pipeline.infer import names
from pipeline.infer.fields import Field, Path, Table
from pipeline.infer.types import instant, integer_unit, time_form

_ENOUGH = 0.99
_MOST = 0.8
_NAMED = 3


@dataclass(frozen=True)
class Time:
    """A field of times.

    Attributes:
        field: the field.
        form: ``date``, ``timestamp``, ``local`` (no offset) or ``integer``.
        known: how many records have a time there.
        unit: of integers.
    """

    field: Field
    form: str
    known: int
    unit: str = ""

    @property
    def path(self) -> Path:
        """The field's path."""
        return self.field.path

    def instant(self, value: Any) -> Any:
        """A value as an instant, or None."""
        return instant(value, self.unit)


def times_of(table: Table) -> list[Time]:
    """Every field of times; where the name says so too, also integers, and texts of which a few are none."""
    return [time for field in table.fields.values() if (time := _time(field))]


def _time(field: Field) -> Time | None:
    named = names.from_score(field.path) > 0 or names.to_score(field.path) > 0 or names.says_known(field.path)
    if field.kinds == {str}:
        known = field.present
        if named and not time_form(known):
            known = [value for value in known if time_form([value])]
        form = time_form(known) if len(known) >= _MOST * len(field.present) else ""
        return Time(field, form, len(known)) if form else None
    if field.kinds == {int} and (named or "timestamp" in names.words(field.path)):
        unit = integer_unit(field.present)
        return Time(field, "integer", len(field.present), unit) if unit else None
    return None


def choose_from(times: list[Time]) -> tuple[Time, str] | None:
    """The start of valid time and why, if any field can be it."""
    whole = [time for time in times if time.known >= _ENOUGH * len(time.field.values)]
    fullest = _fullest(times)
    if not any(names.from_score(time.path) >= _NAMED for time in whole) and (fullest or not whole):
        return fullest
    # of equally good names the one nearer to the top, then the earlier one
    best = max(whole, key=lambda time: (names.from_score(time.path), -len(time.path)))
    if names.from_score(best.path) >= _NAMED:
        return best, "named like the start of validity"
    if len(whole) == 1:
        return best, "the only time that every record has"
    return best, "a guess: the most likely of the times that every record has"


def _fullest(times: list[Time]) -> tuple[Time, str] | None:
    """One that most records have and that is named so, as in a short sample with a broken one."""
    named = [
        time
        for time in times
        if names.from_score(time.path) >= _NAMED and time.known >= _MOST * len(time.field.values)
    ]
    if not named:
        return None
    best = max(named, key=lambda time: (time.known, names.from_score(time.path)))
    lacking = len(best.field.values) - best.known
    return best, f"named like the start of validity; {lacking:,} without it, which would become dead letters"


def choose_to(times: list[Time], start: Time) -> Time | None:
    """The end of valid time, if a field is named as the start's counterpart and never lies before it."""
    for time in sorted(times, key=lambda time: -names.to_score(time.path)):
        if time.path == start.path or names.to_score(time.path) < 4 or time.unit != start.unit:
            continue
        paired = names.is_pair(start.path, time.path) or names.to_score(time.path) >= 6
        if paired and _in_order(start, time):
            return time
    return None


def _in_order(start: Time, end: Time) -> bool:
    pairs = [
        (a, b)
        for a, b in zip(
            map(start.instant, start.field.values), map(end.instant, end.field.values), strict=True
        )
        if a is not None and b is not None
    ]
    return sum(a <= b for a, b in pairs) >= 0.95 * len(pairs)


def is_inclusive(start: Time, end: Time) -> bool:
    """Whether the ends look like last days rather than first days after: some start and end on one day."""
    if start.form != "date" or end.form != "date":
        return False
    starts = set(start.field.present)
    ends = [value for value in end.field.present if value < "9999"]
    month_ends = [value for value in ends if value[5:] in ("01-31", "03-31", "06-30", "09-30", "12-31")]
    touching = sum(value in starts for value in ends)
    same = sum(a == b for a, b in zip(start.field.values, end.field.values, strict=True))
    return bool(ends) and (same > 0 or (len(month_ends) > len(ends) / 2 and touching == 0))
