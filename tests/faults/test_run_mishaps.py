"""Faults of `bitlake run` that loads of files have too: full disks, other writers, states lost, old or damaged."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.mishaps import FILLER
from tests.faults.stories import seed_of
from tests.faults.test_damage import DAMAGES, damage
from tests.faults.test_disk import Disk, disk
from tests.faults.test_tables import expire
from tests.faults.topics import RunStory
from tests.forks import Forks
from tests.kafka_broker import Kafka
from tests.matrix import (
    ANSWER_LOST,
    CLOCK,
    CONCURRENT,
    EXPIRED,
    FULL_DATA,
    FULL_METADATA,
    FULL_STATE,
    STATE_AHEAD,
    STATE_LOST,
    STATE_OLD,
    STATE_TRUNCATED,
)

pytestmark = [pytest.mark.servers, pytest.mark.long]
fault = pytest.mark.fault
__all__ = ["disk"]


@fault(CONCURRENT)
@pytest.mark.parametrize("deed", ["touch", "compact"])
@pytest.mark.parametrize("point", ["before-file-list:2", "between-commits:3"])
def test_others_commit_at_the_same_time(
    deed: str, point: str, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(deed, point))
    story.place.finish(replace(story.follow, mishap=f"{deed}@{point}"))
    story.goes_on()


@fault(ANSWER_LOST)
@pytest.mark.parametrize("point", ["before-first-commit:2", "between-commits:4"])
def test_an_answer_that_is_lost(point: str, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(point))
    story.place.finish(replace(story.follow, mishap=f"lose-answer@{point}"))
    story.goes_on()


@pytest.mark.parametrize(
    ("folder", "point"),
    [
        pytest.param("warehouse", "before-data-file", marks=fault(FULL_DATA)),
        pytest.param("warehouse", "between-commits", marks=fault(FULL_METADATA)),
        pytest.param("state", "after-last-commit", marks=fault(FULL_STATE)),
    ],
)
def test_no_room(folder: str, point: str, tmp_path: Path, forks: Forks, broker: Kafka, disk: Disk) -> None:
    """A run waits for room as for a server that is away, but not for the state's: that ends it."""
    full = tmp_path / "disk"
    disk(full)
    places = {name: full if name == folder else tmp_path for name in ("state", "warehouse")}
    catalog = {"name": "lake", "type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db"}
    settings = {
        "state": str(places["state"] / "state"),
        "catalog": catalog | {"warehouse": str(places["warehouse"] / "warehouse")},
    }
    story = RunStory(tmp_path, forks, broker, seed_of(folder, point), settings=settings, checkpoint_records=5)
    mishap = replace(story.follow, mishap=f"fill@{point}:2={full}", patience=1.0)
    message = story.place.refused(mishap, "StateUnavailable" if folder == "state" else "Unavailable")
    assert "written" in message
    (full / FILLER).unlink()
    story.proceeds()


@fault(STATE_LOST)
def test_a_lost_state_is_rebuilt(tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, 101)
    for _ in range(2):
        story.ends_well()
        story.place.lose_state()
        story.topic.grow(10)
    story.ends_well()


@fault(STATE_OLD)
@pytest.mark.parametrize("point", ["after-intent:2", "between-commits:2"])
def test_an_old_state_is_rebuilt(point: str, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(point) + 2).kill(point)
    shutil.copytree(story.place.state, tmp_path / "old")
    story.ends_well()
    story.goes_on()
    story.place.lose_state()
    shutil.move(tmp_path / "old", story.place.state)
    story.goes_on()


@fault(STATE_AHEAD)
def test_tables_rolled_back_are_refused_until_the_state_goes(
    tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    catalog, kept = tmp_path / ".bitlake" / "catalog.db", tmp_path / "catalog.kept"
    story = RunStory(tmp_path, forks, broker, 102)
    story.ends_well()
    shutil.copy(catalog, kept)
    story.goes_on()
    shutil.copy(kept, catalog)
    assert "they are not of one history" in story.place.refused(story.follow)
    story.place.lose_state()
    story.goes_on()


@fault(STATE_TRUNCATED)
@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_file(how: str, seed: int, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    """Read right, rebuilt, or refused and then rebuilt."""
    story = RunStory(tmp_path, forks, broker, seed, checkpoint_records=5).kill("after-state:2")
    name = damage(story.place.state, how, random.Random(seed).randrange(100))
    outcome = story.place.outcome(story.follow)
    if "error" in outcome:
        assert outcome["error"] == "StateDamaged", (name, outcome)
        story.lose_state()
    story.proceeds()


@fault(EXPIRED)
@pytest.mark.parametrize("point", ["before-first-commit:2", "between-commits:3"])
def test_snapshots_expire_under_an_epoch_half_done(
    point: str, tmp_path: Path, forks: Forks, broker: Kafka
) -> None:
    story = RunStory(tmp_path, forks, broker, seed_of(point) + 3).kill(point)
    expire(story.place)
    story.proceeds()


@fault(CLOCK)
@pytest.mark.parametrize("lifts", [True, False])
def test_the_clock_on_the_wall_set_back(lifts: bool, tmp_path: Path, forks: Forks, broker: Kafka) -> None:
    """Clocks that were lifted by it stay where they are; so does the lease."""
    story = RunStory(tmp_path, forks, broker, 103, lifts=lifts)
    for number, now in enumerate((2_000_000_000_000_000, 1_900_000_000_000_000, 2_000_000_000_000_001)):
        story.follow = replace(story.follow, now=now)
        if number == 1:
            story.kill("between-commits")
        story.ends_well()
        story.topic.grow(10)
    story.ends_well()
