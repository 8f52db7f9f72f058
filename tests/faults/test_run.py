"""Faults of `bitlake run` on a real broker: killed at a point of the protocol and run again."""

import itertools
from pathlib import Path

import pytest

from pipeline.faults import CHECKPOINT_POINTS, EPOCH_POINTS, REBUILD_POINTS, SETTLE_POINTS, SHRINK_POINTS
from tests.faults.stories import seed_of
from tests.faults.topics import RunStory
from tests.forks import Forks
from tests.kafka_broker import Kafka
from tests.matrix import KILL, KILL_RECOVERY, KILL_TWICE

pytestmark = pytest.mark.servers
long, fault = pytest.mark.long, pytest.mark.fault
LISTED = EPOCH_POINTS[EPOCH_POINTS.index("after-file-list") :]
"""Points at which an epoch is left for the next process to finish."""


@fault(KILL)
@pytest.mark.parametrize(
    "points",
    [
        ("after-file-list:2", "between-commits", "between-commits"),
        ("after-last-commit:3", "after-settling"),
    ],
    ids="+".join,
)
def test_a_few_kills(points: tuple[str, ...], tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    RunStory(tmp_path, forks, broker, seed_of(*points)).kill(*points).ends_well()


@fault(KILL_RECOVERY)
def test_killed_while_rebuilding(tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, 4).kill("after-intent:2")
    story.lose_state()
    story.kill("after-rebuilt-table").ends_well()


@fault(KILL)
@pytest.mark.parametrize("points", [("between-commits:3", "before-first-commit")], ids="+".join)
def test_killed_while_clocks_are_lifted(
    points: tuple[str, ...], tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    """Belief that was final stays: the invariants are checked, the times are not the model's."""
    RunStory(tmp_path, forks, broker, seed_of(*points), lifts=True).kill(*points).ends_well()


@long
@fault(KILL)
@pytest.mark.parametrize("point", EPOCH_POINTS)
def test_killed_at_each_point_while_clocks_are_lifted(
    point: str, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(point), lifts=True).kill(f"{point}:2")
    story.topic.grow(5)
    story.kill(point).proceeds()


@long
@fault(KILL)
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", EPOCH_POINTS)
def test_killed_once(point: str, nth: int, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    RunStory(tmp_path, forks, broker, seed_of(point) + nth).kill(f"{point}:{nth}").proceeds()


@long
@fault(KILL)
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", ["after-new-table", *CHECKPOINT_POINTS])
def test_killed_outside_epochs(point: str, nth: int, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(point) + nth, checkpoint_records=5)
    story.kill(f"{point}:{nth}").proceeds()


@long
@fault(KILL)
@pytest.mark.parametrize("point", SHRINK_POINTS)
@pytest.mark.parametrize("kind", ["cold", "upsert-cold"])
def test_killed_beside_cold_keys(kind: str, point: str, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(kind, point), kind=kind)
    story.kill(point, "between-commits:2").proceeds()


@long
@fault(KILL_TWICE)
@pytest.mark.parametrize(("first", "second"), list(itertools.product(EPOCH_POINTS, EPOCH_POINTS)))
def test_killed_twice_in_a_row(first: str, second: str, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    RunStory(tmp_path, forks, broker, seed_of(first, second)).kill(first, second).ends_well()


@long
@fault(KILL_RECOVERY)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        *itertools.product(LISTED[:-1], (*SETTLE_POINTS, "between-commits")),
        *itertools.product(EPOCH_POINTS[:4], SETTLE_POINTS),
    ],
)
def test_killed_twice_while_settling(
    first: str, second: str, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(first, second)).kill(f"{first}:2", second)
    if second != "after-settling":
        story.kill(second)
    story.proceeds()


@long
@fault(KILL_RECOVERY)
@pytest.mark.parametrize("second", REBUILD_POINTS)
@pytest.mark.parametrize("first", [*REBUILD_POINTS, "between-keys"])
def test_killed_twice_while_rebuilding(
    first: str, second: str, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(first, second)).kill("before-first-commit:2")
    story.kill("after-settling")
    story.lose_state()
    story.kill(first)
    if first == "after-rebuilt-mark":
        story.lose_state()
    story.kill(second).ends_well()
