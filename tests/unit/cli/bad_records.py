"""Records that are wrong, or nearly so, each with its outcome; columns as `test_bad_input` declares them."""

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Case:
    """A line: refused by a stage for a reason, or taken as a row with these values."""

    name: str
    line: bytes
    stage: str = ""
    reason: str = ""
    row: dict[str, Any] = dataclasses.field(default_factory=dict)


def bad(name: str, line: str | bytes, stage: str, reason: str) -> Case:
    return Case(name, line if isinstance(line, bytes) else line.encode(), stage, reason)


def with_members(name: str, members: str | bytes, stage: str, reason: str) -> Case:
    members = members if isinstance(members, bytes) else members.encode()
    return bad(name, b'{"k":"bad","v":"2024-01-01",' + members + b"}", stage, reason)


def good(name: str, members: str, **row: Any) -> Case:
    line = json.dumps({"k": name})[:-1] + "," + ('"v":"2024-01-01",' if '"v"' not in members else "")
    return Case(name, f"{line}{members}}}".encode(), row=row)


NOT_JSON = [
    bad("not JSON", "hello", "json", "not JSON"),
    bad("truncated", '{"k":"bad","v":"2024-01-01"', "json", "ends too early"),
    bad("empty line", "", "json", "empty"),
    bad("carriage return only", "\r", "json", "empty"),
    bad("BOM in the middle", b'\xef\xbb\xbf{"k":"bad","v":"2024-01-01"}', "json", "byte order mark"),
    bad("null", "null", "json", "is null"),
    bad("two objects", '{"k":"bad","v":"2024-01-01"} {"k":"bad","v":"2024-01-01"}', "json", "follows"),
    bad("array", '[{"k":"bad","v":"2024-01-01"}]', "json", "not an object"),
    bad("number", "7", "json", "not an object"),
    bad("text", '"bad"', "json", "not an object"),
    with_members("invalid UTF-8", b'"s":"\xff"', "json", "not UTF-8"),
    with_members("UTF-8 surrogate", b'"s":"\xed\xa0\x80"', "json", "not UTF-8"),
    with_members("lone surrogate", '"s":"\\ud800"', "json", "surrogate"),
    with_members("lone surrogate in a name", '"\\udc00":1', "json", "surrogate"),
    with_members("raw NUL", b'"s":"a\x00b"', "json", "control character"),
    bad("NUL alone", b"\x00", "json", "not JSON"),
    with_members("member twice", '"l":1,"l":1', "json", "twice"),
    with_members("key twice", '"k":"bad"', "json", "twice"),
    with_members("new member twice", '"new":1,"new":1', "json", "twice"),
    with_members("deep arrays", '"x":' + "[" * 100_000 + "]" * 100_000, "json", "too deeply"),
    with_members("deep objects", '"x":' + '{"a":' * 100_000 + "1" + "}" * 100_000, "json", "too deeply"),
    bad("deep and open", "[" * 100_000, "json", "too deeply"),
    with_members("NaN", '"d":NaN', "json", "not JSON"),
    with_members("Infinity", '"d":-Infinity', "json", "not JSON"),
    bad("64 MB, broken", b'{"k":"' + b"x" * (64 << 20), "json", "ends too early"),
]
NUMBERS = [
    with_members("1e400", '"d":1e400', "column", "out of the type's range"),
    with_members("2^53+1 as a double", '"d":9007199254740993', "column", "would be rounded"),
    with_members("2^63", '"l":9223372036854775808', "column", "out of the type's range"),
    with_members("2^63, new", '"big":9223372036854775808', "new field", "beyond 64 bits"),
    with_members("39 digits", '"n":' + "1" * 39, "column", "more digits"),
    with_members("excess scale", '"m":1.234', "column", "more decimal places"),
    with_members("excess precision", '"m":1234.5', "column", "more digits"),
    with_members("text for a number", '"l":"7"', "column", "another type"),
    good("-0.0", '"d":-0.0,"n":-0.0', d=0.0, n="0.0000000000"),
    good("2^53+1", '"l":9007199254740993', l=2**53 + 1),
    good("2^63-1", '"l":9223372036854775807', l=2**63 - 1),
    good("-2^63", '"l":-9223372036854775808', l=-(2**63)),
    good(
        "38 digits",
        '"n":1234567890123456789012345678.0123456789',
        n="1234567890123456789012345678.0123456789",
    ),
    good("zeros beyond the scale", '"m":1.2300', m="1.23"),
    good("escaped NUL", '"text":"a\\u0000b"', text="a\0b"),
    Case("crlf", b'{"k":"crlf","v":"2024-01-01","l":1}\r', row={"l": 1}),
]
KEYS = [
    bad("no key", '{"v":"2024-01-01"}', "key", "missing or null"),
    bad("null key", '{"k":null,"v":"2024-01-01"}', "key", "missing or null"),
    bad("key of another type", '{"k":7,"v":"2024-01-01"}', "column", "another type"),
    bad("object for a key", '{"k":{"a":1},"v":"2024-01-01"}', "column", "another type"),
    bad("array for a key", '{"k":["a"],"v":"2024-01-01"}', "column", "another type"),
    bad("too long a key", '{"k":"' + "x" * 65_536 + '","v":"2024-01-01"}', "key", "longer than 64 KiB"),
    good("y" * 65_532, '"l":64', l=64),
    good("", '"l":0', l=0),
    good("NUL\0key", '"l":2', l=2),
    good("ключ 😀", '"l":3', l=3),
]
TIMES = [
    bad("no time", '{"k":"bad"}', "valid time", "valid_from (v): it is missing"),
    bad("null time", '{"k":"bad","v":null}', "valid time", "valid_from (v): it is missing"),
    bad("unparsable", '{"k":"bad","v":"soon"}', "valid time", "valid_from (v): not a date or timestamp"),
    bad("an integer", '{"k":"bad","v":1704067200}', "valid time", "an integer"),
    bad("an object", '{"k":"bad","v":{"a":1}}', "valid time", "another type"),
    bad("year 0", '{"k":"bad","v":"0000-01-01"}', "valid time", "outside the years"),
    bad("before year 1", '{"k":"bad","v":"0001-01-01T00:00:00+01:00"}', "valid time", "outside the years"),
    bad("year 10000", '{"k":"bad","v":"10000-01-01"}', "valid time", "not a date or timestamp"),
    bad("the end", '{"k":"bad","v":"9999-12-31T23:59:59.999999Z"}', "valid time", "no end"),
    bad("no such day", '{"k":"bad","v":"2024-02-30"}', "valid time", "not a date or timestamp"),
    bad("leap second", '{"k":"bad","v":"2016-12-31T23:59:60Z"}', "valid time", "leap second"),
    with_members("to is from", '"t":"2024-01-01"', "valid time", "valid_to (t): not after valid_from"),
    with_members("to before from", '"t":"2023-12-31"', "valid time", "not after valid_from"),
    with_members("unknown operation", '"op":"upsert"', "operation", "operation (op): not an operation"),
    with_members("operation of another type", '"op":1', "operation", "another type"),
    good("no offset", '"v":"2024-01-01T01:02:03"', valid_from="2024-01-01T01:02:03.000000Z"),
    good("offset", '"v":"2024-01-01T01:02:03.000004+05:30"', valid_from="2023-12-31T19:32:03.000004Z"),
    good("to no end", '"t":"9999-12-31T23:59:59.999999Z"', valid_to=None),
    good("year 1", '"v":"0001-01-01"', valid_from="0001-01-01T00:00:00.000000Z"),
    good(
        "last", '"v":"9999-12-30T23:59:59.999999Z"', valid_from="9999-12-30T23:59:59.999999Z", valid_to=None
    ),
    good("null operation", '"op":null,"l":4', l=4),
]
SYSTEM = ("valid_from", "VALID_TO", "system_from", "operation", "source_topic", "closed_by_offset")
NAMES = {
    "a.b": 1, 'c"d': 2, "e'f": 3, "😀": 4, "g h": 5, "select": 6, "from": 7, "a;--": 8, "order": 9, "`": 10, "$1": 11,
    "?": 12, "%s": 13, "{x}": 14, "\\": 15, "a/b": 16, "[0]": 17, "valid": 18, "system": 19, "data": 20, "old": 21,
    "new": 22, "change": 23, "_edge": 24, "_key0": 25, "p": 26, "s": 27, "w": 28, "-": 29, " ": 30, "z" * 255: 31,
}  # fmt: skip
FIELDS = [
    *(
        with_members(f"{of} in a field", f'"field":{value}', "column", "")
        for of, value in {
            "text": '"one"',
            "object": '{"a":1}',
            "array": "[1]",
            "boolean": "true",
            "half": "1.5",
        }.items()
    ),
    with_members("collides after flattening", '"flat":{"ten":1},"flat__ten":2', "new field", "name is taken"),
    with_members("collides by case", '"twin":2', "new field", "name is taken"),
    with_members("two collide by case", '"Case":2,"case":3', "new field", "name is taken"),
    *(with_members(name, f'"{name}":1', "new field", "name is taken") for name in SYSTEM),
    with_members("NUL in a name", '"a\\u0000b":1', "new field", "name can't be a column's"),
    with_members("empty name", '"":1', "new field", "name can't be a column's"),
    with_members("long name", f'"{"z" * 256}":1', "new field", "name can't be a column's"),
    with_members(
        "10,001 columns", ",".join(f'"q{i}":1' for i in range(10_001)), "new field", "too many columns"
    ),
    good("odd names", json.dumps(NAMES)[1:-1], **NAMES),
]
CHILDREN = [
    with_members("equal children", '"calls":[{"c":1},{"c":1}]', "children", "same key"),
    with_members("null key of a child", '"calls":[{"c":null}]', "children", "missing or null"),
    with_members("child without a key", '"calls":[{"c":1},{}]', "children", "missing or null"),
    with_members("no array", '"calls":5', "column", "another type"),
    good("children", '"calls":[' + ",".join(f'{{"c":"{i}","p":{i}}}' for i in range(100_000)) + "]"),
]
CASES = [*NOT_JSON, *NUMBERS, *KEYS, *TIMES, *FIELDS, *CHILDREN]
