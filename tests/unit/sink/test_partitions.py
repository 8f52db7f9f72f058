"""partition_by of lake.yaml: what it may say, and what the rows' files then look like."""

from pathlib import Path

import pytest
from pyiceberg.expressions import EqualTo

from pipeline.errors import BadConfiguration
from pipeline.sink import open_catalog
from pipeline.sink.partitions import parse_term
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
