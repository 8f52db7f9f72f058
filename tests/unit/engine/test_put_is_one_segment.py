"""A put over several segments, through the whole pipeline: held state, state from the tables, an earlier state."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake import Lake
from tests.property.differential import objects

ENTRY: dict[str, Any] = {
    "name": "d",
    "table": "t.d",
    "key": ["id"],
    "valid_from": "from",
    "valid_time": "date",
    "valid_end": "forever",
    "operation": "op",
    "columns": {"x": "long"},
    "children": [{"path": "legs", "key": ["leg"]}],
}
A, B = [{"leg": "A"}], [{"leg": "B"}]
BEFORE: list[dict[str, Any]] = [
    {"from": "2026-01-01", "x": 0, "legs": []},
    {"from": "2026-02-01", "x": 1, "legs": A},
    {"from": "2026-03-01", "x": 2, "legs": A},
    {"from": "2026-03-01", "op": "patch", "x": 1},
]
"""x is 1 from February on, in two segments: in both tables."""
RETRACT = {"from": "2026-02-01", "op": "retract"}


def lake_of(folder: Path, mode: str = "append") -> Lake:
    (folder / "lake.yaml").write_text(json.dumps({"datasets": [ENTRY | {"mode": mode}]}))
    return Lake.open(folder / "lake.yaml", {})


def load(lake: Lake, folder: Path, *records: dict[str, Any]) -> None:
    (folder / "r.jsonl").write_text("".join(json.dumps({"id": "K", **record}) + "\n" for record in records))
    lake.load_files("d", [folder / "r.jsonl"])


def told(lake: Lake, table: str, column: str) -> list[tuple[Any, ...]]:
    rows = objects(lake.timeline(table))
    return sorted((row["valid_from"], row["valid_to"], row[column]) for row in rows)


def timelines(lake: Lake) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    return told(lake, "d", "x"), told(lake, "d__legs", "leg")


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize(
    ("x", "legs"), [(1, B), (2, A), (2, B)], ids=["children differ", "parent differs", "both differ"]
)
def test_retract_takes_all_of_it_back(
    tmp_path: Path, mode: str, x: int, legs: list[dict[str, str]], rebuild: bool
) -> None:
    lake = lake_of(tmp_path, mode)
    for records in (BEFORE, [{"from": "2026-02-01", "x": x, "legs": legs}], [RETRACT]):
        if rebuild:
            shutil.rmtree(lake.config.state, ignore_errors=True)
        load(lake, tmp_path, *records)
        if records[0].get("legs") == legs:
            parents = [("2026-01-01", "2026-02-01", 0), ("2026-02-01", None, x)]
            assert timelines(lake) == (parents, [("2026-02-01", None, legs[0]["leg"])])
    assert timelines(lake) == ([("2026-01-01", None, 0)], [])


def test_a_put_of_what_holds_throughout_changes_nothing(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    load(lake, tmp_path, *BEFORE)
    before = timelines(lake)
    load(lake, tmp_path, {"from": "2026-02-01", "x": 1, "legs": A})
    assert timelines(lake) == before
    assert len(before[0]) == 3


def test_state_of_an_earlier_bitlake_is_built_from_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its log was of changes that made other rows."""
    earlier = ["keys in files, log by columns, short lengths, patches by segment", [], []]
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.engine.layout._FORMAT", earlier)
        load(lake_of(tmp_path), tmp_path, *BEFORE)
    caplog.set_level(logging.WARNING)
    lake = lake_of(tmp_path)
    load(lake, tmp_path, {"from": "2026-02-01", "x": 1, "legs": B}, RETRACT)
    assert caplog.messages.count("rebuilding the state from the tables") == 1
    assert timelines(lake) == ([("2026-01-01", None, 0)], [])
    load(lake, tmp_path, RETRACT)
    assert caplog.messages.count("rebuilding the state from the tables") == 1
