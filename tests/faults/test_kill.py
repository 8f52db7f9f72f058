"""Killed at a point of the protocol and loaded again: the tables are as if nothing had happened."""

import itertools
from pathlib import Path

import pytest

from pipeline.faults import (
    CHECKPOINT_POINTS,
    COMMIT_POINTS,
    EPOCH_POINTS,
    LOAD_POINTS,
    REBUILD_POINTS,
    SETTLE_POINTS,
)
from tests.faults.stories import EPOCHS, Story, seed_of
from tests.forks import Forks
from tests.matrix import KILL, KILL_RECOVERY, KILL_TWICE

LISTED = EPOCH_POINTS[EPOCH_POINTS.index("after-file-list") :]
"""Points at which an epoch is left for the next process to finish."""

CHECKPOINTS = {"records": 64, "checkpoint_records": 5}
"""Epochs enough to be killed in two checkpoints, each of which takes three."""


@pytest.mark.slow
@pytest.mark.fault(KILL)
@pytest.mark.parametrize(
    "points",
    [
        ("after-intent:2",),
        ("after-file-list:2", "between-commits", "between-commits"),
        ("after-last-commit:3", "after-settling"),
        ("before-report",),
    ],
    ids="+".join,
)
def test_a_few_kills(points: tuple[str, ...], tmp_path: Path, forks: Forks) -> None:
    Story(tmp_path, forks, seed_of(*points)).kill(*points).ends_well()


@pytest.mark.fault(KILL_RECOVERY)
def test_killed_while_rebuilding(tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, 4).kill("after-intent:2")
    story.place.lose_state()
    story.kill("after-rebuilt-table").ends_well()


@pytest.mark.fault(KILL)
def test_killed_in_a_checkpoint(tmp_path: Path, forks: Forks) -> None:
    Story(tmp_path, forks, 5, **CHECKPOINTS).kill("between-keys", "after-keys").ends_well()


@pytest.mark.fault(KILL)
@pytest.mark.long
@pytest.mark.parametrize("nth", range(1, EPOCHS + 1))
@pytest.mark.parametrize("point", EPOCH_POINTS)
def test_killed_once(point: str, nth: int, tmp_path: Path, forks: Forks) -> None:
    Story(tmp_path, forks, seed_of(point) + nth).kill(f"{point}:{nth}").proceeds()


@pytest.mark.fault(KILL)
@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "nth"), [("after-new-table", 1), ("after-new-table", 2), ("before-report", 1)]
)
def test_killed_outside_epochs(point: str, nth: int, tmp_path: Path, forks: Forks) -> None:
    assert point in LOAD_POINTS
    Story(tmp_path, forks, nth).kill(f"{point}:{nth}").proceeds()


@pytest.mark.fault(KILL_TWICE)
@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "second"), list(itertools.product(EPOCH_POINTS, EPOCH_POINTS)), ids="+".join
)
def test_killed_twice_in_a_row(first: str, second: str, tmp_path: Path, forks: Forks) -> None:
    Story(tmp_path, forks, seed_of(first, second)).kill(first, second).ends_well()


@pytest.mark.fault(KILL_RECOVERY)
@pytest.mark.long
@pytest.mark.parametrize("point", [*SETTLE_POINTS, *COMMIT_POINTS])
@pytest.mark.parametrize("first", LISTED[:-1])
def test_killed_twice_while_finishing_an_epoch(first: str, point: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed_of(first, point)).kill(f"{first}:2", point)
    if point != "after-settling":
        story.kill(point)
    story.proceeds()


@pytest.mark.fault(KILL_RECOVERY)
@pytest.mark.long
@pytest.mark.parametrize("point", SETTLE_POINTS)
@pytest.mark.parametrize("first", EPOCH_POINTS[:4])
def test_killed_twice_while_forgetting_an_epoch(first: str, point: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed_of(first, point)).kill(f"{first}:2", point)
    if point != "after-settling":
        story.kill(point)
    story.proceeds()


@pytest.mark.fault(KILL_RECOVERY)
@pytest.mark.long
@pytest.mark.parametrize(
    ("first", "second"), list(itertools.product((*REBUILD_POINTS, *CHECKPOINT_POINTS), REBUILD_POINTS))
)
def test_killed_twice_while_rebuilding(first: str, second: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed_of(first, second)).kill("before-first-commit:2", "after-settling")
    story.place.lose_state()
    story.kill(first)
    if first == "after-rebuilt-mark":
        story.place.lose_state()
    story.kill(second).ends_well()


@pytest.mark.fault(KILL)
@pytest.mark.long
@pytest.mark.parametrize(("point", "nth"), [("before-keys", 2), *((point, 1) for point in CHECKPOINT_POINTS)])
def test_killed_in_each_checkpoint(point: str, nth: int, tmp_path: Path, forks: Forks) -> None:
    Story(tmp_path, forks, seed_of(point) + nth, **CHECKPOINTS).kill(f"{point}:{nth}").proceeds()


@pytest.mark.fault(KILL_TWICE)
@pytest.mark.long
@pytest.mark.parametrize("then", [*EPOCH_POINTS, *CHECKPOINT_POINTS])
@pytest.mark.parametrize("point", CHECKPOINT_POINTS)
def test_killed_in_a_checkpoint_and_again(point: str, then: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed_of(point, then), **CHECKPOINTS)
    story.kill(point, then).ends_well()
