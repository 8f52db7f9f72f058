"""The type that a field's values fit, with room for values not seen yet."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from pipeline.config.infer.fields import Field

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(?P<offset>Z|z|[+-]\d{2}:?\d{2})?")
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_FRACTION = re.compile(r"-?(0|[1-9]\d*)\.\d+")
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_LONG = 2**63
_EXACT = 18
_FEW = 0.2
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST, _LAST = 315_532_800, 4_102_444_800  # 1980 to 2100: what integers that are instants may mean


@dataclass(frozen=True)
class Guess:
    """A type as lake.yaml spells it, and why."""

    type: str
    why: str = ""


def guess(field: Field) -> Guess:
    """The type of a field's values."""
    kinds = field.kinds
    if kinds == {bool}:
        return Guess("boolean")
    if kinds == {int}:
        return _integers([int(value) for value in field.present])
    if kinds <= {int, Decimal}:
        return _fractions([Decimal(value) for value in field.present])
    if kinds == {str}:
        return _texts(field.present)
    names = {
        dict: "objects",
        list: "arrays",
        str: "text",
        bool: "booleans",
        int: "numbers",
        Decimal: "numbers",
    }
    if kinds == {dict} or kinds == {list}:
        return Guess("json", "kept as JSON text")
    return Guess(
        "json", " and ".join(sorted({names[kind] for kind in kinds})) + " in one field: kept as JSON text"
    )


def _integers(values: list[int]) -> Guess:
    if max(values) < _LONG and min(values) >= -_LONG:
        return Guess("long")
    digits = max(len(str(abs(value))) for value in values)
    return (
        Guess("decimal(38,0)", "integers beyond 64 bits")
        if digits <= 38
        else Guess("json", "beyond 38 digits")
    )


def _fractions(values: list[Decimal], *, why: str = "") -> Guess:
    # equal numbers may be written with unequal places (1.0, 1.00): told apart as text
    finite = [Decimal(text).as_tuple() for text in set(map(str, values)) if text[-1].isdigit()]
    exponents = [t.exponent for t in finite if isinstance(t.exponent, int)]
    scale = max(0, -min(exponents, default=0))
    whole = max((len(t.digits) + int(t.exponent) for t in finite), default=1)
    if scale > 12 or max(exponents, default=0) > 0 or max(whole, 0) + scale > 2 * _EXACT:
        return Guess(
            "double", f"up to {scale} decimal places: computed values" if scale > 12 else "a wide range"
        )
    roomy = max(4, scale + scale % 2 + 2)
    precision = max(_EXACT, max(whole, 1) + 3 + roomy)
    places = f"up to {scale} decimal {'place' if scale == 1 else 'places'} seen"
    return Guess(f"decimal({min(38, precision)},{roomy})", f"{why}{places}")


def _texts(repeated: list[str]) -> Guess:
    values = sorted(set(repeated))
    form = time_form(values)
    if form in ("date", "timestamp"):
        return Guess(form)
    if form == "local":
        return Guess("timestamp", "no offset (Z, +01:00): taken as UTC")
    if all(map(_UUID.fullmatch, values)):
        return Guess("uuid")
    if any(map(_FRACTION.fullmatch, values)) and all(
        _FRACTION.fullmatch(v) or _INTEGER.fullmatch(v) for v in values
    ):
        return _fractions([Decimal(value) for value in values], why="numbers in text, ")
    return Guess("string", _odd_ones(repeated))


def _odd_ones(values: list[str]) -> str:
    """Which of the texts are why a field that is numbers or dates nearly always is text."""
    for form, what in ((_FRACTION, "numbers with a fraction"), (DATE, "dates")):
        odd = [value for value in values if not form.fullmatch(value) and not _INTEGER.fullmatch(value)]
        if 0 < len(odd) <= _FEW * len(values):
            return f"{what}, but for {len(odd):,} such as {json.dumps(odd[0][:20])}: declare to refuse them"
    return ""


def time_form(values: list[str]) -> str:
    """``date``, ``timestamp``, ``local`` (no offset) or nothing, for what all of the texts are."""
    if not values or not values[0][:1].isdigit():
        return ""
    values = sorted(set(values))
    if all(map(DATE.fullmatch, values)):
        return "date" if all(map(_is_day, values)) else ""
    matches = [TIME.fullmatch(value) for value in values]
    if not all(m or DATE.fullmatch(v) for m, v in zip(matches, values, strict=True)):
        return ""
    if not all(map(_is_day, {value[:10] for value in values})):
        return ""
    offsets = [m["offset"] for m in matches if m]
    return "timestamp" if offsets and all(offsets) else "local"


def integer_unit(values: list[int]) -> str:
    """The unit (s, ms, us, ns) in which all integers are instants of our time; nothing if in none."""
    for unit, per_second in UNITS.items():
        if all(_FIRST <= value // per_second <= _LAST for value in values):
            return unit
    return ""


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def instant(value: object, unit: str) -> datetime | None:
    """A value of valid time as an instant, for comparing; None when it is none."""
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        if isinstance(value, int) and unit:
            return datetime.fromtimestamp(value / UNITS[unit], UTC)
    except (ValueError, OverflowError):
        return None
    return None
