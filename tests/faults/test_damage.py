"""Files of the state directory cut, overwritten or gone: the state is read right, rebuilt, or refused."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.runs import Load
from tests.faults.stories import Story
from tests.forks import Forks
from tests.matrix import STATE_TRUNCATED
from tests.model.strategies import random_stream

pytestmark = pytest.mark.fault(STATE_TRUNCATED)
OWN_LOCKS = ("owner", "LOCK")


def cut(file: Path, choose: random.Random) -> None:
    with file.open("r+b") as opened:
        opened.truncate(choose.randrange(file.stat().st_size))


def overwrite(file: Path, choose: random.Random) -> None:
    with file.open("r+b") as opened:
        opened.seek(choose.randrange(file.stat().st_size))
        opened.write(choose.randbytes(choose.choice((1, 16, 4096))))


def remove(file: Path, choose: random.Random) -> None:
    file.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "cut": cut,
    "overwrite": overwrite,
    "remove": remove,
}


def damage(state: Path, how: str, seed: int) -> str:
    """Damage one file that holds anything; its name."""
    choose = random.Random(seed)
    found = (f for f in state.rglob("*") if f.is_file() and f.name not in OWN_LOCKS)
    file = choose.choice(sorted(f for f in found if f.stat().st_size))
    DAMAGES[how](file, choose)
    return str(file.relative_to(state))


def goes_on(story: Story, *, killed_at: str, how: str, seed: int) -> None:
    """After the damage a load ends right, or is refused and then ends right without the state."""
    place, model = story.place, story.model
    story.kill(killed_at) if killed_at else place.finish(story.load)
    name = damage(place.state, how, seed)
    outcome = place.outcome(story.load) if killed_at else {}
    more = random_stream(seed + 1, 15, entry=place.entries[0]).envelope_lines()
    load = Load("bonds", [place.file("more.jsonl", more)])
    if "error" not in outcome:
        outcome = place.outcome(load)
    if "error" in outcome:
        assert outcome["error"] == "StateDamaged", (name, outcome)
        assert "move " in outcome["message"]
        place.lose_state()
        if killed_at:
            place.finish(story.load)
        place.finish(load)
    model.load(more, started=0, envelope=True, first=model.records)
    place.check(model)


@pytest.mark.slow
@pytest.mark.parametrize(("how", "seed"), [("cut", 3), pytest.param("overwrite", 5, marks=pytest.mark.long)])
def test_a_damaged_file(how: str, seed: int, tmp_path: Path, forks: Forks) -> None:
    story = Story(tmp_path, forks, seed, checkpoint_records=5)
    goes_on(story, killed_at="", how=how, seed=seed)


@pytest.mark.long
@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("killed_at", ["", "after-state:2", "after-file-list:2"])
@pytest.mark.parametrize("seed", range(6))
def test_any_damaged_file(how: str, killed_at: str, seed: int, tmp_path: Path, forks: Forks) -> None:
    kind = ("append", "upsert", "cold")[seed % 3]
    story = Story(tmp_path, forks, seed, kind=kind, checkpoint_records=5)
    goes_on(story, killed_at=killed_at, how=how, seed=seed)
