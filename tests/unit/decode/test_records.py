"""Keys, times, operations, patches and envelopes."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from pipeline.decode import Decoder
from pipeline.decode.explain import explain
from pipeline.decode.layout import OPERATIONS, Code
from pipeline.schema import END_OF_TIME_DAY, END_OF_TIME_US
from tests.unit.decode.reading import child, column, dataset, decode, options, records

DAY = 86_400_000_000
NONE = -(2**63)
ALL = 2**64 - 1


def one(text: str, *columns: Any, **settings: Any) -> Any:
    decoder = Decoder(dataset(*columns), options(**settings))
    return records(decode(decoder, text), decoder.schema)[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"1"', "1"),
        ("1", "1"),
        ("1.0", "1.0"),
        ("true", "true"),
        ('"é"', "é"),
        ('"\\u00e9"', "é"),
        ('""', ""),
    ],
)
def test_an_undeclared_key_is_text(text: str, wanted: str) -> None:
    record = one(f'{{"k":{text},"v":"2024-01-01"}}')
    assert (record.code, record.key) == (Code.OK, (wanted,))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("null", Code.KEY_MISSING),
        ("[]", Code.WRONG_TYPE),
        ("{}", Code.WRONG_TYPE),
        ('"' + "x" * 65_532 + '"', Code.OK),
        ('"' + "x" * 65_533 + '"', Code.KEY_TOO_LONG),
    ],
)
def test_keys(text: str, code: Code) -> None:
    record = one(f'{{"k":{text},"v":"2024-01-01"}}')
    assert record.code is code
    assert record.column == (None if code is Code.OK else "d.k")


def test_a_declared_key_is_strict_and_composite() -> None:
    key = (column("a", "long"), column("b", "decimal(4,2)", "x.b"))
    decoder = Decoder(dataset(key=key), options())
    good, bad, missing = records(
        decode(
            decoder,
            '{"x":{"b":"1.5"},"a":7,"v":"2024-01-01"}',
            '{"x":{"b":1},"a":"7","v":"2024-01-01","op":"delete"}',
            '{"a":7,"v":"2024-01-01"}',
        ),
        decoder.schema,
    )
    assert [str(part) for part in good.key] == ["7", "1.50"]
    assert (bad.code, bad.column) == (Code.WRONG_TYPE, "d.a")
    assert (missing.code, missing.column) == (Code.KEY_MISSING, "d.b")


TIMES: list[tuple[str, dict[str, Any], Any]] = [
    ('"v":"1970-01-02"', {}, (DAY, NONE)),
    ('"v":"1970-01-02T00:00:00+01:00","to":null', {}, (DAY - 3_600_000_000, NONE)),
    ('"v":"1970-01-02T23:00:00-02:00"', {"dated": True}, (2, NONE)),
    ('"v":"1969-12-31T23:59:59Z"', {"dated": True}, (-1, NONE)),
    ('"v":1,"to":2', {"valid_unit": "s"}, (1_000_000, 2_000_000)),
    ('"v":-1', {"valid_unit": "ms"}, (-1000, NONE)),
    ('"v":86400000001', {"valid_unit": "us", "dated": True}, (1, NONE)),
    ('"v":5000', {"valid_unit": "ns"}, (5, NONE)),
    ('"v":"1970-01-02"', {"valid_unit": "s"}, (DAY, NONE)),
    ('"v":0,"to":99999999999999999999', {"valid_unit": "s"}, (0, END_OF_TIME_US)),
    ('"v":"1970-01-01","to":"9999-12-31"', {}, (0, END_OF_TIME_US)),
    ('"v":"1970-01-01","to":"9999-12-31T23:59:59.999999-12:00"', {}, (0, END_OF_TIME_US)),
    ('"v":"1970-01-01","to":"9999-12-31"', {"dated": True}, (0, END_OF_TIME_DAY)),
    ('"v":5001', {"valid_unit": "ns"}, Code.TIME_FRACTION),
    ('"v":5001', {"valid_unit": "ns", "truncate_valid": True}, (5, NONE)),
    ('"v":-1,"to":1', {"valid_unit": "ns", "truncate_valid": True}, (-1, 0)),
    ('"v":-1001', {"valid_unit": "ns", "truncate_valid": True}, (-2, NONE)),
    ('"v":-1', {"valid_unit": "ns", "truncate_valid": True, "dated": True}, (-1, NONE)),
    ('"v":1,"to":999', {"valid_unit": "ns", "truncate_valid": True}, Code.EMPTY_RANGE),
    ('"v":1.5', {"valid_unit": "ns", "truncate_valid": True}, Code.NOT_INTEGRAL),
    ('"v":"1970-01-01T00:00:00.0000019Z"', {"truncate_valid": True}, (1, NONE)),
    ('"v":"1969-12-31T23:59:59.9999999Z"', {"truncate_valid": True}, (-1, NONE)),
    ('"v":"1970-01-01T01:00:00.0000009+01:00"', {"truncate_valid": True, "dated": True}, (0, NONE)),
    ('"v":"1970-01-01","to":"1970-01-02T00:00:00.123456789Z"', {"truncate_valid": True}, (0, DAY + 123_456)),
    ('"v":"2016-12-31T23:59:60.0000001Z"', {"truncate_valid": True}, Code.LEAP_SECOND),
    ('"v":"1970-01-01T00:00:00.0000001+99:99"', {"truncate_valid": True}, Code.TIME_TEXT),
    ('"v":"1970-01-01T00:00:00.0000001"', {}, Code.TIME_FRACTION),
    ('"v":1', {}, Code.NO_UNIT),
    ('"v":1.5', {"valid_unit": "s"}, Code.NOT_INTEGRAL),
    ('"v":true', {}, Code.WRONG_TYPE),
    ('"v":-99999999999999', {"valid_unit": "s"}, Code.TIME_RANGE),
    ('"v":"soon"', {}, Code.TIME_TEXT),
    ('"v":""', {}, Code.TIME_TEXT),
    ('"v":"0000-01-01"', {}, Code.TIME_RANGE),
    ('"v":"10000-01-01"', {}, Code.TIME_TEXT),
    ('"v":"2016-12-31T23:59:60Z"', {}, Code.LEAP_SECOND),
    ('"v":null', {}, Code.TIME_MISSING),
    ('"x":1', {}, Code.TIME_MISSING),
    ('"v":"9999-12-31T00:00:00Z"', {}, Code.VALID_FROM_END),
    ('"v":"9999-12-31T23:59:59.999999Z"', {}, Code.VALID_FROM_END),
    ('"v":"9999-12-30T23:59:59.999999Z"', {}, (END_OF_TIME_US - 1, NONE)),
    ('"v":"2024-01-02","to":"2024-01-02"', {}, Code.EMPTY_RANGE),
    ('"v":"2024-01-02","to":"2024-01-01","op":"delete"', {}, Code.EMPTY_RANGE),
    ('"v":"2024-01-02","to":"x"', {}, Code.TIME_TEXT),
    ('"v":"2024-01-02T01:00:00Z","to":"2024-01-02T02:00:00Z"', {"dated": True}, Code.EMPTY_RANGE),
]


@pytest.mark.parametrize(("members", "settings", "wanted"), TIMES)
def test_valid_times(members: str, settings: dict[str, Any], wanted: Any) -> None:
    record = one(f'{{"k":"a",{members}}}', on_new_field="ignore", **settings)
    if isinstance(wanted, Code):
        assert record.code is wanted
    else:
        assert (record.code, record.valid) == (Code.OK, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("null", 0), ('"put"', 0), ('"patch"', 1), ('"delete"', 2), ('"terminate"', 3), ('"retract"', 4),
        ('"re\\u0074ract"', 4), ('"Put"', None), ('"terminatx"', None), ('""', None), ("1", Code.WRONG_TYPE),
    ],
)  # fmt: skip
def test_operations(text: str, wanted: Any) -> None:
    record = one(f'{{"k":"a","v":"1970-01-01","to":"1970-01-02","op":{text}}}')
    if isinstance(wanted, int) and not isinstance(wanted, Code):
        assert (record.code, record.operation) == (Code.OK, wanted)
        assert record.valid == (0, NONE if wanted > 2 else DAY)
    else:
        assert (record.code, record.column) == (wanted or Code.OPERATION, "operation")


def test_terminate_ignores_an_end_before_its_start() -> None:
    record = one('{"k":"a","v":"1970-01-02","to":"1970-01-01","op":"terminate"}')
    assert (record.code, record.valid) == (Code.OK, (DAY, NONE))


@pytest.mark.parametrize("to", ['"soon"', "5", "[]", "{}", "true"])
def test_only_terminate_and_retract_ignore_an_end_that_is_no_time(to: str) -> None:
    for operation in OPERATIONS:
        record = one(f'{{"k":"a","v":"1970-01-02","to":{to},"op":"{operation}"}}')
        assert (record.code is Code.OK) is (operation in ("terminate", "retract"))


def test_one_path_serves_two_purposes() -> None:
    record = one(
        '{"k":"a","v":"1970-01-02"}', column("v", "date"), column("raw", "json", "v"), column("k2", path="k")
    )
    assert record.values == {"v": 1, "raw": '"1970-01-02"', "k2": "a"}
    assert (record.key, record.valid[0]) == (("a",), DAY)


def test_an_object_may_be_kept_whole_and_in_parts() -> None:
    record = one('{"o":{"p":5},"k":"a","v":"1970-01-02"}', column("o", "json"), column("p", "long", "o.p"))
    assert record.values == {"o": '{"p":5}', "p": 5}


PATCHED = (column("a", "long"), column("b", "long", "o.b"), column("c", "string", "o.p.c"), *(
    column(f"x{i}", "long") for i in range(20)
))  # fmt: skip


@pytest.mark.parametrize(
    ("members", "wanted", "given"),
    [
        ("", {}, 0),
        (',"a":1', {"a": 1}, 0),
        (',"a":null,"x19":5', {"a": None, "x19": 5}, 0),
        (',"o":{"b":null}', {"b": None}, 0),
        (',"o":{}', {}, 0),
        (',"o":null', {"b": None, "c": None}, 0b110),
        (',"o":{"p":{"c":"z"},"list":[]}', {"c": "z"}, 0b110),
        (',"o":{"list":null}', {}, 0b110),
    ],
)
def test_patches(members: str, wanted: dict[str, Any], given: int) -> None:
    tables = (
        child(["o.list"], [column("id", "long")]),
        child(["o.list", "in"], [column("i", "long")], above=[column("id", "long")]),
    )
    decoder = Decoder(dataset(*PATCHED, children=tables), options())
    text = f'{{"k":"a","v":"1970-01-01","op":"patch"{members}}}'
    put, patch = records(decode(decoder, '{"k":"a","v":"1970-01-01"}', text), decoder.schema)
    assert (put.code, put.given) == (Code.OK, ALL)
    assert (patch.code, patch.values, patch.given) == (Code.OK, wanted, given)


STAMP = '"timestamp":"1970-01-03T12:00:00Z"'
ENVELOPES: list[tuple[str, Any]] = [
    (f'{{{STAMP},"key":[1],"value":{{"k":"a","v":"1970-01-01"}}}}', (0, ("a",), 0)),
    (f'{{"value":{{"k":"a","v":"1970-01-01"}},"headers":{{"x":1}},{STAMP}}}', (0, ("a",), 0)),
    (f'{{{STAMP},"key":"b","value":null}}', (3, ("b",), 2 * DAY + DAY // 2)),
    (f'{{{STAMP},"key":5,"value":null}}', (3, ("5",), 2 * DAY + DAY // 2)),
    (f'{{{STAMP},"key":{{"k":"c"}},"value":null}}', (3, ("c",), 2 * DAY + DAY // 2)),
    (f'{{{STAMP},"value":null}}', Code.KEY_MISSING),
    (f'{{{STAMP},"key":null,"value":null}}', Code.KEY_MISSING),
    (f'{{{STAMP},"key":"b"}}', Code.NO_VALUE),
    (f'{{{STAMP},"value":[]}}', Code.NOT_OBJECT),
    (f'{{{STAMP},"value":"x"}}', Code.NOT_OBJECT),
    (f'{{{STAMP},"value":7}}', Code.NOT_OBJECT),
    (f'{{{STAMP},"value":true}}', Code.NOT_OBJECT),
    ('{"timestamp":null,"value":{"k":"a","v":"1970-01-01"}}', Code.NO_TIMESTAMP),
    ('{"value":{"k":"a","v":"1970-01-01"}}', Code.NO_TIMESTAMP),
    ('{"timestamp":5,"value":{"k":"a","v":"1970-01-01"}}', Code.WRONG_TYPE),
    ('{"timestamp":"x","value":{"k":"a","v":"1970-01-01"}}', Code.TIME_TEXT),
    (f'{{{STAMP},{STAMP},"value":null,"key":"a"}}', Code.DUPLICATE),
    ("null", Code.NULL_RECORD),
    ("[]", Code.NOT_OBJECT),
    ("x", Code.NOT_JSON),
]


@pytest.mark.parametrize(("line", "wanted"), ENVELOPES)
def test_envelopes(line: str, wanted: Any) -> None:
    decoder = Decoder(dataset(column("a", "long")), options(envelope=True))
    batch = decode(decoder, line)
    (record,) = records(batch, decoder.schema)
    if isinstance(wanted, Code):
        assert record.code is wanted
        assert all(explain(batch, 0))
    else:
        assert (record.code, record.operation, record.key, record.valid[0]) == (Code.OK, *wanted)
        assert batch.timestamp[0] == 2 * DAY + DAY // 2
        assert bool(batch.tombstone[0]) is (wanted[0] == 3)


def test_a_dead_letter_keeps_its_timestamp() -> None:
    decoder = Decoder(dataset(), options(envelope=True))
    batch = decode(decoder, f'{{{STAMP},"value":{{"k":null}}}}')
    assert (batch.status[0] != 0, batch.timestamp[0]) == (True, 2 * DAY + DAY // 2)


@pytest.mark.parametrize(
    "line", ['{STAMP,"value":{', '{STAMP,"value":{}}x', '{STAMP,"value":{"u":"\\ud800"}}']
)
def test_a_line_that_is_not_read_to_its_end_has_no_timestamp(line: str) -> None:
    batch = decode(Decoder(dataset(), options(envelope=True)), line.replace("STAMP", STAMP))
    assert (batch.status[0] != 0, batch.timestamp[0]) == (True, NONE)


RAW_KEYS: list[tuple[Any, str, bytes, Any]] = [
    (False, "string", b"DE0001", "DE0001"),
    (True, "string", b"DE0001", "DE0001"),
    (True, "string", b"", ""),
    (True, "string", b' "a', ' "a'),
    (True, "string", b"007", "007"),
    (True, "string", b"1 2", "1 2"),
    (True, "string", b'{"k":"x"', '{"k":"x"'),
    (True, "string", "\u20ac\ufeff".encode(), "\u20ac\ufeff"),
    (True, "string", b"a\nb", "a\nb"),
    (False, "string", b"12", "12"),
    (True, "string", b"12", "12"),
    (True, "string", b"594918104", "594918104"),
    (True, "string", b"037833100", "037833100"),
    (True, "string", b"1e5", "1e5"),
    (True, "string", b" 1", " 1"),
    (True, "string", b"-0.0 ", "-0.0 "),
    (True, "string", b"true", "true"),
    (True, "string", b"null", "null"),
    (True, "string", b"[1]", "[1]"),
    (True, "string", b"[" * 500, "[" * 500),
    (True, "string", b'"B"', "B"),
    (True, "string", b' "E" ', "E"),
    (True, "string", b'"\\"q\\""', '"q"'),
    (True, "string", b'{"k":"C"}', "C"),
    (True, "string", b'{ "k" : "D" }', "D"),
    (True, "string", b'{"k":1}', Code.WRONG_TYPE),
    (True, "string", b'{"k":null}', Code.KEY_MISSING),
    (True, "string", b'{"schema":{"type":"string"},"payload":"H"}', Code.KEY_MISSING),
    (True, "string", b"\xef\xbb\xbfG", "\ufeffG"),
    (True, "string", b"\x00\x00\x00\x00\x05A", "\0\0\0\0\x05A"),
    (False, "string", b"1e5", "1e5"),
    (False, "string", b" 1", " 1"),
    (False, "string", b"null", "null"),
    (False, "string", b'{"k":1}', "1"),
    (True, "string", b"\xff", Code.BAD_UTF8),
    (True, "string", b"x" * 70_000, Code.KEY_TOO_LONG),
    (True, "string", b'"\\ud800"', Code.LONE_SURROGATE),
    (True, "binary", b"1234", b"\xd7m\xf8"),
    (True, "binary", b'"1234"', b"\xd7m\xf8"),
    (True, "long", b"12", 12),
    (True, "long", b" 1e2", 100),
    (True, "long", b'"12"', Code.WRONG_TYPE),
    (True, "long", b'{"k":12}', 12),
    (True, "long", b"null", Code.KEY_MISSING),
    (True, "boolean", b"true", True),
    (True, "decimal(12,2)", b"1.5", Decimal("1.50")),
    (True, "decimal(12,2)", b'"1.5"', Decimal("1.50")),
    (True, "timestamp", b"1970-01-01T00:00:01Z", 1_000_000),
    (True, "date", b"1970-01-02", 1),
    (True, "date", b"soon", Code.BAD_DATE),
    (True, "long", b"x", Code.WRONG_TYPE),
]


@pytest.mark.parametrize(("declared", "kind", "key", "wanted"), RAW_KEYS)
def test_keys_of_messages(declared: bool, kind: str, key: bytes, wanted: Any) -> None:
    decoder = Decoder(dataset(key=[column("k", kind, declared=declared)]), options())
    at = (np.array([2]), np.array([2 + len(key)]))
    buffer = np.frombuffer(b"{}" + key + bytes(8), np.uint8)
    batch = decoder.decode(buffer, np.array([-1]), np.array([-1]), at, np.array([6]))
    (record,) = records(batch, decoder.schema)
    found = record.key[0] if record.code is Code.OK else record.code
    assert (found, record.operation, batch.timestamp[0]) == (wanted, 3, 6)


def test_what_is_wrong_with_a_messages_key_is_told_by_its_own_bytes() -> None:
    decoder = Decoder(dataset(key=[column("k", "string")]), options())
    buffer = np.frombuffer(b"{}" + b'{"k":\xff}' + b"\xff\xff" + bytes(8), np.uint8)
    starts, at = np.array([-1, -1]), (np.array([2, 9]), np.array([9, 11]))
    batch = decoder.decode(buffer, starts, starts, at, np.array([6, 6]))
    told = [explain(batch, index)[:2] for index in range(2)]
    assert told == [
        ("json", "the message's key: not JSON, at byte 5"),
        ("json", "the message's key: not UTF-8"),
    ]


def test_a_composite_tombstone() -> None:
    key = (column("a", "long", "x.a"), column("b", "date"))
    decoder = Decoder(dataset(key=key), options(envelope=True, dated=True))
    lines = (
        f'{{{STAMP},"key":{k},"value":null}}'
        for k in ('{"a":1,"b":"1970-01-05"}', "1", '{"a":1}', '{"a":"1"}')
    )
    found = records(decode(decoder, *lines), decoder.schema)
    assert [r.code for r in found] == [Code.OK, Code.KEY_MISSING, Code.KEY_MISSING, Code.WRONG_TYPE]
    assert (found[0].key, found[0].valid, found[0].operation) == ((1, 4), (2, NONE), 3)


SPELLED = [
    ('{"x__a":1,"b":"1970-01-05"}', Code.OK),
    ('{"a":1,"b":"1970-01-05"}', Code.OK),
    ('{"x.a":1,"y.b":"1970-01-05"}', Code.OK),
    ('{"x":{"a":1,"other":5},"y":{"b":"1970-01-05"},"z":7}', Code.OK),
    ('{"x":{"b":1},"b":"1970-01-05"}', Code.KEY_MISSING),
    ('{"x":null,"b":"1970-01-05"}', Code.KEY_MISSING),
    ('{"x":{"a":1,"a":1},"b":"1970-01-05"}', Code.DUPLICATE),
    ('{"x":{"a":"1"},"b":"1970-01-05"}', Code.WRONG_TYPE),
]


@pytest.mark.parametrize(("key", "wanted"), SPELLED)
@pytest.mark.parametrize("new", ["evolve", "dead_letter"])
def test_a_tombstones_key_by_column_and_by_path(key: str, wanted: Code, new: str) -> None:
    columns = (column("x__a", "long", "x.a"), column("b", "date", "y.b"))
    decoder = Decoder(dataset(key=columns), options(envelope=True, dated=True, on_new_field=new))
    (found,) = records(decode(decoder, f'{{{STAMP},"key":{key},"value":null}}'), decoder.schema)
    assert found.code is wanted
    assert found.key == ((1, 4) if wanted is Code.OK else ())


def test_a_tombstones_key_is_never_read_two_ways() -> None:
    columns = (column("x__id", "long", "x.id"), column("y__id", "long", "y.id"), column("x", "long", "z"))
    decoder = Decoder(dataset(key=columns), options(envelope=True))
    keys = (
        '{"x__id":1,"y__id":2,"x":3}',
        '{"x.id":1,"y.id":2,"z":3}',
        '{"x.id":1,"y":{"id":2},"z":3}',
        '{"id":1,"y.id":2,"z":3}',
        '{"x":{"id":1},"y.id":2,"z":3}',
    )
    lines = (f'{{{STAMP},"key":{key},"value":null}}' for key in keys)
    found = records(decode(decoder, *lines), decoder.schema)
    assert [r.code is Code.OK for r in found] == [True, True, True, False, False]
    assert {r.key for r in found[:3]} == {(1, 2, 3)}


def test_messages_with_null_values_take_their_key_and_time_from_the_message() -> None:
    decoder = Decoder(dataset(), options())
    buffer = np.frombuffer(b'{"k":"a","v":"1970-01-01"}"gone"', np.uint8)
    batch = decoder.decode(
        buffer,
        np.array([0, -1, -1]),
        np.array([26, -1, -1]),
        (np.array([-1, 26, -1]), np.array([-1, 32, -1])),
        np.array([5, 6, 7]),
    )
    found = records(batch, decoder.schema)
    assert [r.code for r in found] == [Code.OK, Code.OK, Code.KEY_MISSING]
    assert (found[1].key, found[1].operation, found[1].valid[0]) == (("gone",), 3, 6)
    assert batch.timestamp.tolist() == [5, 6, 7]
