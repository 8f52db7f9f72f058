"""The type that a field's values fit, with room for values not seen yet."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from pipeline.decode.explain import reason_of
from pipeline.decode.layout import Code
from pipeline.infer.fields import Field
from pipeline.infer.fits import refused_by, spelled

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*")
_OFFSET = re.compile(r".{10}.*([Zz]|[+-]\d\d(:?\d\d)?)")
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_FRACTION = re.compile(r"-?(0|[1-9]\d*)\.\d+")
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_EXACT = 18
_DIGITS = 38
_MOSTLY = 0.5
"""The part of a text's values that must look like times, say, for the others to be told as odd."""
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST, _LAST = 315_532_800, 4_102_444_800  # 1980 to 2100: what integers that are instants may mean
_KINDS = {dict: "objects", list: "arrays", str: "text", bool: "booleans", int: "numbers", Decimal: "numbers"}


@dataclass(frozen=True)
class Guess:
    """A type as lake.yaml spells it, and why."""

    type: str
    why: str = ""


def guess(field: Field) -> Guess:
    """The type of a field's values: the first likely one that refuses none of them."""
    if "guess" not in field.known:
        field.known["guess"] = _guess(field)
    found: Guess = field.known["guess"]
    return found


def guess_key(field: Field) -> Guess:
    """The type of a key: text that equals other text only as another type stays text."""
    found = guess(field)
    if field.kinds != {str} or found.type in ("string", "date"):
        return found
    if found.type == "uuid" and len({text.lower() for text in field.present}) == field.distinct:
        return found
    return Guess("string", "numbers or times in text: a key keeps their spelling")


def _guess(field: Field) -> Guess:
    counts = Counter(map(spelled, field.present))
    if field.kinds == {str}:
        return _text(field.present, counts)
    for candidate in _candidates(field):
        if not refused_by(candidate.type, counts):
            return candidate
    kinds = sorted({_KINDS[kind] for kind in field.kinds})
    several = f"{' and '.join(kinds)} in one field: kept as JSON text"
    return Guess(
        "json", several if len(kinds) > 1 else "numbers that no type holds exactly: kept as JSON text"
    )


def _candidates(field: Field) -> Iterator[Guess]:
    kinds = field.kinds
    if kinds == {bool}:
        yield Guess("boolean")
    elif kinds == {int}:
        yield Guess("long")
        yield Guess(f"decimal({_DIGITS},0)", "integers beyond 64 bits")
    elif kinds <= {int, Decimal}:
        yield from _fractions([Decimal(value) for value in field.present])
    elif kinds == {dict} or kinds == {list}:
        yield Guess("json", "kept as JSON text")
    elif kinds <= {int, Decimal, str} and _all_numbers(field):
        numbers = [Decimal(value) for value in field.present]
        yield from (found for found in _fractions(numbers, why="also in text, ") if found.type != "double")


def _all_numbers(field: Field) -> bool:
    texts = {value for value in field.present if isinstance(value, str)}
    return all(_FRACTION.fullmatch(text) or _INTEGER.fullmatch(text) for text in texts)


def _fractions(values: list[Decimal], *, why: str = "") -> Iterator[Guess]:
    """Types of numbers with a fraction, the likelier first."""
    # equal numbers may be written with unequal places (1.0, 1.00): told apart as text
    finite = [Decimal(text).as_tuple() for text in set(map(str, values)) if text[-1].isdigit()]
    exponents = [t.exponent for t in finite if isinstance(t.exponent, int)]
    scale = max(0, -min(exponents, default=0))
    whole = max(1, max((len(t.digits) + int(t.exponent) for t in finite), default=1))
    places = f"{why}up to {scale} decimal {'place' if scale == 1 else 'places'} seen"
    computed = scale > 12 or max(exponents, default=0) > 0 or whole + scale > 2 * _EXACT
    double = Guess(
        "double", f"up to {scale} decimal places: computed values" if scale > 12 else "a wide range"
    )
    if computed:
        yield double
    roomy = max(4, scale + scale % 2 + 2)
    precision = min(_DIGITS, max(_EXACT, whole + 3 + roomy))
    if roomy <= precision:
        yield Guess(f"decimal({precision},{roomy})", places)
    if whole + scale <= _DIGITS:
        yield Guess(f"decimal({_DIGITS},{scale})", places)  # as many digits as there are
    if not computed:
        yield double


def _text(values: list[str], counts: Counter[str]) -> Guess:
    """The type that most texts look like, if it refuses none; else text, with which are odd."""
    likely = _likely(sorted(set(values)), values)
    if likely is None:
        return Guess("string")
    what, candidates = likely
    first: dict[int, Code] | None = None
    for candidate in candidates:
        refused = refused_by(candidate.type, counts)
        if not refused:
            return candidate
        if first is None:
            first, named = refused, candidate.type
    return Guess("string", _odd_ones(what, named, first, counts) if first else "")


def _likely(distinct: list[str], values: list[str]) -> tuple[str, list[Guess]] | None:
    """What most texts look like, and the types that such texts may have."""
    if _mostly(_UUID, values):
        return "UUIDs", [Guess("uuid")]
    if _mostly(DATE, values):
        return "dates", [Guess("date"), Guess("timestamp", _offsets(distinct))]
    if _mostly(_TIME, values) or (_mostly(DATE, values, _TIME)):
        return "times", [Guess("timestamp", _offsets(distinct))]
    if _mostly(_FRACTION, values, _INTEGER) and any(map(_FRACTION.fullmatch, distinct)):
        numbers = [
            Decimal(text) for text in distinct if _FRACTION.fullmatch(text) or _INTEGER.fullmatch(text)
        ]
        guesses = _fractions(numbers, why="numbers in text, ")
        return "numbers with a fraction", [found for found in guesses if found.type != "double"]
    return None


def _mostly(form: re.Pattern[str], values: list[str], other: re.Pattern[str] | None = None) -> bool:
    looking = sum(1 for v in values if form.fullmatch(v) or (other is not None and other.fullmatch(v)))
    return looking >= _MOSTLY * len(values) and looking > 0


def _offsets(distinct: list[str]) -> str:
    lacking = any(not DATE.fullmatch(text) and not has_offset(text) for text in distinct)
    return "no offset (Z, +01:00): taken as UTC" if lacking else ""


def has_offset(text: str) -> bool:
    """Whether a text that is a timestamp has an offset."""
    return _OFFSET.fullmatch(text) is not None


def _odd_ones(what: str, type_: str, refused: dict[int, Code], counts: Counter[str]) -> str:
    """Which texts are why a field that looks like another type is text."""
    texts = list(counts)
    number = sum(counts[texts[at]] for at in refused)
    at, code = next(iter(refused.items()))
    example = json.dumps(json.loads(texts[at])[:40], ensure_ascii=False)
    if set(refused.values()) == {Code.TIME_FRACTION}:
        total = sum(counts.values())
        return (
            f"times, {number:,} of {total:,} more precise than a microsecond:"
            " type timestamp with time_precision: truncate would drop those digits"
        )
    return f"{what}, but for {number:,} such as {example} ({reason_of(code)}): declare {type_} to refuse them"


def integer_unit(values: list[int]) -> str:
    """The unit (s, ms, us, ns) in which all integers are instants of our time; nothing if in none."""
    for unit, per_second in UNITS.items():
        if all(_FIRST <= value // per_second <= _LAST for value in values):
            return unit
    return ""


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
