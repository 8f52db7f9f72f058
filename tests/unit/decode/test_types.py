"""Every column type: what it takes, exactly, and what it refuses."""

from decimal import Decimal
from typing import Any

import pytest

from pipeline.decode import Decoder
from pipeline.decode.explain import explain
from pipeline.decode.layout import Code
from tests.unit.decode.reading import child, column, dataset, decode, options, records

DAY = 86_400_000_000

TAKEN: list[tuple[str, str, Any]] = [
    ("string", '""', ""),
    ("string", '"caf\\u00e9 \\ud83d\\ude00 \\"\\\\\\/\\b\\f\\n\\r\\t"', 'café 😀 "\\/\b\f\n\r\t'),
    ("string", '"é€😀 and more than eight bytes"', "é€😀 and more than eight bytes"),
    ("string", '"\\u0000"', "\0"),
    ("boolean", "true", True),
    ("boolean", "false", False),
    ("int", "-2147483648", -(2**31)),
    ("int", "2147483647", 2**31 - 1),
    ("long", "9223372036854775807", 2**63 - 1),
    ("long", "-9223372036854775808", -(2**63)),
    ("long", "9007199254740993", 2**53 + 1),
    ("long", "1.0", 1),
    ("long", "1e3", 1000),
    ("long", "-0", 0),
    ("long", "120e-1", 12),
    ("double", "0.1", 0.1),
    ("double", "-0.0", 0.0),
    ("double", "9007199254740992", float(2**53)),
    ("double", "1e22", 1e22),
    ("double", "1.7976931348623157e308", 1.7976931348623157e308),
    ("double", "5e-324", 5e-324),
    ("double", "0.1000000000000000055511151231257827021181583404541015625", 0.1),
    ("double", "1e23", 1e23),
    ("double", "1" + "0" * 23, 1e23),
    ("double", "0.30000000000000004", 0.1 + 0.2),
    ("double", "0.10000000000000000000", 0.1),
    ("double", "0.1000000000000000055511", 0.1),
    ("double", "1125899906842624.2", 1125899906842624.25),
    ("double", "1" + "0" * 100_000 + "e-100000", 1.0),
    ("double", "0." + "0" * 100_000 + "1e100001", 1.0),
    ("double", "0e999", 0.0),
    ("float", "0.5", 0.5),
    ("float", "0.9503649", 0.9503648877143860),
    ("float", "0.95036490000000000000", 0.9503648877143860),
    ("float", "100000000000000000.0", 99999998430674944.0),
    ("float", "1000000000000000000", 999999984306749440.0),
    ("float", "1e-45", 1.401298464324817e-45),
    ("float", "7.038531e-26", 7.038530691851209e-26),
    ("float", "3.4028235e38", 3.4028234663852886e38),
    ("float", "0.000e-400", 0.0),
    ("float", "0.1", 0.10000000149011612),
    ("float", "0.12345679", 0.12345679104328156),
    ("float", "16777216", 16777216.0),
    ("decimal(12,6)", "1.5", Decimal("1.500000")),
    ("decimal(12,6)", '"-1.5"', Decimal("-1.500000")),
    ("decimal(4,2)", "1.5000", Decimal("1.50")),
    ("decimal(4,2)", "15e-1", Decimal("1.50")),
    ("decimal(4,2)", "0e99", Decimal("0.00")),
    ("decimal(4,2)", "0e9", Decimal("0.00")),
    ("decimal(4,2)", '"-0.000e-400"', Decimal("0.00")),
    ("decimal(3,1)", "100e-2", Decimal("1.0")),
    ("decimal(38,0)", "9" * 38, Decimal("9" * 38)),
    ("decimal(38,0)", '"-' + "9" * 38 + '"', Decimal("-" + "9" * 38)),
    ("decimal(38,38)", "0." + "0" * 37 + "1", Decimal("1e-38")),
    ("decimal(38,10)", "123456789012345678901234.5", Decimal("123456789012345678901234.5000000000")),
    ("date", '"1970-01-02"', 1),
    ("date", '"2024-02-29"', 19782),
    ("date", '"0001-01-01"', -719162),
    ("date", '"9999-12-31"', 2932896),
    ("timestamp", '"1970-01-02"', DAY),
    ("timestamp", '"1970-01-01T00:00:00.000001Z"', 1),
    ("timestamp", '"1970-01-01t00:00:00.1z"', 100_000),
    ("timestamp", '"1970-01-01 00:00:01"', 1_000_000),
    ("timestamp", '"1970-01-01T00:01"', 60_000_000),
    ("timestamp", '"1970-01-01T05:30:00.123456000+05:30"', 123_456),
    ("timestamp", '"1969-12-31T19:00:00-05"', 0),
    ("timestamp", '"1969-12-31T19:00:00-0500"', 0),
    ("timestamp", '"9999-12-31T23:59:59.999999Z"', 253_402_300_799_999_999),
    ("timestamp", '"1970\\u002d01-01"', 0),
    ("uuid", '"12345678-ABCD-abcd-1234-123456789abc"', "12345678-abcd-abcd-1234-123456789abc"),
    ("binary", '"AAEC/w=="', b"\x00\x01\x02\xff"),
    ("binary", '"AAEC\\/w=="', b"\x00\x01\x02\xff"),
    ("binary", '""', b""),
    ("json", '{"a" : [1, 2.50, {}]}', '{"a" : [1, 2.50, {}]}'),
    ("json", "[ ]", "[ ]"),
    ("json", '"x"', '"x"'),
    ("json", "1.0", "1.0"),
    ("json", "true", "true"),
]

