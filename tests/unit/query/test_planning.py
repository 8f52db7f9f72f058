"""Which data files a question reads: as pyiceberg plans it, without pyiceberg."""

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, GreaterThan, LessThanOrEqual
from pyiceberg.table import Table
from pyiceberg.transforms import BucketTransform, DayTransform, TruncateTransform
from pyiceberg.types import DecimalType, LongType

from pipeline.query.catalog import Tables
from pipeline.query.conditions import Condition, _bucket, _comparable
from pipeline.query.scan import _Known, plan
from pipeline.query.shape import Field, Shape
from pipeline.query.stored import StoredTable
from pipeline.schema import ColumnType
from pipeline.sink.types import to_iceberg
from tests.unit.query.belief import NO_END, Version
from tests.unit.query.lakes import catalog_in, create, rows_of, system_us, table_schema, valid_day

_EXPRESSIONS = {"=": EqualTo, "<=": LessThanOrEqual, ">": GreaterThan}
SCHEMA = table_schema({"isin": "string"}, {"level": "int", "amount": "decimal(9,2)"})


def versions(seed: int, count: int = 4) -> list[Version]:
    """Versions in a small part of the keys and times, so that files differ."""
    draw = random.Random(seed)
    key, at, since = draw.randrange(90), draw.randrange(300), draw.randrange(50)
    return [
        Version(f"K{key + i:03d}", draw.randrange(9), at + i, at + i + 5, since + i, NO_END)
        for i in range(count)
    ]


def append(table: Table, seed: int) -> None:
    rows = rows_of(versions(seed), SCHEMA)
    amounts = pa.array([Decimal(seed) - i for i in range(len(rows))], pa.decimal128(9, 2))
    rows = rows.set_column(rows.schema.get_field_index("amount"), SCHEMA.arrow.field("amount"), amounts)
    table.append(rows.cast(table.schema().as_arrow()) if seed > 5 else rows)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Table:
    """A table with a past: partitioned later, and otherwise; columns widened; manifests merged; rows replaced."""
    catalog: Catalog = catalog_in(tmp_path_factory.mktemp("lake"))
    table = create(catalog, SCHEMA)
    with table.transaction() as transaction:
        transaction.set_properties(
            {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "4"}
        )
    for seed in range(6):
        append(table, seed)
    with table.update_schema() as schema:
        schema.update_column("level", LongType())
        schema.update_column("amount", DecimalType(20, 2))
    with table.update_spec() as spec:
        spec.add_field("isin", BucketTransform(4), "bucket")
    for seed in range(6, 12):
        append(table, seed)
    with table.update_spec() as spec:
        spec.remove_field("bucket")
        spec.add_field("system_from", DayTransform(), "day")
        spec.add_field("isin", TruncateTransform(3), "start")
    for seed in range(12, 16):
        append(table, seed)
    table.delete(EqualTo("isin", versions(3)[0].key))
    return catalog.load_table(SCHEMA.identifier)


def by_pyiceberg(table: Table, conditions: list[Condition]) -> set[str]:
    row_filter: BooleanExpression = AlwaysTrue()
    for c in conditions:
        row_filter = And(row_filter, _EXPRESSIONS[c.operator](c.column, c.value))
    return {task.file.file_path for task in table.scan(row_filter=row_filter).plan_files()}


def by_us(table: Table, conditions: list[Condition]) -> set[str]:
    stored = StoredTable.of(table)
    files = plan(stored, Shape.of(stored).fields, conditions).files
    assert len(files) == len(set(files))
    return set(files)


def test_the_table_has_such_a_past(table):
    manifests = table.current_snapshot().manifests(table.io)
    assert {manifest.partition_spec_id for manifest in manifests} == {0, 1, 2}
    assert len(manifests) < 16
    entries = [entry for m in manifests for entry in m.fetch_manifest_entry(table.io, discard_deleted=False)]
    assert any(entry.status == 2 for entry in entries)


def test_manifests_are_read_once(tmp_path, monkeypatch):
    """One of three, for which there is no room, once more."""
    table = create(catalog_in(tmp_path), SCHEMA)
    read: list[str] = []
    monkeypatch.setattr("pipeline.query.scan._known", _Known(2))
    monkeypatch.setattr(StoredTable, "read", _noting(StoredTable.read, read))
    for count in (1, 2, 3, 3):
        if len(table.metadata.snapshots) < count:
            append(table, count)
        stored = StoredTable.of(table)
        read.clear()
        assert len(plan(stored, Shape.of(stored).fields).files) == count
        assert len(read) == 2, "the list of manifests, and a new one"


def _noting(method, read):
    def noted(table, location):
        read.append(location)
        return method(table, location)

    return noted


