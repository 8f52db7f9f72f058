"""Columns of every type, added and widened later, in answers."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import FileScanTask
from pyiceberg.types import DecimalType, DoubleType, LongType, StringType

from pipeline.errors import BadInput, Refused
from pipeline.query.instants import LATEST, instant
from pipeline.query.scan import plan
from pipeline.query.session import Session
from pipeline.query.stored import StoredTable
from pipeline.schema import END_OF_TIME_US
from tests.unit.query.lakes import answers_of, catalog_in, create, table_schema

VALUES = {
    "string": "Ünï'\"\\",
    "boolean": True,
    "int": -(2**31),
    "long": 2**63 - 1,
    "float": 0.5,
    "double": 1e300,
    "decimal(38,6)": Decimal("12345678901234567890123456789012.000001"),
    "date": date(2024, 2, 29),
    "timestamp": datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
    "uuid": UUID("ffeeddcc-0000-4000-8000-000000000001"),
    "binary": b"\x00\xff",
    "json": '{"a": [1, null]}',
}
NAMES = {type_: f"c_{type_.partition('(')[0]}" for type_ in VALUES}


def version(schema: pa.Schema, since: int, **values: object) -> pa.Table:
    """One open row in the columns of a schema."""
    times = {"valid_from": 0, "valid_to": END_OF_TIME_US, "system_from": since, "system_to": END_OF_TIME_US}
    row = values | {name: datetime.fromtimestamp(0, UTC) if us == 0 else us for name, us in times.items()}
    arrays = []
    for field in schema:
        value = row.get(field.name)
        if isinstance(field.type, pa.UuidType) and value is not None:
            value = value.bytes
        storage = field.type.storage_type if isinstance(field.type, pa.UuidType) else field.type
        array = (
            pa.array([value], pa.int64()).cast(field.type)
            if field.name in times and value and isinstance(value, int)
            else pa.array([value], storage)
        )
        arrays.append(
            pa.ExtensionArray.from_storage(field.type, array) if storage is not field.type else array
        )
    return pa.table(arrays, schema=schema)


@pytest.fixture
def session():
    return Session()


def test_every_type_comes_back_as_it_went_in(tmp_path, session):
    schema = table_schema({"k": "string"}, {NAMES[t]: t for t in VALUES}, dated=False)
    table = create(catalog_in(tmp_path), schema)
    table.append(version(schema.arrow, 5, k="a", **{NAMES[t]: v for t, v in VALUES.items()}))
    table.append(version(schema.arrow, 6, k="b"))
    answer = answers_of(table, session).asof(1, LATEST)
    assert answer.schema.types[: len(VALUES) + 1] == [c.type.arrow for c in schema.columns]
    full, nulls = answer.to_pylist()
    assert {t: full[NAMES[t]] for t in VALUES} == VALUES
    assert {nulls[NAMES[t]] for t in VALUES} == {None}
    assert full["valid_to"] is None
    assert full["system_to"] is None
    changes = answers_of(table, session).diff(0, 10).to_pylist()
    assert {t: changes[0]["new"][NAMES[t]] for t in VALUES} == VALUES
    assert changes[0]["old"] is None


@pytest.mark.parametrize("type_", [t for t in VALUES if t != "json"])
def test_every_type_can_be_a_key_and_is_found_by_text(tmp_path, session, type_):
    schema = table_schema({"k": type_, "n": "long"}, {}, dated=False)
    table = create(catalog_in(tmp_path), schema)
    value = VALUES[type_]
    table.append(version(schema.arrow, 5, k=value, n=1))
    table.append(version(schema.arrow, 6, k=value, n=2))
    text = {"binary": "AP8=", "timestamp": "2024-02-29T13:00:00.000001+01:00"}.get(type_, str(value))
    answers = answers_of(table, session)
    assert answers.history(key={"k": text}).num_rows == 2
    assert answers.history(key={"k": value, "n": "2"})["n"].to_pylist() == [2]


def test_rows_written_before_columns_came_or_grew(tmp_path, session):
    schema = table_schema({"k": "string"}, {"i": "int", "f": "float", "d": "decimal(5,2)"}, dated=False)
    table = create(catalog_in(tmp_path), schema)
    table.append(version(schema.arrow, 5, k="a", i=7, f=0.5, d=Decimal("1.25")))
    with table.update_schema() as update:
        update.update_column("i", LongType())
        update.update_column("f", DoubleType())
        update.update_column("d", DecimalType(20, 2))
        update.add_column("later", StringType())
        update.move_before("later", "valid_from")
    wide = table_schema(
        {"k": "string"}, {"i": "long", "f": "double", "d": "decimal(20,2)", "later": "string"}, dated=False
    )
    table.append(
        version(wide.arrow, 6, k="b", i=2**40, f=1e300, d=Decimal("123456789012345678.25"), later="x")
    )
    rows = answers_of(table, session).history()
    assert rows.column_names[:5] == ["k", "i", "f", "d", "later"]
    assert rows.select(["k", "i", "f", "d", "later"]).to_pylist() == [
        {"k": "a", "i": 7, "f": 0.5, "d": Decimal("1.25"), "later": None},
        {"k": "b", "i": 2**40, "f": 1e300, "d": Decimal("123456789012345678.25"), "later": "x"},
    ]


def test_rows_deleted_by_another_program_stay_deleted(tmp_path, session):
    """Trino deletes by position-delete files, which pyiceberg can read but not write."""
    schema = table_schema({"k": "string"}, {}, dated=False)
    table = create(catalog_in(tmp_path), schema)
    for keys in ("ab", "c"):
        table.append(pa.concat_tables([version(schema.arrow, 5, k=key) for key in keys]))
    planned = plan(StoredTable.of(table), answers_of(table, session).shape.fields)
    tasks = table.scan().plan_files()
    (first,) = [task for task in tasks if task.file.record_count == 2]
    deletes = tmp_path / "deletes.parquet"
    pq.write_table(pa.table({"file_path": [first.file.file_path], "pos": pa.array([0], pa.int64())}), deletes)
    delete_file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES, file_path=str(deletes), file_format=FileFormat.PARQUET
    )
    changed = FileScanTask(first.file, {delete_file})
    files = tuple(file for file in planned.files if file != first.file.file_path)
    relation = replace(planned, files=files, deleted=(changed,)).relation(session)
    assert session.rows(f"SELECT k FROM ({relation}) ORDER BY k")["k"].to_pylist() == ["b", "c"]


def test_keys_are_ordered_by_code_point(tmp_path, session):
    schema = table_schema({"k": "string"}, {}, dated=False)
    table = create(catalog_in(tmp_path), schema)
    keys = ["a", "B", "ä", "😀", "\uffff", "", "aa", "Z"]
    table.append(pa.concat_tables([version(schema.arrow, 5, k=key) for key in keys]))
    assert answers_of(table, session).timeline(LATEST)["k"].to_pylist() == sorted(keys)


def test_an_empty_table_answers_with_its_columns(tmp_path, session):
    schema = table_schema({"k": "uuid"}, {"v": "decimal(5,2)"}, dated=False)
    answers = answers_of(create(catalog_in(tmp_path), schema), session)
    for rows in (
        answers.history(provenance=True),
        answers.asof(0, 0),
        answers.timeline(0),
        answers.diff(0, 1),
    ):
        assert rows.num_rows == 0
        assert rows.column_names[0] == "k"


def test_wrong_keys_are_explained(tmp_path, session):
    schema = table_schema({"k": "long"}, {"v": "long"}, dated=False)
    answers = answers_of(create(catalog_in(tmp_path), schema), session)
    with pytest.raises(BadInput, match="'v' is not a key column") as caught:
        answers.history(key={"v": "1"})
    assert "k" in caught.value.next_step
    with pytest.raises(BadInput, match="'x' is not a value"):
        answers.history(key={"k": "x"})
    assert answers.history(key={"k": str(2**70)}).num_rows == 0


def test_a_table_of_others_is_refused(tmp_path):
    table = catalog_in(tmp_path).create_table("ref.other", pa.schema([("a", pa.int64())]))
    with pytest.raises(Refused, match="ref.other"):
        answers_of(table)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1970-01-01T01:00:00.000001+01:00", 1),
        ("1970-01-01T00:00:00.000001999Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        (date(1970, 1, 2), 86_400_000_000),
        (datetime(1970, 1, 1, 0, 0, 1), 1_000_000),  # noqa: DTZ001
        ("9999-12-31", LATEST),
    ],
)
def test_moments(text, us):
    assert instant(text) == us


def test_what_is_no_moment_is_explained():
    with pytest.raises(BadInput, match="'yesterday' is not a moment"):
        instant("yesterday")
