"""What a lake.yaml without mistakes becomes."""

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.config import LakeConfig, Mode, OnNewField, ValidEnd, ValidTime, load_config, parse_config
from pipeline.config.template import TEMPLATE
from pipeline.errors import BadInput

MINIMAL = "datasets: [{name: a, table: n.a, key: k, valid_from: d}]\n"


def parsed(text: str, base: str = "/lake") -> LakeConfig:
    return parse_config(text, base=Path(base), environ={})


def test_defaults_are_those_of_the_interface() -> None:
    config = parsed(MINIMAL)
    assert config.catalog == {
        "name": "lake",
        "type": "sql",
        "uri": "sqlite:////lake/.bitlake/catalog.db",
        "warehouse": "file:///lake/.bitlake/warehouse",
    }
    assert config.state == Path("/lake/.bitlake/state")
    assert (config.state_memory, config.kafka, config.flink) == (None, {}, {})
    assert (config.commit.records, config.commit.seconds) == (500_000, 10)
    assert (config.time.max_ahead_us, config.time.idle_margin_us) == (3_600_000_000, 5_000_000)
    assert (config.dead_letters.table, config.dead_letters.topic) == ("bitlake.dead_letters", None)
    dataset = config.datasets[0]
    assert (dataset.topic, dataset.key, dataset.valid_from) == ("a", (("k",),), ("d",))
    assert (dataset.valid_end, dataset.valid_time) == (ValidEnd.NEXT_CHANGE, ValidTime.TIMESTAMP)
    assert (dataset.on_new_field, dataset.mode) == (OnNewField.EVOLVE, Mode.APPEND)
    assert (dataset.valid_to, dataset.operation, dataset.valid_unit, dataset.state_ttl_us) == (
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("catalog", "uri", "warehouse"),
    [
        ("{uri: sqlite:///c.db, warehouse: w}", "sqlite:////lake/c.db", "file:///lake/w"),
        ("{uri: sqlite:///../c.db, warehouse: ../w}", "sqlite:////c.db", "file:///w"),
        ("{uri: sqlite:////abs/c.db, warehouse: /abs/w}", "sqlite:////abs/c.db", "file:///abs/w"),
        ("{uri: 'sqlite:///:memory:', warehouse: s3://b/w}", "sqlite:///:memory:", "s3://b/w"),
        ("{uri: 'postgresql://h/d', warehouse: w}", "postgresql://h/d", "file:///lake/w"),
        ("{type: sql, uri: c.db, warehouse: 'file:w'}", "sqlite:////lake/c.db", "file:///lake/w"),
        ("{type: sql, uri: 'a?b#c%20.db', warehouse: 'w%20#?'}", "sqlite:////lake/a%3Fb%23c%2520.db",
         "file:///lake/w%20#?"),
        ("{uri: 'sqlite:///a%20b.db?timeout=5', warehouse: 'file:///w'}", "sqlite:////lake/a%2520b.db?timeout=5",
         "file:///w"),
        ("{type: rest, uri: 'http://h', warehouse: bucket}", "http://h", "bucket"),
        ("{uri: 'https://h', warehouse: bucket}", "https://h", "bucket"),
        ("{type: glue, uri: '', warehouse: bucket}", "", "bucket"),
    ],
)  # fmt: skip
def test_places_are_relative_to_the_file(catalog: str, uri: str, warehouse: str) -> None:
    config = parsed(f"catalog: {catalog}\n{MINIMAL}")
    assert (config.catalog["uri"], config.catalog["warehouse"]) == (uri, warehouse)


def test_settings_of_other_libraries_are_text() -> None:
    config = parsed("kafka: {a: true, b: 5, c: [x:1, y:2], d: null, e: text}\n" + MINIMAL)
    assert config.kafka == {"a": "true", "b": "5", "c": "x:1,y:2", "e": "text"}


def test_durations_sizes_and_merged_mappings() -> None:
    text = "state_memory: 1.5GiB\ntime: {max_ahead: 90s}\nx-base: &b {records: 7}\n"
    config = parsed(text.replace("x-base: &b", "commit: &b") + MINIMAL.replace("}", ", state_ttl: 30d}"))
    assert config.state_memory == 3 * 2**29
    assert config.time.max_ahead == timedelta(seconds=90)
    assert config.datasets[0].state_ttl_us == 30 * 86_400_000_000
    merged = (
        "datasets:\n  - &a {name: a, table: n.a, key: k, valid_from: d}\n  - {<<: *a, name: b, table: n.b}\n"
    )
    assert [d.name for d in parsed(merged).datasets] == ["a", "b"]


def test_the_file_of_init_is_valid_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "lake.yaml").write_text("\ufeff" + TEMPLATE, encoding="utf-8")
    config = load_config(tmp_path / "lake.yaml", {})
    assert config.state == tmp_path / ".bitlake/state"
    assert config.dataset("bonds").children[0].path == ("calls",)
    with pytest.raises(BadInput, match="no dataset 'bnds'") as caught:
        config.dataset("bnds")
    assert "Did you mean 'bonds'?" in str(caught.value)
