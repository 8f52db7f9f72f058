"""What is not a record: one dead letter, and its neighbours untouched."""

import json

import pytest

from pipeline.decode import Decoder
from pipeline.decode.explain import explain
from pipeline.decode.layout import Code
from tests.unit.decode.reading import child, column, dataset, decode, options, records

GOOD = '{"k":"a","v":"2024-01-01","c":1}'
HEAD = '{"k":"a","v":"2024-01-01",'

BAD: list[tuple[str | bytes, Code]] = [
    ("", Code.EMPTY),
    (" \t\r", Code.EMPTY),
    (b"\xef\xbb\xbf" + GOOD.encode(), Code.BOM),
    ("null", Code.NULL_RECORD),
    ("nul", Code.TRUNCATED),
    ("nulL", Code.NOT_JSON),
    ("NaN", Code.NOT_JSON),
    ("hello", Code.NOT_JSON),
    ("'k'", Code.NOT_JSON),
    ("[1]", Code.NOT_OBJECT),
    ("[" + GOOD + "]", Code.NOT_OBJECT),
    ("7", Code.NOT_OBJECT),
    ('"x"', Code.NOT_OBJECT),
    ("true", Code.NOT_OBJECT),
    (GOOD + GOOD, Code.TRAILING),
    (GOOD + " " + GOOD, Code.TRAILING),
    (GOOD + ",", Code.TRAILING),
    (GOOD + "}", Code.TRAILING),
    (GOOD[:-1], Code.TRUNCATED),
    (GOOD[:-2], Code.TRUNCATED),
    (GOOD[:4], Code.TRUNCATED),
    ("{", Code.TRUNCATED),
    ('{"k', Code.TRUNCATED),
    ('{"k\\', Code.TRUNCATED),
    ('{"k\\u00', Code.TRUNCATED),
    (HEAD + '"c":1,}', Code.NOT_JSON),
    (HEAD + '"c":}', Code.NOT_JSON),
    (HEAD + '"c" 1}', Code.NOT_JSON),
    (HEAD + "c:1}", Code.NOT_JSON),
    (HEAD + '"x":[1,]}', Code.NOT_JSON),
    (HEAD + '"x":[1 2]}', Code.NOT_JSON),
    (HEAD + '"x":[1}}', Code.NOT_JSON),
    (HEAD + '"x":{"a":1]}', Code.NOT_JSON),
    (HEAD + '"x":{,}}', Code.NOT_JSON),
    (HEAD + '"c":NaN}', Code.NOT_JSON),
    (HEAD + '"c":Infinity}', Code.NOT_JSON),
    (HEAD + '"c":-Infinity}', Code.NOT_JSON),
    (HEAD + '"c":01}', Code.NOT_JSON),
    (HEAD + '"c":-01}', Code.NOT_JSON),
    (HEAD + '"c":+1}', Code.NOT_JSON),
    (HEAD + '"c":.5}', Code.NOT_JSON),
    (HEAD + '"c":5.}', Code.NOT_JSON),
    (HEAD + '"c":5e}', Code.NOT_JSON),
    (HEAD + '"c":5e+}', Code.NOT_JSON),
    (HEAD + '"c":-}', Code.NOT_JSON),
    (HEAD + '"c":0x1}', Code.NOT_JSON),
    (HEAD + '"c":1/**/}', Code.NOT_JSON),
    (HEAD + '"c":tru}', Code.NOT_JSON),
    (HEAD + '"c":"\\x"}', Code.NOT_JSON),
    (HEAD + '"c":"\\u12g4"}', Code.NOT_JSON),
    (HEAD + '"x":"\\ud800"}', Code.LONE_SURROGATE),
    (HEAD + '"x":"\\ud800\\ud800"}', Code.LONE_SURROGATE),
    (HEAD + '"x":"\\udc00"}', Code.LONE_SURROGATE),
    (HEAD + '"x\\udc00":1}', Code.LONE_SURROGATE),
    (HEAD + '"x":"\\ud83dx"}', Code.LONE_SURROGATE),
    (HEAD + '"x":"a\tb"}', Code.CONTROL),
    (HEAD + '"x":"\0"}', Code.CONTROL),
    (GOOD[:10] + "\0" + GOOD[10:], Code.CONTROL),
    (GOOD + "\0", Code.TRAILING),
    (HEAD.encode() + b'"x":"\xff"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"x":"\xc3"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"x":"\xc0\x80"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"x":"\xe0\x80\x80"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"x":"\xed\xa0\x80"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"x":"\xf4\x90\x80\x80"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"x":"\xf0\x9f\x98"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"x":"\x80"}', Code.BAD_UTF8),
    (HEAD.encode() + b'"\xff":1}', Code.BAD_UTF8),
    (HEAD + '"k":"b"}', Code.DUPLICATE),
    (HEAD + '"\\u006b":"b"}', Code.DUPLICATE),
    (HEAD + '"o":{"p":1,"p":2}}', Code.DUPLICATE),
    (HEAD + '"o":{"p":1},"o":{"q":2}}', Code.DUPLICATE),
    (HEAD + '"list":[{"id":1,"id":2}]}', Code.DUPLICATE),
    (HEAD + '"v":"2024-01-01"}', Code.DUPLICATE),
    (HEAD + '"x":' + "[" * 100_000 + "]" * 100_000 + "}", Code.TOO_DEEP),
    (HEAD + '"x":' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}", Code.TOO_DEEP),
    (HEAD + '"x":' + "[" * 100_000, Code.TOO_DEEP),
    (HEAD + '"o":5}', Code.WRONG_TYPE),
    (HEAD + '"o":[]}', Code.WRONG_TYPE),
    (HEAD + '"o":{"p":{}}}', Code.WRONG_TYPE),
    (HEAD + '"list":{}}', Code.WRONG_TYPE),
    (HEAD + '"list":5}', Code.WRONG_TYPE),
]


