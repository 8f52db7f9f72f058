"""Dismissing dead letters, beside writers and others that dismiss."""

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import NestedField

from pipeline.config import dataset_schema
from pipeline.engine import dismissal
from pipeline.errors import BadInput
from pipeline.lake import Lake
from pipeline.query.dead_letters import DeadLetters, Wanted
from pipeline.query.status import position_of
from pipeline.sink import tables
from pipeline.sink.dead_letter_table import ADDED, DEAD_LETTERS
from pipeline.sink.lake_sink import LakeSink
from pipeline.sink.tables import BASE_PROPERTIES, _create, open_dead_letters
from pipeline.sink.types import arrow_to_iceberg
from tests.forks import Forks

ENTRY = {"table": "ref.%s", "key": ["isin"], "valid_from": "from", "on_new_field": "dead_letter"}
LINES = [
    b'{"isin": "A", "from": "2024-01-01"}',
    b"{",
    b'{"isin": "A", "from": "x"}',
    b'{"from": "2024-01-01"}',
]
FIRST, SECOND, THIRD = (f"bonds/bonds/0/{offset}/1" for offset in (1, 2, 3))
TABLE = "bitlake.dead_letters"


def lake_of(folder: Path) -> Lake:
    datasets = [ENTRY | {"name": name, "table": f"ref.{name}"} for name in ("bonds", "fx")]
    (folder / "lake.yaml").write_text(json.dumps({"datasets": datasets}))
    return Lake.open(folder / "lake.yaml", {})


def load(lake: Lake, folder: Path, *lines: bytes, dataset: str = "bonds") -> tuple[int, ...]:
    file = folder / f"{dataset}.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return lake.load_files(dataset, [file]).values()


def letters(lake: Lake) -> DeadLetters:
    found = lake.dead_letters()
    assert found is not None
    return found


def ids(lake: Lake, status: Any = "dead") -> list[str]:
    return sorted(letters(lake).find(Wanted(status=status), ("id",))["id"].to_pylist())


def rows(lake: Lake, status: str = "dismissed") -> list[dict[str, Any]]:
    return [r for r in lake._catalog.load_table(TABLE).scan().to_arrow().to_pylist() if r["status"] == status]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = lake_of(tmp_path)
    assert load(lake, tmp_path, *LINES)[3] == 3
    return lake


def test_a_dismissed_letter_waits_no_more(lake: Lake, tmp_path: Path) -> None:
    begun, before = datetime.now(UTC), position_of("bonds", lake._known("bonds"))

    assert lake.dismiss_dead_letters(Wanted(ids=(FIRST, THIRD, FIRST)), " sent again ", by="ops@there") == 2

    assert ids(lake) == [SECOND]
    assert lake.status()[0].dead_letters == 1
    assert lake.replay_dead_letters().records == 1
    (first, third) = letters(lake).find(Wanted(status="dismissed")).to_pylist()
    assert (first["id"], first["dismissed_reason"], first["dismissed_by"]) == (
        FIRST,
        "sent again",
        "ops@there",
    )
    assert (first["status"], first["value"], first["line"], first["stage"]) == ("dismissed", b"{", 2, "json")
    assert begun <= first["status_at"] <= datetime.now(UTC)
    assert (third["id"], third["status_at"]) == (THIRD, first["status_at"])
    assert ids(lake, None) == [FIRST, SECOND, THIRD]
    assert [(row["id"], row["epoch"], row["value"]) for row in rows(lake)] == [
        (FIRST, 1, None),
        (THIRD, 1, None),
    ]
    after = position_of("bonds", lake._known("bonds"))
    assert before is not None
    assert after is not None
    assert (after.offsets, after.clocks, after.epoch) == (before.offsets, before.clocks, 2), (
        "the replay's epoch"
    )


def test_no_writer_notices(lake: Lake, tmp_path: Path) -> None:
    sink = LakeSink(lake._catalog, TABLE)
    schema = dataset_schema(lake.config.dataset("bonds"))
    before = sink.positions(schema)
    lake.dismiss_dead_letters(Wanted(ids=(FIRST,)), "gone")
    assert sink.positions(schema) == before
    assert load(lake, tmp_path, b"{", LINES[0]) == (2, 0, 1, 1, 0, 1)
    newest = lake._catalog.load_table(TABLE).current_snapshot()
    assert newest is not None
    assert newest.summary is not None
    assert newest.summary.additional_properties["bitlake.epoch"] == "2"
    lake.dismiss_dead_letters(Wanted(), "all of them")
    assert load(lake, tmp_path, b"{") == (1, 0, 0, 1, 0, 1)
    assert len(ids(lake)) == 1


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (Wanted(), []),
        (Wanted(dataset="bonds"), []),
        (Wanted(dataset="fx"), [FIRST, SECOND, THIRD]),
        (Wanted(stage="json"), [SECOND, THIRD]),
        (Wanted(file="bonds.jsonl"), []),
        (Wanted(file="onds.jsonl"), [FIRST, SECOND, THIRD]),
        (Wanted(stage="key", file="bonds.jsonl"), [FIRST, SECOND]),
        (Wanted(ids=()), [FIRST, SECOND, THIRD]),
    ],
)
def test_by_filter(lake: Lake, wanted: Wanted, left: list[str]) -> None:
    assert lake.dismiss_dead_letters(wanted, "x") == 3 - len(left)
    assert ids(lake) == left


