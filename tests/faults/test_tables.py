"""What others do to the tables: snapshots expired, files compacted, by hand or by another engine."""

from pathlib import Path

import pytest

from tests.faults.mishaps import compact
from tests.faults.place import Place
from tests.faults.runs import Load
from tests.faults.stories import Story
from tests.forks import Forks
from tests.matrix import CONCURRENT, EXPIRED
from tests.model.strategies import random_stream

TABLES = ("ref.bonds", "ref.bonds__calls", "ref.bonds__terms__legs", "ref.bonds__terms__legs__fees")


def expire(place: Place, *, tags: bool = True) -> None:
    """Expire every snapshot of every table but the current one and those with tags, which may go before."""
    for identifier in (*TABLES, "bitlake.dead_letters"):
        table = place.catalog.load_table(identifier)
        for name in [] if tags else [name for name in table.metadata.refs if name != "main"]:
            table.manage_snapshots().remove_tag(name).commit()
        kept = {ref.snapshot_id for ref in table.refresh().metadata.refs.values()}
        old = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id not in kept]
        if old:
            table.maintenance.expire_snapshots().by_ids(old).commit()
        assert len(place.catalog.load_table(identifier).metadata.snapshots) <= 1 + tags


def goes_on(story: Story, *, lose_state: bool) -> None:
    story.place.check(story.model)
    if lose_state:
        story.place.lose_state()
    story.goes_on()


@pytest.mark.fault(EXPIRED)
@pytest.mark.parametrize(
    ("kind", "lose_state"),
    [("append", True), *(pytest.param(kind, False, marks=pytest.mark.long) for kind in ("append", "upsert"))],
)
def test_only_the_newest_snapshot_is_left(kind: str, lose_state: bool, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, 31, kind=kind)
    story.place.finish(story.load)
    expire(story.place)
    goes_on(story, lose_state=lose_state)


@pytest.mark.long
@pytest.mark.fault(EXPIRED)
@pytest.mark.parametrize("point", ["after-intent:2", "before-first-commit:2", "between-commits:3"])
def test_snapshots_expire_under_an_epoch_half_done(point: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, 32)
    story.kill(point)
    expire(story.place)
    story.proceeds()


@pytest.mark.long
@pytest.mark.fault(EXPIRED)
@pytest.mark.parametrize("lose_state", [True, False])
@pytest.mark.parametrize("kind", ["append", "upsert", "partitioned"])
def test_others_compact_and_the_snapshot_with_the_position_stays(
    kind: str, lose_state: bool, tmp_path: Path, forks: Forks
) -> None:
    story = Story(tmp_path, forks, 33, kind=kind)
    story.place.finish(story.load)
    compact(story.place.lake)
    goes_on(story, lose_state=lose_state)


@pytest.mark.slow
@pytest.mark.fault(EXPIRED)
@pytest.mark.parametrize(
    ("kind", "lose_state"), [("append", True), pytest.param("upsert", False, marks=pytest.mark.long)]
)
def test_others_compact_and_then_expire(kind: str, lose_state: bool, tmp_path: Path, forks: Forks) -> None:
    """The snapshot with the position is not the current one; its tag keeps it."""
    story = Story(tmp_path, forks, 36, kind=kind)
    story.place.finish(story.load)
    compact(story.place.lake)
    expire(story.place)
    goes_on(story, lose_state=lose_state)


@pytest.mark.fault(EXPIRED, invariants=[])
@pytest.mark.parametrize("lose_state", [True, pytest.param(False, marks=pytest.mark.long)])
def test_no_snapshot_is_left_that_tells_the_position(lose_state: bool, tmp_path: Path, forks: Forks) -> None:
    """Somebody removed the tags, too. A new beginning would double everything."""
    story = Story(tmp_path, forks, 34)
    story.place.finish(story.load)
    compact(story.place.lake)
    expire(story.place, tags=False)
    before = {name: story.place.lake.history(name) for name in story.place.lake.tables}
    if lose_state:
        story.place.lose_state()
    more = random_stream(35, 15, entry=story.place.entries[0]).envelope_lines()
    message = story.place.refused(Load("bonds", [story.place.file("more.jsonl", more)]))
    assert "no snapshot is left that tells which records they came from" in message
    assert {name: story.place.lake.history(name) for name in story.place.lake.tables} == before


@pytest.mark.long
@pytest.mark.fault(CONCURRENT)
@pytest.mark.parametrize(
    ("deed", "kind", "point"),
    [
        (deed, kind, point)
        for deed in ("touch", "compact")
        for kind in ("append", "upsert", "upsert-partitioned")
        for point in ("after-intent:2", "before-file-list:3", "between-commits:3", "after-last-commit:2")
    ],
)
def test_others_commit_at_the_same_time(
    deed: str, kind: str, point: str, tmp_path: Path, forks: Forks
) -> None:
    story = Story(tmp_path, forks, 36, kind=kind)
    story.place.finish(story.mishap(f"{deed}@{point}"))
    story.goes_on()


@pytest.mark.long
@pytest.mark.fault(CONCURRENT)
@pytest.mark.parametrize("kind", ["append", "upsert"])
@pytest.mark.parametrize("point", ["before-first-commit:2", "between-commits:2", "between-commits:4"])
def test_others_compact_under_an_epoch_half_done(kind: str, point: str, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, 38, kind=kind)
    story.kill(point)
    compact(story.place.lake)
    story.proceeds()
