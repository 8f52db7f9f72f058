"""What dead letters say: the field, where it is, and what to do."""

import re
from typing import Any

import numpy as np
import pytest

from pipeline.decode import Decoder
from pipeline.decode.explain import Refused, explain, explain_all
from pipeline.decode.layout import Code
from pipeline.decode.place import LONGEST
from pipeline.schema import POSITION
from tests.unit.decode.reading import child, column, dataset, decode, options, records

HEAD = '{"k":"a","v":"2024-01-01"'
ROWS = child(["o.rows"], [POSITION])
FIELDS = [
    ('"i":1', "i"),
    ('"c":1,"o":{"x,\\"}":[1,{"y":2}],"p":{"q":1}},"i":1', 'o.x,\\"}'),
    ('"o":{"n":null,"p":{"q":[]}}', "o.p"),
    ('"o":{"rows":[{"x":null},{"x":5}]}', "o.rows.x"),
    ('"":1', '""'),
    ('"é":1', "é"),
    ('"' + "é" * 500 + '":1', "é" * (LONGEST // 2)),
]


@pytest.mark.parametrize(("text", "path"), FIELDS)
@pytest.mark.parametrize("envelope", [False, True])
def test_a_field_without_a_column_is_named(text: str, path: str, envelope: bool) -> None:
    schema = dataset(column("c", "long"), column("od", "long", "o.d"), children=[ROWS])
    decoder = Decoder(schema, options(on_new_field="dead_letter", envelope=envelope))
    line = f"{HEAD},{text}}}"
    if envelope:
        line = f'{{"timestamp":"2024-01-01","value":{line}}}'
    batch = decode(decoder, line)
    assert batch.status[0] == Code.UNKNOWN_FIELD
    stage, reason, advice = explain(batch, 0)
    assert (stage, reason.rpartition(", at byte")[0]) == ("new field", f"{path}: a field without a column")
    assert advice.startswith("declare it")


REFUSED = [
    ('"o":{"C":{"x":1}},"C":1', "C: its column's name is taken"),
    ('"o":{"a\\nb":1}', "o.a\nb: its name can't be a column's"),
    ('"o":{"rows":[{"big":9223372036854775808}]}', "o.rows.big: an integer beyond 64 bits"),
    ('"i":1,"i":2', "i: a member comes twice in an object"),
    ('"o":{"rows":[{"x":1},{"x":"s"}]}', "o.rows.x: a value of another type"),
    ('"o":5', "o: a value of another type"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_a_field_that_can_be_no_column_is_named_each_time(text: str, reason: str) -> None:
    decoder = Decoder(dataset(column("c", "long"), children=[ROWS]), options())
    batch = decode(decoder, HEAD + "}", f"{HEAD},{text}}}", HEAD + "}", f"{HEAD},{text}}}")
    assert [code != Code.OK for code in batch.status] == [False, True, False, True]
    for index in (1, 3):
        told = explain(batch, index)
        assert told[1].startswith(reason) or told[1].startswith(reason.replace("\n", "\\n"))
        assert "declare" in told[2] or batch.status[index] == Code.DUPLICATE


def test_a_misfit_of_an_inferred_type_is_named_by_its_path_and_says_declare_it() -> None:
    schema = dataset(column("c", "long"), column("price", "long", "terms.p"), children=[ROWS])
    decoder = Decoder(schema, options())
    decode(decoder, HEAD + ',"i":1,"o":{"p":1,"rows":[{"x":{"y":1}}]}}')
    texts = ('"i":"x"', '"o":{"p":1.5}', '"o":{"rows":[{"x":{"y":"s"}}]}', '"c":"x"', '"terms":{"p":"x"}')
    batch = decode(decoder, *(f"{HEAD},{text}}}" for text in texts))
    told = [explain(batch, index)[1:] for index in range(5)]
    assert [re.sub(", at byte .*", "", reason) for reason, _ in told] == [
        "d.i: a value of another type",
        "d.o__p (o.p): not an integer",
        "d__o.rows.x__y (o.rows.x.y): a value of another type",
        "d.c: a value of another type",
        "d.price (terms.p): a value of another type",
    ]
    assert [advice.startswith("declare it") for _, advice in told] == [True, True, True, False, False]


def test_thousands_of_dead_letters_are_each_told_their_own_field() -> None:
    decoder = Decoder(dataset(), options(on_new_field="dead_letter"))
    batch = decode(decoder, *(f'{HEAD},"f{i}":1}}' for i in range(5_000)))
    _, reasons, _ = explain_all(
        [Refused.of(batch, np.arange(2_000)), Refused.of(batch, np.arange(2_000, 5_000))]
    )
    assert [text.split(":")[0] for text in reasons.to_pylist()] == [f"f{i}" for i in range(5_000)]


def test_records_too_far_ahead_make_no_columns_and_are_told() -> None:
    decoder = Decoder(dataset(), options(envelope=True))

    def line(second: int, value: str) -> bytes:
        return f'{{"timestamp":"1970-01-01T00:00:{second:02}Z","key":"a","value":{value}}}'.encode()

    lines = [
        line(10, HEAD + "}"),
        line(11, HEAD + "}"),
        line(11, HEAD + ',"new":1}'),
        line(11, '{"k":null}'),
        line(11, "null"),
        line(10, HEAD + ',"x":1}'),
        line(11, '{"k":1,"k":2}'),
    ]
    sizes = np.array([len(text) + 1 for text in lines])
    ends = np.cumsum(sizes) - 1
    buffer = np.frombuffer(b"\n".join(lines) + bytes(64), np.uint8)
    batch = decoder.decode(buffer, ends - sizes + 1, ends, latest=10_000_000)
    codes = [r.code for r in records(batch, decoder.schema)]
    assert codes == [Code.OK, *[Code.AHEAD] * 4, Code.OK, Code.DUPLICATE]
    assert batch.ahead.tolist() == [False, *[True] * 4, False, True]
    assert [c.name for c in decoder.schema.parent.values] == ["x"]
    stage, reason, advice = explain(batch, 1)
    assert (stage, "time.max_ahead" in reason, bool(advice)) == ("system time", True, True)
    again: Any = decoder.decode(buffer, ends - sizes + 1, ends)
    assert again.status.tolist() == [0, 0, 0, Code.TIME_MISSING, 0, 0, Code.DUPLICATE]


@pytest.mark.parametrize(
    ("members", "advice"),
    [
        ('"v":"2024-01-01T00:00:00.0000001Z"', "set time_precision: truncate in the dataset"),
        (
            '"v":"2024-01-01","t":"2024-01-01T00:00:00.0000001Z"',
            "declare the column with time_precision: truncate",
        ),
    ],
)
def test_times_that_are_too_precise_say_how_they_are_taken(members: str, advice: str) -> None:
    decoder = Decoder(dataset(column("t", "timestamp")), options())
    assert advice in explain(decode(decoder, f'{{"k":"a",{members}}}'), 0)[2]


LEGS = child(["o.legs"], (column("id", declared=False), column("at", "date", "t.at")))
FEES = child(
    ["o.legs", "fees"],
    (column("fee", "decimal(9,2)"),),
    above=(column("id", declared=False), column("at", "date", "t.at")),
)
TYPES = [
    ("long", "7.0", "7", "7"),
    ("boolean", "true", "true", "true"),
    ("double", "1e0", "1", "1.0"),
    ("decimal(30,2)", '"-12.5"', "-12.50", "-12.50"),
    ("timestamp", '"2024-01-31T12:00+01:00"', '"2024-01-31T11:00"', "2024-01-31T11:00:00+00:00"),
    ("uuid", f'"{"AB" * 4}-0000-0000-0000-000000000001"', f'"{"ab" * 4}-0000-0000-0000-000000000001"', None),
    ("binary", '"AAEC"', '"AAEC"', "AAEC"),
    ("string", '"' + "é" * 500 + '"', '"' + "é" * 500 + '"', "é" * (LONGEST // 2)),
]


@pytest.mark.parametrize("envelope", [False, True])
def test_equal_keys_name_the_child_table_and_the_key(envelope: bool) -> None:
    decoder = Decoder(dataset(children=[LEGS, FEES]), options(envelope=envelope))
    leg = '{"id":"A","t":{"at":"2024-01-31"},"fees":[%s]}'
    many = ",".join(leg.replace("A", str(n)) % "" for n in range(40))
    texts = [
        "",
        leg % "" + "," + leg.replace("A", "B") % "" + "," + leg % "",
        leg % '{"fee":1},{"fee":2},{"fee":1.00}',
        f"{many},{leg.replace('A', '17') % ''}",
        leg.replace("A", "C") % "",
    ]
    lines = [f'{HEAD},"new":1,"o":{{"legs":[{text}]}}}}' for text in texts]
    if envelope:
        lines = [f'{{"timestamp":"2024-01-01","value":{line}}}' for line in lines]
    batch = decode(decoder, *lines)
    assert batch.status.tolist() == [0, 63, 63, 63, 0]
    equal = ": two elements have the same key"
    assert [explain(batch, i)[:2] for i in (1, 2, 3)] == [
        ("children", f"d__o.legs (o.legs), id = A, at = 2024-01-31{equal}"),
        ("children", f"d__o.legs__fees (o.legs.fees), id = A, at = 2024-01-31, fee = 1.00{equal}"),
        ("children", f"d__o.legs (o.legs), id = 17, at = 2024-01-31{equal}"),
    ]
    assert [len(r.children.get("d__o.legs", {})) for r in records(batch, decoder.schema)] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(("kind", "first", "second", "text"), TYPES)
def test_equal_keys_of_every_type(kind: str, first: str, second: str, text: str | None) -> None:
    decoder = Decoder(dataset(children=[child(["c"], (column("id", kind),))]), options())
    batch = decode(decoder, f'{HEAD},"c":[{{"id":{first}}},{{"id":{second}}}]}}')
    wanted = second.strip('"') if text is None else text
    assert explain(batch, 0)[1] == f"d__c (c), id = {wanted}: two elements have the same key"


def test_a_key_that_is_missing_names_the_child_table_and_the_column() -> None:
    decoder = Decoder(dataset(children=[LEGS]), options())
    batch = decode(
        decoder,
        f'{HEAD},"o":{{"legs":[{{"id":"A","t":{{"at":null}}}}]}}}}',
        f'{HEAD},"o":{{"legs":[{{"id":"A","t":{{"at":"2024-01-31"}}}},null]}}}}',
    )
    told = [re.sub(", at byte .*", "", explain(batch, i)[1]) for i in range(2)]
    assert told == [
        "d__o.legs.at (o.legs.t.at): an element's key is missing or null",
        "o.legs: an element is null",
    ]


def test_the_advice_for_keys_times_and_numbers_is_one_that_works() -> None:
    schema = dataset(
        column("f", "float"), key=(column("k", "long"),), children=[child(["c"], (column("id", "date"),))]
    )
    decoder = Decoder(schema, options(valid_unit="s"))
    lines = (
        '{"k":"x","v":0}',
        '{"k":1,"v":1.5}',
        '{"k":1,"v":0,"f":16777217}',
        '{"k":1,"v":0,"c":[{"id":1}]}',
        '{"k":1,"v":true}',
    )
    batch = decode(decoder, *lines)
    told = [explain(batch, i) for i in range(5)]
    assert [(stage, reason.partition(", at byte")[0]) for stage, reason, _ in told] == [
        ("column", "d.k: a value of another type"),
        ("valid time", "valid_from: not an integer"),
        ("column", "d.f: a number that would be rounded"),
        ("column", "d__c.id: a value of another type"),
        ("valid time", "valid_from: a value of another type"),
    ]
    words = [
        "a key can't change",
        "valid_unit",
        "decimal(p,s), under a new name",
        "a key can't change",
        "ISO 8601",
    ]
    assert all(word in advice for word, (_, _, advice) in zip(words, told, strict=True))


def test_too_many_columns_name_the_field() -> None:
    decoder = Decoder(dataset(column("c", "long")), options(max_columns=3))
    batch = decode(decoder, HEAD + ',"o":{"n":1,"m":2}}')
    _, reason, advice = explain(batch, 0)
    assert reason == "o.n: the dataset would have too many columns"
    assert "json" in advice
