"""The state directory lost, old or ahead of the tables; tables rolled back or dropped."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.place import Place
from tests.faults.runs import BONDS, Load
from tests.faults.stories import Story
from tests.forks import Forks
from tests.matrix import STATE_AHEAD, STATE_LOST, STATE_OLD
from tests.model import Model
from tests.model.strategies import random_stream

TABLES = ("ref.bonds", "ref.bonds__calls", "ref.bonds__terms__legs__fees")


@pytest.fixture
def place(tmp_path: Path, forks: Forks) -> Place:
    return Place(tmp_path, forks, BONDS)


@pytest.fixture
def model() -> Model:
    return Model(BONDS)


@pytest.fixture
def file(place: Place, model: Model) -> Callable[[int], Load]:
    """Gives loads of new files, of records that the model is told of."""

    def make(seed: int) -> Load:
        lines = random_stream(seed, 15, entry=BONDS).envelope_lines()
        model.load(lines, started=0, envelope=True, first=model.records)
        return Load("bonds", [place.file(f"{seed}.jsonl", lines)])

    return make


def drop(place: Place, *tables: str) -> None:

    for table in tables:
        place.catalog.drop_table(table)


@pytest.mark.fault(STATE_LOST)
@pytest.mark.long
def test_a_lost_state_is_rebuilt(place: Place, model: Model, file: Callable[[int], Load]) -> None:
    for seed in (1, 2):
        place.finish(file(seed))
        place.lose_state()
    place.finish(file(3))
    place.check(model)


@pytest.mark.fault(STATE_OLD)
@pytest.mark.long
def test_an_old_state_is_rebuilt(
    place: Place, model: Model, file: Callable[[int], Load], tmp_path: Path
) -> None:
    place.finish(file(1))
    shutil.copytree(place.state, tmp_path / "old")
    place.finish(file(2))
    place.lose_state()
    shutil.move(tmp_path / "old", place.state)
    place.finish(file(3))
    place.check(model)


@pytest.mark.fault(STATE_OLD)
@pytest.mark.parametrize(
    "point", [pytest.param("after-intent:2", marks=pytest.mark.long), "between-commits:2"]
)
def test_an_old_state_with_an_unfinished_epoch_is_rebuilt(
    point: str, place: Place, model: Model, file: Callable[[int], Load], tmp_path: Path
) -> None:
    load = file(4)
    place.kill(load, point)
    shutil.copytree(place.state, tmp_path / "old")
    place.finish(load)
    place.finish(file(5))
    place.lose_state()
    shutil.move(tmp_path / "old", place.state)
    place.finish(file(6))
    place.check(model)


@pytest.mark.fault(STATE_AHEAD)
def test_tables_rolled_back_are_refused_until_the_state_goes(
    place: Place, model: Model, file: Callable[[int], Load], tmp_path: Path
) -> None:
    catalog, kept = tmp_path / ".bitlake" / "catalog.db", tmp_path / "catalog.kept"
    place.finish(file(1))
    shutil.copy(catalog, kept)
    place.finish(Load("bonds", [place.file("b.jsonl", random_stream(2, 15, entry=BONDS).envelope_lines())]))
    shutil.copy(kept, catalog)
    load = file(3)
    message = place.refused(load)
    assert "the state is at epoch 4, its tables at epoch 2: they are not of one history" in message
    assert "move the state directory away" in message
    place.lose_state()
    place.finish(load)
    place.check(model)


@pytest.mark.long
@pytest.mark.fault(STATE_AHEAD)
def test_tables_rolled_back_under_an_unfinished_epoch_are_refused(
    place: Place, model: Model, file: Callable[[int], Load], tmp_path: Path
) -> None:
    catalog, kept, ahead = tmp_path / ".bitlake" / "catalog.db", tmp_path / "kept", tmp_path / "ahead"
    place.finish(file(1))
    shutil.copy(catalog, kept)
    place.finish(file(2))
    load = file(3)
    place.kill(load, "before-first-commit")
    shutil.copy(catalog, ahead)
    shutil.copy(kept, catalog)
    message = place.refused(load)
    assert (
        "epoch 5 was being committed, but ref.bonds is at epoch 2: it was rolled back or dropped" in message
    )
    shutil.copy(ahead, catalog)
    place.finish(load)
    place.check(model)


@pytest.mark.long
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("state", ["kept", "lost", "unfinished"])
def test_a_dropped_table_is_refused(
    state: str, table: str, place: Place, file: Callable[[int], Load]
) -> None:
    place.finish(file(1))
    load = file(2)
    if state == "unfinished":
        place.kill(load, "after-file-list")
    drop(place, table)
    if state == "lost":
        place.lose_state()
    for _ in range(2):
        message = place.refused(load)
        assert f"{table} is " in message
        assert "rolled back or dropped" in message
        assert "\n  restore the" in message


@pytest.mark.long
def test_a_state_whose_tables_are_all_gone_is_refused(place: Place, file: Callable[[int], Load]) -> None:
    place.finish(file(1))
    drop(place, *place_tables(place))
    assert "the state is at epoch 2, its tables at none" in place.refused(file(2))


@pytest.mark.long
def test_tables_and_state_dropped_are_a_new_beginning(
    place: Place, file: Callable[[int], Load], tmp_path: Path
) -> None:
    """Dead letters stay in the table that all datasets share: their epochs are not given again."""
    place.finish(file(1))
    drop(place, *place_tables(place))
    place.lose_state()
    lines = random_stream(1, 15, entry=BONDS).envelope_lines()
    place.finish(Load("bonds", [place.file("again.jsonl", lines)]))
    letters = place.catalog.load_table("bitlake.dead_letters").scan().to_arrow()
    model = Model(BONDS).load(lines, started=0, envelope=True)
    assert sorted(letters["offset"].to_pylist()) == sorted(2 * [letter.offset for letter in model.dead])
    assert len(set(letters["id"].to_pylist())) == len(letters) > 0
    place.check_rows(model)


@pytest.mark.long
@pytest.mark.parametrize("point", ["between-commits", "between-commits:2"])
def test_a_state_lost_between_commits_is_refused(
    point: str, place: Place, file: Callable[[int], Load]
) -> None:
    """Some tables have the epoch, the others not, and nothing tells which files they still should get."""
    place.finish(file(1))
    load = file(2)
    place.kill(load, point)
    place.lose_state()
    assert "no intent is left to finish" in place.refused(load)


@pytest.mark.slow
@pytest.mark.fault(STATE_LOST)
@pytest.mark.parametrize("point", ["between-commits:4", "after-last-commit"])
def test_a_state_lost_before_dead_letters_were_committed(point: str, tmp_path: Path, forks: Forks) -> None:
    """The dataset's own tables have the epoch, and tell where its letters are."""
    story = Story(tmp_path, forks, 58, broken=5).kill(point)
    story.place.lose_state()
    story.ends_well()


def place_tables(place: Place) -> list[str]:
    return [table.identifier for table in place.lake.tables.values()]
