"""Which fields are valid time, and in what form."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.decode.explain import reason_of
from pipeline.decode.layout import Code
from pipeline.infer import names
from pipeline.infer.fields import Field, Path, Table
from pipeline.infer.fits import no_times
from pipeline.infer.types import DATE, has_offset, instant, integer_unit

_ENOUGH = 0.99
_MOST = 0.8
_HALF = 0.5
_ORDERED = 0.95
_NAMED = 3
_LIKE_A_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_STILL_TIMES = (Code.TIME_FRACTION, Code.VALID_FROM_END)
"""Of the decoder's reasons, those that tell of a time: too precise, or no end."""


@dataclass(frozen=True)
class Time:
    """A field of times.

    Attributes:
        field: the field.
        form: ``date``, ``timestamp``, ``local`` (no offset) or ``integer``.
        known: how many records have a time there that can be a start.
        precise: how many of them have digits beyond microseconds.
        odd: how many records have something else there.
        example: of something else, why it is none, in words; or nothing.
        unit: of integers.
    """

    field: Field
    form: str
    known: int
    precise: int = 0
    odd: int = 0
    example: str = ""
    unit: str = ""

    @property
    def path(self) -> Path:
        """The field's path."""
        return self.field.path

    @property
    def lacking(self) -> int:
        """How many records have no time there."""
        return len(self.field.values) - self.known

    def instant(self, value: Any) -> Any:
        """A value as an instant, or None."""
        return instant(value, self.unit)


def times_of(table: Table) -> list[Time]:
    """Every field of times: of integers, only where the name says so; of texts, also if a few are none."""
    return [time for field in table.fields.values() if (time := _time(field))]


def _time(field: Field) -> Time | None:
    named = names.from_score(field.path) > 0 or names.to_score(field.path) > 0 or names.says_known(field.path)
    enough = (_HALF if named else _MOST) * len(field.present)
    texts = [v for v in field.present if isinstance(v, str) and _LIKE_A_DATE.match(v)]
    if texts and len(texts) >= enough:
        time = _judged(field, "")
        return time if time.known + _ends(field, "") >= enough else None
    numbers = [value for value in field.present if type(value) is int]
    if numbers and len(numbers) >= enough and (named or "timestamp" in names.words(field.path)):
        unit = integer_unit(numbers)
        counted = _judged(field, unit) if unit else None
        return counted if counted and counted.known >= enough else None
    return None


def _refusals(field: Field, unit: str) -> dict[int, Code]:
    if unit not in field.known:
        field.known[unit] = no_times(field.present, unit)
    found: dict[int, Code] = field.known[unit]
    return found


def _ends(field: Field, unit: str) -> int:
    """How many of the values mean no end."""
    return sum(code is Code.VALID_FROM_END for code in _refusals(field, unit).values())


def _judged(field: Field, unit: str) -> Time:
    """What the decoder says of a field's values as starts."""
    refused, values = _refusals(field, unit), field.present
    precise = sum(code is Code.TIME_FRACTION for code in refused.values())
    odd = {at: code for at, code in refused.items() if code not in _STILL_TIMES}
    example = ""
    if odd:
        at, code = next(iter(odd.items()))
        example = f"{json.dumps(values[at], default=str, ensure_ascii=False)[:40]} is {reason_of(code)}"
    known = len(values) - len(refused) + precise
    form = "integer" if unit else _form(v for at, v in enumerate(values) if at not in odd)
    return Time(field, form, known, precise, len(odd), example, unit)


def _form(texts: Iterator[str]) -> str:
    distinct = set(texts)
    if all(map(DATE.fullmatch, distinct)):
        return "date"
    return "timestamp" if all(DATE.fullmatch(text) or has_offset(text) for text in distinct) else "local"


def choose_from(times: list[Time]) -> tuple[Time, str] | None:
    """The start of valid time and why: the field that all records have, or nearly all, or at least half."""
    for part, named in (
        (_ENOUGH, True),
        (_MOST, True),
        (_ENOUGH, False),
        (_MOST, False),
        (_HALF, True),
        (_HALF, False),
    ):
        fitting = [
            time
            for time in times
            if time.known >= max(1, part * len(time.field.values))
            and (not named or names.from_score(time.path) >= _NAMED)
        ]
        if fitting:
            return _best(fitting, named=named, whole=part == _ENOUGH)
    return None


def _best(times: list[Time], *, named: bool, whole: bool) -> tuple[Time, str]:
    # of equally good names the one nearer to the top, then the earlier one
    most = max(time.known for time in times)
    fullest = times if whole else [time for time in times if time.known == most]
    best = max(fullest, key=lambda time: (names.from_score(time.path), -len(time.path)))
    if named:
        why = "named like the start of validity"
    elif len(times) == 1:
        why = "the only time that every record has" if whole else "the only time that most records have"
    else:
        having = "every record has" if whole else "most records have"
        why = f"a guess: the most likely of the times that {having}"
    return best, why + _lacking(best)


def _lacking(time: Time) -> str:
    if not time.lacking:
        return ""
    example = f", such as one where {time.example}" if time.example else ""
    return f"; {time.lacking:,} without it, which would become dead letters{example}"


def choose_to(times: list[Time], start: Time) -> Time | None:
    """The end of valid time, if a field is named as the start's counterpart and never lies before it."""
    for time in sorted(times, key=lambda time: -names.to_score(time.path)):
        if time.path == start.path or names.to_score(time.path) < 4 or time.unit != start.unit:
            continue
        paired = names.is_pair(start.path, time.path) or names.to_score(time.path) >= 6
        if paired and _in_order(start, time) and time.odd <= (1 - _ORDERED) * len(time.field.present):
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
    return sum(a <= b for a, b in pairs) >= _ORDERED * len(pairs)


def is_inclusive(start: Time, end: Time) -> bool:
    """Whether the ends look like last days rather than first days after: some start and end on one day."""
    if start.form != "date" or end.form != "date":
        return False
    starts = set(map(str, start.field.present))
    ends = [value for value in map(str, end.field.present) if value < "9999"]
    month_ends = [value for value in ends if value[5:] in ("01-31", "03-31", "06-30", "09-30", "12-31")]
    touching = sum(value in starts for value in ends)
    pairs = zip(start.field.values, end.field.values, strict=True)
    same = sum(a == b and isinstance(a, str) for a, b in pairs)
    return bool(ends) and (same > 0 or (len(month_ends) > len(ends) / 2 and touching == 0))
