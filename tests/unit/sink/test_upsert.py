"""Upsert mode: the table holds each version once, whatever the files and epochs it passed through."""

from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from pipeline.errors import BitlakeError
from pipeline.schema import END_OF_TIME_US, DatasetSchema
from pipeline.sink import Epoch, FileList, LakeSink, Position, TableRows, open_catalog
from tests import lakes


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(lakes.sqlite_config(tmp_path))


@pytest.fixture
def sink(catalog: Catalog) -> LakeSink:
    return LakeSink(catalog, lakes.DEAD)


@pytest.fixture(params=["plain", "partitioned"])
def bonds(sink: LakeSink, request: pytest.FixtureRequest) -> DatasetSchema:
    schema = lakes.dataset("bonds", lakes.column("n", "long"), lakes.column("id", "uuid"))
    by = ["bucket(4, isin)"] if request.param == "partitioned" else []
    return sink.open(schema, mode="upsert", partition_by=by)


def version(key: str, since: int, until: int | None = None) -> dict[str, Any]:
    return {"isin": key, "system_from": since, "system_to": until or END_OF_TIME_US, "n": since}


def found(sink: LakeSink, schema: DatasetSchema) -> list[tuple[str, int, int | None]]:
    def us(value: Any) -> int:
        return int(value.timestamp() * 1_000_000)

    rows = [(r["isin"], us(r["system_from"]), us(r["system_to"])) for r in lakes.read(sink, schema.parent)]
    return sorted((k, f, None if t >= END_OF_TIME_US else t) for k, f, t in rows)


def test_a_superseded_row_is_replaced(sink: LakeSink, bonds: DatasetSchema, catalog: Catalog) -> None:
    first = [version(f"K{n}", 1) for n in range(300)]
    sink.commit(sink.write(lakes.epoch(bonds, 1, opened=first)))
    sink.commit(sink.write(lakes.epoch(bonds, 2, [version("other", 2)])))
    closed = [version("K7", 1, 3), version("K299", 1, 3)]
    sink.commit(sink.write(lakes.epoch(bonds, 3, [version("K7", 3)], closed)))
    kept = [("other", 2, None)] + [(f"K{n}", 1, None) for n in range(299) if n != 7]
    assert found(sink, bonds) == sorted([*kept, ("K7", 1, 3), ("K7", 3, None), ("K299", 1, 3)])
    assert sink.positions(bonds)["ref.bonds"] == lakes.position(3)
    assert len(catalog.load_table("ref.bonds").snapshots()) == 3


def test_versions_opened_and_closed_in_one_epoch(sink: LakeSink, bonds: DatasetSchema) -> None:
    sink.commit(sink.write(lakes.epoch(bonds, 1, [version("A", 1)])))
    opened = [version("A", 2), version("A", 3)]
    closed = [version("A", 1, 2), version("A", 2, 3)]
    sink.commit(sink.write(lakes.epoch(bonds, 2, opened, closed)))
    assert found(sink, bonds) == [("A", 1, 2), ("A", 2, 3), ("A", 3, None)]


def test_many_keys_at_once_in_small_steps(sink: LakeSink, bonds: DatasetSchema) -> None:
    wanted = set()
    for number in range(1, 6):
        opened = [version(f"K{n}", number) for n in range(0, 400, number)]
        before = {key: since for key, since, until in found(sink, bonds) if until is None}
        closed = [version(o["isin"], before[o["isin"]], number) for o in opened if o["isin"] in before]
        sink.commit(sink.write(lakes.epoch(bonds, number, opened, closed)))
        wanted -= {(c["isin"], c["system_from"], None) for c in closed}
        wanted |= {(c["isin"], c["system_from"], number) for c in closed}
        wanted |= {(o["isin"], number, None) for o in opened}
        assert found(sink, bonds) == sorted(wanted, key=lambda v: (v[0], v[1]))


def test_a_rewrite_is_planned_again_when_the_table_moved_on(
    sink: LakeSink, bonds: DatasetSchema, catalog: Catalog
) -> None:
    sink.commit(sink.write(lakes.epoch(bonds, 1, [version("A", 1), version("B", 1)])))
    files = sink.write(lakes.epoch(bonds, 2, [version("A", 2)], [version("A", 1, 2)]))
    table = catalog.load_table("ref.bonds")
    table.overwrite(table.scan().to_arrow())
    sink.commit(FileList.from_json(files.to_json()))
    sink.commit(files)
    assert found(sink, bonds) == [("A", 1, 2), ("A", 2, None), ("B", 1, None)]


def test_a_lost_answer_and_a_second_commit_change_nothing(
    sink: LakeSink, bonds: DatasetSchema, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.commit(sink.write(lakes.epoch(bonds, 1, [version("A", 1)])))
    files = sink.write(lakes.epoch(bonds, 2, [version("A", 2)], [version("A", 1, 2)]))
    apply = catalog.commit_table

    def lose_the_answer(*arguments: Any) -> Any:
        monkeypatch.setattr(catalog, "commit_table", apply)
        apply(*arguments)
        raise ConnectionError("connection reset by peer")

    monkeypatch.setattr(catalog, "commit_table", lose_the_answer)
    sink.commit(files)
    sink.commit(files)
    assert found(sink, bonds) == [("A", 1, 2), ("A", 2, None)]


def test_epochs_are_written_one_after_the_other(sink: LakeSink, bonds: DatasetSchema) -> None:
    files = sink.write(lakes.epoch(bonds, 1, [version("A", 1)]))
    with pytest.raises(BitlakeError, match="before the last one was committed"):
        sink.write(lakes.epoch(bonds, 2))
    sink.discard(files)
    sink.commit(sink.write(lakes.epoch(bonds, 1, [version("A", 1)])))
    assert found(sink, bonds) == [("A", 1, None)]


def test_closing_what_is_not_open_is_an_error(sink: LakeSink, bonds: DatasetSchema) -> None:
    with pytest.raises(BitlakeError, match="of 1 rows to close, 0 are open"):
        sink.write(lakes.epoch(bonds, 1, closed=[version("A", 1, 2)]))


def test_keys_of_every_type(tmp_path: Path, sink: LakeSink) -> None:
    own = tuple(lakes.column(f"k{n}", name) for n, name in enumerate(lakes.EVERY_TYPE))
    schema = lakes.dataset("wide")
    wide = DatasetSchema("wide", (type(schema.parent)("wide", "ref.wide", (), (), own, ()),))
    wide = sink.open(wide, mode="upsert", partition_by=[])
    keys = [
        dict(zip([c.name for c in own], values, strict=True))
        for values in zip(*lakes.EVERY_TYPE.values(), strict=True)
    ]

    def write(number: int, opened: list[dict[str, Any]], closed: list[dict[str, Any]]) -> None:
        table = wide.parent
        rows = TableRows(table, [lakes.rows(table, *opened)], [lakes.rows(table, *closed)])
        sink.commit(sink.write(Epoch(wide, Position(number, {}, {}, 0), (rows,))))

    write(1, [k | {"system_from": 1} for k in keys], [])
    write(2, [keys[0] | {"system_from": 2}], [keys[0] | {"system_from": 1, "system_to": 2}])
    assert len(lakes.read(sink, wide.parent)) == 3
