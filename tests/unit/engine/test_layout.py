"""A dataset declared otherwise: the state's bytes are not read as other columns or other children."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.layout import fits, layout_of
from pipeline.schema import POSITION
from tests.model.compare import history_json
from tests.model.generate import Entry
from tests.model.strategies import random_stream
from tests.property.differential import Way, different, load, model_of, objects
from tests.unit.decode.reading import child, column, dataset

ROWS, TAGS = child(["rows"], [POSITION], column("x")), child(["tags"], [POSITION])
RETIRED = replace(column("c"), retired=True)
BEFORE = dataset(column("a", "int"), column("b"), children=[ROWS])


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        (BEFORE, True),
        (dataset(column("a", "long"), column("b", "json"), column("c"), children=[ROWS, TAGS]), True),
        (dataset(column("a", "int"), column("b"), RETIRED, children=[ROWS]), False),
        (dataset(column("a", "int"), column("b"), column("retired"), children=[ROWS]), True),
        (dataset(column("b"), column("a", "int"), children=[ROWS]), False),
        (dataset(column("c"), column("a", "int"), column("b"), children=[ROWS]), False),
        (dataset(column("a", "double"), column("b"), children=[ROWS]), False),
        (dataset(column("a", "int"), column("b"), children=[TAGS, ROWS]), False),
        (dataset(column("a", "int"), column("b")), False),
        (dataset(column("a", "int"), column("b"), key=[column("j")], children=[ROWS]), False),
    ],
)
def test_what_fits(after: Any, wanted: bool) -> None:
    assert fits(layout_of(BEFORE), after) is wanted
    assert not fits(None, after)


def _otherwise(entry: Entry) -> Entry:
    """The same dataset, with a column and a child declared first that no record has."""
    columns = {"unused": "string"} | entry["columns"]
    return entry | {"columns": columns, "children": [{"path": "nowhere"}, *entry.get("children", ())]}


@pytest.mark.parametrize("seed", [2, 4])
def test_columns_and_children_declared_later_leave_the_others_alone(tmp_path: Path, seed: int) -> None:
    stream = random_stream(seed, 60)
    for start, end in ((0, 30), (30, 45), (45, 60)):
        entry = stream.entry if end <= 30 else _otherwise(stream.entry)
        lake, _ = load(tmp_path, replace(stream, entry=entry, records=stream.records[start:end]), Way(10))
    model = model_of(stream)
    for table in lake.tables:
        if not table.endswith("nowhere"):
            mine = [
                {n: v for n, v in row.items() if n != "unused"}
                for row in objects(lake.history(table, provenance=True))
            ]
            assert different(table, mine, history_json(model, table)) == []
