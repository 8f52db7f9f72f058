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
QUICK = 3
"""So many of them are tried in the fast suite."""
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=repr(name)[:20], marks=[] if number < QUICK else pytest.mark.slow)
        for number, name in enumerate(FOLDERS)
    ],
)
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
    letters = lake.rows("dead-letters", "list")
    assert len(letters) == 4
    lake.run("dead-letters", "show", str(letters[0]["id"]))
    lake.run("dead-letters", "replay", status=1)  # all are refused again
    lake.run("infer", str(folder / "r.jsonl"), "--name", "d", "--out", "inferred.yaml")
    lake.run("config", "check", "--config", str(folder / "inferred.yaml"))
    assert [p.name for p in (tmp_path / "above").iterdir()] == [name.partition("/")[0]]
    assert {p.name for p in folder.iterdir()} == {"lake.yaml", "inferred.yaml", "r.jsonl", ".bitlake"}
    assert {p.name for p in (folder / ".bitlake").iterdir()} == {"catalog.db", "warehouse", "state"}


CHILDREN = (
    "#rows",
    "a?b",
    "a/b",
    "/",
    "100%",
    "%2Fx",
    "a b ",
    "p;q=r",
    "ä\U0001f600",
    "quo'te\"`",
    "[*]{x}",
    "\\x",
    "-",
    "a.b",
)
COLUMNS = (
    "#x", "a?b", "a/b", "100%", "a b ", "p;q=r", "ä\U0001f600", "quo'te", "[*]{x}", "\\x", "-", "$1", ":v", "%s",
    "select", "valid", "system", "filename", "file_row_number", "rowid", "1", "\x7f\u2028", "x" * 255,
)  # fmt: skip


@pytest.mark.parametrize("given", ["key", "declared", "inferred"])
def test_columns_of_any_name(tmp_path: Path, bitlake: Run, given: str) -> None:
    """As key columns, as declared ones, and as new fields."""
    dataset: dict[str, Any] = {"name": "d", "table": "t.d", "key": [["id"]], "valid_from": ["from"]}
    if given == "key":
        dataset["key"] += [[name] for name in COLUMNS]
    elif given == "declared":
        dataset["columns"] = {name: {"path": [name], "type": "string"} for name in COLUMNS}
    # A control character is refused in a new field: a dead letter that says so.
    names = [name for name in COLUMNS if given != "inferred" or "\x7f" not in name]
    values = dict.fromkeys(names, "v'\"%")
    records = [{"id": "A", "from": f"2024-01-0{n}", **values} for n in (1, 2)]
    write(tmp_path, json.dumps({"datasets": [dataset]}), tuple(records))
    lake = Lake(bitlake, tmp_path)
    lake.run("config", "check")
    counts = json.loads(lake.run("load", "d", "r.jsonl", "--output", "json").splitlines()[-1])
    assert (counts["changes"], counts["dead_letters"]) == (2, 0)
    found = lake.rows("timeline", "d")
    assert [{name: row[name] for name in names} for row in found] == [values] * 2
    if given == "key":
        for name in COLUMNS:
            assert len(lake.rows("history", "d", "--key", f"{name}=v'\"%")) == 3
    assert len(lake.rows("diff", "d", "--from", "2000-01-01")) >= 1
    assert len(lake.rows("sql", "SELECT * FROM d_asof(timestamptz '2024-01-01 12:00:00Z')")) == 1
    assert len(lake.rows("views")) == 2


@pytest.mark.slow
def test_children_of_any_name(tmp_path: Path, bitlake: Run) -> None:
    """The case `child-name-hash`, and its kind."""
    children = [{"path": [name], "key": "v"} for name in CHILDREN]
    dataset = {"name": "d", "table": "t.d", "key": "id", "valid_from": "from", "children": children}
    rows = [{"v": 1}, {"v": 2}]
    records = [{"id": "A", "from": f"2024-01-0{n}", **dict.fromkeys(CHILDREN, rows[:n])} for n in (1, 2)]
    write(tmp_path / "lake", json.dumps({"datasets": [dataset]}), tuple(records))
    lake = Lake(bitlake, tmp_path / "lake")
    lake.run("config", "check")
    counts = json.loads(lake.run("load", "d", "r.jsonl", "--output", "json").splitlines()[-1])
    assert (counts["changes"], counts["dead_letters"]) == (2, 0)
    for name in CHILDREN:
        assert len(lake.rows("timeline", f"d__{name}")) == 2
        assert len(lake.rows("history", f"d__{name}", "--key", "v=1")) == 1
        quoted = f"d__{name}_current".replace('"', '""')
        assert lake.rows("sql", f'SELECT count(*) AS n FROM "{quoted}"') == [{"n": 2}]
    assert len(lake.rows("status")) == 1
    assert len(lake.rows("views")) == 2 * (1 + len(CHILDREN))
    assert [p.name for p in tmp_path.iterdir()] == ["lake"]


@pytest.mark.parametrize("name", ["a..b", "..", "../../x", "\0", "a\nb", "x" * 256, "\ud800"])
def test_children_that_no_table_can_be_named_after(tmp_path: Path, bitlake: Run, name: str) -> None:
    """They are refused at their line, and with them every command."""
    child = f"{{path: [{json.dumps(name)}]}}"
    write(
        tmp_path,
        f"datasets:\n- name: d\n  table: t.d\n  key: id\n  valid_from: f\n  children:\n  - {child}\n",
    )
    lake = Lake(bitlake, tmp_path)
    assert "lake.yaml:7:" in lake.run("config", "check", status=1)
    assert "lake.yaml:7:" in lake.run("load", "d", "r.jsonl", status=1)


def test_infer_and_load_of_an_array_of_any_name(tmp_path: Path, bitlake: Run) -> None:
    records = [
        {"isin": f"X{n}", "effective_from": "2024-01-01", "#rows": [{"v": 1}, {"v": 2}]} for n in range(3)
    ]
    write(tmp_path, "", tuple(records))
    lake = Lake(bitlake, tmp_path)
    lake.run("infer", "r.jsonl", "--name", "d", "--out", "lake.yaml", "--force")
    lake.run("config", "check")
    lake.run("load", "d", "r.jsonl")
    assert len(lake.rows("timeline", "d")) == 3


@pytest.mark.parametrize("namespace", ["main", "temp", "system", "memory", "Ref", "select"])
def test_namespaces_of_any_name(tmp_path: Path, bitlake: Run, namespace: str) -> None:
    """Some are names of DuckDB's own."""
    write(tmp_path, LAKE.replace("t.d", f"{namespace}.d").replace("t.u", f"{namespace}.u"))
    lake = Lake(bitlake, tmp_path)
    lake.run("load", "d", "r.jsonl")
    for source in ("d_current", "d_timeline()"):
        assert lake.rows("sql", f"SELECT count(*) AS n FROM {source}") == [{"n": 2}]
