"""Loads of several files, of plain records, of compressed ones, of several datasets: killed, they go on."""

from pathlib import Path

import pytest

from pipeline.engine.progress import Progress
from pipeline.sink.epoch import Position
from pipeline.sink.ledger import newest_summary
from tests.faults.place import Place
from tests.faults.runs import BONDS, Load
from tests.forks import Forks
from tests.matrix import KILL, POISON
from tests.model import Model
from tests.model.strategies import random_stream

POISONS = (
    b"",
    b"null",
    b'{"isin": "K", "at": "2024-0',
    b'{"isin": "\xff\xfe"}',
    b"[1]",
    b"\x00",
    b"7",
    b'{"isin": {}}',
)
STARTED = 1_800_000_000_000_000


@pytest.fixture
def place(tmp_path: Path, forks: Forks) -> Place:
    return Place(tmp_path, forks, BONDS)


def lines_of(seed: int, records: int = 15) -> list[bytes]:
    return random_stream(seed, records, entry=BONDS).envelope_lines()


def committed(place: Place, dataset: str = "bonds") -> Position:
    table = place.catalog.load_table(f"ref.{dataset}")
    summary = newest_summary(table.metadata, dataset)
    assert summary is not None
    return Position.from_summary(summary)


@pytest.mark.slow
@pytest.mark.fault(KILL)
@pytest.mark.parametrize(
    "point",
    [
        "after-intent:3",
        *(
            pytest.param(point, marks=pytest.mark.long)
            for point in ("after-last-commit:3", "after-file-list:5")
        ),
    ],
)
def test_files_that_were_finished_are_not_loaded_again(point: str, place: Place) -> None:
    parts = [lines_of(seed) for seed in (1, 2, 3)]
    load = Load("bonds", [place.file(f"{n}.jsonl", part) for n, part in enumerate(parts)])
    place.kill(load, point)
    begun = committed(place)
    left = place.finish(load)
    model = Model(BONDS).load([line for part in parts for line in part], started=0, envelope=True)
    place.check(model)
    settled = 0 if point.startswith("after-intent") else 1
    assert 45 - left["records"] >= begun.offsets[0]
    assert left["epochs"] + begun.epoch + settled >= committed(place).epoch
    place.finish(load)
    model.load([line for part in parts for line in part], started=0, envelope=True, first=45)
    place.check(model)


@pytest.mark.slow
@pytest.mark.fault(KILL)
def test_a_load_goes_on_after_loads_of_other_files(place: Place) -> None:
    first, other = lines_of(4), lines_of(5)
    load = Load("bonds", [place.file("a.jsonl", first)])
    place.kill(load, "after-state")
    read = committed(place).offsets[0]
    for name in ("b.jsonl", "c.jsonl"):
        place.finish(Load("bonds", [place.file(name, other)]))
    place.finish(load)
    model = Model(BONDS)
    for lines in (first[:read], other, other, first[read:]):
        model.load(lines, started=0, envelope=True, first=model.records)
    place.check(model)
    assert 0 < read < len(first)


@pytest.mark.long
def test_a_finished_file_of_an_unfinished_load_leaves_the_other_to_go_on(place: Place) -> None:
    a, b = lines_of(6, 6), lines_of(7)
    files = [place.file("a.jsonl", a), place.file("b.jsonl", b)]
    place.kill(Load("bonds", files), "after-state")
    read = committed(place).offsets[0]
    assert len(a) < read < len(a) + len(b)
    assert place.finish(Load("bonds", files[:1]))["records"] == 0
    place.finish(Load("bonds", files[1:]))
    place.check(Model(BONDS).load(a + b, started=0, envelope=True))


@pytest.mark.long
def test_a_file_named_twice_is_loaded_twice(place: Place) -> None:
    lines = lines_of(8, 12)
    load = Load("bonds", 2 * [place.file("a.jsonl", lines)])
    place.kill(load, "after-state:2")
    place.finish(load)
    place.check(Model(BONDS).load(2 * lines, started=0, envelope=True))


@pytest.mark.fault(KILL)
def test_plain_records_keep_the_time_of_the_start(place: Place) -> None:
    lines = random_stream(9, 24, entry=BONDS).plain_lines()
    load = Load("bonds", [place.file("a.jsonl", lines)], envelope=False)
    place.kill(load, "between-commits:3")
    place.kill(load, "after-settling")
    begun = Progress.from_json(committed(place).progress)
    assert begun is not None
    place.finish(load)
    place.check(Model(BONDS).load(lines, started=begun.started))


@pytest.mark.long
@pytest.mark.parametrize("point", ["after-data-file:2", "after-state:2"])
def test_a_compressed_file_goes_on(point: str, place: Place) -> None:
    lines = lines_of(10, 24)
    load = Load("bonds", [place.file("a.jsonl.gz", lines)])
    place.kill(load, point)
    place.finish(load)
    place.check(Model(BONDS).load(lines, started=0, envelope=True))


@pytest.mark.long
@pytest.mark.parametrize("point", ["before-file-list:2", "between-commits:2", "after-state:2"])
def test_datasets_of_one_lake_do_not_touch_each_other(point: str, tmp_path: Path, forks: Forks) -> None:
    entries = [BONDS, BONDS | {"name": "notes", "table": "ref.notes"}]
    place = Place(tmp_path, forks, *entries)
    parts = {str(entry["name"]): lines_of(seed) for seed, entry in enumerate(entries, 11)}
    loads = {name: Load(name, [place.file(f"{name}.jsonl", part)]) for name, part in parts.items()}
    for load in loads.values():
        place.kill(load, point)
    place.finish(loads["notes"])
    place.finish(loads["bonds"])
    models = [Model(entry).load(parts[str(entry["name"])], started=0, envelope=True) for entry in entries]
    for model in models:
        place.check(model)
    more = lines_of(13, 9)
    place.lose_state()
    for model in reversed(models):
        place.finish(Load(model.dataset.name, [place.file("more.jsonl", more)]))
        model.load(more, started=0, envelope=True, first=model.records)
        place.check(model)


@pytest.mark.fault(POISON)
@pytest.mark.parametrize("envelope", [True, pytest.param(False, marks=pytest.mark.long)])
def test_poison_in_each_place(envelope: bool, place: Place) -> None:
    """First, last, where blocks and epochs end, and a whole epoch of it."""
    stream = random_stream(14, 20, entry=BONDS)
    good = stream.envelope_lines() if envelope else stream.plain_lines()
    lines = [
        POISONS[0],
        *good[:4],
        POISONS[1],
        POISONS[2],
        *good[4:9],
        *POISONS,
        *POISONS,
        *good[9:],
        POISONS[3],
    ]
    load = Load("bonds", [place.file("a.jsonl", lines)], envelope=envelope, now=STARTED)
    place.kill(load, "between-commits:2")
    place.kill(load, "after-file-list")
    place.finish(load)
    place.check(Model(BONDS).load(lines, started=STARTED, envelope=envelope))
