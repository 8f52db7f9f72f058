"""How the model reads records: what is exact, what is inferred, what is a dead letter."""

import json
from typing import Any

import pytest

from .compare import history_json, timeline_json
from .decoding import Record
from .oracle import Counts, Model
from .shorthand import DAY0, entry, final, rec, run

A = rec(1, 1, v="A")


def test_tombstone() -> None:
    noon_of_day_5 = (DAY0 + 5) * 86_400_000_000 + 43_200_000_000
    for key in (b'"K"', b"K", b'{"k": "K"}'):
        model = run(A, Record(None, noon_of_day_5, key))
        assert final(model) == [("A", 1, 5)]
    assert run(Record(None, 5)).counts.dead_letters == 1


def test_envelope() -> None:
    lines = [
        b'{"timestamp": "1970-01-01T00:00:05Z", "value": {"k": "K", "at": "2024-01-01", "v": "A"}}',
        b'{"value": {"k": "K", "at": "2024-01-02", "v": "B"}}',
        b'{"timestamp": "1970-01-01T00:00:09Z", "value": {"v": "B", "v": "C"}}',
        b'{"timestamp": "1970-01-01T00:00:20Z", "value": {',
        b'{"timestamp": "1970-01-01T00:00:06Z", "key": "K", "value": null}',
    ]
    lines += [
        b'{"timestamp": "1970-01-01T00:00:50Z", "timestamp": "1970-01-01T00:00:%d0Z", "key": "K", "value": null}'
        % n
        for n in (1, 7)
    ]
    model = Model(entry()).load(lines, started=0, envelope=True)
    assert [d.offset for d in model.dead] == [1, 2, 3, 5, 6]
    assert [(r.system_from, r.closed) for r in model.rows][:1] == [(5_000_000, None)]
    assert [(r.system_to, r.closed.operation) for r in model.rows if r.closed] == [(9_000_000, "terminate")]
    assert model.clocks == {0: 9_000_000}


DEAD = [
    *(b"", b" ", b"null", b"[]", b"1", b"{", b"{}{}", b"\xef\xbb\xbf{}", b"\xff", b"[" * 100_000),
    *(b'{"k":"K","at":"2024-01-01","v":NaN}', b'{"k":"K","at":"2024-01-01","k":"K"}'),
    *(b'{"at":"2024-01-01"}', b'{"k":null,"at":"2024-01-01"}', b'{"k":[1],"at":"2024-01-01"}'),
    *(b'{"k":"K"}', b'{"k":"K","at":"2024-02-30"}', b'{"k":"K","at":"0000-01-01"}'),
    *(b'{"k":"K","at":"10000-01-01"}', b'{"k":"K","at":"9999-12-31T23:59:59.999999Z"}'),
    *(
        b'{"k":"K","at":"2016-12-31T23:59:60Z"}',
        b'{"k":"K","at":1704067200}',
        b'{"k":"K","at":"0001-01-01T00:00+01:00"}',
    ),
    *(b'{"k":"K","at":"2024-01-01T00:00:00.0000001Z"}', b'{"k":"K","at":"2024-01-02","to":"2024-01-02"}'),
    *(b'{"k":"K","at":"2024-01-01","op":"upsert"}', b'{"k":"K","at":"2024-01-01","v":1}'),
    *(b'{"k":"K","at":"2024-01-01","w":9223372036854775808}', b'{"k":"K","at":"2024-01-01","w":1.5}'),
    *(b'{"k":"K","at":"2024-01-01","c":[{"id":1},{"id":"1"}]}', b'{"k":"K","at":"2024-01-01","c":[{"n":1}]}'),
    *(b'{"k":"K","at":"2024-01-01","z":"\\ud800"}', b'{"k":"K","at":"2024-01-01","z":1e400}'),
    *(b'{"k":"K","at":"2024-01-01","V":"x"}', b'{"k":"K","at":"2024-01-01","operation":"x"}'),
]


@pytest.mark.parametrize("value", DEAD, ids=lambda value: value[:60].decode("latin-1"))
def test_dead_letter(value: bytes) -> None:
    below = [{"path": "c", "key": ["id"], "columns": {"n": "long"}}]
    model = Model(entry(children=below)).run([Record(value, 1), rec(2, 1, v="A")])
    assert model.counts == Counts(records=2, changes=1, no_ops=0, dead_letters=1, versions=1)
    assert not model.dataset.parent.columns[2:]


