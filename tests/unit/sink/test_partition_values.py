"""Every type by every transform with extreme values: written and read back by every reader, or a dead letter."""

import base64
import datetime as dt
import json
import math
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from pipeline.lake import Lake
from pipeline.query.answers import Answers
from pipeline.query.session import Session
from pipeline.query.stored import StoredTable
from pipeline.schema import ColumnType, Kind
from pipeline.sink import open_catalog
from pipeline.sink.partitions import parse_term, partition_spec, split
from pipeline.sink.planning import data_files
from pipeline.sink.scan import may_be_among, read_task, storage
from pipeline.sink.tables import iceberg_schema
from pipeline.sink.types import to_iceberg
from tests import lakes

pytestmark = pytest.mark.slow

TEXTS = [
    *("", " ", "a", "/", "..", "%2F", "a=b", "a/b", '"', "'", "\\", "\0", "\x01\n\r\t\x7f", "null", "#?&*[x]"),
    *("\ud7ff", "\ud7ff" * 40, "\ue000", "\U0010ffff", "\U0010ffff" * 40, "Ä" * 42, "x" * 300, "x" * 5000),
    *("한" * 15 + "\ud7ff.", "a" * 15 + "\ud7ff" + "b", "\U0010ffff" * 15 + "\ud7ff\ud7ff", "\ud7ff" * 16 + "\U0010ffff"),
]  # fmt: skip
SIGNS = [0.0, -0.0, 1.5, math.nan, math.inf, -math.inf]
VALUES: dict[str, list[Any]] = {
    "string": TEXTS,
    "json": TEXTS,
    "boolean": [True, False],
    "int": [0, 1, -1, 2**31 - 1, -(2**31), -(2**31) + 1, -(2**31) + 999],
    "long": [0, 1, -1, 2**63 - 1, -(2**63), -(2**63) + 7, -(2**63) + 999],
    "float": [*SIGNS, 3.4028234663852886e38, 1.401298464324817e-45],
    "double": [*SIGNS, 1.7976931348623157e308, 5e-324],
    "date": [dt.date(1, 1, 1), dt.date(1900, 2, 28), dt.date(1969, 12, 31), dt.date(9999, 12, 31)],
    "timestamp": [
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        dt.datetime(1900, 2, 28, 23, 59, tzinfo=dt.UTC),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
    ],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=7)],
    "binary": [b"", b"\0", b"\xff" * 16, b"\xff" * 17, b"\xff" * 300, b"/\x80%", b"x" * 5000],
}
for _precision, _scale in [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 2),
    (9, 2),
    (10, 0),
    (18, 18),
    (19, 0),
    (38, 0),
    (38, 38),
]:
    _unscaled = [10**_precision - 1, -(10**_precision) + 1, 0, 1, -1, -8 * 10 ** (_precision - 1)]
    VALUES[f"decimal({_precision},{_scale})"] = [
        Decimal((int(n < 0), tuple(map(int, str(abs(n)))), -_scale)) for n in _unscaled
    ]
TERMS = [
    *("c", "bucket(7, c)", "bucket(2147483647, c)"),
    *("truncate(1, c)", "truncate(10, c)", "truncate(1000, c)", "truncate(2147483647, c)"),
    *("year(c)", "month(c)", "day(c)", "hour(c)"),
]
TIMES = ("year", "month", "day", "hour")


def fitting(type_: str) -> list[str]:
    iceberg = to_iceberg(ColumnType.parse(type_))
    return [term for term in TERMS if parse_term(term)[2].can_transform(iceberg)]


def partitionings() -> Iterator[tuple[str, list[str]]]:
    """Per type all transforms at once (a column may be cut by time once only), and a narrow one alone."""
    for type_ in VALUES:
        terms = fitting(type_)
        times = [term for term in terms if term.startswith(TIMES)]
        others = [term for term in terms if term not in times]
        for time in times or [None]:
            yield type_, [*others, *([time] if time else [])]
        yield type_, ["bucket(7, c)" if "bucket(7, c)" in terms else "c"]


