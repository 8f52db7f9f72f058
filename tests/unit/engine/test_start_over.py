"""A dataset whose first load wrote no row, and whose lake.yaml was mended."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from pipeline.config import dataset_schema
from pipeline.errors import Refused
from pipeline.lake import Lake
from pipeline.query.status import position_of
from pipeline.sink import LakeSink
from pipeline.sink.lease import Leased, Tenant

RIGHT: dict[str, Any] = {
    "name": "bonds",
    "table": "ref.bonds",
    "key": ["isin"],
    "valid_from": "from",
    "columns": {"isin": "string", "coupon": "decimal(9,2)"},
    "children": [{"path": "calls", "key": ["on"]}],
}
WRONG: dict[str, dict[str, Any]] = {
    "key": {"key": ["id"]},
    "key type": {"columns": {"isin": "long", "coupon": "decimal(9,2)"}},
    "valid_time": {"valid_time": "date", "valid_from": "nowhere"},
    "mode": {"mode": "upsert", "valid_from": "nowhere"},
    "partition_by": {"partition_by": ["bucket(2, isin)"], "valid_from": "nowhere"},
    "type": {"columns": {"isin": "string", "coupon": "date"}},
    "child key": {"children": [{"path": "calls", "key": ["date"]}]},
}
LINES = [
    {"isin": "A", "from": "2024-01-01", "coupon": "1.25", "calls": [{"on": "2030-01-01"}]},
    {"isin": "B", "from": "2024-01-01", "coupon": "2.50", "calls": [{"on": "2031-01-01"}]},
]


def lake_of(folder: Path, **changed: Any) -> Lake:
    content = {"datasets": [RIGHT | changed]}
    (folder / "lake.yaml").write_text(json.dumps(content))
    return Lake.open(folder / "lake.yaml", {})


def load(lake: Lake, folder: Path, *lines: object) -> tuple[int, ...]:
    file = folder / "records.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines or LINES))
    return lake.load_files("bonds", [file]).values()


@pytest.mark.parametrize("wrong", WRONG)
def test_what_never_held_a_row_is_made_anew(
    tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(lake_of(tmp_path, **WRONG[wrong]), tmp_path) == (2, 0, 0, 2, 0, 1)
    lake = lake_of(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert load(lake, tmp_path) == (2, 2, 0, 0, 4, 1)
    assert [r.message for r in caplog.records] == ["its tables, which never held a row, are made anew"]
    assert sorted(lake.history("bonds")["isin"].to_pylist()) == ["A", "B"]
    assert sorted(lake.history("bonds__calls")["on"].to_pylist()) == ["2030-01-01", "2031-01-01"]
    position = position_of("bonds", lake._known("bonds"))
    assert position is not None
    assert (position.epoch, position.offsets) == (2, {0: 2})
    caplog.clear()
    assert load(lake, tmp_path) == (2, 0, 2, 0, 0, 1)
    assert not caplog.records
    assert lake.replay_dead_letters().values()[:4] == (2, 0, 2, 0)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_held_a_row_is_not(tmp_path: Path, wrong: str) -> None:
    assert load(lake_of(tmp_path), tmp_path)[1] == 2
    with pytest.raises(Refused) as refused:
        load(lake_of(tmp_path, **WRONG[wrong]), tmp_path)
    assert refused.value.next_step
    assert lake_of(tmp_path).history("bonds").num_rows == 2


def test_nor_is_a_child_whose_parent_held_one(tmp_path: Path) -> None:
    assert load(lake_of(tmp_path), tmp_path, {"isin": "A", "from": "2024-01-01"})[1] == 1
    with pytest.raises(Refused):
        load(lake_of(tmp_path, **WRONG["child key"]), tmp_path)
    assert load(lake_of(tmp_path), tmp_path, *LINES)[1] == 2


def test_nor_is_another_datasets(tmp_path: Path) -> None:
    assert load(lake_of(tmp_path, **WRONG["key"]), tmp_path)[3] == 2
    with pytest.raises(Refused, match="belongs to the dataset 'bonds'"):
        lake_of(tmp_path, name="other").load_files("other", [tmp_path / "records.jsonl"])


@pytest.mark.parametrize("survivors", [0, 1])
def test_half_made_anew_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """A process that stops when some of the tables are dropped, or none yet."""
    assert load(lake_of(tmp_path, **WRONG["partition_by"]), tmp_path)[3] == 2
    dropped: list[str] = []
    drop = SqlCatalog.drop_table

    def stopping(catalog: SqlCatalog, identifier: Any) -> None:
        if len(dropped) == survivors:
            raise KeyboardInterrupt
        dropped.append(identifier)
        drop(catalog, identifier)

    with monkeypatch.context() as patched:
        patched.setattr(SqlCatalog, "drop_table", stopping)
        with pytest.raises(KeyboardInterrupt):
            load(lake_of(tmp_path), tmp_path)
    assert load(lake_of(tmp_path), tmp_path)[:4] == (2, 2, 0, 0)


def test_the_advice_for_another_key_works(tmp_path: Path) -> None:
    assert load(lake_of(tmp_path), tmp_path)[1] == 2
    with pytest.raises(Refused, match="another name and table"):
        load(lake_of(tmp_path, key=["coupon"]), tmp_path)
    other = lake_of(tmp_path, key=["coupon"], name="other", table="ref.other")
    assert other.load_files("other", [tmp_path / "records.jsonl"]).changes == 2


def test_nor_is_what_another_writer_has(tmp_path: Path) -> None:
    wrong = lake_of(tmp_path, **WRONG["key"])
    assert load(wrong, tmp_path)[3] == 2
    sink = LakeSink.at(wrong.config.catalog, wrong.config.dead_letters.table)
    schema = sink.open(dataset_schema(wrong.config.datasets[0]), mode="append", partition_by=[])
    sink.claim(schema, Tenant("another", "process 7 on elsewhere", 600))
    with pytest.raises(Leased):
        load(lake_of(tmp_path), tmp_path)
    sink.end_claims()
    assert load(lake_of(tmp_path), tmp_path)[1] == 2
