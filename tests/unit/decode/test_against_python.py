"""The decoder against Python's own json, on documents as they are and with bytes changed."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decode import Decoder
from pipeline.decode.layout import Code
from tests.unit.decode.reading import Record, column, dataset, decode, options, records

SCHEMA = dataset(
    column("s"),
    column("d", "double"),
    column("j", "json"),
    column("n", "long", "o.n"),
    column("t", "string", "o.ü.t"),
)
DECODER = Decoder(SCHEMA, options(on_new_field="ignore"))
GOOD = b'{"k":"a","v":"2024-01-01","s":"neighbour"}'
NOT_JSON = {Code(c) for c in range(1, 10)}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["s", "k", "o", "ü", "t"]
)
VALUES = st.recursive(
    SCALARS | TEXTS, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXTS, v, max_size=4), max_leaves=12
)
INNER = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-(2**64), 2**64),
        "ü": st.fixed_dictionaries({}, optional={"t": TEXTS}),
        "z": VALUES,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"k": TEXTS, "v": st.dates().map(str)},
    optional={"s": TEXTS, "d": SCALARS, "j": VALUES, "o": INNER | VALUES, "other": VALUES, '\\"': VALUES},
).flatmap(lambda d: st.permutations(list(d.items())).map(dict))
STYLES = st.builds(
    dict,
    ensure_ascii=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\r:  ")]),
)
PIECES = st.sampled_from(
    [b"", *(bytes([c]) for c in b'{}[]",:\\tfnu019eE+-. \0\x1f\x7f\x80\xc3\xe2\xed\xf4\xff')]
)
MUTATIONS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2), PIECES), max_size=3)


def refuse(name: str) -> Any:
    raise ValueError(name)


def reference(line: bytes) -> tuple[bool, Any]:
    """Whether a line is JSON by RFC 8259 with whole characters only, and its value, numbers as Decimal."""
    try:
        value = json.loads(line.decode("utf-8"), parse_float=Decimal, parse_constant=refuse)
        json.dumps(value, default=str, ensure_ascii=False).encode("utf-8")
    except ValueError:
        return False, None
    return not line.startswith(b"\xef\xbb\xbf"), value


def mutated(line: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, removed, piece in changes:
        at = place % (len(line) + 1)
        line = line[:at] + piece + line[at + removed :]
    return line.replace(b"\n", b" ")


def check(record: Record, line: bytes) -> None:
    valid, value = reference(line)
    assert (record.code not in NOT_JSON) is valid, (line, record.code)
    if record.code is not Code.OK:
        return
    assert record.values.get("s") == value.get("s")
    wanted = value.get("d")
    assert record.values.get("d") == (None if wanted is None else float(wanted))
    assert json.loads(record.values.get("j", "null"), parse_float=Decimal) == value.get("j")
    inner = value.get("o") or {}
    assert record.values.get("n") == inner.get("n")
    assert record.values.get("t") == (inner.get("ü") or {}).get("t")


@settings(max_examples=250, deadline=None)
@given(DOCUMENTS, STYLES, st.lists(MUTATIONS, min_size=1, max_size=12))
def test_valid_is_accepted_and_values_are_equal(document: Any, style: Any, changes: Any) -> None:
    line = json.dumps(document, **style).encode()
    lines = [line, *(mutated(line, change) for change in changes)]
    padded = [part for each in lines for part in (each, GOOD)]
    found = records(decode(DECODER, *padded), SCHEMA)
    for each, record, neighbour in zip(lines, found[::2], found[1::2], strict=True):
        check(record, each)
        assert neighbour.values == {"s": "neighbour"}


DIGITS = st.integers(0, 10**45).map(str) | st.integers(0, 999).map(str)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
    st.sampled_from(["", "-"]),
    DIGITS,
    st.just("") | st.text("0123456789", min_size=1, max_size=40).map(lambda t: "." + t),
    st.just("")
    | st.builds(lambda e, n: f"{e}{n}", st.sampled_from(["e", "E", "e-", "E+"]), st.integers(0, 330)),
)


def half_way(bits: int) -> str:
    """The exact decimal between two neighbouring doubles."""
    low = math.ldexp(bits, -40)
    middle = (Fraction(low) + Fraction(math.nextafter(low, math.inf))) / 2
    places = middle.denominator.bit_length() - 1
    digits = str(middle.numerator * 5**places).rjust(places + 1, "0")
    return digits[: len(digits) - places] + "." + (digits[len(digits) - places :] or "0")


HALF_WAYS = st.builds(
    str.__add__, st.integers(2**52, 2**62).map(half_way), st.sampled_from(["", "0", "00001"])
)
EXACT = Decoder(dataset(column("d", "double"), column("n", "long"), column("x", "decimal(38,12)")), options())


@settings(max_examples=400, deadline=None)
@given(NUMBERS | HALF_WAYS)
def test_numbers_are_exact_or_dead_letters(text: str) -> None:
    lines = (f'{{"k":"a","v":"2024-01-01","{name}":{text}}}' for name in ("d", "n", "x"))
    double, whole, decimal = records(decode(EXACT, *lines), EXACT.schema)
    exact = Decimal(text)
    nearest = float(text)
    integral = not set(text) & set(".eE")
    fits = math.isfinite(nearest) and (nearest != 0 or exact == 0) and not (integral and int(text) != nearest)
    assert double.values == ({"d": nearest} if fits else {})
    assert math.copysign(1, double.values.get("d", 1)) == (
        1 if nearest == 0 or not fits else math.copysign(1, nearest)
    )
    in_range = exact == exact.to_integral_value() and -(2**63) <= exact < 2**63
    assert whole.values == ({"n": int(exact)} if in_range else {})
    unscaled = Fraction(text) * 10**12
    fits = unscaled.denominator == 1 and abs(unscaled) < 10**38
    assert {n: Fraction(v) for n, v in decimal.values.items()} == ({"x": Fraction(text)} if fits else {})
