"""A lake on this machine that was moved, copied or restored: never the other one's files, and no row lost."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFileContent
from pyiceberg.table import StaticTable

from pipeline.engine.journal import Journal
from pipeline.lake import Lake
from pipeline.sink.catalog import open_catalog
from state import open_state
from tests.forks import Forks
from tests.unit.cli.conftest import Result

Run = Callable[..., Result]
LAKE = """\
datasets:
  - name: d
    table: t.d
    key: [id]
    valid_from: from
    valid_time: date
    children: [{path: legs, key: [leg]}]
  - {name: u, table: t.u, key: [id], valid_from: from, mode: upsert, partition_by: ["bucket(2, id)"]}
"""


def lines(first: int, count: int) -> str:
    """Records of keys 0 to 6, in the order of their days, then one that is a dead letter."""
    records: list[dict[str, Any]] = [
        {"id": f"K{n % 7}", "from": f"2024-01-{n + 1:02}", "x": n, "legs": [{"leg": "a", "y": n}]}
        for n in range(first, first + count)
    ]
    return "".join(json.dumps(record) + "\n" for record in [*records, {"id": f"bad{first}"}])


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as forks:
        yield forks


class Moving:
    """Folders with lakes, and the command line in them."""

    def __init__(self, above: Path, bitlake: Run) -> None:
        self.above, self._bitlake = above, bitlake

    def run(self, name: str, *words: str, status: int = 0) -> Result:
        """Run a command in a folder."""
        before = Path.cwd()
        os.chdir(self.above / name)
        try:
            done = self._bitlake(*words)
        finally:
            os.chdir(before)
        assert done.status == status, (words, done.err)
        return done

    def answers(self, name: str) -> list[Any]:
        """Every version, every dead letter and the state of every dataset."""
        questions = [("history", table, "--provenance") for table in ("d", "d__legs", "u")]
        questions += [("dead-letters", "list"), ("status",)]
        return [self.run(name, *words, "--output", "json").json for words in questions]

    def load(self, name: str, first: int, count: int = 5) -> None:
        """Load records into both datasets."""
        (self.above / name / "r.jsonl").write_text(lines(first, count))
        for dataset in ("d", "u"):
            self.run(name, "load", dataset, "r.jsonl")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def lake(tmp_path: Path, bitlake: Run) -> Moving:
    (tmp_path / "A").mkdir()
    (tmp_path / "A/lake.yaml").write_text(LAKE)
    moving = Moving(tmp_path, bitlake)
    moving.load("A", 0)
    moving.load("A", 5)
    return moving


COMMANDS = (
    ("load", "d", "r.jsonl"),
    ("timeline", "d"),
    ("asof", "d__legs"),
    ("history", "u"),
    ("diff", "d", "--from", "2000-01-01"),
    ("sql", "SELECT 1"),
    ("views",),
    ("status",),
    ("dead-letters", "list"),
    ("dead-letters", "replay"),
)


@pytest.mark.parametrize("copy", [True, False], ids=["cp", "mv"])
def test_after_a_lake_was_moved_or_copied(lake: Moving, copy: bool) -> None:
    before, a, b = lake.answers("A"), lake.above / "A", lake.above / "new %2F#name"
    if copy:
        shutil.copytree(a, b, symlinks=True)
        original = files_of(a)
    else:
        a.rename(b)
    here = files_of(b / ".bitlake/warehouse")
    for words in COMMANDS:
        refused = lake.run(b.name, *words, status=1).err
        assert "moved or copied" in refused
        assert "bitlake relocate" in refused
    assert files_of(b / ".bitlake/warehouse") == here
    done = lake.run(b.name, "relocate", "--output", "json").json
    assert {row["table"] for row in done} >= {"t.d", "t.d__legs", "t.u", "bitlake.dead_letters"}
    assert {row["after"] for row in done} == {str(b / ".bitlake/warehouse")}
    assert lake.answers(b.name) == before
    assert lake.run(b.name, "relocate", "--output", "json").json == []
    lake.load(b.name, 10)
    assert len(lake.answers(b.name)[0]) > len(before[0])
    if copy:
        assert files_of(a) == original
        assert lake.answers("A") == before
        lake.load("A", 10, 3)
        shutil.rmtree(a)
    lake.load(b.name, 15)
    assert len(lake.answers(b.name)[2]) > len(before[2])
    # Nothing is rebuilt, nothing names the old place, and nothing is left that no table names.
    assert not any(f"{a}/.bitlake".encode() in data for data in newest_metadata(b).values())
    assert not list((b / ".bitlake/warehouse").rglob("*.half"))


def newest_metadata(folder: Path) -> dict[str, bytes]:
    """The files that other engines read, from the metadata in the catalog down to the manifests."""
    found = {}
    catalog = open_catalog(Lake.open(folder / "lake.yaml", {}).config.catalog)
    for identifier in [i for n in catalog.list_namespaces() for i in catalog.list_tables(n)]:
        table = catalog.load_table(identifier)
        locations = [table.metadata_location]
        for snapshot in table.snapshots():
            locations += [snapshot.manifest_list, *(m.manifest_path for m in snapshot.manifests(table.io))]
        for location in locations:
            with table.io.new_input(location).open() as stream:
                found[location] = stream.read()
    return found


def test_other_engines_read_the_tables_in_their_new_place(lake: Moving, tmp_path: Path) -> None:
    """Every snapshot, by pyiceberg as it is, whose lengths of manifests must be right."""
    shutil.move(tmp_path / "A", tmp_path / "B")
    lake.run("B", "relocate")
    config = Lake.open(tmp_path / "B/lake.yaml", {}).config.catalog
    catalog = SqlCatalog("lake", uri=config["uri"], warehouse=config["warehouse"])
    for name in ("t.d", "t.d__legs", "t.u", "bitlake.dead_letters"):
        table = catalog.load_table(name)
        for snapshot in table.snapshots():
            assert snapshot.summary is not None
            rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows
            assert rows == int(snapshot.summary.additional_properties["total-records"])
            for manifest in snapshot.manifests(table.io):
                assert len(table.io.new_input(manifest.manifest_path)) == manifest.manifest_length
        assert StaticTable.from_metadata(table.metadata_location).scan().to_arrow().num_rows


@pytest.mark.slow
def test_moved_again_and_back(lake: Moving, tmp_path: Path) -> None:
    before = lake.answers("A")
    for source, target in (("A", "B"), ("B", "C"), ("C", "B"), ("B", "A")):
        shutil.move(tmp_path / source, tmp_path / target)
        lake.run(target, "relocate")
        assert lake.answers(target) == before
    lake.load("A", 10)


def test_the_same_lake_by_another_name_was_not_moved(lake: Moving, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "A")
    config = str(tmp_path / "link/lake.yaml")
    assert lake.run("A", "timeline", "d", "--config", config, "--output", "json").json
    lake.run("A", "load", "d", "r.jsonl", "--config", config)
    assert lake.run("A", "relocate", "--config", config, "--output", "json").json == []


@pytest.mark.slow
@pytest.mark.parametrize("point", ["before-relocating", "after-relocating"])
def test_killed_on_the_way(lake: Moving, forks: Forks, tmp_path: Path, point: str) -> None:
    before = lake.answers("A")
    shutil.move(tmp_path / "A", tmp_path / "B")
    assert forks.run("tests.forks:command_line", str(tmp_path / "B"), "relocate", fault=point) == -9
    if point == "before-relocating":  # nothing has changed yet: the lake may go back
        shutil.copytree(tmp_path / "B", tmp_path / "A")
        assert lake.answers("A") == before
        shutil.rmtree(tmp_path / "A")
    lake.run("B", "relocate")
    assert lake.answers("B") == before
    lake.load("B", 10)


@pytest.mark.slow
def test_an_epoch_that_was_being_committed(lake: Moving, forks: Forks, tmp_path: Path) -> None:
    """Its files are listed with whole paths: finished in the copy with the copy's, in the original with its."""
    a, b = tmp_path / "A", tmp_path / "B"
    (a / "r.jsonl").write_text(lines(10, 5))
    line = ("tests.forks:command_line", str(a), "load", "d", "r.jsonl")
    assert forks.run(*line, fault="before-first-commit") == -9
    shutil.copytree(a, b)
    lake.run("B", "relocate")
    shutil.copytree(b, tmp_path / "later")
    lake.run("A", "load", "d", "r.jsonl")
    expected = lake.answers("A")[:2]
    shutil.rmtree(a)
    (tmp_path / "empty").write_text("")
    lake.run("B", "load", "d", str(tmp_path / "empty"))
    assert [[_fixed(row) for row in table] for table in lake.answers("B")[:2]] == [
        [_fixed(row) for row in table] for table in expected
    ]


