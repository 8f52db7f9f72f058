"""What every catalog and warehouse does alike: nothing lost, nothing twice."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog

from pipeline.schema import DatasetSchema
from pipeline.sink import FileList, LakeSink, open_catalog
from tests import lakes

SERVERS = pytest.mark.servers
CATALOGS = [
    "sqlite-local",
    pytest.param("sqlite-s3", marks=SERVERS),
    pytest.param("postgresql-local", marks=SERVERS),
    pytest.param("postgresql-s3", marks=SERVERS),
    pytest.param("rest-s3", marks=SERVERS),
]


def _config(kind: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    catalog, _, warehouse = kind.partition("-")
    config = lakes.sqlite_config(folder)
    if catalog == "rest":
        return {"name": "lake"} | request.getfixturevalue("seaweed").rest_catalog
    if catalog == "postgresql":
        config |= {"name": uuid.uuid4().hex, "uri": request.getfixturevalue("postgres").uri}
    if warehouse == "s3":
        server = request.getfixturevalue("seaweed")
        config |= server.s3_properties | {"warehouse": f"s3://{server.bucket}/{uuid.uuid4().hex}"}
    return config


@pytest.fixture(params=CATALOGS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return _config(request.param, request, tmp_path)


@pytest.fixture
def namespace() -> str:
    return f"n{uuid.uuid4().hex[:12]}"


@pytest.fixture
def catalog(config: dict[str, str]) -> Iterator[Catalog]:
    with open_catalog(config) as opened:
        yield opened


@pytest.fixture
def sink(catalog: Catalog, namespace: str) -> LakeSink:
    return LakeSink(catalog, f"{namespace}.dead_letters")


@pytest.fixture
def bonds(sink: LakeSink, namespace: str) -> DatasetSchema:
    values = [
        lakes.column(t.replace("(", "_").replace(",", "_").rstrip(")") + "_", t) for t in lakes.EVERY_TYPE
    ]
    schema = lakes.with_child(lakes.dataset("bonds", *values, namespace=namespace))
    return sink.open(schema, mode="append", partition_by=["bucket(4, isin)"])


def test_every_type_comes_back_as_it_went(sink: LakeSink, bonds: DatasetSchema) -> None:
    given = [
        {c.name: values[n] for c, values in zip(bonds.parent.values, lakes.EVERY_TYPE.values(), strict=True)}
        | {"isin": f"K{n}"}
        for n in (0, 1)
    ] + [{"isin": "nothing"}]
    sink.commit(sink.write(lakes.epoch(bonds, 1, opened=given)))
    found = {row["isin"]: row for row in lakes.read(sink, bonds.parent)}
    assert found.keys() == {"K0", "K1", "nothing"}
    for wanted in given:
        assert {c.name: found[wanted["isin"]][c.name] for c in bonds.parent.columns} == {
            c.name: wanted.get(c.name) for c in bonds.parent.columns
        }


def test_positions_are_found_by_another_process(sink: LakeSink, bonds: DatasetSchema, config: Any) -> None:
    assert set(sink.positions(bonds).values()) == {None}
    for number in (1, 2):
        dead = lakes.dead_letters("bonds", number, 3) if number == 1 else None
        sink.commit(sink.write(lakes.epoch(bonds, number, opened=lakes.keys(bonds.parent, 2), dead=dead)))
    with open_catalog(config) as catalog:
        other = LakeSink(catalog, sink._dead_letter_table)
        assert other.open(bonds, mode="append", partition_by=["bucket(4, isin)"]) == bonds
        found = other.positions(bonds)
    assert found.pop(sink._dead_letter_table) == lakes.position(1)
    assert found == {table.identifier: lakes.position(2) for table in bonds.tables}


def test_a_commit_whose_answer_is_lost_is_not_repeated(
    sink: LakeSink, bonds: DatasetSchema, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = catalog.commit_table
    lost = 0

    def lose_the_answer(*arguments: Any) -> Any:
        nonlocal lost
        answer = apply(*arguments)
        if lost < 2:
            lost += 1
            raise ConnectionError("connection reset by peer")
        return answer

    files = sink.write(lakes.epoch(bonds, 1, opened=lakes.keys(bonds.parent, 5)))
    monkeypatch.setattr(catalog, "commit_table", lose_the_answer)
    sink.commit(files)
    assert lost == 2
    assert len(lakes.read(sink, bonds.parent)) == 5
    assert sink.positions(bonds)[bonds.parent.identifier] == lakes.position(1)


def test_an_interrupted_commit_is_finished_from_the_list(
    sink: LakeSink, bonds: DatasetSchema, config: Any
) -> None:
    files = sink.write(lakes.epoch(bonds, 1, opened=lakes.keys(bonds.parent, 5)))
    sink.commit(FileList(files.dataset, files.write, files.position, files.tables[-1:]))
    with open_catalog(config) as catalog:
        other = LakeSink(catalog, sink._dead_letter_table)
        other.commit(FileList.from_json(files.to_json()))
        other.commit(FileList.from_json(files.to_json()))
    assert len(lakes.read(sink, bonds.parent)) == 5
    found = sink.positions(bonds)
    assert [found[t.identifier] for t in bonds.tables] == [lakes.position(1)] * 2


def test_concurrent_writers_lose_and_double_nothing(config: Any, namespace: str) -> None:
    commits = 40
    datasets = [lakes.dataset(name, namespace=namespace) for name in ("left", "right")]
    shared = f"{namespace}.dead_letters"
    failures: list[BaseException] = []
    made = threading.Barrier(len(datasets))  # SeaweedFS's creation of a table is not atomic: it is over then

    def write(schema: DatasetSchema) -> None:
        try:
            with open_catalog(config) as catalog:
                sink = LakeSink(catalog, shared)
                sink.open(schema, mode="append", partition_by=[])
                made.wait(60)
                for number in range(1, commits + 1):
                    dead = lakes.dead_letters(schema.name, number, 1)
                    files = sink.write(lakes.epoch(schema, number, dead=dead))
                    dead_only = FileList(files.dataset, files.write, files.position, files.tables[-1:])
                    sink.commit(dead_only)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
            made.abort()

    threads = [threading.Thread(target=write, args=(schema,)) for schema in datasets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with open_catalog(config) as catalog:
        found = catalog.load_table(shared).scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
        sink = LakeSink(catalog, shared)
        assert [sink.positions(schema)[shared] for schema in datasets] == [lakes.position(commits)] * 2
    wanted = [f"{s.name}/t/0/0/{n}" for s in datasets for n in range(1, commits + 1)]
    assert sorted(found) == sorted(wanted)
