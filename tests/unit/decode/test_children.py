"""Arrays as child rows."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.decode import Decoder
from pipeline.decode.hashing import hash_bytes
from pipeline.decode.layout import Code
from pipeline.schema import POSITION
from tests.unit.decode.reading import child, column, dataset, decode, options, records

ID = column("id", "long")
HEAD = '{"k":"a","v":"2024-01-01",'


def decoder_of(*tables, **settings):
    return Decoder(dataset(children=tables), options(**settings))


def one(decoder: Decoder, text: str):
    return records(decode(decoder, HEAD + text + "}"), decoder.schema)[0]


def test_objects_by_key() -> None:
    decoder = decoder_of(
        child(["calls"], [ID], column("price", "decimal(6,2)"), column("by", "string", "x.by"))
    )
    record = one(decoder, '"calls":[{"price":1,"id":2},{"id":1,"x":{"by":"z"}},{"id":3,"price":null}]')
    prices = {key: str(row.get("price")) for key, row in record.children["d__calls"].items()}
    assert prices == {(2,): "1.00", (1,): "None", (3,): "None"}
    assert record.children["d__calls"][1,] == {"by": "z"}


@pytest.mark.parametrize("text", ['"calls":[]', '"calls":null', '"calls":[ ]', '"other":1'])
def test_none(text: str) -> None:
    record = one(decoder_of(child(["calls"], [ID]), on_new_field="ignore"), text)
    assert (record.code, record.children, record.given) == (Code.OK, {}, 2**64 - 1)


def test_positions_and_scalars() -> None:
    tags = child(["tags"], [POSITION], column("value", "string", ""))
    rows = child(["o.rows"], [POSITION], column("x", "long"))
    record = one(decoder_of(tags, rows), '"o":{"rows":[{"x":5},{}]},"tags":["a","b","a"]')
    assert record.children["d__tags"] == {(0,): {"value": "a"}, (1,): {"value": "b"}, (2,): {"value": "a"}}
    assert record.children["d__o.rows"] == {(0,): {"x": 5}, (1,): {}}


def test_a_null_without_a_key_is_a_row_of_nulls() -> None:
    tags = child(["tags"], [POSITION], column("value", "string", ""))
    rows = child(["rows"], [POSITION], column("x", "long"))
    record = one(decoder_of(tags, rows), '"rows":[{"x":5},null],"tags":[null,"b",null]')
    assert record.children["d__tags"] == {(0,): {}, (1,): {"value": "b"}, (2,): {}}
    assert record.children["d__rows"] == {(0,): {"x": 5}, (1,): {}}


def test_positions_below_positions() -> None:
    below = replace(POSITION, name="in__position")
    outer = child(["rows"], [POSITION], column("x", "long"))
    inner = child(["rows", "in"], [below], column("value", "long", ""), above=[POSITION])
    record = one(decoder_of(outer, inner), '"rows":[{"in":[7,8]},{"x":1},{"in":[9,null]}]')
    assert record.children["d__rows"] == {(0,): {}, (1,): {"x": 1}, (2,): {}}
    assert record.children["d__rows__in"] == {
        (0, 0): {"value": 7}, (0, 1): {"value": 8}, (2, 0): {"value": 9}, (2, 1): {}
    }  # fmt: skip


def test_scalars_that_are_keys() -> None:
    decoder = decoder_of(child(["tags"], [column("tag", "string", "")]))
    assert one(decoder, '"tags":["b","a"]').children == {"d__tags": {("b",): {}, ("a",): {}}}
    assert one(decoder, '"tags":["b","b"]').code is Code.CHILD_KEY_EQUAL


@pytest.mark.parametrize("order", ['{{"id":{0},"in":{1}}}', '{{"in":{1},"id":{0}}}'])
def test_arrays_in_arrays(order: str) -> None:
    inner = child(["calls", "in"], [POSITION], column("y", "long"), above=[ID])
    deepest = child(["calls", "in", "deep"], [column("z")], above=[ID, POSITION])
    decoder = decoder_of(child(["calls"], [ID], column("n", "long")), inner, deepest)
    elements = [
        order.format(1, '[{"y":10,"deep":[{"z":"p"},{"z":"q"}]},{"y":11}]'),
        order.format(2, '[{"deep":[{"z":"p"}]}]'),
    ]
    for _ in range(2):
        record = one(decoder, f'"calls":[{",".join(elements)},{{"id":3,"n":4}}]')
        assert record.children["d__calls"] == {(1,): {}, (2,): {}, (3,): {"n": 4}}
        assert record.children["d__calls__in"] == {(1, 0): {"y": 10}, (1, 1): {"y": 11}, (2, 0): {}}
        assert set(record.children["d__calls__in__deep"]) == {(1, 0, "p"), (1, 0, "q"), (2, 0, "p")}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[null]", Code.NULL_ELEMENT),
        ("[5]", Code.WRONG_TYPE),
        ("[[]]", Code.WRONG_TYPE),
        ("[{}]", Code.CHILD_KEY_MISSING),
        ('[{"id":null}]', Code.CHILD_KEY_MISSING),
        ('[{"id":"1"}]', Code.WRONG_TYPE),
        ('[{"id":1},{"id":1}]', Code.CHILD_KEY_EQUAL),
        ('[{"id":1},{"id":1.0}]', Code.CHILD_KEY_EQUAL),
        ("[" + ",".join(f'{{"id":{i % 50}}}' for i in range(51)) + "]", Code.CHILD_KEY_EQUAL),
        ('[{"id":1,"in":[{"i":1},{"i":1}]}]', Code.CHILD_KEY_EQUAL),
        ('[{"id":1,"in":[{"i":1}]},{"id":2,"in":[{"i":1}]}]', Code.OK),
    ],
)
def test_bad_elements(text: str, wanted: Code) -> None:
    inner = child(["calls", "in"], [column("i", "long")], above=[ID])
    decoder = decoder_of(child(["calls"], [ID]), inner)
    good = HEAD + '"calls":[{"id":7,"in":[{"i":8}]}]}'
    before, bad, after, deleted = records(
        decode(decoder, good, HEAD + f'"calls":{text}}}', good, HEAD + f'"op":"delete","calls":{text}}}'),
        decoder.schema,
    )
    assert (before.code, bad.code, after.code) == (Code.OK, wanted, Code.OK)
    assert before.children == after.children == {"d__calls": {(7,): {}}, "d__calls__in": {(7, 8): {}}}
    assert (deleted.code, deleted.children) == (Code.OK, {})


@pytest.mark.parametrize(
    ("nested", "count"),
    [(False, 20_000), (True, 30_000), pytest.param(True, 100_000, marks=pytest.mark.long)],
)
def test_very_many_children(nested: bool, count: int) -> None:
    tables = [child(["calls"], [ID], column("n", "long"))]
    if nested:
        tables.append(child(["calls", "in"], [POSITION], column("value", "long", ""), above=[ID]))
    decoder = decoder_of(*tables)
    elements = ",".join(f'{{"id":{i},"n":1,"in":[1]}}' for i in range(count))
    record = one(decoder_of(*tables, on_new_field="ignore"), f'"calls":[{elements}]')
    assert len(record.children["d__calls"]) == count
    assert len(record.children.get("d__calls__in", {})) == (count if nested else 0)
    assert one(decoder, f'"calls":[{elements},{{"id":5}}]').code is Code.CHILD_KEY_EQUAL


def test_hashes_are_those_of_the_bytes() -> None:
    decoder = Decoder(dataset(children=[child(["calls"], [ID])]), options(), seed=99)
    batch = decode(decoder, HEAD + '"calls":[{"id":1},{"id":2}]}', HEAD + '"calls":[{"id":1}]}')
    seed = np.uint64(99)
    for i in range(2):
        start, end = batch.key_start[i : i + 2]
        with np.errstate(over="ignore"):
            assert batch.key_hash[i] == hash_bytes(batch.keys, start, end, seed)
    assert batch.child_key_hash[0] == batch.child_key_hash[2] != batch.child_key_hash[1]
    assert batch.child_first.tolist() == [0, 2, 3]
    assert len(batch.child_key_start) == len(batch.child_value_start) == 4
