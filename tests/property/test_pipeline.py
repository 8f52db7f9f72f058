"""The whole pipeline, from JSON Lines to answers, against the naive model."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from pipeline.source.files import FileSource
from tests.model.strategies import Stream, random_close_stream, random_stream, streams
from tests.property.differential import (
    Way,
    answers_that_differ,
    differences,
    load,
    model_of,
    objects,
    random_way,
)


@pytest.mark.parametrize("seed", range(3))
def test_histories_and_counts_are_the_models(tmp_path: Path, seed: int) -> None:
    assert differences(tmp_path, random_stream(seed, 60), seed=seed) == []


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(streams(max_size=10))
def test_any_stream(stream: Stream) -> None:
    with TemporaryDirectory() as directory:
        assert differences(Path(directory), stream, seed=len(stream.records)) == []


@pytest.mark.parametrize("seed", [101])
def test_the_state_is_rebuilt_from_the_tables(tmp_path: Path, seed: int) -> None:
    assert differences(tmp_path, random_stream(seed, 60), seed=seed, rebuild=True) == []


@pytest.mark.parametrize("seed", [200])
def test_answers_at_any_point_are_the_models(tmp_path: Path, seed: int) -> None:
    stream = random_stream(seed, 60)
    lake, _ = load(tmp_path, stream, random_way(seed, 60))
    assert answers_that_differ(lake, model_of(stream), seed=seed, points=3) == []


@pytest.mark.parametrize("seed", [301])
def test_upsert_answers_as_append_does(tmp_path: Path, seed: int) -> None:
    stream = random_stream(seed, 60)
    append, counts = load(tmp_path / "append", stream, Way(25, (30,)))
    upsert, same_counts = load(tmp_path / "upsert", stream, Way(25, (30,), mode="upsert"))
    assert counts == same_counts
    for table in append.tables:
        histories = [objects(lake.history(table, provenance=True)) for lake in (append, upsert)]
        assert histories[0] == histories[1]
    assert answers_that_differ(upsert, model_of(stream), seed=seed, points=2) == []


@pytest.mark.parametrize("records", [1, 17])
def test_blocks_of_any_size_leave_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    monkeypatch.setattr("pipeline.engine.load.FileSource", partial(FileSource, block_records=records))
    assert differences(tmp_path, random_stream(400, 60), seed=400) == []


def test_keys_that_leave_memory_come_back_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipeline.engine.dataset")
    monkeypatch.setattr("pipeline.engine.load.FileSource", partial(FileSource, block_records=5))
    monkeypatch.setattr("pipeline.engine.checkpoints.LEAST_RECORDS", 15)
    monkeypatch.setattr("pipeline.engine.dataset.physical_memory", lambda: 2)
    stream = random_stream(401, 80)
    lake, _ = load(tmp_path, stream, Way(5, (40,)))
    assert caplog.messages.count("a generation of keys leaves memory") > 5
    assert answers_that_differ(lake, model_of(stream), seed=401, points=2) == []


@pytest.mark.parametrize("seed", [410, pytest.param(411, marks=pytest.mark.long)])
@pytest.mark.parametrize("mode", ["append", pytest.param("upsert", marks=pytest.mark.slow)])
def test_rows_are_the_same_with_hardly_any_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, mode: str
) -> None:
    """Keys leave memory after every epoch and come back; files of keys are cut, moved and deleted."""
    monkeypatch.setattr("pipeline.engine.load.FileSource", partial(FileSource, block_records=3))
    monkeypatch.setattr("pipeline.engine.dataset.physical_memory", lambda: 2)
    monkeypatch.setattr("pipeline.engine.dataset.LEAST_RECORDS", 4)
    monkeypatch.setattr("state.append_files._SMALLEST", 1000)
    monkeypatch.setattr("state.key_files._SLACK", 1000)
    monkeypatch.setattr("state.key_files._STRETCH", 300)
    for rebuild in (False, True):
        stream, place = random_stream(seed + rebuild, 80), tmp_path / str(rebuild)
        assert differences(place, stream, seed=seed, rebuild=rebuild, mode=mode) == []


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("mode", ["append", pytest.param("upsert", marks=pytest.mark.slow)])
def test_records_that_hardly_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, rebuild: bool
) -> None:
    """Also with hardly any memory: the boundaries of a key are the same wherever it comes back from."""
    monkeypatch.setattr("pipeline.engine.load.FileSource", partial(FileSource, block_records=3))
    monkeypatch.setattr("pipeline.engine.dataset.physical_memory", lambda: 2)
    for seed in (1, 3):
        stream = random_close_stream(seed, 60)
        assert differences(tmp_path / str(seed), stream, seed=seed, rebuild=rebuild, mode=mode) == []


@pytest.mark.parametrize("limit", [10])
def test_an_epoch_may_end_within_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr("pipeline.engine.timelines.ROW_LIMIT", limit)
    assert differences(tmp_path, random_stream(402, 40), seed=402) == []


@pytest.mark.parametrize("rebuild", [False, True])
def test_what_was_known_before_1970(tmp_path: Path, rebuild: bool) -> None:
    """System times around 1970, where a number of microseconds is negative, -1 or 0."""
    stream = random_stream(403, 40)
    first = min(record.timestamp for record in stream.records)
    early = [
        replace(record, timestamp=(record.timestamp - first) // 500_000 - 20) for record in stream.records
    ]
    assert differences(tmp_path, replace(stream, records=early), seed=403, rebuild=rebuild) == []


@pytest.mark.long
@pytest.mark.parametrize("hundred", range(10, 16))
def test_hundreds_of_streams(tmp_path: Path, hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        stream = random_stream(seed, 150 if seed % 3 == 0 else 60)
        mode = "upsert" if seed % 5 == 4 else "append"
        found = differences(tmp_path / str(seed), stream, seed=seed, rebuild=seed % 2 == 1, mode=mode)
        assert found == [], f"seed {seed}"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3000, 3060))
def test_many_records_that_hardly_differ(tmp_path: Path, seed: int) -> None:
    stream, mode = random_close_stream(seed, 100), "upsert" if seed % 5 == 4 else "append"
    assert differences(tmp_path, stream, seed=seed, rebuild=seed % 2 == 1, mode=mode) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2000, 2040))
def test_many_answers(tmp_path: Path, seed: int) -> None:
    stream = random_stream(seed, 80)
    mode = "upsert" if seed % 2 else "append"
    lake, _ = load(tmp_path, stream, random_way(seed, 80, mode=mode))
    assert answers_that_differ(lake, model_of(stream), seed=seed, points=6) == []
