"""Keys that leave the state and are read back from the tables: the rows are the same."""

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline import Lake
from pipeline.engine import dataset as writing
from pipeline.engine import load, rebuild
from pipeline.engine.journal import Journal
from pipeline.source.files import FileSource
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

    def noted(sink: Any, schema: Any, timelines: Any, numbers: Any, seed: int) -> None:
        read.append(len(numbers))
        rebuild.read_back(sink, schema, timelines, numbers, seed)

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


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (0, 2, 3))])
def test_rows_equal_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, mode: str) -> None:
    if seed % 2:
        # Hardly any memory: those that are not idle leave it too, after every epoch.
        monkeypatch.setattr(writing, "physical_memory", lambda: 2)
    assert differences(tmp_path, leaving(seed, 80), seed=1, mode=mode) == []


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