EXACT: list[tuple[str, str, Any]] = [
    ("decimal(12,6)", "1.50", "1.500000"),
    ("decimal(12,6)", '"1e2"', "100.000000"),
    ("decimal(3,1)", "-0.0", "0.0"),
    ("long", "9007199254740993", 9_007_199_254_740_993),
    ("double", "-0.0", 0.0),
    ("float", "0.1", 0.10000000149011612),
    ("float", "0.95036490000000000000", 0.950364887714386),
    ("float", "1000000000000000000", 999999984306749440.0),
    ("float", "7.038531e-26", 7.038530691851209e-26),
    ("double", "1" + "0" * 23, 1e23),
    ("double", "0e999", 0.0),
    ("decimal(3,1)", "0e99999999999", "0.0"),
    ("decimal(3,1)", "100e-00000000002", "1.0"),
    ("timestamp", '"2024-01-01T02:00:00.1234560+02:00"', "2024-01-01T00:00:00.123456Z"),
    ("timestamp", '"0999-01-01"', "0999-01-01T00:00:00.000000Z"),
    ("uuid", '"0F8FAD5B-D9CB-469F-A165-70867728950E"', "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("binary", '"aGk="', "aGk="),
    ("json", '{"a": [1.0, "\\u00e9"], "a": 1}', '{"a": [1.0, "\\u00e9"], "a": 1}'),
    ("long", "1.0", 1),
    ("long", "12e2", 1200),
]


@pytest.mark.parametrize(("kind", "text", "expected"), EXACT)
def test_values_are_exact(kind: str, text: str, expected: Any) -> None:
    value = f'{{"k":"K","at":"2024-01-01","v":{text}}}'.encode()
    model = Model(entry(columns={"v": kind})).run([Record(value, 1)])
    assert [r["v"] for r in history_json(model)] == [expected]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("float", "4.9999999"),
        ("float", "4.99999999999999999"),
        ("double", "9007199254740993"),
        ("double", "9007199254740993.0"),
        ("double", "4e-324"),
        ("double", "1.8e308"),
        ("double", "0.1234567890123456789"),
    ],
)
def test_numbers_that_would_be_rounded(kind: str, text: str) -> None:
    value = f'{{"k":"K","at":"2024-01-01","v":{text}}}'.encode()
    assert Model(entry(columns={"v": kind})).run([Record(value, 1)]).counts.dead_letters == 1


@pytest.mark.parametrize(("unit", "count"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_integer_times(unit: str, count: int) -> None:
    value = json.dumps({"k": "K", "at": 1_704_067_200 * count}).encode()
    assert run(Record(value, 1), valid_unit=unit).history()[0].valid_from == DAY0 + 1
    odd = json.dumps({"k": "K", "at": 1_704_067_200_000_000_001}).encode()
    assert run(Record(odd, 1), valid_unit="ns").counts.dead_letters == 1


FINER = [
    ("2024-01-01T00:00:00.0000009Z", "2024-01-01T00:00:00.000000Z"),
    ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
]


@pytest.mark.parametrize(("text", "expected"), FINER)
def test_digits_beyond_microseconds_are_dropped_where_the_dataset_says_so(text: str, expected: str) -> None:
    record = Record(json.dumps({"k": "K", "at": "2024-01-01", "v": text}).encode(), 1)
    columns = {"v": {"path": "v", "type": "timestamp", "time_precision": "truncate"}}
    model = Model(entry(columns=columns)).run([record])
    assert [row["v"] for row in history_json(model)] == [expected]
    assert Model(entry(columns={"v": "timestamp"})).run([record]).counts.dead_letters == 1


def test_valid_times_are_dropped_towards_the_past() -> None:
    value = json.dumps({"k": "K", "at": -1}).encode()
    (row,) = run(
        Record(value, 1), valid_unit="ns", valid_time="timestamp", time_precision="truncate"
    ).history()
    assert row.valid_from == -1


def test_undeclared_fields() -> None:
    values: list[dict[str, Any]] = [
        {"z": 1, "o": {"p": "s"}, "l": [1, "a"]},
        {"z": 2, "o": None},
        {"z": 1.5},
        {"o": 5},
    ]
    model = run(*(rec(i, i, **v) for i, v in enumerate(values, 1)))
    assert [c.name for c in model.dataset.parent.columns] == ["v", "w", "z", "o__p", "l"]
    assert [(d.offset, d.stage) for d in model.dead] == [(3, "flatten"), (4, "flatten")]
    assert [(r["z"], r["o__p"], r["l"]) for r in timeline_json(model, 9)] == [
        (1, "s", '[1, "a"]'),
        (2, None, None),
    ]
    assert run(rec(1, 1, z=1), on_new_field="dead_letter").counts.dead_letters == 1
    assert run(rec(1, 1, z=1), rec(2, 1, z=2), on_new_field="ignore").counts.no_ops == 1
