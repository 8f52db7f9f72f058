"""What the SQL catalog keeps of a table's last commit is what its metadata file says."""

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.update import AssertRefSnapshotId
from pyiceberg.types import LongType

from pipeline.sink.catalog import open_catalog
from pipeline.sink.sql import QuickSqlCatalog

ROWS = pa.table({"n": pa.array([1, 2], pa.int64())})


@pytest.fixture
def properties(tmp_path):
    return {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/lake"}


@pytest.fixture
def catalog(properties):
    opened = open_catalog(properties)
    opened.create_namespace("a")
    return opened


def read_anew(properties):
    return SqlCatalog("lake", **properties).load_table("a.t")


def test_a_catalog_in_sql_is_the_quick_one(catalog):
    assert isinstance(catalog, QuickSqlCatalog)


def test_after_every_kind_of_commit_the_file_says_the_same(catalog, properties):
    table = catalog.create_table("a.t", ROWS.schema)

    def evolve():
        with table.update_schema() as update:
            update.add_column("m", LongType())

    def describe():
        with table.transaction() as transaction:
            transaction.set_properties({"owner": "me"})

    def forget():
        with table.transaction() as transaction:
            transaction.remove_properties("owner")

    def expire():
        table.maintenance.expire_snapshots().by_id(table.snapshots()[0].snapshot_id).commit()

    for commit in (
        lambda: table.append(ROWS),
        evolve,
        describe,
        lambda: table.append(ROWS),
        expire,
        forget,
        lambda: table.overwrite(ROWS),
    ):
        before, text = table.metadata, table.metadata.model_dump_json()
        commit()
        stored = read_anew(properties)
        assert stored.metadata == table.metadata == catalog.load_table("a.t").metadata
        assert stored.metadata_location == table.metadata_location
        assert stored.metadata.last_updated_ms >= before.last_updated_ms
        assert before.model_dump_json() == text, "metadata at hand don't change"
    assert len(table.scan().to_arrow()) == 2


def test_commits_of_others_are_seen_and_collide(catalog, properties):
    catalog.create_table("a.t", ROWS.schema)
    other = SqlCatalog("lake", **properties).load_table("a.t")
    other.append(ROWS)
    table = catalog.load_table("a.t")
    assert table.metadata == other.metadata
    table.append(ROWS)
    assert len(read_anew(properties).scan().to_arrow()) == 4
    behind = AssertRefSnapshotId(ref="main", snapshot_id=other.metadata.current_snapshot_id)
    with pytest.raises(CommitFailedException):
        other._do_commit((), (behind,))


def test_a_table_that_was_made_anew_is_another_one(catalog, properties):
    first = catalog.create_table("a.t", ROWS.schema)
    first.append(ROWS)
    another = SqlCatalog("lake", **properties)
    another.drop_table("a.t")
    another.create_table("a.t", pa.schema([("m", pa.string())]))
    assert catalog.load_table("a.t").metadata == read_anew(properties).metadata
    assert catalog.load_table("a.t").metadata.table_uuid != first.metadata.table_uuid
