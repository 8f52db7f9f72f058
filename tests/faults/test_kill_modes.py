"""Killed in upsert mode, with partitioned tables, and with less memory than the state needs."""

from pathlib import Path

import pytest

from pipeline.faults import CHECKPOINT_POINTS, COMMIT_POINTS, EPOCH_POINTS, REBUILD_POINTS, SHRINK_POINTS
from tests.faults.stories import Story, seed_of
from tests.forks import Forks
from tests.matrix import KILL_COLD, KILL_PARTITIONED, KILL_UPSERT

long, fault = pytest.mark.long, pytest.mark.fault
FAULTS = {
    "upsert": (fault(KILL_UPSERT),),
    "partitioned": (fault(KILL_PARTITIONED),),
    "upsert-partitioned": (fault(KILL_UPSERT), fault(KILL_PARTITIONED)),
    "cold": (fault(KILL_COLD),),
    "upsert-cold": (fault(KILL_UPSERT), fault(KILL_COLD)),
}
IN_MEMORY, SHRINKING = ("upsert", "partitioned", "upsert-partitioned"), ("cold", "upsert-cold")


def cases(kinds: tuple[str, ...], *points: str) -> list[object]:
    return [
        pytest.param(kind, point, marks=FAULTS[kind], id=f"{kind}-{point}")
        for kind in kinds
        for point in points
    ]


@pytest.mark.parametrize(
    ("kind", "point"),
    [*cases(("upsert-partitioned",), "between-commits:2"), *cases(("upsert-cold",), "after-shrinking:2")],
)
def test_a_kill_in_each_mode(kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    Story(tmp_path, forks, seed_of(kind, point), kind=kind).kill(point).ends_well()


@long
@pytest.mark.parametrize(("kind", "point"), cases(IN_MEMORY, *EPOCH_POINTS))
def test_killed_once(kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    Story(tmp_path, forks, seed_of(kind, point), kind=kind).kill(f"{point}:2").proceeds()


@long
@pytest.mark.parametrize(
    ("kind", "point"), cases(SHRINKING, *EPOCH_POINTS, *CHECKPOINT_POINTS, *SHRINK_POINTS)
)
def test_killed_beside_cold_keys(kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    """Every epoch ends with cold keys leaving memory, and the next one brings some back."""
    story = Story(tmp_path, forks, seed_of(kind, point), kind=kind)
    story.kill(f"{point}:2" if point in EPOCH_POINTS else point, point).proceeds()


@long
@pytest.mark.parametrize(
    ("kind", "point"), cases(("upsert", "upsert-partitioned"), *EPOCH_POINTS, *CHECKPOINT_POINTS)
)
@pytest.mark.parametrize("first", ["after-data-file:2", "between-commits:2", "after-last-commit"])
def test_killed_twice_in_a_row(first: str, kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed_of(first, kind, point), kind=kind, checkpoint_records=5)
    story.kill(first, point).ends_well()


@long
@pytest.mark.parametrize(
    ("kind", "point"), cases(("upsert", "upsert-cold"), "before-settling", *COMMIT_POINTS)
)
def test_killed_twice_while_finishing_an_epoch(kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed_of(kind, point), kind=kind)
    story.kill("between-commits:2", point, point).proceeds()


@long
@pytest.mark.parametrize(("kind", "point"), cases(("upsert", "upsert-cold", "cold"), *REBUILD_POINTS))
def test_killed_while_rebuilding(kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed_of(kind, point), kind=kind).kill(
        "before-first-commit:2", "after-settling"
    )
    story.place.lose_state()
    story.kill(point).ends_well()