def number(value: Any) -> int:
    """A whole number, or a decimal's unscaled one."""
    return int(value.scaleb(-value.as_tuple().exponent)) if isinstance(value, Decimal) else int(value)


def fits(value: Any, type_: str, terms: list[str]) -> bool:
    """Whether a number rounded down to a multiple of each width is still of its type."""
    parsed = ColumnType.parse(type_)
    least = {Kind.INT: -(2**31), Kind.LONG: -(2**63), Kind.DECIMAL: -(10**parsed.precision) + 1}
    if parsed.kind not in least:
        return True
    widths = [int(term[9:].partition(",")[0]) for term in terms if term.startswith("truncate")]
    return all(number(value) // width * width >= least[parsed.kind] for width in widths)


def plain(value: Any) -> Any:
    """NaN is equal to itself, and -0.0 is not 0.0."""
    return repr(value) if isinstance(value, float) else value


def read_by_all(sink: Any, schema: Any, table: Table, values: list[Any]) -> None:
    want = [(f"K{i:03d}", plain(value)) for i, value in enumerate(values)]

    def told(rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
        return sorted(((row["isin"], plain(row["c"])) for row in rows), key=lambda row: row[0])

    assert told(lakes.read(sink, schema.parent)) == want
    assert told(Answers(StoredTable.of(table), Session()).history().to_pylist()) == want
    assert told(table.scan().to_arrow().to_pylist()) == want


@pytest.mark.parametrize(("type_", "terms"), [*partitionings()], ids=lambda given: str(given)[:40])
def test_rows_come_back_as_they_were(type_: str, terms: list[str], tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    schema = sink.open(lakes.dataset("bonds", lakes.column("c", type_)), mode="append", partition_by=terms)
    values = [*(value for value in VALUES[type_] if fits(value, type_, terms)), None]
    given = [{"isin": f"K{i:03d}", "c": value} for i, value in enumerate(values)]
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=given)))
    table = open_catalog(lakes.sqlite_config(tmp_path)).load_table("ref.bonds")
    read_by_all(sink, schema, table, values)


@pytest.mark.parametrize("type_", VALUES)
def test_partitions_are_those_of_the_specification(type_: str) -> None:
    """As pyiceberg's own Python computes them, value by value."""
    table = lakes.table("bonds", lakes.column("c", type_))
    schema = iceberg_schema(table)
    for term in fitting(type_):
        values = [value for value in VALUES[type_] if fits(value, type_, [term])]
        rows = lakes.rows(table, *({"isin": f"K{i}", "c": value} for i, value in enumerate([*values, None])))
        spec = partition_spec(table, schema, [term], parent=True, upsert=False)
        (field,) = spec.fields
        by_hand = field.transform.transform(schema.find_field("c").field_type)
        for key, part in split(rows, spec, schema):
            assert key is not None
            for value in part.column("c").to_pylist():
                wanted = None if value is None else by_hand(stored(value))
                assert plain(key.partition[0]) == plain(stored(wanted)), (term, value)


