"""Names are names: of folders, children and columns, whatever is in them; none is taken for a URL or a path."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Result

Run = Callable[..., Result]

FOLDERS = (
    "build%2Ffeature",
    "100% sure%20%",
    "a#b?c",
    "q?x=1&y;v=1",
    "back\\slash\\",
    "new\nline\r\ttab",
    "-leading ..dots ",
    " quo'te\"s`",
    "[ab]*{c,d}",
    "Österreich-日本-\U0001f600-e\u0301",
    "s3:x",
    "a:b@host:80",
    "sqlite:///x",
    "x" * 255,
)
LAKE = """\
catalog: {name: lake, type: sql, uri: "sqlite:///.bitlake/catalog.db", warehouse: .bitlake/warehouse}
state: .bitlake/state
datasets:
  - name: d
    table: t.d
    key: [id]
    valid_from: from
    valid_time: date
    children: [{path: legs, key: [leg]}]
  - {name: u, table: t.u, key: [id], valid_from: from, mode: upsert, partition_by: ["bucket(2, id)"]}
"""
RECORDS = (
    {"id": "A", "from": "2024-01-01", "x": 1, "legs": [{"leg": "1", "y": 2}]},
    {"id": "A", "from": "2024-02-01", "x": 2, "legs": [{"leg": "1", "y": 3}]},
    {"id": "B", "x": 3},
)


class Lake:
    """A folder with a lake, and the command line in it."""

    def __init__(self, bitlake: Run, folder: Path) -> None:
        self._bitlake, self.folder = bitlake, folder

    def run(self, *words: str, status: int = 0) -> str:
        """What a command prints; it must end with this status."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            done = self._bitlake(*words)
        finally:
            os.chdir(before)
        assert done.status == status, (words, done.err)
        return done.out if status == 0 else done.err

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """A command's rows."""
        found: list[dict[str, Any]] = json.loads(self.run(*words, "--output", "json"))
        return found


def write(folder: Path, text: str = LAKE, records: tuple[dict[str, object], ...] = RECORDS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lake.yaml").write_text(text)
    (folder / "r.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("name", FOLDERS, ids=[repr(name)[:20] for name in FOLDERS])
def test_a_lake_in_a_folder_of_any_name(tmp_path: Path, bitlake: Run, name: str) -> None:
    """The cases `folder-name-percent`, and its kind: every command works, and writes nothing elsewhere."""
    folder = tmp_path / "above" / name / "lake"
    write(folder)
    lake = Lake(bitlake, folder)
    lake.run("config", "check")
    for dataset in ("d", "u"):
        counts = json.loads(lake.run("load", dataset, "r.jsonl", "--output", "json").splitlines()[-1])
        assert (counts["changes"], counts["dead_letters"]) == (2, 1)
        lake.run("load", dataset, str(folder / "r.jsonl"))
        assert len(lake.rows("timeline", dataset)) == 2
        assert len(lake.rows("asof", dataset, "--valid", "2024-01-15", "--key", "id=A")) == 1
        assert len(lake.rows("history", dataset, "--provenance")) == 3
        assert len(lake.rows("diff", dataset, "--from", "2000-01-01")) == 2
        assert lake.rows("sql", f"SELECT count(*) AS n FROM {dataset}_current") == [{"n": 2}]
    assert len(lake.rows("timeline", "d__legs")) == 2
    assert lake.rows("sql", "SELECT count(*) AS n FROM bitlake.dead_letters") == [{"n": 4}]
    assert [s["dead_letters"] for s in lake.rows("status")] == [2, 2]
    assert len(lake.rows("views")) == 6
    assert len(letters := lake.rows("dead-letters", "list")) == 4
    lake.run("dead-letters", "show", str(letters[0]["id"]))
    lake.run("dead-letters", "replay")
    lake.run("infer", str(folder / "r.jsonl"), "--name", "d", "--out", "inferred.yaml")
    lake.run("config", "check", "--config", str(folder / "inferred.yaml"))
    assert [p.name for p in (tmp_path / "above").iterdir()] == [name.partition("/")[0]]
    assert {p.name for p in folder.iterdir()} == {"lake.yaml", "inferred.yaml", "r.jsonl", ".bitlake"}
    assert {p.name for p in (folder / ".bitlake").iterdir()} == {"catalog.db", "warehouse", "state"}
