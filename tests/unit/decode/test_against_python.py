"""The decoder against Python's own json, on documents as they are and with bytes changed."""

import json
import math
import struct
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
    | st.builds(lambda e, n: f"{e}{n}", st.sampled_from(["e", "E", "e-", "E+"]), st.integers(0, 345)),
)


def spelled_out(exact: Fraction) -> str:
    """All digits of a number that has finitely many."""
    places = exact.denominator.bit_length() - 1
    digits = str(exact.numerator * 5**places).rjust(places + 1, "0")
    return digits[: len(digits) - places] + "." + (digits[len(digits) - places :] or "0")


def half_way(bits: int) -> str:
    """The exact decimal between two neighbouring doubles."""
    low = math.ldexp(bits, -40)
    return spelled_out((Fraction(low) + Fraction(math.nextafter(low, math.inf))) / 2)


def float_of(bits: int) -> float:
    """The 32-bit float of some bits."""
    value: float = struct.unpack("<f", struct.pack("<i", bits))[0]
    return value


HALF_WAYS = st.builds(
    str.__add__,
    st.integers(2**52, 2**62).map(half_way)
    | st.integers(1, 2**31 - 2**23 - 2).map(
        lambda bits: spelled_out((Fraction(float_of(bits)) + Fraction(float_of(bits + 1))) / 2)
    ),
    st.sampled_from(["", "0", "00001"]),
)
PRINTED = st.builds(
    lambda value, digits: f"{value:.{digits - 1}e}",
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.integers(1, 30) | st.integers(740, 830),
)


def one_place_less(value: int, places: int, step: int) -> str:
    """A double that ends in 5, cut one place before its end, and the number above it."""
    shift = 10 ** (places - 1)
    cut = value * shift // 2**places + step
    return f"{cut // shift}.{cut % shift:0{places - 1}}"


TIES = st.builds(one_place_less, st.integers(2**52, 2**53), st.integers(2, 5), st.integers(0, 1))
EXACT = Decoder(
    dataset(column("d", "double"), column("f", "float"), column("n", "long"), column("x", "decimal(38,12)")),
    options(),
)


def gives_back(value: float, exact: Decimal) -> bool:
    """Whether a float, printed with as many significant digits as a number has, or shortest, is that number."""
    digits = len("".join(map(str, exact.as_tuple().digits)).strip("0"))
    printed = (f"{value:.{digits - 1}e}", repr(value)) if exact else ()
    return exact == 0 or exact in map(Decimal, printed)


def nearest_float(text: str) -> float:
    """The 32-bit float nearest to a number, found by trying those around the nearest double."""
    value, exact = float(text), Fraction(text)
    if abs(exact) >= Fraction(2) ** 128 - Fraction(2) ** 103:
        return math.inf
    bits = struct.unpack("<i", struct.pack("<f", min(abs(value), float_of(0x7F7FFFFF))))[0]
    near = [float_of(b) for b in range(max(bits - 1, 0), min(bits + 2, 0x7F800000))]
    even = {v: struct.unpack("<i", struct.pack("<f", v))[0] & 1 for v in near}
    return math.copysign(min(near, key=lambda v: (abs(Fraction(v) - abs(exact)), even[v])), value)


def wanted(text: str, nearest: float) -> float | None:
    """What a column of floats takes a number as, or None where it refuses it."""
    exact = Decimal(text)
    if exact == 0:
        return 0.0
    fits = math.isfinite(nearest) and nearest != 0 and gives_back(nearest, exact)
    return nearest if fits else None


@settings(max_examples=600, deadline=None)
@given(NUMBERS | HALF_WAYS | PRINTED | TIES)
def test_numbers_are_taken_as_what_they_are_or_dead_letters(text: str) -> None:
    lines = (f'{{"k":"a","v":"2024-01-01","{name}":{text}}}' for name in ("d", "f", "n", "x"))
    double, single, whole, decimal = records(decode(EXACT, *lines), EXACT.schema)
    exact = Decimal(text)
    for found, name, value in (
        (double, "d", wanted(text, float(text))),
        (single, "f", wanted(text, nearest_float(text))),
    ):
        assert found.values == ({} if value is None else {name: value})
        assert value != 0 or math.copysign(1, found.values[name]) == 1
    in_range = exact == exact.to_integral_value() and -(2**63) <= exact < 2**63
    assert whole.values == ({"n": int(exact)} if in_range else {})
    unscaled = Fraction(text) * 10**12
    fits = unscaled.denominator == 1 and abs(unscaled) < 10**38
    assert {n: Fraction(v) for n, v in decimal.values.items()} == ({"x": Fraction(text)} if fits else {})


