"""Fields without a column: evolve, ignore, dead letter."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from pipeline.decode import Decoder
from pipeline.decode.explain import explain
from pipeline.decode.layout import Code
from pipeline.schema import POSITION, Column, ColumnType, Kind
from tests.unit.decode.reading import child, column, dataset, decode, options, records

HEAD = '{"k":"a","v":"2024-01-01"'


def new(decoder: Decoder, table: int = 0) -> dict[str, str]:
    return {c.name: str(c.type) for c in decoder.schema.tables[table].values if not c.declared}


def test_types_come_from_first_values() -> None:
    decoder = Decoder(dataset(column("c", "long")), options())
    members = {
        "i": 1,
        "d": 1.5,
        "e": 1e3,
        "s": "2024-01-01",
        "b": True,
        "o": {"p": {"q": "x"}},
        "l": [1],
        "z": None,
        "n": {},
    }
    found = records(decode(decoder, HEAD + ',"c":5}', HEAD + "," + json.dumps(members)[1:]), decoder.schema)
    assert new(decoder) == {
        "i": "long", "d": "double", "e": "double", "s": "string", "b": "boolean", "o__p__q": "string", "l": "json"
    }  # fmt: skip
    assert found[0].values == {"c": 5}
    assert found[1].values == {
        "i": 1, "d": 1.5, "e": 1000.0, "s": "2024-01-01", "b": True, "o__p__q": "x", "l": "[1]"
    }  # fmt: skip


@pytest.mark.parametrize("again", [False, True])
def test_later_misfits_are_dead_letters_now_and_after_a_restart(again: bool) -> None:
    decoder = Decoder(dataset(), options())
    decode(decoder, HEAD + ',"i":1,"l":[],"o":{"p":1},"s":"x"}')
    if again:
        decoder = Decoder(decoder.schema, options())
    texts = ('"i":1.5', '"i":"1"', '"i":{}', '"i":[]', '"l":"x"', '"l":{}', '"o":1', '"o":{"p":"x"}', '"s":1')
    batch = decode(
        decoder, *(f"{HEAD},{text}}}" for text in texts), HEAD + ',"i":2.0,"l":[{}],"o":null,"s":null}'
    )
    *bad, good = records(batch, decoder.schema)
    assert all(r.code in (Code.WRONG_TYPE, Code.NOT_INTEGRAL) for r in bad)
    assert "declare" in explain(batch, 0)[2]
    assert good.values == {"i": 2, "l": "[{}]"}
    assert len(new(decoder)) == 4


def test_nulls_and_empty_objects_are_nothing_yet() -> None:
    decoder = Decoder(dataset(), options())
    decode(decoder, *(HEAD + ',"z":null,"o":{"p":null,"q":{}}}' for _ in range(3)))
    assert new(decoder) == {}
    decode(decoder, HEAD + ',"z":null,"o":{"p":null,"q":{"r":1}}}')
    assert new(decoder) == {"o__q__r": "long"}


@pytest.mark.parametrize(
    "line",
    [
        '{"k":"a","i":1}',
        '{"k":null,"v":"2024-01-01","i":1}',
        HEAD + ',"op":"delete","i":1}',
        HEAD + ',"op":"x","i":1}',
        HEAD + ',"c":"misfit","i":1}',
        HEAD + ',"i":1',
        HEAD + ',"i":1e400}',
        HEAD + ',"i":1,"i":2}',
        HEAD + ',"i":null,"i":2}',
        HEAD + ',"i":{"x":1},"i":{"y":2}}',
        HEAD + ',"i":1,"big":9223372036854775808}',
        HEAD + ',"rows":[{"x":1},{"x":"y"}]}',
        HEAD + ',"rows":[{"x":1},5]}',
    ],
)
def test_only_a_change_makes_columns(line: str) -> None:
    rows = child(["rows"], [POSITION])
    decoder = Decoder(dataset(column("c", "long"), children=[rows]), options())
    before = decoder.schema
    bad, good = records(decode(decoder, line, HEAD + ',"c":1}'), decoder.schema)
    assert bad.code is not Code.OK or bad.operation == 2
    assert decoder.schema == before
    assert good.values == {"c": 1}


COLLISIONS: list[tuple[str, Code]] = [
    ('"C":1', Code.NAME_COLLIDES),
    ('"K":1', Code.NAME_COLLIDES),
    ('"a":{"b":1},"a__b":2', Code.NAME_COLLIDES),
    ('"x":1,"X":1', Code.NAME_COLLIDES),
    ('"valid_from":1', Code.NAME_COLLIDES),
    ('"Source_Offset":1', Code.NAME_COLLIDES),
    ('"rows":[{"k":1,"rows__k":1}]', Code.NAME_COLLIDES),
    ('"":1', Code.BAD_NAME),
    ('"a\\nb":1', Code.BAD_NAME),
    ('"' + "x" * 256 + '":1', Code.BAD_NAME),
]


def test_names_that_only_met_in_one_record_are_free_later() -> None:
    decoder = Decoder(dataset(), options())
    texts = ('"x":1,"X":1', '"X":1', '"x":1')
    found = records(decode(decoder, *(f"{HEAD},{text}}}" for text in texts)), decoder.schema)
    assert [r.code for r in found] == [Code.NAME_COLLIDES, Code.OK, Code.NAME_COLLIDES]


@pytest.mark.parametrize(("text", "wanted"), COLLISIONS)
def test_names_that_collide(text: str, wanted: Code) -> None:
    decoder = Decoder(dataset(column("c", "long"), children=[child(["rows"], [POSITION])]), options())
    lines = [f"{HEAD},{text}}}", f"{HEAD},{text}}}", HEAD + ',"c":1,"K":null}', HEAD + ',"fine":2}']
    batch = decode(decoder, *lines)
    first, second, third, fourth = records(batch, decoder.schema)
    assert (first.code, second.code) == (wanted, wanted)
    assert "declare it under another name" in explain(batch, 1)[2]
    assert (third.values, fourth.values) == ({"c": 1}, {"fine": 2})


def test_a_thousand_new_columns_in_one_record_and_in_a_hundred() -> None:
    decoder = Decoder(dataset(), options())
    decode(decoder, HEAD + "}")
    start = time.process_time()
    lines = [HEAD + "," + json.dumps({f"c{i}": i for i in range(1000)})[1:]]
    lines += [HEAD + f',"d{i}":{i}}}' for i in range(100)]
    found = records(decode(decoder, *lines), decoder.schema)
    assert time.process_time() - start < 30
    assert len(found[0].values) == 1000
    assert [r.values for r in found[1:]] == [{f"d{i}": i} for i in range(100)]
    again = records(decode(decoder, *lines), decoder.schema)
    assert [r.values for r in again] == [r.values for r in found]


def test_too_many_columns() -> None:
    decoder = Decoder(dataset(), options(max_columns=4))
    found = records(
        decode(decoder, *(HEAD + f',"c{i}":1}}' for i in range(5)), HEAD + ',"c0":7}'), decoder.schema
    )
    assert [r.code for r in found] == [Code.OK] * 3 + [Code.TOO_MANY_COLUMNS] * 2 + [Code.OK]


def test_children_learn_too() -> None:
    tables = (child(["rows"], [POSITION]), child(["tags"], [POSITION]), child(["by"], [column("id", "long")]))
    decoder = Decoder(dataset(children=tables), options())
    text = HEAD + ',"rows":[{},{"x":1},{"y":{"z":"s"},"x":2}],"tags":["a","b"],"by":[{"id":1,"w":true}]}'
    (record,) = records(decode(decoder, text), decoder.schema)
    assert record.children == {
        "d__rows": {(0,): {}, (1,): {"x": 1}, (2,): {"x": 2, "y__z": "s"}},
        "d__tags": {(0,): {"value": "a"}, (1,): {"value": "b"}},
        "d__by": {(1,): {"w": True}},
    }
    assert decoder.schema.tables[2].values[0].path == ()
    texts = ('"tags":[{"x":1}]', '"tags":[5]', '"rows":["a"]', '"tags":["c"]')
    found = records(
        decode(Decoder(decoder.schema, options()), *(f"{HEAD},{t}}}" for t in texts)), decoder.schema
    )
    assert [r.code for r in found] == [Code.WRONG_TYPE] * 3 + [Code.OK]


@pytest.mark.parametrize("policy", ["evolve", "ignore", "dead_letter"])
def test_scalars_have_their_column_whatever_is_said_of_new_fields(policy: str) -> None:
    decoder = Decoder(dataset(children=[child(["tags"], [POSITION])]), options(on_new_field=policy))
    lines = (
        HEAD + ',"tags":[null]}',
        HEAD + ',"tags":["a"]}',
        HEAD + ',"tags":[1]}',
        HEAD + ',"tags":["b"]}',
    )
    found = records(decode(decoder, *lines), decoder.schema)
    assert [r.code for r in found] == [Code.OK, Code.OK, Code.WRONG_TYPE, Code.OK]
    assert found[3].children == {"d__tags": {(0,): {"value": "b"}}}


def test_only_scalars_make_columns_where_new_fields_are_ignored() -> None:
    untyped = Column("renamed", ("p",), ColumnType(Kind.UNKNOWN))
    schema = dataset(untyped, children=[child(["tags"], [POSITION])])
    decoder = Decoder(schema, options(on_new_field="ignore"))
    line = HEAD + ',"p":1,"new":2,"o":{"new":3},"tags":[1]}'
    (record,) = records(decode(decoder, line), decoder.schema)
    assert (record.values, record.children) == ({"renamed": 1}, {"d__tags": {(0,): {"value": 1}}})
    assert new(decoder) == {}


def test_a_new_column_steps_aside_for_a_key_above() -> None:
    decoder = Decoder(dataset(children=[child(["rows"], [POSITION])]), options())
    (record,) = records(decode(decoder, HEAD + ',"rows":[{"K":1,"position":2}]}'), decoder.schema)
    assert record.children == {"d__rows": {(0,): {"rows__K": 1, "rows__position": 2}}}
    (again,) = records(
        decode(Decoder(decoder.schema, options()), HEAD + ',"rows":[{"K":3}]}'), decoder.schema
    )
    assert again.children == {"d__rows": {(0,): {"rows__K": 3}}}


@pytest.mark.parametrize(
    ("policy", "text", "wanted"),
    [
        ("ignore", '"d":1,"d":2', Code.OK),
        ("evolve", '"d":1,"d":2', Code.DUPLICATE),
        ("evolve", '"e":1,"d":null,"d":null', Code.OK),
        ("evolve", '"e":1,"d":null,"d":2', Code.DUPLICATE),
        ("dead_letter", '"d":null,"d":null', Code.OK),
    ],
)
def test_fields_nobody_declared_twice(policy: str, text: str, wanted: Code) -> None:
    decoder = Decoder(dataset(), options(on_new_field=policy))
    (record,) = records(decode(decoder, f"{HEAD},{text}}}"), decoder.schema)
    assert record.code is wanted


def test_what_was_refused_leaves_no_trace() -> None:
    """A decoder that saw a field refused, and one that did not (after a restart), take the next records alike."""
    schema = dataset(column("o__c", "long", "oc"))
    lines = [HEAD + ',"o":{"c":1}}', HEAD + ',"o":5}', HEAD + ',"o":null,"o":null}']
    seasoned, fresh = Decoder(schema, options()), Decoder(schema, options())
    codes = [r.code for r in records(decode(seasoned, *lines), seasoned.schema)]
    assert codes[0] is Code.NAME_COLLIDES
    assert codes[1:] == [r.code for r in records(decode(fresh, *lines[1:]), fresh.schema)]


def test_undeclared_arrays_of_arrays_are_json() -> None:
    decoder = Decoder(dataset(children=[child(["m"], [POSITION])]), options())
    (record,) = records(decode(decoder, HEAD + ',"m":[[1,2],[3]]}'), decoder.schema)
    assert record.children == {"d__m": {(0,): {"value": "[1,2]"}, (1,): {"value": "[3]"}}}


@pytest.mark.parametrize("text", ['"i":1', '"o":{"p":1}', '"o":[]', '"c":1,"known":{"x":1}'])
@pytest.mark.parametrize(("policy", "wanted"), [("ignore", Code.OK), ("dead_letter", Code.UNKNOWN_FIELD)])
def test_other_policies(policy: str, wanted: Code, text: str) -> None:
    schema = dataset(column("c", "long"), column("d", "long", "known.d"))
    decoder = Decoder(schema, options(on_new_field=policy))
    lines = (f"{HEAD},{text}}}", HEAD + ',"op":"delete","i":1}', HEAD + ',"i":null,"known":null}')
    assert [r.code for r in records(decode(decoder, *lines), schema)] == [wanted, Code.OK, Code.OK]
    assert decoder.schema == schema


@pytest.mark.parametrize("policy", ["evolve", "ignore"])
def test_a_declared_column_without_a_type_takes_its_first_value(policy: str) -> None:
    untyped = Column("renamed", ("o", "p"), ColumnType(Kind.UNKNOWN))
    decoder = Decoder(dataset(untyped, column("c", "long")), options(on_new_field=policy))
    lines = (HEAD + ',"o":{"p":null},"c":1}', HEAD + ',"o":{"p":"x"},"c":2}', HEAD + ',"o":{"p":5}}')
    found = records(decode(decoder, *lines), decoder.schema)
    assert [r.code for r in found] == [Code.OK, Code.OK, Code.WRONG_TYPE]
    assert [r.values for r in found[:2]] == [{"c": 1}, {"renamed": "x", "c": 2}]
    assert decoder.schema.parent.values[0] == replace(untyped, type=ColumnType(Kind.STRING))


def test_new_fields_in_an_envelope() -> None:
    decoder = Decoder(dataset(), options(envelope=True))
    line = f'{{"timestamp":"2024-01-01","extra":{{"y":1}},"value":{HEAD},"x":1}}}}'
    record: Any = records(decode(decoder, line), decoder.schema)[0]
    assert (record.code, record.values) == (Code.OK, {"x": 1})


def test_a_patch_makes_columns() -> None:
    decoder = Decoder(dataset(), options())
    (record,) = records(decode(decoder, HEAD + ',"op":"patch","x":1,"y":null}'), decoder.schema)
    assert (record.code, record.values) == (Code.OK, {"x": 1})
