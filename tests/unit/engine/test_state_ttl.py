"""Keys that leave the state and are read back from the tables: the rows are the same."""

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import Lake
from pipeline.engine import dataset as writing
from pipeline.engine import journal, load, rebuild
from pipeline.engine.journal import Journal
from pipeline.engine.patience import Patience
from pipeline.errors import Unavailable
from pipeline.sink import scan
from pipeline.sink.lake_sink import LakeSink
from pipeline.source.files import FileSource
from pipeline.temporal.store import Ints
from state import open_state
from tests.faults.state import stored_keys
from tests.model.strategies import Stream, random_stream
from tests.property.differential import differences

LAKE = """
commit: {records: 1}
datasets:
  - {name: b, table: ref.b, key: [k], valid_from: f, state_ttl: 1s}
"""
LINE = '{"timestamp": "2024-01-01T00:00:%02dZ", "value": {"k": "%s", "f": "2024-01-01", "v": %d}}\n'


@pytest.fixture(autouse=True)
def read_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Small batches, and a look for idle keys after every one; how many keys were read back at a time."""
    monkeypatch.setattr(writing, "LEAST_SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(load, "FileSource", partial(FileSource, block_bytes=64))
    read: list[int] = []

    def noted(sink: Any, schema: Any, timelines: Any, numbers: Any, *more: Any) -> None:
        read.append(len(numbers))
        rebuild.read_back(sink, schema, timelines, numbers, *more)

    monkeypatch.setattr(writing, "read_back", noted)
    yield read
    assert sum(read) > 0


def leaving(seed: int, records: int) -> Stream:
    """A stream whose keys are idle after a second of system time; their records are some seconds apart."""
    stream, choose = random_stream(seed, records), random.Random(seed)
    clock, later = 1_700_000_000_000_000, []
    for record in stream.records:
        clock += choose.choice((0, 300_000, 2_000_000))
        later.append(replace(record, timestamp=clock))
    return replace(stream, entry=stream.entry | {"state_ttl": "1s"}, records=later)


def no_marks(data: np.ndarray, starts: Ints, ends: Ints) -> tuple[np.ndarray, Ints]:
    """As states have them that an earlier bitlake wrote."""
    return np.zeros(0, np.uint8), np.zeros(starts.size + 1, np.int64)


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (0, 2, 3))])
def test_rows_equal_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, mode: str) -> None:
    if seed % 2:
        # Hardly any memory: those that are not idle leave it too, after every epoch.
        monkeypatch.setattr(writing, "physical_memory", lambda: 2)
    assert differences(tmp_path, leaving(seed, 80), seed=1, mode=mode) == []


@pytest.mark.parametrize("mode", ["append", pytest.param("upsert", marks=pytest.mark.long)])
def test_keys_without_marks_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(journal, "marks_of", no_marks)
    assert differences(tmp_path, leaving(4, 80), seed=1, mode=mode) == []


def test_only_files_are_read_that_hold_what_a_key_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not those of all the other epochs, before and since."""
    caplog.set_level("INFO")
    (tmp_path / "lake.yaml").write_text(LAKE)
    lake = Lake.open(tmp_path / "lake.yaml", {})
    read: list[str] = []
    batches = scan._batches

    def noted(table: Any, tasks: Any, columns: Any) -> Any:
        read.extend(task.file.file_path for task in tasks)
        return batches(table, tasks, columns)

    def send(*given: tuple[int, str, int]) -> None:
        (tmp_path / "x.jsonl").write_text("".join(LINE % one for one in given))
        lake.load_files("b", [tmp_path / "x.jsonl"], envelope=True)

    send(
        (0, "A", 1),
        (1, "A", 2),
        *((n, "AB"[n % 9 == 0], n) for n in range(2, 19)),
        (40, "Z", 1),
        (50, "Z", 2),
    )
    monkeypatch.setattr(scan, "_batches", noted)
    send((51, "B", 100))
    assert len(read) == 1
    assert lake.history("b", key={"k": "B"}).num_rows == 3
    read.clear()
    send((52, "A", 1))
    assert len(set(read)) == len(read) == 2, "B again, for the log is replayed"
    assert not [record for record in caplog.records if "reading all of them" in record.message]


def test_a_catalog_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lake.yaml").write_text(LAKE)
    (tmp_path / "x.jsonl").write_text("".join(LINE % one for one in ((0, "A", 1), (9, "Z", 1), (10, "A", 2))))
    away, scanned = [True], LakeSink.scan_versions

    def failing(self: LakeSink, *args: Any, **named: Any) -> Any:
        if away and away.pop():
            raise Unavailable("the catalog does not answer", next_step="wait")
        return scanned(self, *args, **named)

    monkeypatch.setattr(LakeSink, "scan_versions", failing)
    monkeypatch.setattr(load, "Terms", partial(load.Terms, patience=Patience(60.0)))
    lake = Lake.open(tmp_path / "lake.yaml", {})
    assert lake.load_files("b", [tmp_path / "x.jsonl"], envelope=True).changes == 3
    assert not away
    assert lake.history("b", key={"k": "A"}).num_rows == 2


def test_idle_keys_leave_a_mark_and_come_back(tmp_path: Path, read_back: list[int]) -> None:
    (tmp_path / "lake.yaml").write_text(LAKE)
    lake = Lake.open(tmp_path / "lake.yaml", {})

    def send(*given: tuple[int, str, int]) -> None:
        (tmp_path / "x.jsonl").write_text("".join(LINE % one for one in given))
        lake.load_files("b", [tmp_path / "x.jsonl"], envelope=True)

    send((0, "A", 1), (10, "B", 1), (20, "C", 1), (21, "C", 2))
    with closing(open_state(lake.config.state)) as backend:
        stored = dict(stored_keys(Journal(backend, "b").files))
    assert (stored[b"\1\0\0\0A"], stored[b"\1\0\0\0B"]) == (None, None)
    send((30, "A", 1), (31, "A", 2), (32, "N", 1))
    assert read_back == [1, 1], "a no-op keeps no key"
    rows = lake.history("b", key={"k": "A"}).to_pylist()
    assert [(row["v"], row["system_to"] is None) for row in rows] == [(1, False), (2, True)]
