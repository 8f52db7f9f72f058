"""partition_by of lake.yaml: what it may say, and what the rows' files then look like."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from pyiceberg.expressions import EqualTo

from pipeline.errors import BadConfiguration, Refused
from pipeline.query.answers import Answers
from pipeline.query.session import Session
from pipeline.query.stored import StoredTable
from pipeline.sink import open_catalog
from pipeline.sink.partitions import parse_term, reserved_names
from tests import lakes


@pytest.mark.parametrize(
    ("text", "source", "name", "transform"),
    [
        ("isin", "isin", "isin", "identity"),
        ("bucket(8, isin)", "isin", "isin_bucket", "bucket[8]"),
        ("truncate(4,x)", "x", "x_trunc", "truncate[4]"),
        ("year(valid_from)", "valid_from", "valid_from_year", "year"),
        ("months( valid_from )", "valid_from", "valid_from_month", "month"),
        ("DAY(valid_from)", "valid_from", "valid_from_day", "day"),
        ("hours(system_from)", "system_from", "system_from_hour", "hour"),
    ],
)
def test_terms(text: str, source: str, name: str, transform: str) -> None:
    of, called, by = parse_term(text)
    assert (of, called, str(by)) == (source, name, transform)


@pytest.mark.parametrize("text", ["bucket(isin)", "bucket(0, isin)", "week(valid_from)", "", "a(b(c))"])
def test_terms_that_make_no_sense_say_what_does(text: str) -> None:
    with pytest.raises(BadConfiguration, match="write"):
        parse_term(text)


def test_a_partition_column_must_exist_and_suit(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    with pytest.raises(BadConfiguration, match="is no column of"):
        sink.open(lakes.dataset(), mode="append", partition_by=["issuer"])
    with pytest.raises(BadConfiguration, match="does not work on the type"):
        sink.open(lakes.dataset(), mode="append", partition_by=["year(isin)"])
    schema = lakes.dataset("bonds", lakes.column("issuer"))
    with pytest.raises(BadConfiguration, match="upsert table"):
        sink.open(schema, mode="upsert", partition_by=["issuer"])


def test_rows_lie_in_their_partitions_and_a_scan_reads_only_those(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    schema = lakes.dataset("bonds", lakes.column("n", "long"), lakes.column("note"))
    schema = sink.open(schema, mode="append", partition_by=["bucket(4, isin)", "year(valid_from)", "note"])
    year = 366 * 86_400_000_000
    given = [
        {"isin": f"K{n}", "n": n, "valid_from": year * (n % 3), "note": None if n % 2 else "even"}
        for n in range(50)
    ]
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=given)))
    assert sorted(row["n"] for row in lakes.read(sink, schema.parent)) == list(range(50))
    table = open_catalog(lakes.sqlite_config(tmp_path)).load_table("ref.bonds")
    every = list(table.scan().plan_files())
    one = list(table.scan(row_filter=EqualTo("isin", "K7")).plan_files())
    assert len(every) > 12
    assert 1 <= len(one) < len(every)
    assert table.scan(row_filter=EqualTo("isin", "K7")).to_arrow()["n"].to_pylist() == [7]


def test_a_child_takes_the_partitions_it_has_columns_for(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    schema = lakes.with_child(lakes.dataset("bonds", lakes.column("issuer")))
    sink.open(schema, mode="append", partition_by=["issuer", "bucket(2, isin)"])
    catalog = open_catalog(lakes.sqlite_config(tmp_path))
    assert [f.name for f in catalog.load_table("ref.bonds").spec().fields] == ["issuer", "isin_bucket"]
    assert [f.name for f in catalog.load_table("ref.bonds__calls").spec().fields] == ["isin_bucket"]


NAMES = [
    *(
        "währung",
        "日本",
        "a b",
        "a=b",
        "a/b",
        "a'b",
        "9x",
        "x" * 255,
        "ä" * 255,
        "a%2F",
        "#a?b",
        "..",
        "a\\b",
        "İ",
    ),
    *("a*[b]", "_"),
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_names_of_partitions_are_taken_by_every_reader(name: str, tmp_path: Path) -> None:
    """Also where a column has the name that the partition would have."""
    other = f"{name[:200]}_bucket"
    terms = [name, f"bucket(8, {name})", f"bucket(4, {name})", "month(valid_from)", "hour(system_from)"]
    schema = lakes.dataset("bonds", lakes.column(name), lakes.column(other))
    sink = lakes.sqlite_sink(tmp_path)
    schema = sink.open(schema, mode="append", partition_by=terms)
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A", name: "a/" * 90}, {"isin": "B"}])))
    again = lakes.sqlite_sink(tmp_path)
    again.open(schema, mode="append", partition_by=terms)
    table = open_catalog(lakes.sqlite_config(tmp_path)).load_table("ref.bonds")
    assert [row["isin"] for row in lakes.read(again, schema.parent)] == ["A", "B"]
    assert Answers(StoredTable.of(table), Session()).history()["isin"].to_pylist() == ["A", "B"]
    assert sorted(table.scan().to_arrow()["isin"].to_pylist()) == ["A", "B"]
    names = [field.name for field in table.spec().fields]
    assert all(re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,61}", field) for field in names)
    assert len({n.lower() for n in names} | {n.lower() for n in table.schema().column_names}) >= len(names)
    assert not {n.lower() for n in names[1:]} & {n.lower() for n in table.schema().column_names}


def test_a_table_made_with_other_names_of_partitions_is_written_on(tmp_path: Path) -> None:
    """Its manifests are those that the fast reader panics at."""
    schema = lakes.dataset("bonds", lakes.column("währung"))
    terms = ["bucket(8, währung)", "währung"]
    sink = lakes.sqlite_sink(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.sink.partitions.safe_name", lambda plain: plain)
        patch.setattr("pipeline.sink.tables.path_properties", lambda *_: {})
        schema = sink.open(schema, mode="append", partition_by=terms)
        sink.commit(sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A", "währung": "Ä" * 42}])))
    catalog = open_catalog(lakes.sqlite_config(tmp_path))
    assert "write.object-storage.enabled" not in catalog.load_table("ref.bonds").properties
    sink = lakes.sqlite_sink(tmp_path)
    sink.open(schema, mode="append", partition_by=terms)
    sink.commit(sink.write(lakes.epoch(schema, 2, opened=[{"isin": "B", "währung": "x" * 900}])))
    table = catalog.load_table("ref.bonds")
    assert table.spec().fields[0].name == "währung_bucket"
    assert table.properties["write.object-storage.enabled"] == "true"
    assert Answers(StoredTable.of(table), Session()).history()["isin"].to_pylist() == ["A", "B"]


def test_a_new_column_may_not_have_the_name_of_a_partition(tmp_path: Path) -> None:
    """Iceberg's Java library could not read the table again."""
    terms = ["bucket(8, isin)"]
    lakes.sqlite_sink(tmp_path).open(lakes.dataset(), mode="append", partition_by=terms)
    schema = lakes.dataset("bonds", lakes.column("Isin_Bucket"))
    with pytest.raises(Refused, match="name of the new column"):
        lakes.sqlite_sink(tmp_path).open(schema, mode="append", partition_by=terms)
    assert reserved_names(lakes.dataset(), terms) == {"isin_bucket"}


def test_a_column_is_cut_by_time_once(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="by time twice"):
        lakes.sqlite_sink(tmp_path).open(
            lakes.dataset(), mode="append", partition_by=["year(valid_from)", "month(valid_from)"]
        )


def test_a_column_that_data_brought_to_a_child_does_not_partition_it(tmp_path: Path) -> None:
    schema = lakes.with_child(lakes.dataset("bonds", lakes.column("issuer")))
    parent, child = lakes.sqlite_sink(tmp_path).open(schema, mode="append", partition_by=["issuer"]).tables
    more = replace(child, values=(lakes.column("issuer", declared=False),))
    lakes.sqlite_sink(tmp_path).open(
        replace(schema, tables=(parent, more)), mode="append", partition_by=["issuer"]
    )
    lakes.sqlite_sink(tmp_path).open(schema, mode="append", partition_by=["issuer"])
