"""What each operation does to a timeline, and the rows that it leaves: worked out by hand."""

from typing import Any

import pytest

from pipeline.temporal.apply import CHANGED, NO_OP
from pipeline.temporal.store import NEVER
from tests.unit.temporal.machine import Do, Machine, patch, put

A1, B10 = put(1, "A"), put(10, "B")


def test_the_design_example() -> None:
    machine = Machine()
    machine.run(put(1, "A", system=1))
    assert machine.taken() == [("A", 1, None, 1, None)]
    machine.run(put(10, "B", system=2))
    assert machine.taken() == [("A", 1, None, 1, 2), ("A", 1, 10, 2, None), ("B", 10, None, 2, None)]
    machine.run(put(5, "C", system=3))
    assert machine.taken() == [("A", 1, 10, 2, 3), ("A", 1, 5, 3, None), ("C", 5, 10, 3, None)]
    assert machine.timeline() == [("A", 1, 5), ("C", 5, 10), ("B", 10, None)]


delete, terminate, retract = (
    lambda a, b=None, op=op: Do(op, a, b) for op in ("delete", "terminate", "retract")
)
CASES: list[tuple[str, list[Do], Do, list[Any]]] = [
    ("put into nothing", [], put(3, "A", 7), [("A", 3, 7)]),
    ("put in the middle", [A1], put(3, "B", 7), [("A", 1, 3), ("B", 3, 7), ("A", 7, None)]),
    ("put over several", [A1, B10], put(5, "C", 20), [("A", 1, 5), ("C", 5, 20), ("B", 20, None)]),
    ("put over all", [A1, B10], put(0, "C", 50), [("C", 0, 50), ("B", 50, None)]),
    ("put before", [put(5, "A", 8)], put(1, "B"), [("B", 1, 5), ("A", 5, 8)]),
    ("put in a gap", [put(1, "A", 2), put(8, "B")], put(4, "C"), [("A", 1, 2), ("C", 4, 8), ("B", 8, None)]),
    ("put to an end", [put(1, "A", 5)], put(3, "C"), [("A", 1, 3), ("C", 3, 5)]),
    ("equal put on a new point", [A1], put(5, "A"), [("A", 1, 5), ("A", 5, None)]),
    ("patch one field", [put(1, ("A", "B"))], patch(1, "C"), [("C.B", 1, None)]),
    ("patch beside 255 bytes", [put(1, ("A", "B" * 255))], patch(1, "C"), [("C." + "B" * 255, 1, None)]),
    ("patch 300 bytes", [put(1, ("A" * 300, "B" * 254))], patch(1, "C" * 256),
        [("C" * 256 + "." + "B" * 254, 1, None)]),
    ("patch a null", [put(1, ("A", "B"))], patch(1, (None,)), [("-.B", 1, None)]),
    ("patch the middle", [put(1, ("A", "B"))], patch(3, (None, "C"), 5, given=2),
     [("A.B", 1, 3), ("-.C", 3, 5), ("A.B", 5, None)]),
    ("patch over gaps", [put(3, ("A", "B"), 5), put(7, ("A", "D"))], patch(1, "C", 9),
     [("C", 1, 3), ("C.B", 3, 5), ("C", 5, 7), ("C.D", 7, 9), ("A.D", 9, None)]),
    ("patch cuts only what changes", [put(1, ("A", "B")), put(5, ("C", "B"))], patch(0, "A", 9),
     [("A", 0, 1), ("A.B", 1, 5), ("A.B", 5, 9), ("C.B", 9, None)]),
    ("patch with nulls into a gap", [], patch(1, (None,), 3), [("", 1, 3)]),
    ("delete the middle", [A1], delete(3, 5), [("A", 1, 3), ("A", 5, None)]),
    ("delete to the next boundary", [A1, B10], delete(3), [("A", 1, 3), ("B", 10, None)]),
    ("delete all", [A1, B10], delete(0, 999_999), [("B", 999_999, None)]),
    ("terminate", [A1, B10], terminate(5, 6), [("A", 1, 5)]),
    ("retract", [A1, put(5, "C"), B10], retract(5), [("A", 1, 10), ("B", 10, None)]),
    ("retract the first", [A1, B10], retract(1), [("B", 10, None)]),
    ("retract the last", [A1, B10], retract(10), [("A", 1, None)]),
    ("retract an end", [put(1, "A", 5), B10], retract(5), [("A", 1, 10), ("B", 10, None)]),
    ("retract between equals", [A1, put(5, "A")], retract(5), [("A", 1, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "change", "after"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_operations(before: list[Do], change: Do, after: list[Any]) -> None:
    machine = Machine()
    machine.run(*before)
    then = machine.timeline()
    machine.taken()
    assert machine.run(change).outcome.tolist() == [CHANGED]
    assert machine.timeline() == after
    rows = machine.taken()
    assert sorted(r[:3] for r in rows if r[4] is not None) == sorted(_only(then, after))
    assert sorted(r[:3] for r in rows if r[4] is None) == sorted(_only(after, then))


def _only(these: list[Any], those: list[Any]) -> list[Any]:
    """Segments of the one timeline that the other has not; ends may be None."""
    return [s for s in these if s not in those]


NO_OPS: list[tuple[str, list[Do], Do]] = [
    ("the same put again", [A1], A1),
    ("put inside with an end, as before", [put(1, "A", 3), put(3, "A", 9)], put(1, "A", 9)),
    ("delete a gap", [put(3, "A", 5)], delete(5, 9)),
    ("delete nothing", [], delete(1, 9)),
    ("terminate a gap", [put(3, "A", 5)], terminate(5)),
    ("retract no boundary", [A1], retract(5)),
    ("patch as it is", [put(1, ("A", "B"))], patch(4, "A")),
    ("patch no fields over a gap", [], patch(1, (), 5)),
    ("patch no fields", [A1], patch(1, (), 5)),
]


@pytest.mark.parametrize(("before", "change"), [c[1:] for c in NO_OPS], ids=[c[0] for c in NO_OPS])
def test_no_ops(before: list[Do], change: Do) -> None:
    machine = Machine()
    machine.run(*before)
    then, _ = machine.exported(), machine.taken()
    assert machine.run(change).outcome.tolist() == [NO_OP]
    assert (machine.exported(), machine.taken()) == (then, [])


def test_forever() -> None:
    machine = Machine(next_change=False)
    outcomes = machine.run(A1, put(5, "A"), put(3, "B"), patch(7, "C"), delete(9)).outcome.tolist()
    assert outcomes == [CHANGED, NO_OP, CHANGED, CHANGED, CHANGED]
    assert machine.timeline() == [("A", 1, 3), ("B", 3, 7), ("C", 7, 9)]


def test_system_times() -> None:
    machine = Machine()
    changes = machine.run(
        put(1, "A", system=5), put(1, "A", system=9), put(2, "B", system=3), put(3, "C", system=9),
        put(1, "A", system=1, key=1), delete(1, 999_999), put(4, "D", system=-7)
    )  # fmt: skip
    assert changes.outcome.tolist() == [1, 0, 1, 1, 1, 1, 1]
    assert changes.system.tolist() == [5, 9, 9, 10, 9, 11, 12]
    assert machine.clock == 9


def test_a_key_without_segments_keeps_its_last_system_time() -> None:
    machine = Machine()
    machine.run(put(1, "A", 5, system=-8), Do("delete", 1, 5, system=-8))
    assert machine.timeline() == []
    other = Machine()
    other.install(machine.exported())
    for each in (machine, other):
        each.clock = NEVER
        assert each.run(put(1, "A", system=-8)).system.tolist() == [-6]


ONE, TWO = {1: {"x": "1"}}, {1: {"x": "2", "y": "1"}}
CHILDREN: list[tuple[str, list[Do], Do, list[Any]]] = [
    ("put lists them", [], put(1, "A", children=TWO), [("A", 1, None), ("x=2", 1, None), ("y=1", 1, None)]),
    ("put without takes them away", [put(1, "A", children=ONE)], put(5, "A"), [("A", 1, None), ("x=1", 1, 5)]),
    ("a boundary that no child shows any more", [put(1, "A", children=ONE), put(5, "A")], put(1, "A"),
     [("A", 1, 5), ("A", 5, None)]),
    ("only children differ: no parent row", [put(1, "A", children=ONE)], put(5, "A", children=TWO),
     [("A", 1, None), ("x=1", 1, 5), ("x=2", 5, None), ("y=1", 5, None)]),
    ("a child's boundary is one", [put(1, "A", children=ONE), put(5, "A", children=TWO)], put(3, "B", children=ONE),
     [("A", 1, 3), ("B", 3, 5), ("A", 5, None), ("x=1", 1, 5), ("x=2", 5, None), ("y=1", 5, None)]),
    ("put over a boundary of an equal parent", [put(1, "A", children=ONE), put(5, "A", children=ONE)],
     put(3, "A", 8, children=TWO),
     [("A", 1, 3), ("A", 3, 8), ("A", 8, None), ("x=1", 1, 3), ("x=2", 3, 8), ("y=1", 3, 8), ("x=1", 8, None)]),
    ("put over a boundary of an equal child", [put(1, "A", 5, children=ONE), put(5, "B", 9, children=ONE)],
     put(3, "C", 7, children=ONE),
     [("A", 1, 3), ("C", 3, 7), ("B", 7, 9), ("x=1", 1, 3), ("x=1", 3, 7), ("x=1", 7, 9)]),
    ("put over a boundary of another table: a child in one segment gets no rows",
     [put(1, "A", children=ONE), put(5, "B", children=ONE)], put(1, "B", 9, children=ONE),
     [("B", 1, 9), ("B", 9, None), ("x=1", 1, None)]),
    ("put over children that lie inside", [A1, put(5, "A", 7, children=ONE)], put(3, "A", 9),
     [("A", 1, 3), ("A", 3, 9), ("A", 9, None)]),
    ("put over a child that ends inside", [A1, put(1, "A", 7, children=ONE)], put(3, "A", 9),
     [("A", 1, 9), ("A", 9, None), ("x=1", 1, 3)]),
    ("patch leaves them", [put(1, "A", children=ONE)], patch(5, "B"), [("A", 1, 5), ("B", 5, None), ("x=1", 1, None)]),
    ("patch replaces an array whole", [put(1, "A", children=TWO)], patch(5, (), children={1: {"y": "1", "z": "3"}}),
     [("A", 1, None), ("x=2", 1, 5), ("y=1", 1, None), ("z=3", 5, None)]),
    ("patch of an empty array", [put(1, "A", children=TWO)], patch(5, (), children={1: {}}),
     [("A", 1, None), ("x=2", 1, 5), ("y=1", 1, 5)]),
    ("patch of segments that only children tell apart",
     [put(1, "A", children=ONE), put(5, "A", children=TWO), put(9, "B")], patch(1, (), 9, children={1: {}}),
     [("A", 1, 5), ("A", 5, 9), ("B", 9, None)]),
    ("patch of parents and what only children tell apart",
     [put(1, "A", children=ONE), put(5, "A", children=TWO), put(9, "B")], patch(1, "C", 9, children={1: {}}),
     [("C", 1, 5), ("C", 5, 9), ("B", 9, None)]),
    ("patch of children over a gap", [put(1, "A", 3)], patch(1, (), 9, children=ONE),
     [("A", 1, 3), ("", 3, 9), ("x=1", 1, 9)]),
    ("delete", [put(1, "A", children=TWO)], delete(3, 5),
     [("A", 1, 3), ("A", 5, None), ("x=2", 1, 3), ("x=2", 5, None), ("y=1", 1, 3), ("y=1", 5, None)]),
    ("terminate", [put(1, "A", children=TWO)], terminate(3), [("A", 1, 3), ("x=2", 1, 3), ("y=1", 1, 3)]),
    ("retract what only children show", [put(1, "A", children=ONE), put(5, "A", children=TWO)], retract(5),
     [("A", 1, None), ("x=1", 1, None)]),
    ("a key of every table", [], put(1, "A", children={1: {"x": "1"}, 2: {"x": "1"}}),
     [("A", 1, None), ("x=1", 1, None), ("x=1", 1, None)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "change", "after"), [c[1:] for c in CHILDREN], ids=[c[0] for c in CHILDREN]
)
def test_children(before: list[Do], change: Do, after: list[Any]) -> None:
    machine = Machine()
    machine.run(*before)
    machine.taken()
    assert machine.run(change).outcome.tolist() == [CHANGED]
    assert sorted(machine.timeline(), key=str) == sorted(after, key=str)
    assert machine.run(change).outcome.tolist() == [NO_OP]
