"""Two writers at once, one that was stopped meanwhile, answers that never come, clocks that go back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.faults import EPOCH_POINTS
from tests.faults.place import Place
from tests.faults.runs import BONDS, Load
from tests.faults.stories import Story, seed_of
from tests.forks import Forks
from tests.matrix import ANSWER_LOST, CLOCK, SECOND_WRITER, STOPPED
from tests.model import Model
from tests.model.strategies import random_stream

long, fault = pytest.mark.long, pytest.mark.fault


@fault(ANSWER_LOST)
@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ("append", "before-first-commit:2"),
        *(
            pytest.param(kind, point, marks=long)
            for kind in ("append", "upsert")
            for point in (
                "before-first-commit",
                "between-commits:2",
                "between-commits:4",
                "between-commits:6",
            )
        ),
    ],
)
def test_an_answer_that_is_lost(kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    """The commit is done; the next try finds it in the table."""
    story = Story(tmp_path, forks, seed_of(kind, point), kind=kind)
    story.place.finish(story.mishap(f"lose-answer@{point}"))
    story.goes_on()


@fault(SECOND_WRITER)
@pytest.mark.parametrize("point", ["before-data-file:2", pytest.param("before-keys", marks=long)])
def test_a_second_process_beside_the_first(point: str, tmp_path: Path, forks: Forks) -> None:
    """Both have one lake.yaml, and so one state: it is the first one's until that ends."""
    story = Story(tmp_path, forks, 51, checkpoint_records=5)
    first = story.place.stop(story.load, point)
    for _ in range(2):
        message = story.place.refused(story.load, "StateLocked")
        assert f"is open in process {first}" in message
    story.ends_as_resumed(first)


@long
@fault(STOPPED)
@pytest.mark.parametrize("point", EPOCH_POINTS)
def test_stopped_and_back_beside_its_successor(point: str, tmp_path: Path, forks: Forks) -> None:
    """The successor has a state of its own, as on another machine: only the tables can tell them apart."""
    story = Story(tmp_path, forks, seed_of(point))
    first = story.place.stop(story.load, f"{point}:2")
    other = successor(story)
    assert "is being written by process" in other.refused(story.load, "Leased")
    other.finish(taking_over(story))
    assert story.place.resume(first)["error"] == "Fenced"
    other.check(story.model)
    more(story.place, story.model, seed=story.seed + 1)


@pytest.mark.slow
@fault(STOPPED)
def test_stopped_and_back_when_its_successor_committed_the_same_epoch(tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, 56)
    first = story.place.stop(story.load, "before-first-commit:2")
    successor(story).kill(taking_over(story), "after-state")
    late = story.place.resume(first)
    assert late["error"] == "Fenced"
    assert "'bonds' was taken over by process" in late["message"]
    story.ends_well()


@long
@fault(STOPPED)
def test_stopped_and_back_when_its_successor_is_far_ahead(tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, 53)
    first = story.place.stop(story.load, "after-data-file:2")
    other = successor(story)
    other.finish(taking_over(story))
    more(other, story.model, seed=54)
    assert story.place.resume(first)["error"] == "Fenced"
    other.check(story.model)
    more(story.place, story.model, seed=55)


@pytest.mark.slow
@fault(STOPPED)
def test_a_letter_of_a_stale_writer_stands_once(tmp_path: Path, forks: Forks) -> None:
    """Its epoch is refused by the dataset's own tables before its letters are in the one that all share."""
    story = Story(tmp_path, forks, 57, broken=5)
    first = story.place.stop(story.load, "before-first-commit")
    other = successor(story, commit={"records": 3, "seconds": 3600})
    other.kill(taking_over(story), "after-state")
    assert story.place.resume(first)["error"] == "Fenced"
    other.finish(story.load)
    other.check(story.model)


def taking_over(story: Story) -> Load:
    """The load, whoever holds the dataset."""
    return replace(story.load, take_over=True)


def successor(story: Story, **settings: Any) -> Place:
    """The same tables, written with another state."""
    catalog = {
        "name": "lake",
        "type": "sql",
        "uri": f"sqlite:///{story.place.folder}/.bitlake/catalog.db",
        "warehouse": f"{story.place.folder}/.bitlake/warehouse",
    }
    folder = story.place.folder / "successor"
    settings |= {"catalog": catalog}
    return Place(folder, story.place.forks, *story.place.entries, settings=settings)


def more(place: Place, model: Model, *, seed: int) -> None:
    lines = random_stream(seed, 15, entry=place.entries[0]).envelope_lines()
    place.finish(Load("bonds", [place.file(f"{seed}.jsonl", lines)]))
    place.check(model.load(lines, started=0, envelope=True, first=model.records))


@fault(CLOCK)
@pytest.mark.parametrize("lose_state", [True, pytest.param(False, marks=long)])
def test_a_clock_set_back(lose_state: bool, tmp_path: Path, forks: Forks) -> None:
    """Records without a time of their own get the load's start, but never one before the last."""
    place, model = Place(tmp_path, forks, BONDS), Model(BONDS)
    for number, now in enumerate((2_000_000_000_000_000, 1_900_000_000_000_000, 2_000_000_000_000_001)):
        lines = random_stream(60 + number, 15, entry=BONDS).plain_lines()
        load = Load("bonds", [place.file(f"{number}.jsonl", lines)], envelope=False, now=now)
        if number == 1:
            place.kill(load, "after-intent")
        place.finish(load)
        model.load(lines, started=now, first=model.records)
        if lose_state and number < 2:
            place.lose_state()
    place.check(model)
