"""A column that is declared where earlier records had an object, or something in one."""

import json
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
    "operation": "op",
}
EVERYTHING: list[Any] = ["text", 5, 1.50, True, [1], {"q": 2}, {"p": {"deep": []}}, {}, []]


def lake_of(folder: Path, **more: Any) -> Lake:
    (folder / "lake.yaml").write_text(json.dumps({"datasets": [ENTRY | more]}))
    return Lake.open(folder / "lake.yaml", {})


def load(lake: Lake, *values: Any, start: int = 1, **more: Any) -> Any:
    records = [{"id": str(i), "from": "2024-01-01", **v, **more} for i, v in enumerate(values, start)]
    return lake.load("d", records)


def rows(lake: Lake, table: str = "d") -> list[dict[str, Any]]:
    hidden = {"valid_from", "valid_to", "system_from", "system_to"}
    return [{n: v for n, v in row.items() if n not in hidden} for row in objects(lake.timeline(table))]


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_json_takes_what_an_object_was_before(tmp_path: Path, mode: str) -> None:
    before = lake_of(tmp_path, mode=mode)
    load(before, {"o": {"p": 1, "r": {"s": "x"}}})
    assert load(before, *({"o": v} for v in ("text", 5, True)), start=2).dead_letters == 3
    after = lake_of(tmp_path, mode=mode, columns={"o": "json"})
    assert after.replay_dead_letters().changes == 3
    assert load(after, *({"o": v} for v in EVERYTHING), start=10).changes == len(EVERYTHING)
    load(after, {"o": None}, start=40)
    found = rows(after)
    assert all(set(row) == {"id", "o__p", "o__r__s", "o"} for row in found)
    assert {row["id"]: (row["o"], row["o__p"]) for row in found} == {
        "1": (None, 1),
        "2": ('"text"', None),
        "3": ("5", None),
        "4": ("true", None),
        **{str(i): (json.dumps(v), None) for i, v in enumerate(EVERYTHING, 10)},
        "40": (None, None),
    }


def test_a_patch_leaves_what_the_old_columns_have(tmp_path: Path) -> None:
    load(lake_of(tmp_path), {"o": {"p": 1}}, {"o": {"p": 2}})
    after = lake_of(tmp_path, columns={"o": "json"})
    load(after, {"o": {"p": 3}}, op="patch")
    load(after, {"o": {"p": 4}}, start=2)
    assert rows(after) == [
        {"id": "1", "o__p": 1, "o": '{"p": 3}'},
        {"id": "2", "o__p": None, "o": '{"p": 4}'},
    ]


def test_a_scalar_takes_the_place_of_an_object(tmp_path: Path) -> None:
    load(lake_of(tmp_path), {"o": {"p": 1}})
    after = lake_of(tmp_path, columns={"o": "long"})
    counts = load(after, {"o": 7}, {"o": {"p": 1}}, {"o": {"q": 1}}, start=2)
    assert (counts.changes, counts.dead_letters) == (1, 2)
    assert rows(after) == [{"id": "1", "o__p": 1, "o": None}, {"id": "2", "o__p": None, "o": 7}]


@pytest.mark.parametrize("first", [5, "text", [1]])
def test_an_object_takes_the_place_of_a_value(tmp_path: Path, first: Any) -> None:
    load(lake_of(tmp_path), {"o": first})
    after = lake_of(tmp_path, columns={"p": {"path": "o.p", "type": "long"}})
    counts = load(after, {"o": {"p": 1, "q": 2}}, {"o": first}, start=2)
    assert (counts.changes, counts.dead_letters) == (1, 1)
    assert [(row["p"], row["o__q"]) for row in rows(after)] == [(None, None), (1, 2)]


def test_json_takes_what_an_object_in_an_array_was_before(tmp_path: Path) -> None:
    child = {"path": "c", "key": ["k"]}
    load(lake_of(tmp_path, children=[child]), {"c": [{"k": "a", "o": {"p": 1}}]})
    after = lake_of(tmp_path, children=[child | {"columns": {"o": "json"}}])
    assert load(after, *({"c": [{"k": "a", "o": v}]} for v in EVERYTHING), start=10).dead_letters == 0
    found = rows(after, "d__c")
    assert [row["o"] for row in found] == [None, *map(json.dumps, EVERYTHING)]
    assert [row["o__p"] for row in found] == [1, *[None] * len(EVERYTHING)]


def test_a_whole_element_as_json_beside_its_key(tmp_path: Path) -> None:
    child = {"path": "c", "key": ["k.id"], "columns": {"all": {"path": ".", "type": "json"}}}
    lake = lake_of(tmp_path, children=[child])
    element = {"k": {"id": 1, "x": 2}, "y": []}
    counts = load(lake, {"c": [element]}, {"c": [5]})
    assert (counts.changes, counts.dead_letters) == (1, 1)
    assert rows(lake, "d__c") == [{"id": "1", "k__id": "1", "all": json.dumps(element)}]


def test_keys_and_times_in_a_json_column(tmp_path: Path) -> None:
    lake = lake_of(
        tmp_path,
        key=["id", "e.k"],
        valid_to="w.to",
        operation="w.op",
        columns={"e": "json", "w": "json"},
    )
    values = [
        {"op": "put", "z": 1},
        *(v for v in EVERYTHING if not isinstance(v, dict)),
        {"to": "2024-02-01"},
    ]
    records = [{"e": {"k": 1, "new": {"x": 2}}, "w": value} for value in values]
    assert load(lake, *records).changes == len(values)
    found = rows(lake)
    assert [row["w"] for row in sorted(found, key=lambda row: int(row["id"]))] == [*map(json.dumps, values)]
    assert {tuple(row) for row in found} == {("id", "e__k", "e", "w")}
    assert load(lake, {"e": "text", "w": 1}, start=50).dead_letters == 1


def test_an_array_that_becomes_a_child_table(tmp_path: Path) -> None:
    load(lake_of(tmp_path), {"c": {"p": 1}, "d": 5})
    after = lake_of(tmp_path, children=[{"path": "c"}, {"path": "d.rows"}])
    counts = load(after, {"c": [1], "d": {"rows": [{"x": 1}]}}, {"c": {"p": 1}}, start=2)
    assert (counts.changes, counts.dead_letters) == (1, 1)
    assert [row["value"] for row in rows(after, "d__c")] == [1]
    assert [row["x"] for row in rows(after, "d__d__rows")] == [1]
