"""The epoch protocol of the sink: whatever goes wrong, each epoch is in each table once."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from pipeline.errors import Refused, Unavailable
from pipeline.faults import COMMIT_POINTS, WRITE_POINTS
from pipeline.schema import DatasetSchema
from pipeline.sink import FileList, LakeSink, open_catalog
from pipeline.sink import commit as protocol
from pipeline.sink.lease import Tenant
from tests import lakes
from tests.forks import Forks


def write_one_epoch(place: str) -> None:
    """What a process does: finish the intent it finds, else write an epoch, its intent first."""
    folder = Path(place)
    sink = lakes.sqlite_sink(folder)
    schema = sink.open(lakes.with_child(lakes.dataset()), mode="append", partition_by=[])
    intent = folder / "intent.json"
    if intent.exists():
        sink.commit(FileList.from_json(intent.read_text()))
        return
    opened = lakes.keys(schema.parent, 3)
    dead = lakes.dead_letters("bonds", 1, 2)
    files = sink.write(lakes.epoch(schema, 1, opened, [{"isin": "X"}], dead))
    intent.write_text(files.to_json())
    sink.commit(files)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(lakes.sqlite_config(tmp_path))


@pytest.fixture
def sink(catalog: Catalog) -> LakeSink:
    return LakeSink(catalog, lakes.DEAD)


@pytest.fixture
def bonds(sink: LakeSink) -> DatasetSchema:
    return sink.open(lakes.with_child(lakes.dataset()), mode="append", partition_by=[])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "ATTEMPTS", 3)


def snapshots(catalog: Catalog, name: str = "ref.bonds") -> int:
    return len(catalog.load_table(name).snapshots())


def test_committing_twice_is_committing_once(sink: LakeSink, bonds: DatasetSchema, catalog: Catalog) -> None:
    files = sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "A"}], closed=[{"isin": "B"}]))
    sink.commit(files)
    sink.commit(files)
    assert lakes.isins(sink, bonds.parent) == ["A", "B"]
    assert snapshots(catalog) == snapshots(catalog, "ref.bonds__calls") == 1


def test_dead_letters_go_to_the_table_that_another_process_made(tmp_path: Path, catalog: Catalog) -> None:
    sink = LakeSink(catalog, lakes.DEAD)
    bonds = sink.open(lakes.dataset(), mode="append", partition_by=[])
    files = sink.write(lakes.epoch(bonds, 1, dead=lakes.dead_letters("bonds", 1, 2)))
    catalog.drop_table(lakes.DEAD)
    lakes.sqlite_sink(tmp_path).open(lakes.dataset(), mode="append", partition_by=[])
    sink.commit(files)
    assert len(catalog.load_table(lakes.DEAD).scan().to_arrow()) == 2


def test_a_table_that_was_replaced_is_refused(tmp_path: Path, sink: LakeSink, catalog: Catalog) -> None:
    bonds = sink.open(lakes.dataset(), mode="append", partition_by=[])
    files = sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "A"}]))
    catalog.drop_table("ref.bonds")
    lakes.sqlite_sink(tmp_path).open(lakes.dataset(), mode="append", partition_by=[])
    with pytest.raises(Refused, match="another table than was opened"):
        sink.commit(files)
    assert snapshots(catalog) == 0


def test_tables_without_rows_get_the_epoch_too(sink: LakeSink, bonds: DatasetSchema) -> None:
    sink.commit(sink.write(lakes.epoch(bonds, 1)))
    assert sink.positions(bonds) == {
        "ref.bonds": lakes.position(1),
        "ref.bonds__calls": lakes.position(1),
        lakes.DEAD: None,
    }


def test_a_list_of_files_survives_as_json(sink: LakeSink, bonds: DatasetSchema) -> None:
    files = sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "A"}], dead=lakes.dead_letters("bonds", 1, 1)))
    assert FileList.from_json(files.to_json()) == files
    assert [part.identifier for part in files.tables] == ["ref.bonds__calls", "ref.bonds", lakes.DEAD]


def test_another_writers_epoch_is_refused(sink: LakeSink, bonds: DatasetSchema, catalog: Catalog) -> None:
    other = LakeSink(catalog, lakes.DEAD)
    other.open(bonds, mode="append", partition_by=[])
    mine = sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "mine"}]))
    other.commit(other.write(lakes.epoch(bonds, 1, opened=[{"isin": "theirs"}])))
    with pytest.raises(Refused, match="already holds epoch 1 of 'bonds' from another writer"):
        sink.commit(mine)
    sink.discard(mine)
    assert lakes.isins(sink, bonds.parent) == ["theirs"]
    assert not [path for path in mine.paths if Path(path).exists()]


def test_a_conflict_with_other_commits_is_tried_again(
    sink: LakeSink, bonds: DatasetSchema, catalog: Catalog
) -> None:
    files = sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "A"}]))
    with catalog.load_table("ref.bonds").transaction() as maintenance:
        maintenance.set_properties({"maintained": "yes"})
    catalog.load_table("ref.bonds").append(files_rows(bonds))
    sink.commit(files)
    assert lakes.isins(sink, bonds.parent) == ["A", "elsewhere"]


def files_rows(schema: DatasetSchema) -> Any:
    return lakes.rows(schema.parent, {"isin": "elsewhere"})


def test_a_catalog_that_stays_away_is_unavailable_and_the_epoch_can_follow(
    sink: LakeSink, bonds: DatasetSchema, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    files = sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "A"}]))

    def refuse(*_: Any) -> Any:
        raise ConnectionError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "commit_table", refuse)
        with pytest.raises(Unavailable, match="connection refused"):
            sink.commit(files)
    sink.commit(files)
    assert lakes.isins(sink, bonds.parent) == ["A"]


def test_endless_conflicts_end_and_leave_no_manifests(
    sink: LakeSink,
    bonds: DatasetSchema,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    quick: None,
    tmp_path: Path,
) -> None:
    files = sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "A"}]))

    def conflict(*_: Any) -> Any:
        raise CommitFailedException("updated by another process")

    monkeypatch.setattr(catalog, "commit_table", conflict)
    with pytest.raises(Unavailable, match="updated by another process"):
        sink.commit(files)
    assert not list(tmp_path.rglob("*.avro"))


@pytest.mark.slow
@pytest.mark.parametrize("point", WRITE_POINTS + COMMIT_POINTS)
def test_killed_at_each_point_nothing_is_lost_or_doubled(tmp_path: Path, point: str, forks: Forks) -> None:
    def run(fault: str) -> int:
        return forks.run("tests.unit.sink.test_commit:write_one_epoch", str(tmp_path), fault=fault)

    assert run(point) == -signal.SIGKILL
    if (tmp_path / "intent.json").exists():
        assert run("before-first-commit") == -signal.SIGKILL
        assert run("between-commits:2") == -signal.SIGKILL
        assert run("after-last-commit") == -signal.SIGKILL
    assert run("") == 0
    sink = lakes.sqlite_sink(tmp_path)
    schema = sink.open(lakes.with_child(lakes.dataset()), mode="append", partition_by=[])
    assert lakes.isins(sink, schema.parent) == ["K00000", "K00001", "K00002", "X"]
    assert list(sink.positions(schema).values()) == [lakes.position(1)] * 3
    assert len(open_catalog(lakes.sqlite_config(tmp_path)).load_table(lakes.DEAD).scan().to_arrow()) == 2


def test_many_epochs(sink: LakeSink, bonds: DatasetSchema, catalog: Catalog, tmp_path: Path) -> None:
    """Metadata does not grow without bound, and the position survives expiry and rollback."""
    for number in range(1, 66):
        sink.commit(sink.write(lakes.epoch(bonds, number, opened=[{"isin": str(number)}])))
    table = catalog.load_table("ref.bonds")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(table.io)) < 50
    assert len(list((tmp_path / "warehouse" / "ref" / "bonds").rglob("*.metadata.json"))) <= 22
    assert len(lakes.read(sink, bonds.parent)) == 65
    assert sink.positions(bonds)["ref.bonds"] == lakes.position(65)
    kept = [s.snapshot_id for s in table.snapshots()]
    table.append(files_rows(bonds))
    table.append(files_rows(bonds))
    middle = table.snapshots()[-2].snapshot_id
    table.maintenance.expire_snapshots().by_ids([*kept[:-1], middle]).commit()
    assert sink.positions(bonds)["ref.bonds"] == lakes.position(65)
    calls = catalog.load_table("ref.bonds__calls")
    calls.manage_snapshots().rollback_to_snapshot(calls.snapshots()[9].snapshot_id).commit()
    assert sink.positions(bonds)["ref.bonds__calls"] == lakes.position(10)


def test_two_datasets_share_the_dead_letters(sink: LakeSink, bonds: DatasetSchema, catalog: Catalog) -> None:
    stocks = sink.open(lakes.dataset("stocks"), mode="append", partition_by=[])
    for number in (1, 2, 3):
        sink.commit(sink.write(lakes.epoch(bonds, number, dead=lakes.dead_letters("bonds", number, 2))))
        if number < 3:
            sink.commit(sink.write(lakes.epoch(stocks, number, dead=lakes.dead_letters("stocks", number, 1))))
    assert sink.positions(bonds)[lakes.DEAD] == lakes.position(3)
    assert sink.positions(stocks)[lakes.DEAD] == lakes.position(2)
    found = catalog.load_table(lakes.DEAD).scan().to_arrow()
    assert sorted(found["dataset"].to_pylist()) == ["bonds"] * 6 + ["stocks"] * 2
    assert set(found["value"].to_pylist()) == {b"\xff{"}


def test_a_dataset_does_not_wait_for_the_commit_of_another(
    sink: LakeSink, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = (
        sink.open(lakes.dataset(name), mode="append", partition_by=[]) for name in ("slow", "quick")
    )
    files = sink.write(lakes.epoch(slow, 1, opened=[{"isin": "A"}]))
    held, go_on, commit = threading.Event(), threading.Event(), catalog.commit_table

    def held_up(table: Table, *args: Any) -> Any:
        if table.name() == ("ref", "slow"):
            held.set()
            assert go_on.wait(60)
        return commit(table, *args)

    monkeypatch.setattr(catalog, "commit_table", held_up)
    with ThreadPoolExecutor(1) as pool:
        committing = pool.submit(sink.commit, files)
        try:
            assert held.wait(60)
            sink.commit(sink.write(lakes.epoch(quick, 1, opened=[{"isin": "B"}])))
            assert lakes.isins(sink, quick.parent) == ["B"]
            assert lakes.isins(sink, slow.parent) == []
        finally:
            go_on.set()
        committing.result(60)
    assert lakes.isins(sink, slow.parent) == ["A"]


def test_what_a_writer_began_to_commit_conflicts_once_another_claims_the_dataset(
    sink: LakeSink, bonds: DatasetSchema, catalog: Catalog
) -> None:
    sink.commit(sink.write(lakes.epoch(bonds, 1, opened=[{"isin": "A"}])))
    begun = {name: catalog.load_table(name) for name in ("ref.bonds", "ref.bonds__calls", lakes.DEAD)}
    before = sink.positions(bonds)
    sink.claim(bonds, Tenant("another", "here", 600), flink=True)
    for table in begun.values():
        update = protocol._Draft(table).update_snapshot().fast_append()
        with pytest.raises(CommitFailedException):
            table._do_commit(*update._commit())
    assert sink.positions(bonds) == before
    assert lakes.isins(sink, bonds.parent) == ["A"]
