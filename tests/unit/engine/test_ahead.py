"""Envelopes from further ahead of now than `time.max_ahead`."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.epoch import Summary
from pipeline.lake import Lake
from pipeline.query.dead_letters import Wanted
from pipeline.query.status import position_of

ENTRY = {"name": "bonds", "table": "ref.bonds", "key": ["isin"], "valid_from": "from"}
SOON, FAR = timedelta(minutes=30), timedelta(minutes=61)
NOT_JSON = "{"


def lake_of(folder: Path, max_ahead: str = "1h") -> Lake:
    content = {"time": {"max_ahead": max_ahead}, "datasets": [ENTRY]}
    (folder / "lake.yaml").write_text(json.dumps(content))
    return Lake.open(folder / "lake.yaml", {})


def envelope(at: datetime, isin: str, **more: Any) -> str:
    return json.dumps(
        {"timestamp": at.isoformat(), "key": isin, "value": {"isin": isin, "from": "2024-01-01", **more}}
    )


def load(lake: Lake, folder: Path, *lines: str) -> Summary:
    file = folder / "records.jsonl"
    file.write_text("\n".join(lines))
    return lake.load_files("bonds", [file], envelope=True)


def believed(lake: Lake) -> dict[str, datetime]:
    return {row["isin"]: row["system_from"] for row in lake.timeline("bonds").to_pylist()}


def clock(lake: Lake) -> int:
    position = position_of("bonds", lake._known("bonds"))
    assert position is not None
    return position.clocks[0]


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def test_a_record_too_far_ahead_is_a_dead_letter_and_moves_no_clock(tmp_path: Path, now: datetime) -> None:
    lake, past = lake_of(tmp_path), now - timedelta(days=1)
    tombstone = json.dumps({"timestamp": (now + FAR).isoformat(), "key": "A", "value": None})
    far = [envelope(now + FAR, "B", new=1), envelope(now + FAR, "C", **{"from": "x"}), tombstone]
    done = load(lake, tmp_path, envelope(past, "A"), *far, NOT_JSON, envelope(past, "D"))
    assert (done.changes, done.dead_letters) == (2, 4)
    assert believed(lake) == {"A": past, "D": past}
    assert clock(lake) == int(past.timestamp() * 1_000_000)
    assert "new" not in lake.history("bonds").column_names
    letters = lake.dead_letters()
    assert letters is not None
    rows = letters.waiting().to_pylist()
    assert [row["stage"] for row in rows] == ["system time"] * 3 + ["json"]
    assert [row["timestamp"] for row in rows] == [now + FAR] * 3 + [None]
    assert [row["system_time"] for row in rows] == [past] * 4
    assert all("max_ahead" in row["advice"] for row in rows[:3])


def test_a_record_not_so_far_ahead_is_taken_and_stays(tmp_path: Path, now: datetime) -> None:
    """Also when the state is rebuilt, or its log applied again, under a narrower limit."""
    assert load(lake_of(tmp_path), tmp_path, envelope(now + SOON, "A"), envelope(now, "B")).changes == 2
    narrow = lake_of(tmp_path, "1s")
    assert load(narrow, tmp_path, envelope(now, "A"), envelope(now + SOON, "C")).values()[:4] == (2, 0, 1, 1)
    assert believed(narrow) == {"A": now + SOON, "B": now + SOON}
    shutil.rmtree(tmp_path / ".bitlake" / "state")
    assert load(narrow, tmp_path, envelope(now, "A", x=1)).changes == 1
    assert believed(narrow) == {"A": now + SOON + timedelta(microseconds=1), "B": now + SOON}


def test_the_limit_is_configured(tmp_path: Path, now: datetime) -> None:
    lake = lake_of(tmp_path, "30d")
    assert load(lake, tmp_path, envelope(now + timedelta(days=29), "A")).changes == 1
    assert load(lake, tmp_path, envelope(now + timedelta(days=31), "A")).dead_letters == 1


def test_a_replay_gives_it_the_replays_time(tmp_path: Path, now: datetime) -> None:
    lake = lake_of(tmp_path)
    assert load(lake, tmp_path, envelope(now + FAR, "A")).dead_letters == 1
    done = lake.replay_dead_letters(Wanted(stage="system time"))
    assert (done.changes, done.dead_letters) == (1, 0)
    assert now <= believed(lake)["A"] <= datetime.now(UTC)


def test_the_start_of_a_load_is_not_concerned(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, "0s")
    (tmp_path / "plain.jsonl").write_text('{"isin": "A", "from": "2024-01-01"}\n')
    assert lake.load_files("bonds", [tmp_path / "plain.jsonl"]).changes == 1


@pytest.mark.parametrize("second", ["2030-01-01T00:00:00Z", "soon", "1999-01-01T00:00:00Z"])
def test_an_envelope_with_two_timestamps_moves_no_clock(tmp_path: Path, now: datetime, second: str) -> None:
    lake, past = lake_of(tmp_path), now - timedelta(days=1)
    one = envelope(now, "B")
    doubled = [f'{{"timestamp": "{second}", {one[1:]}', one[:-1] + f', "timestamp": "{second}"}}']
    done = load(lake, tmp_path, envelope(past, "A"), *doubled, envelope(past, "C"))
    assert (done.changes, done.dead_letters) == (2, 2)
    assert believed(lake) == {"A": past, "C": past}
    assert clock(lake) == int(past.timestamp() * 1_000_000)