def test_all_or_none(lake: Lake, tmp_path: Path) -> None:
    lake.dismiss_dead_letters(Wanted(ids=(FIRST,)), "sent again", by="ops@there")
    lake.config = lake_of(tmp_path).config
    snapshot = lake._catalog.load_table(TABLE).current_snapshot()
    with pytest.raises(BadInput, match="There is no dead letter 'x'"):
        lake.dismiss_dead_letters(Wanted(ids=(SECOND, "x")), "y")
    with pytest.raises(BadInput, match=f"'{FIRST}' was dismissed already, at 20.* by ops@there: sent again"):
        lake.dismiss_dead_letters(Wanted(ids=(FIRST, SECOND)), "y")
    with pytest.raises(BadInput, match="4 more"):
        lake.dismiss_dead_letters(Wanted(ids=(SECOND, *"abcdefghi")), "y")
    for reason in ("", " \n"):
        with pytest.raises(BadInput, match="needs a reason"):
            lake.dismiss_dead_letters(Wanted(), reason)
    assert lake._catalog.load_table(TABLE).current_snapshot() == snapshot


def test_what_was_replayed_is_not_dismissed(lake: Lake, tmp_path: Path) -> None:
    load(lake, tmp_path, b'{"isin": "B", "from": "2024-01-01", "level": 1}')
    file = tmp_path / "lake.yaml"
    content = json.loads(file.read_text())
    content["datasets"][0]["on_new_field"] = "evolve"
    file.write_text(json.dumps(content))
    lake = Lake.open(file, {})
    fourth = "bonds/bonds/0/4/2"
    assert lake.replay_dead_letters(Wanted(ids=(fourth,))).changes == 1
    with pytest.raises(BadInput, match=f"'{fourth}' was replayed at 20"):
        lake.dismiss_dead_letters(Wanted(ids=(fourth,)), "y")
    assert lake.dismiss_dead_letters(Wanted(), "the rest") == 3
    (told,) = letters(lake).find(Wanted(status="replayed")).to_pylist()
    assert (told["id"], told["dismissed_reason"]) == (fourth, None)


def test_a_letter_of_no_dataset_of_the_lake(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "lake.yaml").write_text((tmp_path / "lake.yaml").read_text().replace('"bonds"', '"shares"'))
    other = Lake.open(tmp_path / "lake.yaml", {})
    assert other.dismiss_dead_letters(Wanted(ids=(FIRST,)), "not wanted") == 1


