"""Tables: made once, read back with what was inferred, evolved, and refused when they don't fit."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import Refused
from pipeline.schema import DatasetSchema
from pipeline.sink import LakeSink, open_catalog
from tests import lakes


@pytest.fixture
def sink(tmp_path: Path) -> LakeSink:
    return lakes.sqlite_sink(tmp_path)


def grown(schema: DatasetSchema, *added: object) -> DatasetSchema:
    return DatasetSchema(schema.name, (schema.parent.with_values(added), *schema.tables[1:]))  # type: ignore[arg-type]


def test_inferred_columns_come_back_with_path_and_type(tmp_path: Path, sink: LakeSink) -> None:
    declared = lakes.dataset("bonds", lakes.column("issuer"))
    schema = sink.open(declared, mode="append", partition_by=[])
    inferred = (
        lakes.column("terms__coupon", "decimal(12,6)", declared=False, path=("terms", "coupon")),
        lakes.column("tags", "json", declared=False),
        lakes.column("ünï cödé.dotted", "string", declared=False, path=("ünï cödé", "dotted")),
    )
    schema = grown(schema, *inferred)
    given = [{"isin": "A", "tags": "[1]", "ünï cödé.dotted": "x"}]
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=given)))
    assert lakes.sqlite_sink(tmp_path).open(declared, mode="append", partition_by=[]) == schema
    row = lakes.read(sink, schema.parent)[0]
    assert (row["tags"], row["ünï cödé.dotted"], row["terms__coupon"]) == ("[1]", "x", None)
    names = open_catalog(lakes.sqlite_config(tmp_path)).load_table("ref.bonds").schema().column_names
    assert names == schema.parent.arrow.names


def test_columns_appear_in_the_epoch_that_uses_them(sink: LakeSink) -> None:
    schema = sink.open(lakes.dataset(), mode="append", partition_by=[])
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A"}])))
    more = grown(schema, *(lakes.column(f"c{n}", "long", declared=False) for n in range(1000)))
    sink.commit(sink.write(lakes.epoch(more, 2, opened=[{"isin": "B", "c0": 1, "c999": 2}])))
    found = {row["isin"]: (row["c0"], row["c999"]) for row in lakes.read(sink, more.parent)}
    assert found == {"A": (None, None), "B": (1, 2)}


@pytest.mark.parametrize(
    ("narrow", "wide", "value"),
    [
        ("int", "long", 7),
        ("float", "double", 1.5),
        ("decimal(5,2)", "decimal(9,2)", None),
        ("decimal(9,2)", "decimal(38,2)", None),
    ],
)
def test_types_widen_without_rewriting_data(
    tmp_path: Path, sink: LakeSink, narrow: str, wide: str, value: object
) -> None:
    first = sink.open(lakes.dataset("bonds", lakes.column("c", narrow)), mode="append", partition_by=[])
    sink.commit(sink.write(lakes.epoch(first, 1, opened=[{"isin": "A", "c": value}])))
    wider = lakes.dataset("bonds", lakes.column("c", wide))
    sink = lakes.sqlite_sink(tmp_path)
    assert sink.open(wider, mode="append", partition_by=[]) == wider
    sink.commit(sink.write(lakes.epoch(wider, 2, opened=[{"isin": "B", "c": value}])))
    assert {row["c"] for row in lakes.read(sink, wider.parent)} == {value}
    with pytest.raises(Refused, match="never gets narrower"):
        lakes.sqlite_sink(tmp_path).open(first, mode="append", partition_by=[])


def test_a_declaration_takes_over_what_was_inferred(tmp_path: Path, sink: LakeSink) -> None:
    schema = sink.open(lakes.dataset(), mode="append", partition_by=[])
    inferred = grown(schema, lakes.column("coupon", "double", declared=False, path=("terms", "coupon")))
    sink.commit(sink.write(lakes.epoch(inferred, 1, opened=[{"isin": "A", "coupon": 1.5}])))
    declared = lakes.dataset("bonds", lakes.column("coupon", "double", path=("terms", "coupon")))
    assert lakes.sqlite_sink(tmp_path).open(declared, mode="append", partition_by=[]) == declared
    clash = lakes.dataset("bonds", lakes.column("coupon", "date"))
    with pytest.raises(Refused, match="'coupon' is double and can't become date"):
        lakes.sqlite_sink(tmp_path).open(clash, mode="append", partition_by=[])
    renamed = lakes.dataset("bonds", lakes.column("rate", "double", path=("terms", "coupon")))
    retired = lakes.column("coupon", "double", declared=False, path=("terms", "coupon"))
    wanted = grown(renamed, replace(retired, retired=True))
    assert lakes.sqlite_sink(tmp_path).open(renamed, mode="append", partition_by=[]) == wanted


def test_tables_of_others_are_refused(tmp_path: Path, sink: LakeSink) -> None:
    schema = lakes.dataset()
    sink.open(schema, mode="append", partition_by=[])
    with pytest.raises(Refused, match="made with mode: append"):
        sink.open(schema, mode="upsert", partition_by=[])
    with pytest.raises(Refused, match="partitioned by"):
        sink.open(schema, mode="append", partition_by=["bucket(2, isin)"])
    with pytest.raises(Refused, match="belongs to the dataset 'bonds'"):
        sink.open(replace(schema, name="stocks"), mode="append", partition_by=[])
    two = replace(schema.parent, own_key=(*schema.parent.key, lakes.column("venue")))
    with pytest.raises(Refused, match="its key is"):
        sink.open(replace(schema, tables=(two,)), mode="append", partition_by=[])
    with pytest.raises(Refused, match="valid time is of type timestamptz"):
        sink.open(
            replace(schema, tables=(replace(schema.parent, dated=True),)), mode="append", partition_by=[]
        )
    catalog = open_catalog(lakes.sqlite_config(tmp_path))
    catalog.create_table("ref.mine", schema.parent.arrow.remove_metadata())
    with pytest.raises(Refused, match="was not made by bitlake"):
        sink.open(lakes.dataset("mine"), mode="append", partition_by=[])


def test_no_identifier_fields(tmp_path: Path, sink: LakeSink) -> None:
    sink.open(lakes.with_child(lakes.dataset()), mode="append", partition_by=[])
    catalog = open_catalog(lakes.sqlite_config(tmp_path))
    for name in ("ref.bonds", "ref.bonds__calls"):
        table = catalog.load_table(name)
        assert table.schema().identifier_field_ids == []
        assert table.format_version == 2
        assert table.schema().find_field("isin").doc == '["isin"]'


def test_an_epoch_can_be_written_before_the_last_is_committed(sink: LakeSink) -> None:
    schema = sink.open(lakes.dataset(), mode="append", partition_by=[])
    first = sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A"}]))
    more = grown(schema, lakes.column("n", "int", declared=False))
    second = sink.write(lakes.epoch(more, 2, opened=[{"isin": "B", "n": 2}]))
    sink.commit(first)
    sink.commit(second)
    assert {row["isin"]: row["n"] for row in lakes.read(sink, more.parent)} == {"A": None, "B": 2}
    assert sink.positions(more)["ref.bonds"] == lakes.position(2)