REFUSED: list[tuple[str, str, Code]] = [
    ("string", "1", Code.WRONG_TYPE),
    ("string", "true", Code.WRONG_TYPE),
    ("string", "[]", Code.WRONG_TYPE),
    ("string", "{}", Code.WRONG_TYPE),
    ("boolean", '"true"', Code.WRONG_TYPE),
    ("boolean", "1", Code.WRONG_TYPE),
    ("int", "2147483648", Code.OUT_OF_RANGE),
    ("long", "9223372036854775808", Code.OUT_OF_RANGE),
    ("long", "1" + "0" * 30, Code.OUT_OF_RANGE),
    ("long", "1e400", Code.OUT_OF_RANGE),
    ("long", "1.5", Code.NOT_INTEGRAL),
    ("long", "1e-400", Code.NOT_INTEGRAL),
    ("long", '"1"', Code.WRONG_TYPE),
    ("long", "true", Code.WRONG_TYPE),
    ("double", "1e400", Code.OUT_OF_RANGE),
    ("double", "-1e400", Code.OUT_OF_RANGE),
    ("double", "1e-400", Code.OUT_OF_RANGE),
    ("double", "9007199254740993", Code.INEXACT),
    ("double", "9007199254740993.0", Code.INEXACT),
    ("double", "9007199254740993.0000000000000000000000000000001", Code.INEXACT),
    ("double", "4.99999999999999999", Code.INEXACT),
    ("double", "0.1234567890123456789", Code.INEXACT),
    ("double", "1125899906842624.3", Code.INEXACT),
    ("double", "4e-324", Code.INEXACT),
    ("double", "0.1" + "0" * 100_000 + "1", Code.INEXACT),
    ("double", "1.7976931348623158e308", Code.INEXACT),
    ("double", "1.8e308", Code.OUT_OF_RANGE),
    ("double", '"1.5"', Code.WRONG_TYPE),
    ("float", "16777217", Code.INEXACT),
    ("float", "0.123456789", Code.INEXACT),
    ("float", "4.9999999", Code.INEXACT),
    ("float", "4.99999999999999999", Code.INEXACT),
    ("float", "9007199254740993.0", Code.INEXACT),
    ("float", "1e-46", Code.OUT_OF_RANGE),
    ("float", "1e39", Code.OUT_OF_RANGE),
    ("decimal(4,2)", "1.555", Code.SCALE),
    ("decimal(4,2)", "100", Code.PRECISION),
    ("decimal(4,2)", "1e400", Code.PRECISION),
    ("decimal(4,2)", "1e-400", Code.SCALE),
    ("decimal(38,0)", "1" * 39, Code.PRECISION),
    ("decimal(4,2)", '"1.5 "', Code.BAD_NUMBER),
    ("decimal(4,2)", '"NaN"', Code.BAD_NUMBER),
    ("decimal(4,2)", '""', Code.BAD_NUMBER),
    ("date", '"2023-02-29"', Code.TIME_TEXT),
    ("date", '"2023-1-1"', Code.BAD_DATE),
    ("date", '"2023-01-01T00:00:00Z"', Code.BAD_DATE),
    ("date", "19000", Code.WRONG_TYPE),
    ("timestamp", "0", Code.WRONG_TYPE),
    ("timestamp", '"yesterday"', Code.TIME_TEXT),
    ("timestamp", '"2024-01-01T24:00:00Z"', Code.TIME_TEXT),
    ("timestamp", '"2024-01-01T00:00:00.Z"', Code.TIME_TEXT),
    ("timestamp", '"2024-01-01T00:00:00+1"', Code.TIME_TEXT),
    ("timestamp", '"2016-12-31T23:59:60Z"', Code.LEAP_SECOND),
    ("timestamp", '"2024-01-01T00:00:00.0000001Z"', Code.TIME_FRACTION),
    ("timestamp", '"0000-12-31T00:00:00Z"', Code.TIME_RANGE),
    ("timestamp", '"0001-01-01T00:00:00+01:00"', Code.TIME_RANGE),
    ("timestamp", '"9999-12-31T23:30:00-01:00"', Code.TIME_RANGE),
    ("timestamp", '"10000-01-01"', Code.TIME_TEXT),
    ("uuid", '"12345678abcdabcd1234123456789abc"', Code.BAD_UUID),
    ("uuid", '"12345678-abcd-abcd-1234-123456789abg"', Code.BAD_UUID),
    ("binary", '"AAEC/w"', Code.BAD_BASE64),
    ("binary", '"AAEC/x=="', Code.BAD_BASE64),
    ("binary", '"AA=="x', Code.NOT_JSON),
    ("binary", '"A==="', Code.BAD_BASE64),
    ("binary", '"AA-_"', Code.BAD_BASE64),
]