def _fixed(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("system_from", "system_to")}


def test_an_epoch_of_another_lake_is_never_committed(lake: Moving, forks: Forks, tmp_path: Path) -> None:
    """A state that was restored from the original beside tables that were relocated: read again instead."""
    a, b = tmp_path / "A", tmp_path / "B"
    shutil.copytree(a, b)
    lake.run("B", "relocate")
    (a / "r.jsonl").write_text(lines(10, 5))
    line = ("tests.forks:command_line", str(a), "load", "d", "r.jsonl")
    assert forks.run(*line, fault="before-first-commit") == -9
    shutil.rmtree(b / ".bitlake/state")
    shutil.copytree(a / ".bitlake/state", b / ".bitlake/state")
    shutil.rmtree(a)
    lake.load("B", 10)
    lake.answers("B")
    assert len(lake.run("B", "timeline", "d", "--key", "id=K0", "--output", "json").json) == 3


@pytest.mark.slow
def test_a_copy_that_lacks_files_of_such_an_epoch(lake: Moving, forks: Forks, tmp_path: Path) -> None:
    a, b = tmp_path / "A", tmp_path / "B"
    (a / "r.jsonl").write_text(lines(10, 5))
    line = ("tests.forks:command_line", str(a), "load", "d", "r.jsonl")
    assert forks.run(*line, fault="before-first-commit") == -9
    shutil.copytree(a, b)
    backend = open_state(b / ".bitlake/state")
    intent = Journal(backend, "d").intent()
    backend.close()
    assert intent is not None
    assert intent.files is not None
    lost = intent.files.paths[0].removeprefix("file://").replace(str(a), str(b))
    Path(lost).unlink()
    before = files_of(b / ".bitlake/warehouse")
    assert "is missing here" in lake.run("B", "relocate", status=1).err
    assert files_of(b / ".bitlake/warehouse") == before


