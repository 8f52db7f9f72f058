"""Files that are not local are read through the table's FileIO."""

import pytest

from pipeline.errors import Unavailable
from pipeline.query import scan, stored
from tests.unit.query.belief import NO_END, Version
from tests.unit.query.lakes import (
    answers_of,
    catalog_in,
    create,
    rows_of,
    system_us,
    table_schema,
    versions_in,
)

SCHEMA = table_schema({"isin": "string"}, {"level": "long"})
OPEN = [Version(f"K{i:05d}", i, 0, NO_END, 1, NO_END) for i in range(5_000)]
CLOSED = [v._replace(system_to=2) for v in OPEN[::2]]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table in several files that are taken for remote ones."""
    for module in (scan, stored):
        monkeypatch.setattr(module, "is_local", lambda _: False)
    table = create(catalog_in(tmp_path), SCHEMA)
    for part in (OPEN[:2_000], OPEN[2_000:], CLOSED):
        table.append(rows_of(part, SCHEMA))
    return table


def test_answers_are_the_same_from_afar(table):
    answers = answers_of(table)
    assert len(versions_in(answers.history())) == len(OPEN)
    believed = versions_in(answers.asof(20_000, system_us(2)))
    assert believed == OPEN[1::2]
    assert versions_in(answers.history(key={"isin": "K00002"})) == [CLOSED[1]]


def test_a_file_that_is_gone_is_explained(table):
    answers = answers_of(table)
    for task in table.scan().plan_files():
        table.io.delete(task.file.file_path)
    with pytest.raises(Unavailable) as caught:
        answers.history()
    assert "ask again" in caught.value.next_step


def test_paths_with_glob_characters_are_taken_literally(tmp_path):
    folder = tmp_path / "a[b]* d"
    folder.mkdir()
    table = create(catalog_in(folder), SCHEMA)
    table.append(rows_of(OPEN[:3], SCHEMA))
    assert len(versions_in(answers_of(table).history())) == 3