@pytest.mark.parametrize(("kind", "text", "wanted"), TAKEN)
def test_taken(kind: str, text: str, wanted: Any) -> None:
    decoder = Decoder(dataset(column("c", kind), column("after", "long")), options())
    first, second = records(
        decode(
            decoder,
            f'{{"k":"a","v":"2024-01-01","c":{text},"after":1}}',
            '{"k":"a","v":"2024-01-01","c":null}',
        ),
        decoder.schema,
    )
    assert (first.code, first.values) == (Code.OK, {"c": wanted, "after": 1})
    assert (second.code, second.values) == (Code.OK, {})


@pytest.mark.parametrize(("kind", "text", "wanted"), REFUSED)
def test_refused(kind: str, text: str, wanted: Code) -> None:
    decoder = Decoder(dataset(column("c", kind)), options())
    good = '{"k":"a","v":"2024-01-01"}'
    bad = f'{{"k":"a","v":"2024-01-01","c":{text}}}'
    before, refused, after = records(decode(decoder, good, bad, good), decoder.schema)
    assert (before.code, refused.code, after.code) == (Code.OK, wanted, Code.OK)
    assert refused.column == (None if wanted is Code.NOT_JSON else "d.c")


def test_a_misfit_does_not_matter_to_a_delete() -> None:
    decoder = Decoder(dataset(column("c", "long")), options())
    (record,) = records(decode(decoder, '{"k":"a","v":"2024-01-01","op":"delete","c":"x"}'), decoder.schema)
    assert (record.code, record.operation, record.given) == (Code.OK, 2, 0)


@pytest.mark.parametrize(
    ("kind", "widths", "least"),
    [
        ("int", [10], -(2**31) + 8),
        ("long", [10], -(2**63) + 8),
        ("long", [1, 1000], -(2**63) + 808),
        ("decimal(3,0)", [10], -990),
        ("decimal(2,0)", [1000], 0),
        ("decimal(38,0)", [10], -(10**38) + 10),
        ("decimal(38,0)", [], -(10**38) + 1),
    ],
)
def test_a_number_too_small_to_be_truncated_is_a_dead_letter(
    kind: str, widths: list[int], least: int
) -> None:
    truncated = tuple(("c", width) for width in widths)
    decoder = Decoder(dataset(column("c", kind)), options(truncated=truncated))
    spelled = [str(least), str(least - 1), f'"{least}"', f'"{least - 1}"']
    batch = decode(decoder, *(f'{{"k":"a","v":"2024-01-01","c":{text}}}' for text in spelled))
    too_small = Code.UNPARTITIONED if widths else Code.PRECISION
    texts = [Code.OK, too_small] if "decimal" in kind else [Code.WRONG_TYPE] * 2
    assert [Code(code) for code in batch.status] == [Code.OK, too_small, *texts]
    if widths:
        _, reason, advice = explain(batch, 1)
        assert "d.c: a number too small to be truncated for its partition, at byte" in reason
        assert "bucket" in advice


FINER = '"1969-12-31T23:59:59.9999999Z"'


def test_digits_beyond_microseconds_are_dropped_only_where_a_column_says_so() -> None:
    rows = child(["rows"], [column("at", "timestamp")], column("to", "timestamp"))
    schema = dataset(column("a", "timestamp"), column("b", "timestamp", "o.b"), children=[rows])
    head = '{"k":"a","v":"2024-01-01"'
    lines = (
        f'{head},"a":{FINER},"rows":[{{"at":{FINER},"to":"2024-01-01"}}]}}',
        f'{head},"o":{{"b":{FINER}}}}}',
        f'{head},"rows":[{{"at":"2024-01-01","to":{FINER}}}]}}',
        '{"k":"a","v":"2024-01-01T00:00:00.0000001Z"}',
    )
    decoder = Decoder(schema, options(truncated_times=frozenset({((), ("a",)), ((("rows",),), ("at",))})))
    taken, *refused = records(decode(decoder, *lines), decoder.schema)
    assert (taken.code, taken.values) == (Code.OK, {"a": -1})
    assert [*taken.children["d__rows"]] == [(-1,)]
    assert [(r.code, r.column) for r in refused] == [
        (Code.TIME_FRACTION, "d.b"),
        (Code.TIME_FRACTION, "d__rows.to"),
        (Code.TIME_FRACTION, "valid_from"),
    ]