def test_a_warehouse_without_the_tables_is_refused(lake: Moving, tmp_path: Path) -> None:
    (tmp_path / "A/lake.yaml").write_text(
        "catalog: {type: sql, uri: .bitlake/catalog.db, warehouse: w}\n" + LAKE
    )
    assert "catalog.warehouse" in lake.run("A", "timeline", "d", status=1).err
    assert "still at" in lake.run("A", "relocate", status=1).err
    assert not (tmp_path / "A/w").exists()


def test_the_catalog_of_the_lake_that_was_copied_is_left_alone(lake: Moving, tmp_path: Path) -> None:
    """As with a catalog on a server: both lakes name one, and its tables are the original's."""
    shutil.copytree(tmp_path / "A", tmp_path / "B")
    shared = json.dumps(
        {"type": "sql", "uri": str(tmp_path / "A/.bitlake/catalog.db"), "warehouse": ".bitlake/warehouse"}
    )
    (tmp_path / "B/lake.yaml").write_text(f"catalog: {shared}\n" + LAKE)
    assert "another database" in lake.run("B", "relocate", status=1).err
    lake.answers("A")


def test_deletes_of_other_engines_follow(lake: Moving, tmp_path: Path) -> None:
    """Files of position deletes name data files, as Trino's `DELETE` writes them."""
    a = tmp_path / "A"
    config = Lake.open(a / "lake.yaml", {}).config.catalog
    add_position_delete(open_catalog(config).load_table("t.u"))
    before = lake.run("A", "history", "u", "--output", "json").json
    shutil.move(a, tmp_path / "B")
    lake.run("B", "relocate")
    assert lake.run("B", "history", "u", "--output", "json").json == before


def add_position_delete(table: Any) -> None:
    """Delete the first row of a data file, which pyiceberg can't write by itself."""
    from pyiceberg.manifest import DataFile, ManifestContent, ManifestWriterV2
    from pyiceberg.table.update.snapshot import _FastAppendFiles

    data = next(iter(table.scan().plan_files())).file
    location = f"{table.location()}/data/deleted.parquet"
    fields = [
        pa.field("file_path", pa.string(), False, {"PARQUET:field_id": "2147483546"}),
        pa.field("pos", pa.int64(), False, {"PARQUET:field_id": "2147483545"}),
    ]
    rows = pa.table([[data.file_path], [0]], schema=pa.schema(fields))
    pq.write_table(rows, location.removeprefix("file://"))
    size = Path(location.removeprefix("file://")).stat().st_size
    deleted = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=location,
        file_format=data.file_format,
        partition=data.partition,
        record_count=1,
        file_size_in_bytes=size,
        lower_bounds={2147483546: data.file_path.encode()},
        upper_bounds={2147483546: data.file_path.encode()},
    )
    deleted.spec_id = table.spec().spec_id

    class Writer(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return ManifestContent.DELETES

        @property
        def _meta(self) -> dict[str, str]:
            return {**super()._meta, "content": "deletes"}

    class Deletes(_FastAppendFiles):
        def new_manifest_writer(self, spec: Any) -> Any:
            return Writer(
                spec,
                self._transaction.table_metadata.schema(),
                self.new_manifest_output(),
                self._snapshot_id,
                "null",
            )

    with table.transaction() as transaction:
        from pyiceberg.table.snapshots import Operation

        update = Deletes(Operation.OVERWRITE, transaction, table.io)
        update.append_data_file(deleted)
        update.commit()
