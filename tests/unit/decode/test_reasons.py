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
