"""Long histories, many children, replay, export and install, and plain Python."""

import hashlib
import json
import os
import random
import subprocess
import sys

import pytest

from pipeline.temporal.store import COUNT, PARENT_PAGES
from tests.unit.temporal.machine import Do, Machine, put, told
from tests.unit.temporal.randomly import close_changes, model_timeline, random_changes

LONG = 10_000


def _timeline(machine: Machine, key: int = 0) -> list[object]:
    found = machine.timeline(key)
    parents = sum("=" not in label for label, *_ in found)
    return found[:parents] + sorted(found[parents:], key=str)


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
def test_ten_thousand_segments(order: str) -> None:
    points = list(range(0, 2 * LONG, 2))
    if order != "forward":
        points.reverse() if order == "backward" else random.Random(1).shuffle(points)
    machine = Machine(room=1 << 26)
    machine.run(*(put(point, str(point)) for point in points))
    segments = [(str(p), p, p + 2 if p < 2 * LONG - 2 else None) for p in range(0, 2 * LONG, 2)]
    assert machine.timeline() == segments
    pages = int(machine.store.keys[0, PARENT_PAGES])
    assert LONG / 64 <= pages <= LONG / 20
    assert machine.store.parents.pages[:, COUNT].max() <= 64
    machine.taken()
    machine.run(put(2 * 5000 + 1, "new"), Do("delete", 100, 300), Do("retract", 9000))
    assert len(machine.taken()) == 3 + 100 + 3
    expected = [s for s in segments if not 100 <= s[1] < 300 and s[1] not in (8998, 9000, 10_000)]
    expected += [("8998", 8998, 9002), ("10000", 10_000, 10_001), ("new", 10_001, 10_002)]
    assert machine.timeline() == sorted(expected, key=lambda s: s[1])
    machine.run(Do("terminate", 7))
    assert machine.timeline() == [*segments[:3], ("6", 6, 7)]
    machine.run(put(0, "last", 999_999))
    assert machine.timeline() == [("last", 0, 999_999)]


@pytest.mark.parametrize("next_change", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_random_changes_against_the_model(seed: int, next_change: bool) -> None:
    changes = random_changes(seed, 700, instants=(12, 60, 400)[seed % 3])
    machine = Machine(next_change)
    for at in range(0, 700, 100):
        machine.run(*changes[at : at + 100])
        assert _timeline(machine) == model_timeline(changes[: at + 100], next_change=next_change)


@pytest.mark.parametrize("next_change", [False, True])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_changes_that_hardly_differ_against_the_model(seed: int, next_change: bool) -> None:
    changes = close_changes(seed, 300)
    machine = Machine(next_change)
    for at in range(300):
        before = machine.timeline()
        machine.run(changes[at])
        after = machine.timeline()
        rows = machine.taken()
        assert _timeline(machine) == model_timeline(changes[: at + 1], next_change=next_change)
        closed = sorted((row[:3] for row in rows if row[4] is not None), key=str)
        gone, came = (
            [s for s in these if s not in those] for these, those in ((before, after), (after, before))
        )
        assert [row for row in closed if row in gone] == sorted(gone, key=str)
        opened = sorted((row[:3] for row in rows if row[4] is None), key=str)
        assert [row for row in opened if row in came] == sorted(came, key=str)


def test_many_children() -> None:
    many = {f"k{i}": str(i % 7) for i in range(2000)}
    other = {key: value for key, value in many.items() if value != "3"} | {"k1": "x", "new": "1"}
    machine = Machine(room=1 << 26)
    machine.run(put(1, "A", children={1: many}))
    machine.taken()
    machine.run(put(5, "A", children={1: other}))
    gone = [f"{key}={value}" for key, value in many.items() if value == "3"]
    rows = machine.taken()
    assert sorted(r[0] for r in rows if r[4] is not None) == sorted([*gone, "k1=1"])
    assert sorted(r[0] for r in rows if r[4] is None) == sorted([*gone, "k1=1", "k1=x", "new=1"])
    assert sorted(s[0] for s in machine.timeline() if s[2] is None) == sorted(
        ["A", *(f"{key}={value}" for key, value in other.items())]
    )


@pytest.mark.parametrize("done", [0, 1, 57, 300])
def test_replay_comes_to_the_same_state(done: int) -> None:
    changes, keys = random_changes(7, 300, instants=30, keys=5), range(5)
    first = Machine()
    applied = first.run(*changes)
    half = Machine()
    half.run(*changes[:done])
    again = Machine()
    again.install(half.exported(keys))
    assert [_timeline(again, key) for key in keys] == [_timeline(half, key) for key in keys]
    assert [told(data)[:2] for data in again.exported(keys)] == [
        told(data)[:2] for data in half.exported(keys)
    ]
    again.run(replaying=applied)
    assert [_timeline(again, key) for key in keys] == [_timeline(first, key) for key in keys]
    assert again.taken() == []
    more = random_changes(8, 100, instants=30, keys=5)
    first.taken()
    again.clock = first.clock
    first.run(*more)
    again.run(*more)
    assert sorted(again.taken(), key=str) == sorted(first.taken(), key=str)


def _digest() -> str:
    """Of all rows and the state after some random changes."""
    found: list[object] = []
    for next_change in (False, True):
        machine = Machine(next_change)
        machine.run(*random_changes(9, 120, instants=15, keys=2))
        found += [machine.taken(), [data.hex() for data in machine.exported(range(2))]]
        other = Machine(next_change)
        other.install(machine.exported(range(2)))
        found.append([data.hex() for data in other.exported(range(2))])
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def test_plain_python_does_the_same() -> None:
    code = f"from {__name__} import _digest; print(_digest())"
    environ = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    plain = subprocess.run(
        [sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True
    )
    assert plain.stdout.strip() == _digest()