def stored(value: Any) -> Any:
    """A value as Iceberg has it in partitions."""
    match value:
        case dt.datetime():
            return (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        case dt.date():
            return (value - dt.date(1970, 1, 1)).days
        case uuid.UUID():
            return value.bytes
    return value


def as_json(value: Any) -> Any:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case Decimal() | uuid.UUID():
            return f"{value:f}" if isinstance(value, Decimal) else str(value)
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dt.date():
            return value.isoformat()
    return value


def declared(type_: str, terms: list[str], mode: str) -> dict[str, Any]:
    return {
        "name": "bonds",
        "table": "ref.bonds",
        "key": ["isin", "c"] if mode == "upsert" else ["isin"],
        "valid_from": "from",
        "columns": {"isin": "string", "c": type_, "n": "long"},
        "mode": mode,
        "partition_by": terms,
    }


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("type_", VALUES)
def test_every_record_is_a_row_or_a_dead_letter(type_: str, mode: str, tmp_path: Path) -> None:
    """From JSON to answers; each key is put twice, so that upsert rewrites its file."""
    time = "month(c)" if type_ == "date" else "hour(c)"
    terms = [term for term in fitting(type_) if term in ("c", "bucket(7, c)", "truncate(1000, c)", time)]
    values = [
        value
        for value in VALUES[type_]
        if not (isinstance(value, float) and (not math.isfinite(value) or math.copysign(1, value) < 0))
    ]
    settings = {"datasets": [declared(type_, terms, mode)]}
    (tmp_path / "lake.yaml").write_text(json.dumps(settings))
    lake = Lake.open(tmp_path / "lake.yaml", {})
    for year in (2023, 2024):
        lines = [
            json.dumps({"isin": f"K{i:03d}", "c": as_json(value), "n": year, "from": f"{year}-01-01"})
            for i, value in enumerate(values)
        ]
        (tmp_path / f"{year}.jsonl").write_text("\n".join(lines) + "\n")
        lake.load_files("bonds", [tmp_path / f"{year}.jsonl"])
    good = {i for i, value in enumerate(values) if fits(value, type_, terms)}
    rows = lake.timeline("bonds").to_pylist()
    for row in rows:
        told = json.loads(row["c"]) if type_ == "json" else row["c"]
        assert plain(told) == plain(values[int(row["isin"][1:])])
    assert sorted(row["isin"] for row in rows) == sorted(f"K{i:03d}" for i in good for _ in range(2))
    dead = lake.dead_letters()
    letters = dead.waiting().to_pylist() if dead is not None else []
    assert {letter["offset"] % len(values) for letter in letters} == set(range(len(values))) - good
    assert all("bonds.c: a number too small to be truncated" in letter["reason"] for letter in letters)


@pytest.mark.parametrize("type_", VALUES)
def test_a_filter_finds_its_rows_whatever_their_partition(type_: str, tmp_path: Path) -> None:
    """Files are ruled out by bounds and partitions: none that has the row, merged manifests included."""
    sink = lakes.sqlite_sink(tmp_path)
    terms = [term for term in fitting(type_) if term in ("c", "bucket(7, c)", "truncate(10, c)")]
    schema = sink.open(lakes.dataset("bonds", lakes.column("c", type_)), mode="append", partition_by=terms)
    values = [
        v
        for v in VALUES[type_]
        if fits(v, type_, terms) and not (isinstance(v, float) and not math.isfinite(v))
    ]
    given = [{"isin": f"K{i:03d}", "c": value} for i, value in enumerate(values)]
    catalog = open_catalog(lakes.sqlite_config(tmp_path))
    sink.commit(sink.write(lakes.epoch(schema, 1, opened=given[:1])))
    with catalog.load_table("ref.bonds").transaction() as change:
        change.set_properties({"commit.manifest.min-count-to-merge": "2"})
    for number, row in enumerate(given[1:], 2):
        sink.commit(sink.write(lakes.epoch(schema, number, opened=[row])))
    table = catalog.load_table("ref.bonds")
    for row in given:
        wanted = storage(lakes.rows(schema.parent, row), ["c"])["c"]
        files = data_files(table, may_be_among("c", wanted))
        found = [f for f in files if row["isin"] in read_task(table, f, table.schema())["isin"].to_pylist()]
        assert len(found) == 1


def test_arrow_keeps_the_order_of_rows_within_partitions() -> None:
    table = lakes.table("bonds", lakes.column("c", "long"), lakes.column("d", "long"))
    schema = iceberg_schema(table)
    rows = lakes.rows(table, *({"isin": f"K{i:03d}", "c": i % 3, "d": i % 2} for i in range(60)))
    spec = partition_spec(table, schema, ["c", "d", "bucket(2, isin)"], parent=True, upsert=False)
    parts = [part for _, part in split(rows, spec, schema)]
    assert sum(map(len, parts)) == 60
    for part in parts:
        assert len(part.select(["c", "d"]).group_by(["c", "d"]).aggregate([])) == 1
        assert part["isin"].to_pylist() == sorted(part["isin"].to_pylist())
    assert pa.concat_tables(parts).num_rows == 60
