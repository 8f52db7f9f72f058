"""What a declaration makes: tables, keys, columns, their names."""

from pathlib import Path

import pytest

from pipeline.config import DatasetConfig, dataset_schema, parse_config, partition_fields
from pipeline.schema import POSITION, ColumnType, DatasetSchema, Kind

HEAD = "datasets:\n  - name: bonds\n    table: ref.bonds\n    key: [isin]\n    valid_from: effective.from\n"
STRING = ColumnType(Kind.STRING)


def declared(text: str, head: str = HEAD) -> DatasetConfig:
    return parse_config(head + text, base=Path("/lake"), environ={}).datasets[0]


def tables(text: str) -> DatasetSchema:
    return dataset_schema(declared(text))


def names(columns: tuple[object, ...]) -> list[str]:
    return [column.name for column in columns]  # type: ignore[attr-defined]


def test_an_undeclared_key_is_a_string_named_by_its_path() -> None:
    config = declared("", HEAD.replace("[isin]", "[isin, terms.ccy, [a, c]]"))
    key = dataset_schema(config).parent.own_key
    assert [(c.name, c.path, c.type, c.declared) for c in key] == [
        ("isin", ("isin",), STRING, False),
        ("terms__ccy", ("terms", "ccy"), STRING, False),
        ("a__c", ("a", "c"), STRING, False),
    ]


def test_a_declared_column_names_and_types_its_key() -> None:
    schema = tables(
        "    columns:\n      x: double\n      id: {path: isin, type: long}\n      coupon: decimal(9,2)\n"
    ).parent
    assert [(c.name, str(c.type), c.declared) for c in schema.own_key] == [("id", "long", True)]
    assert names(schema.values) == ["x", "coupon"]
    assert names(schema.columns) == ["id", "x", "coupon"]


def test_short_forms() -> None:
    schema = tables(
        "    columns:\n      terms.coupon: long\n      issuer: string\n      y: {type: date}\n"
    ).parent
    assert [(c.name, c.path) for c in schema.values] == [
        ("terms__coupon", ("terms", "coupon")),
        ("issuer", ("issuer",)),
        ("y", ("y",)),
    ]


def test_times_and_operation_are_columns_only_when_declared() -> None:
    assert tables("    operation: action\n").parent.values == ()
    config = "    operation: action\n    columns: {action: string, start: {path: effective.from, type: timestamp}}\n"
    assert names(tables(config).parent.values) == ["action", "start"]


def test_children_nest_depth_first_and_inherit_keys() -> None:
    schema = tables(
        "    children:\n"
        "      - path: terms.calls\n        key: date\n        columns: {date: date, price: double}\n"
        "        children: [{path: notices}, {path: x.y, table: other.t}]\n"
        "      - path: tags\n"
    )
    assert [(t.name, t.identifier, t.arrays) for t in schema.tables] == [
        ("bonds", "ref.bonds", ()),
        ("bonds__terms__calls", "ref.bonds__terms__calls", (("terms", "calls"),)),
        (
            "bonds__terms__calls__notices",
            "ref.bonds__terms__calls__notices",
            (("terms", "calls"), ("notices",)),
        ),
        ("bonds__terms__calls__x__y", "other.t", (("terms", "calls"), ("x", "y"))),
        ("bonds__tags", "ref.bonds__tags", (("tags",),)),
    ]
    calls, notices, tags = schema.tables[1], schema.tables[2], schema.tables[4]
    assert names(calls.key) == ["isin", "date"]
    assert names(calls.values) == ["price"]
    assert names(notices.key) == ["isin", "date", "position"]
    assert tags.own_key == (POSITION,)


def test_a_child_column_that_collides_with_an_inherited_key_gets_the_arrays_name() -> None:
    key = tables("    children: [{path: a.legs, key: ISIN, columns: {x: long}}]\n").tables[1]
    assert names(key.columns) == ["isin", "a__legs__ISIN", "x"]
    value = tables("    children: [{path: a.legs, key: x, columns: {isin: {path: q, type: long}}}]\n").tables[
        1
    ]
    assert names(value.columns) == ["isin", "x", "a__legs__isin"]


def test_positions_in_positions_have_names_apart() -> None:
    schema = tables("    children: [{path: a, columns: {Position: long}, children: [{path: b}]}]\n")
    assert names(schema.tables[1].key) == ["isin", "position"]
    assert names(schema.tables[1].values) == ["a__Position"]
    assert names(schema.tables[2].key) == ["isin", "position", "b__position"]
    assert [table.by_position for table in schema.tables] == [False, True, True]


def test_arrays_of_scalars() -> None:
    schema = tables(
        '    children: [{path: a, columns: {value: {path: ".", type: long}}}, {path: b, key: "."}, {path: c}]\n'
    )
    a, b, c = schema.tables[1:]
    assert (a.scalars, b.scalars, c.scalars) == (True, True, False)
    assert (a.by_position, b.by_position, c.by_position) == (True, False, True)
    assert [(x.name, x.path) for x in a.values] == [("value", ())]
    assert [(x.name, x.path, x.type) for x in b.own_key] == [("value", (), STRING)]


@pytest.mark.parametrize(("text", "dated"), [("", False), ("    valid_time: date\n", True)])
def test_dated(text: str, dated: bool) -> None:
    schema = tables(text + "    children: [{path: a}]\n")
    assert [table.dated for table in schema.tables] == [dated, dated]


def test_a_child_is_partitioned_by_what_it_inherits() -> None:
    config = declared(
        '    columns: {ccy: string}\n    partition_by: ["bucket(8, isin)", ccy, days(valid_from)]\n    children: [{path: a}]\n'
    )
    parent, child = dataset_schema(config).tables
    assert [str(f) for f in partition_fields(config, parent)] == [
        "bucket(8, isin)",
        "ccy",
        "day(valid_from)",
    ]
    assert [str(f) for f in partition_fields(config, child)] == ["bucket(8, isin)", "day(valid_from)"]
