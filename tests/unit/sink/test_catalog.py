"""Opening the catalog: what can be wrong with it is said, with what to do."""

from pathlib import Path

import pytest

from pipeline.errors import BadConfiguration, Refused, Unavailable
from pipeline.sink import open_catalog
from tests import lakes
from tests.servers import free_ports


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


@pytest.mark.servers
def test_wrong_credentials(seaweed: object) -> None:
    config = seaweed.rest_catalog | {"credential": "bitlake:wrong"}  # type: ignore[attr-defined]
    with pytest.raises(BadConfiguration, match="refused the credentials"):
        open_catalog({"name": "lake", **config})