@pytest.mark.parametrize("new", ["evolve", "ignore"])
@pytest.mark.parametrize(("line", "wanted"), BAD, ids=[f"{str(b)[-40:]}-{c.name}" for b, c in BAD])
def test_bad_records(line: str | bytes, wanted: Code, new: str) -> None:
    tables = (child(["list"], [column("id", "long")]),)
    decoder = Decoder(
        dataset(column("c", "long"), column("p", "long", "o.p"), children=tables), options(on_new_field=new)
    )
    batch = decode(decoder, GOOD, line, GOOD)
    before, bad, after = records(batch, decoder.schema)
    assert (before.code, bad.code, after.code) == (Code.OK, wanted, Code.OK)
    assert before.values == after.values == {"c": 1}
    stage, reason, advice = explain(batch, 1)
    assert stage
    assert reason
    assert advice
    assert len(decoder.schema.tables[0].values) == 2


@pytest.mark.parametrize(
    "line",
    [
        '  {"k" :"a" ,\t"v": "2024-01-01" , "c" : 1 }\r',
        HEAD + '"\\u0063":1}',
        HEAD + '"c":1,"x":{"dup":1,"dup":2}}',
        HEAD + '"c":1,"x":' + "[" * 126 + "]" * 126 + "}",
        HEAD + '"c":1,"x":"\x7f"}',
        HEAD + '"c":1,"":0}',
    ],
)
def test_odd_but_good_records(line: str) -> None:
    decoder = Decoder(dataset(column("c", "long")), options(on_new_field="ignore"))
    (record,) = records(decode(decoder, line), decoder.schema)
    assert (record.code, record.values) == (Code.OK, {"c": 1})


def test_the_deepest_record() -> None:
    decoder = Decoder(dataset(column("c", "json")), options(max_depth=5))
    lines = (HEAD + f'"c":{"[" * n}{"]" * n}}}' for n in (4, 5))
    assert [r.code for r in records(decode(decoder, *lines), decoder.schema)] == [Code.OK, Code.TOO_DEEP]


def test_a_record_of_many_megabytes() -> None:
    text = "x" * 20_000_000 + "\\n" + "é" * 1_000_000
    decoder = Decoder(dataset(column("c")), options())
    big, after = records(decode(decoder, HEAD + f'"c":"{text}"}}', HEAD + '"c":"y"}'), decoder.schema)
    assert (big.code, after.code) == (Code.OK, Code.OK)
    assert big.values["c"] == json.loads(f'"{text}"')
    assert after.values == {"c": "y"}