@settings(max_examples=400, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_what_programs_print_is_taken(value: float, single: bool) -> None:
    if single:
        value = float_of(struct.unpack("<i", struct.pack("<f", math.fmod(value, 1e38)))[0])
    kind = "float" if single else "double"
    decoder = Decoder(dataset(column("c", kind)), options())
    texts = [repr(value), f"{value:.17g}", f"{value:.17e}", f"{value:.30g}"]
    texts.append("-" * (value < 0) + spelled_out(abs(Fraction(value))))
    found = records(
        decode(decoder, *(f'{{"k":"a","v":"2024-01-01","c":{t}}}' for t in texts)), decoder.schema
    )
    assert [r.values for r in found] == [{"c": value + 0.0}] * len(texts)


def spellings(sign: str, digits: str, exponent: int) -> list[str]:
    """One number in many spellings."""
    size = len(digits)
    texts = [
        f"{digits}e{exponent}",
        f"{digits}E+{exponent}" if exponent >= 0 else f"{digits}E-00{-exponent}",
        f"{digits[0]}.{digits[1:]}0e{exponent + size - 1}",
        f"0.{digits}e{exponent + size}",
        f"0.000{digits}00e{exponent + size + 3}",
        f"{digits}{'0' * 25}e{exponent - 25}",
        f"{digits}.{'0' * 700}e{exponent}",
        f"{digits}.0e{exponent}",
        f"0.{'0' * 400}{digits}e{exponent + size + 400}",
    ]
    if 0 <= exponent < 400:
        texts += [digits + "0" * exponent, digits + "0" * exponent + ".000"]
    elif -size < exponent < 0:
        texts += [
            f"{digits[:exponent]}.{digits[exponent:]}",
            f"{digits[:exponent]}.{digits[exponent:]}" + "0" * 25,
        ]
    elif -400 < exponent <= -size:
        texts += [f"0.{'0' * (-exponent - size)}{digits}", f"0.{'0' * (-exponent - size)}{digits}000e0"]
    return [sign + text for text in texts]


EVERY = dataset(
    *(
        column(name, kind)
        for name, kind in (
            ("d", "double"),
            ("f", "float"),
            ("n", "long"),
            ("i", "int"),
            ("x", "decimal(38,12)"),
            ("y", "decimal(4,2)"),
            ("z", "decimal(18,0)"),
        )
    ),
)
EVERYTHING = Decoder(EVERY, options())


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["", "-"]),
    st.integers(1, 10**40).map(str)
    | st.integers(1, 10**17).map(str)
    | st.sampled_from(["1", "9007199254740993", "9503649", "16777217", "5", "499999999999999999"]),
    st.integers(-30, 30) | st.integers(-345, 320),
)
def test_a_number_is_the_same_however_it_is_written(sign: str, digits: str, exponent: int) -> None:
    texts = spellings(sign, digits, exponent)
    for each in EVERY.parent.values:
        lines = (f'{{"k":"a","v":"2024-01-01","{each.name}":{text}}}' for text in texts)
        found = records(decode(EVERYTHING, *lines), EVERY)
        assert [(r.values, r.code == 0) for r in found] == [(found[0].values, found[0].code == 0)] * len(
            texts
        )


ZEROS = st.builds(
    lambda sign, fraction, exponent: sign + "0" + fraction + exponent,
    st.sampled_from(["", "-"]),
    st.integers(0, 60).map(lambda n: "." + "0" * n if n else ""),
    st.just("")
    | st.builds(
        lambda e, n: f"{e}{n}",
        st.sampled_from(["e", "E-", "e+", "E"]),
        st.integers(0, 40).map(str) | st.sampled_from(["307", "400", "0999", str(2**63), "9" * 5000]),
    ),
)


@settings(max_examples=200, deadline=None)
@given(ZEROS)
def test_zero_fits_every_number_however_it_is_written(text: str) -> None:
    names = ("d", "f", "n", "i", "x", "y", "z")
    members = ",".join(f'"{name}":{text}' for name in names)
    (found,) = records(decode(EVERYTHING, f'{{"k":"a","v":"2024-01-01",{members}}}'), EVERY)
    assert found.values == dict.fromkeys(names, 0)
    assert math.copysign(1, found.values["d"]) == math.copysign(1, found.values["f"]) == 1
