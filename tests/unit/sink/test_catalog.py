"""Opening the catalog: what can be wrong with it is said, with what to do."""

from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import NoSuchNamespaceError, ServerError

from pipeline.errors import BadConfiguration, Refused, Unavailable
from pipeline.sink import LakeSink, open_catalog
from tests import lakes
from tests.servers import SeaweedFS, free_ports


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"type": "sql", "uri": "no address"}, "not a database address"),
        ({"type": "sql", "uri": "mysql+nothing://host/db"}, "library that is not installed"),
        ({"type": "sql"}, "not a database address"),
        ({"type": "nonsense", "uri": "x"}, "can't be used as lake.yaml describes it"),
        ({}, "can't be used as lake.yaml describes it"),
    ],
)
def test_a_section_that_makes_no_sense(config: dict[str, str], says: str) -> None:
    with pytest.raises(BadConfiguration, match=says):
        open_catalog({"name": "lake", **config})


def test_nothing_answers() -> None:
    uri = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(Unavailable, match=uri):
        open_catalog({"name": "lake", "type": "rest", "uri": uri})
    uri = f"postgresql+psycopg2://me:secret@127.0.0.1:{free_ports(1)[0]}/lake"
    with pytest.raises(Unavailable, match="me:\\*\\*\\*@127") as caught:
        open_catalog({"name": "lake", "type": "sql", "uri": uri, "warehouse": "/nowhere"})
    assert "secret" not in str(caught.value)


def test_a_table_dropped_under_a_writer_is_not_made_again(tmp_path: Path) -> None:
    sink = lakes.sqlite_sink(tmp_path)
    schema = sink.open(lakes.dataset(), mode="append", partition_by=[])
    files = sink.write(lakes.epoch(schema, 1, opened=[{"isin": "A"}]))
    open_catalog(lakes.sqlite_config(tmp_path)).drop_table("ref.bonds")
    with pytest.raises(Refused, match="is gone"):
        sink.commit(files)


def test_what_another_process_is_half_way_through_creating_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(lakes.sqlite_config(tmp_path))
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    busy = iter([ServerError("attribute not found"), None, NoSuchNamespaceError("not found")])

    def half_way(call: Any) -> Any:
        def answer(*arguments: Any, **more: Any) -> Any:
            if error := next(busy, None):
                raise error
            return call(*arguments, **more)

        return answer

    for name in ("namespace_exists", "create_table"):
        monkeypatch.setattr(catalog, name, half_way(getattr(catalog, name)))
    schema = LakeSink(catalog, lakes.DEAD).open(lakes.dataset(), mode="append", partition_by=[])
    assert lakes.read(LakeSink(catalog, lakes.DEAD), schema.parent) == []
    assert len(waits) == 2


def test_a_catalog_that_stays_busy_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = open_catalog(lakes.sqlite_config(tmp_path))
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)

    def fail(*_: Any) -> None:
        raise ServerError("attribute not found")

    monkeypatch.setattr(catalog, "namespace_exists", fail)
    with pytest.raises(Unavailable, match="attribute not found"):
        LakeSink(catalog, lakes.DEAD).open(lakes.dataset(), mode="append", partition_by=[])
    assert len(waits) == 9


@pytest.mark.servers
def test_a_warehouse_that_is_not_there(seaweed: SeaweedFS) -> None:
    config = {"name": "lake", **seaweed.rest_catalog, "warehouse": "s3://elsewhere"}
    with open_catalog(config) as catalog, pytest.raises(BadConfiguration, match="elsewhere not found"):
        LakeSink(catalog, lakes.DEAD).open(lakes.dataset(), mode="append", partition_by=[])


@pytest.mark.servers
def test_wrong_credentials(seaweed: SeaweedFS) -> None:
    config = seaweed.rest_catalog | {"credential": "bitlake:wrong"}
    with pytest.raises(BadConfiguration, match="refused the credentials"):
        open_catalog({"name": "lake", **config})