def test_before_the_first_load(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    assert lake.dismiss_dead_letters(Wanted(), "x") == 0
    with pytest.raises(BadInput, match="no dead letter 'x'"):
        lake.dismiss_dead_letters(Wanted(ids=("x",)), "x")


def test_two_at_once_dismiss_a_letter_once(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked at the letters before either commits."""
    both, lock, asked = threading.Barrier(2), threading.Lock(), 0
    plain = dismissal.append

    def append(*given: Any) -> None:
        nonlocal asked
        with lock:
            asked += 1
            first = asked <= 2
        if first:
            both.wait(30)
        plain(*given)

    monkeypatch.setattr(dismissal, "append", append)
    found: list[Any] = []

    def dismiss(number: int) -> None:
        try:
            found.append(
                Lake.open(tmp_path / "lake.yaml", {}).dismiss_dead_letters(Wanted(ids=(FIRST,)), f"{number}")
            )
        except BadInput as error:
            found.append(error.message)

    threads = [threading.Thread(target=dismiss, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 in found
    assert any("was dismissed already" in str(one) for one in found)
    assert [row["id"] for row in rows(lake)] == [FIRST]
    assert len(letters(lake).find(Wanted(status="dismissed"))) == 1


def test_of_two_rows_the_first_counts(lake: Lake) -> None:
    """Should a catalog let both be committed after all."""
    lake.dismiss_dead_letters(Wanted(ids=(FIRST,)), "first")
    table = lake._catalog.load_table(TABLE)
    (row,) = rows(lake)
    later = row | {"system_time": datetime.now(UTC), "dismissed_reason": "second"}
    table.append(pa.Table.from_pylist([later], DEAD_LETTERS))
    (told,) = letters(lake).find(Wanted(status="dismissed")).to_pylist()
    assert told["dismissed_reason"] == "first"


@pytest.mark.parametrize("landed", [True, False])
def test_an_answer_that_is_lost(lake: Lake, monkeypatch: pytest.MonkeyPatch, landed: bool) -> None:
    plain, lost = Table._do_commit, 0

    def commit(table: Table, *given: Any) -> None:
        nonlocal lost
        lost += 1
        if lost > 1:
            plain(table, *given)
            return
        if landed:
            plain(table, *given)
        raise CommitStateUnknownException("no answer")

    monkeypatch.setattr(Table, "_do_commit", commit)
    assert lake.dismiss_dead_letters(Wanted(stage="json"), "x") == 1
    assert [row["id"] for row in rows(lake)] == [FIRST]


def test_a_writer_that_commits_at_the_same_time(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: Forks
) -> None:
    plain, tries = dismissal.append, 0

    def append(*given: Any) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            assert forks.run("tests.unit.engine.test_dismissal:load_fx", os.fspath(tmp_path)) == 0
        plain(*given)

    monkeypatch.setattr(dismissal, "append", append)
    assert lake.dismiss_dead_letters(Wanted(), "x") == 4, "the one that came meanwhile too"
    assert tries == 2
    assert ids(lake) == []


def load_fx(folder: str) -> None:
    load(lake_of(Path(folder)), Path(folder), b"{", dataset="fx")


@pytest.mark.parametrize(
    ("point", "dismissed"), [("after-data-file", 0), ("before-first-commit", 0), ("after-last-commit", 3)]
)
def test_a_crash_dismisses_all_or_none(
    lake: Lake, tmp_path: Path, point: str, dismissed: int, forks: Forks
) -> None:
    dismissing = "tests.unit.engine.test_dismissal:dismiss"
    assert forks.run(dismissing, os.fspath(tmp_path), fault=point) == -9
    assert len(ids(lake, "dismissed")) == dismissed
    assert forks.run(dismissing, os.fspath(tmp_path)) == 0
    assert sorted(row["id"] for row in rows(lake)) == [FIRST, SECOND, THIRD]
    assert load(lake, tmp_path, b"{") == (1, 0, 0, 1, 0, 1)


def dismiss(folder: str) -> None:
    Lake.open(Path(folder) / "lake.yaml", {}).dismiss_dead_letters(Wanted(), "x")


# Tables that earlier versions made.


def as_before(catalog: Catalog, *given: dict[str, Any]) -> None:
    """The table of dead letters as earlier versions made it."""
    old = pa.schema([field for field in DEAD_LETTERS if field.name not in ADDED])
    fields = (
        NestedField(number, field.name, arrow_to_iceberg(field.type), not field.nullable)
        for number, field in enumerate(old, start=1)
    )
    _create(catalog, TABLE, Schema(*fields), PartitionSpec(), BASE_PROPERTIES)
    catalog.load_table(TABLE).append(pa.Table.from_pylist(list(given), old))


def old_row(offset: int, status: str = "dead") -> dict[str, Any]:
    at = datetime(2024, 6, 1, tzinfo=UTC)
    row = {
        "id": f"bonds/bonds/0/{offset}/1",
        "dataset": "bonds",
        "epoch": 1,
        "topic": "bonds",
        "partition": 0,
    }
    return row | {"offset": offset, "timestamp": at, "value": LINES[2] if status == "dead" else None} | {
        "stage": "valid time", "reason": "?", "system_time": at, "status": status,
    }  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Lake:
    lake = lake_of(tmp_path)
    as_before(lake._catalog, old_row(1), old_row(2), old_row(2, "replayed"))
    return lake


def test_an_old_table_is_read_as_it_is(old: Lake) -> None:
    (letter,) = letters(old).waiting().to_pylist()
    assert (letter["id"], letter["file"], letter["line"], letter["tries"]) == (FIRST, None, None, 1)
    assert ids(old, "replayed") == [SECOND]
    assert old.status()[0].dead_letters == 1
    found = old.sql(
        "SELECT id, file, line, dismissed_by FROM bitlake.dead_letters ORDER BY id, status"
    ).to_pylist()
    assert found[0] == {"id": FIRST, "file": None, "line": None, "dismissed_by": None}
    assert old._catalog.load_table(TABLE).schema().column_names == [
        n for n in DEAD_LETTERS.names if n not in ADDED
    ]


@pytest.mark.parametrize("how", ["load", "replay", "dismiss"])
def test_an_old_table_gets_the_new_columns(old: Lake, tmp_path: Path, how: str) -> None:
    if how == "load":
        assert load(old, tmp_path, b"{")[3] == 1
        assert letters(old).waiting().sort_by("line")["line"].to_pylist() == [1, None]
    elif how == "replay":
        assert old.replay_dead_letters().dead_letters == 1
        assert letters(old).waiting()["tries"].to_pylist() == [2]
    else:
        assert old.dismiss_dead_letters(Wanted(ids=(FIRST,)), "x") == 1
        assert ids(old) == []
    assert old._catalog.load_table(TABLE).schema().column_names == DEAD_LETTERS.names
    assert old.sql("SELECT * FROM bitlake.dead_letters").column_names == DEAD_LETTERS.names


def test_two_open_an_old_table_at_once(old: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    catalog = old._catalog
    stale = catalog.load_table(TABLE)
    open_dead_letters(catalog, TABLE)
    loads = iter([stale])
    monkeypatch.setattr(tables, "load_table", lambda *_: next(loads))
    assert open_dead_letters(catalog, TABLE).schema().column_names == DEAD_LETTERS.names
    assert len(catalog.load_table(TABLE).schema().fields) == len(DEAD_LETTERS)
