"""A lake whose table was filled by hand, and the command line over it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipeline.cli.main import main
from pipeline.sink.epoch import Position
from tests.unit.query.belief import NO_END, Version
from tests.unit.query.lakes import catalog_in, create, rows_of, system_us, table_schema

LAKE = """\
catalog: {name: lake, type: sql, uri: "sqlite:///catalog.db", warehouse: warehouse}
datasets:
  - name: bonds
    table: ref.bonds
    key: [isin]
    valid_from: from
    valid_time: date
    children:
      - path: calls
        key: [call_date]
  - name: empty
    table: ref.empty
    key: [id]
    valid_from: from
"""
OPEN = [
    Version("A", 1, 0, NO_END, 1, NO_END),
    Version("A", 1, 0, 9, 2, NO_END),
    Version("A", 2, 9, NO_END, 2, NO_END),
]
CLOSED = [Version("A", 1, 0, NO_END, 1, 2)]


@dataclass
class Result:
    """What a command line left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """A folder with a lake.yaml: A has level 1 from day 0, known at second 1, and 2 from day 9, known at 2."""
    (tmp_path / "lake.yaml").write_text(LAKE)
    schema = table_schema({"isin": "string"}, {"level": "long"})
    table = create(catalog_in(tmp_path), schema)
    position = Position(3, {0: 2}, {0: system_us(2)}, system_us(2) - 1)
    for part in (OPEN, CLOSED):
        table.append(rows_of(part, schema), snapshot_properties=position.to_summary("bonds"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bitlake(capfd):
    """Runs a command line."""

    def run(*words: str) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capfd.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return run


def dead_letter(letter: str, status: str = "dead", **changed: object) -> dict[str, object]:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    row = {"id": letter, "dataset": "bonds", "epoch": 1, "topic": "bonds", "partition": 0, "offset": 7}
    row |= {"timestamp": at, "key": None, "value": b'{"isin": \xff', "headers": None, "stage": "decode"}
    row |= {"reason": "not JSON", "advice": "send JSON", "system_time": at, "status": status}
    return row | changed


def add_dead_letters(folder, *rows: dict[str, object]) -> None:
    from pipeline.sink.dead_letter_table import DEAD_LETTERS
    from pipeline.sink.tables import open_dead_letters

    table = open_dead_letters(catalog_in(folder), "bitlake.dead_letters")
    table.append(pa.Table.from_pylist(list(rows), schema=DEAD_LETTERS))