@pytest.mark.parametrize("seed", range(40))
def test_files_are_those_that_pyiceberg_plans(table, seed):
    draw = random.Random(seed)
    possible = [
        Condition("isin", "=", f"K{draw.randrange(95):03d}"),
        Condition("level", "=", draw.randrange(-1, 10)),
        Condition("amount", "=", Decimal(draw.randrange(-300, 1700)).scaleb(-2)),
        Condition("valid_from", "<=", valid_day(draw.randrange(310))),
        Condition("valid_to", ">", valid_day(draw.randrange(310))),
        Condition("system_from", "<=", system_us(draw.randrange(60))),
    ]
    conditions = draw.sample(possible, draw.randrange(len(possible)))
    assert by_us(table, conditions) == by_pyiceberg(table, conditions)


@pytest.mark.parametrize("seed", range(16))
def test_every_key_is_found(table, seed):
    for version in versions(seed):
        conditions = [Condition("isin", "=", version.key)]
        assert by_us(table, conditions) == by_pyiceberg(table, conditions)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("string", "Österreich 😀"),
        ("int", -5),
        ("long", 2**40),
        ("decimal(9,2)", Decimal("-12.34")),
        ("decimal(38,6)", Decimal("12345678901234567890123456789012.000001")),
        ("date", date(1969, 12, 31)),
        ("timestamp", datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC)),
        ("uuid", UUID("ffeeddcc-0000-4000-8000-000000000001")),
        ("binary", b"\x00\xff"),
    ],
)
def test_buckets_are_those_of_pyiceberg(type_, value):
    field = Field("k", 1, ColumnType.parse(type_))
    comparable = _comparable(field, value)
    given = comparable if type_ in ("date", "timestamp") else value
    assert _bucket(field, comparable, 1000) == BucketTransform(1000).transform(to_iceberg(field.type))(given)


def test_a_value_too_large_for_its_column_has_no_bucket():
    assert _bucket(Field("k", 1, ColumnType.parse("long")), 2**70, 8) is None


def test_a_table_in_sqlite_is_found_as_pyiceberg_finds_it(tmp_path):
    config = {"name": "lake", "type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db"}
    catalog = catalog_in(tmp_path)
    create(catalog, SCHEMA).append(rows_of(versions(1), SCHEMA))

    def never() -> Catalog:
        raise AssertionError("pyiceberg is not needed")

    found = Tables(config, never).find("ref.bonds")
    expected = StoredTable.of(catalog.load_table("ref.bonds"))
    assert found.identifier == expected.identifier
    assert found.fields == expected.fields
    assert found.snapshot == expected.snapshot
    assert found.iceberg().scan().to_arrow() == expected.iceberg().scan().to_arrow()
    assert Tables(config, never).find("ref.bunds") is None
    assert Tables(config | {"name": "other"}, never).find("ref.bonds") is None
    assert Tables(config | {"uri": f"sqlite:///{tmp_path}/none.db"}, never).find("ref.bonds") is None


@pytest.mark.parametrize("damage", ["no such table", "not a database", "metadata gone"])
def test_what_is_wrong_with_a_catalog_is_told_by_pyiceberg(tmp_path, damage):
    catalog = catalog_in(tmp_path)
    table = create(catalog, SCHEMA)
    database = tmp_path / "catalog.db"
    if damage == "metadata gone":
        table.io.delete(table.metadata_location)
    else:
        database.write_bytes(b"" if damage == "no such table" else b"no database" * 1000)

    class Asked(Exception):
        pass

    def ask() -> Catalog:
        raise Asked

    with pytest.raises(Asked):
        Tables({"type": "sql", "uri": f"sqlite:///{database}"}, ask).find("ref.bonds")


class PanicException(BaseException):
    """As pyo3's, by name."""


@pytest.mark.parametrize("error", [PanicException("called `Result::unwrap()`"), ValueError("bad manifest")])
def test_where_the_fast_reader_fails_pyiceberg_reads(table, monkeypatch, error) -> None:
    shape = Shape.of(StoredTable.of(table))
    conditions = [Condition("system_from", "<=", system_us(20))]
    wanted = sorted(plan(StoredTable.of(table), shape.fields, conditions).files)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("pipeline.query.scan.read_manifest_list", fail)
    assert sorted(plan(StoredTable.of(table), shape.fields, conditions).files) == wanted
    assert 0 < len(wanted) < len(plan(StoredTable.of(table), shape.fields).files)


def test_what_ends_a_process_is_not_taken_for_a_panic(table, monkeypatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.query.scan.read_manifest_list", interrupt)
    with pytest.raises(KeyboardInterrupt):
        plan(StoredTable.of(table), Shape.of(StoredTable.of(table)).fields)
