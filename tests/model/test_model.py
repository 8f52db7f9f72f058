"""The model by hand: design.md's example, every operation, children, system time."""

from dataclasses import replace
from typing import Any

import pytest

from .compare import asof_json, history_json, timeline_json, without
from .decoding import Record
from .invariants import check_grid, check_rows
from .oracle import Counts, Model
from .shorthand import CHILDREN, DAY0, appended, final, rec, run


def test_example_of_the_design() -> None:
    model = run(rec(1, 1, v="A"), rec(2, 10, v="B"), rec(3, 5, v="C"))
    assert appended(model, 1) == [("A", 1, None, 1, None)]
    assert appended(model, 2) == [("A", 1, None, 1, 2), ("A", 1, 10, 2, None), ("B", 10, None, 2, None)]
    assert appended(model, 3) == [("A", 1, 10, 2, 3), ("A", 1, 5, 3, None), ("C", 5, 10, 3, None)]
    assert final(model) == [("B", 10, None), ("A", 1, 5), ("C", 5, 10)]
    assert model.counts == Counts(records=3, changes=3, no_ops=0, dead_letters=0, versions=5)
    assert [r.values["v"] for r in model.asof(DAY0 + 7, 2)] == ["A"]
    assert [r.values["v"] for r in model.asof(DAY0 + 7, 3)] == ["C"]


def test_history_as_the_command_prints_it() -> None:
    model = run(rec(1, 1, v="A"), rec(2, 10, v="B"))
    first, second, third = history_json(model)
    times = ("valid_from", "valid_to", "system_from", "system_to")
    assert first == {
        "k": "K",
        "v": "A",
        "w": None,
        "valid_from": "2024-01-01",
        "valid_to": None,
        "system_from": "1970-01-01T00:00:00.000001Z",
        "system_to": "1970-01-01T00:00:00.000002Z",
        "operation": "put",
        "source_topic": None,
        "source_partition": 0,
        "source_offset": 1,
        "closed_by_operation": "put",
        "closed_by_partition": 0,
        "closed_by_offset": 2,
    }
    opened = "1970-01-01T00:00:00.000002Z"
    assert [second[t] for t in times] == ["2024-01-01", "2024-01-10", opened, None]
    assert [third[t] for t in times] == ["2024-01-10", None, opened, None]
    assert (second["source_offset"], second["closed_by_offset"]) == (2, None)
    assert without(timeline_json(model, 1), *times) == [{"k": "K", "v": "A", "w": None}]
    assert [r["v"] for r in asof_json(model, DAY0 + 10, 2)] == ["B"]


A = rec(1, 1, v="A")
AB = (A, rec(2, 10, v="B"))
ABC = (*AB, rec(3, 20, v="C"))

CASES: dict[str, tuple[tuple[Record, ...], Record, list[tuple[Any, ...]]]] = {
    "put again is a no-op": (AB, rec(9, 10, v="B"), []),
    "put equal values at no boundary is kept": (
        (A,),
        rec(9, 5, v="A"),
        [("A", 1, None, 1, 9), ("A", 1, 5, 9, None), ("A", 5, None, 9, None)],
    ),
    "put equal values with an end is cut at both": (
        (A,),
        rec(9, 5, v="A", to=7),
        [("A", 1, None, 1, 9), ("A", 1, 5, 9, None), ("A", 5, 7, 9, None), ("A", 7, None, 9, None)],
    ),
    "put over several segments": (
        ABC,
        rec(9, 5, v="D", to=25),
        [
            ("A", 1, 10, 2, 9),
            ("B", 10, 20, 3, 9),
            ("C", 20, None, 3, 9),
            ("A", 1, 5, 9, None),
            ("D", 5, 25, 9, None),
            ("C", 25, None, 9, None),
        ],
    ),
    "put before everything ends at the first boundary": (
        AB,
        rec(9, 1, v="D"),
        [("A", 1, 10, 2, 9), ("D", 1, 10, 9, None)],
    ),
    "put without end on a gap": ((rec(1, 5, v="A", to=7),), rec(9, 1, v="D"), [("D", 1, 5, 9, None)]),
    "put with no end given explicitly": (
        AB,
        rec(9, 5, v="D", to="9999-12-31"),
        [("A", 1, 10, 2, 9), ("B", 10, None, 2, 9), ("A", 1, 5, 9, None), ("D", 5, None, 9, None)],
    ),
    "patch changes only what it gives": (
        (rec(1, 1, v="A", w=1), rec(2, 10, v="B")),
        rec(9, 5, "patch", w=2, to=20),
        [
            ("A.1", 1, 10, 2, 9),
            ("B", 10, None, 2, 9),
            ("A.1", 1, 5, 9, None),
            ("A.2", 5, 10, 9, None),
            ("B.2", 10, 20, 9, None),
            ("B", 20, None, 9, None),
        ],
    ),
    "patch does not cut what stays the same": (
        AB,
        rec(9, 5, "patch", v="B", to=20),
        [("A", 1, 10, 2, 9), ("A", 1, 5, 9, None), ("B", 5, 10, 9, None)],
    ),
    "patch sets null": ((A,), rec(9, 1, "patch", v=None), [("A", 1, None, 1, 9), ("", 1, None, 9, None)]),
    "patch fills a gap": (
        (rec(1, 5, v="A", to=7),),
        rec(9, 1, "patch", w=2, to=9),
        [("A", 5, 7, 1, 9), ("2", 1, 5, 9, None), ("A.2", 5, 7, 9, None), ("2", 7, 9, 9, None)],
    ),
    "patch of nothing over a gap": ((), rec(9, 1, "patch"), []),
    "patch of a null over a gap": ((), rec(9, 1, "patch", v=None), [("", 1, None, 9, None)]),
    "delete to the next boundary": (AB, rec(9, 5, "delete"), [("A", 1, 10, 2, 9), ("A", 1, 5, 9, None)]),
    "delete inside": (
        (A,),
        rec(9, 5, "delete", to=7),
        [("A", 1, None, 1, 9), ("A", 1, 5, 9, None), ("A", 7, None, 9, None)],
    ),
    "delete over a gap": ((rec(1, 5, v="A", to=7),), rec(9, 7, "delete"), []),
    "terminate ignores valid_to": (
        AB,
        rec(9, 5, "terminate", to=6),
        [("A", 1, 10, 2, 9), ("B", 10, None, 2, 9), ("A", 1, 5, 9, None)],
    ),
    "retract is absorbed by the segment before": (
        ABC,
        rec(9, 10, "retract"),
        [("A", 1, 10, 2, 9), ("B", 10, 20, 3, 9), ("A", 1, 20, 9, None)],
    ),
    "retract of the first leaves a gap": (AB, rec(9, 1, "retract"), [("A", 1, 10, 2, 9)]),
    "retract of an end runs on": (
        (rec(1, 1, v="A", to=5), rec(2, 9, v="B")),
        rec(9, 5, "retract", to=6),
        [("A", 1, 5, 1, 9), ("A", 1, 9, 9, None)],
    ),
    "retract of an end runs on to no end": (
        (rec(1, 1, v="A", to=5),),
        rec(9, 5, "retract"),
        [("A", 1, 5, 1, 9), ("A", 1, None, 9, None)],
    ),
    "retract of no boundary": (AB, rec(9, 5, "retract"), []),
    "retract between equal values is kept": (
        (A, rec(2, 5, v="A")),
        rec(9, 5, "retract"),
        [("A", 1, 5, 2, 9), ("A", 5, None, 2, 9), ("A", 1, None, 9, None)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_operation(case: str) -> None:
    before, record, rows = CASES[case]
    model = run(*before, record)
    assert appended(model, 9) == rows
    assert model.counts.no_ops == (0 if rows else 1)
    check_rows(model)
    check_grid(model)


def test_forever_goes_on_over_boundaries() -> None:
    model = run(*AB, rec(3, 5, v="C"), rec(4, 6, v="C"), valid_end="forever")
    assert final(model) == [("A", 1, 5), ("C", 5, None)]
    assert model.counts.no_ops == 1


def children(*records: Record, **more: Any) -> Model:
    return run(*records, children=CHILDREN, **more)


def test_only_differing_children_get_rows() -> None:
    model = children(rec(1, 1, v="A", c={"x": 1, "y": 1}), rec(2, 5, v="A", c={"x": 1, "z": 1}))
    assert appended(model, 2) == []
    assert appended(model, 2, "x__c") == [
        ("y.1", 1, None, 1, 2),
        ("y.1", 1, 5, 2, None),
        ("z.1", 5, None, 2, None),
    ]
    model.apply(rec(3, 3, v="B", c={"x": 1, "y": 1}))
    assert appended(model, 3) == [
        ("A", 1, None, 1, 3),
        ("A", 1, 3, 3, None),
        ("B", 3, 5, 3, None),
        ("A", 5, None, 3, None),
    ]
    assert appended(model, 3, "x__c") == []


def test_removed_children_leave_the_boundary_to_the_parent() -> None:
    """A put's start and the boundary it ends at stay boundaries, else a later late arrival runs too far."""
    model = children(rec(1, 1, v="A", c={"x": 1}), rec(2, 10, v="A"), rec(3, 5, v="A"))
    assert appended(model, 3, "x__c") == [("x.1", 1, 10, 2, 3), ("x.1", 1, 5, 3, None)]
    assert appended(model, 3) == [("A", 1, None, 1, 3), ("A", 1, 10, 3, None), ("A", 10, None, 3, None)]
    model.apply(rec(4, 7, v="B"))
    assert ("B", 7, 10) in final(model)


def test_removed_whole_children_cut_the_parent_at_both_ends() -> None:
    before = (rec(1, 1, v="A"), rec(2, 5, v="A", c={"x": 1}, to=7))
    model = children(*before, rec(3, 5, v="A"))
    assert appended(model, 3, "x__c") == [("x.1", 5, 7, 2, 3)]
    cut = [("A", 1, 5, 3, None), ("A", 5, 7, 3, None), ("A", 7, None, 3, None)]
    assert appended(model, 3) == [("A", 1, None, 1, 3), *cut]


def test_a_put_is_one_segment_where_only_children_differ() -> None:
    """The parent is equal throughout, but was cut at 5: its boundary there goes with what the put replaces."""
    before = (rec(1, 1, v="A", c={"x": 1}), rec(2, 5, v="A", c={"x": 1}))
    model = children(*before, rec(3, 3, v="A", c={"y": 1}, to=8), rec(4, 3, "retract"))
    assert appended(model, 3) == [
        *(("A", 1, 5, 2, 3), ("A", 5, None, 2, 3)),
        *(("A", 1, 3, 3, None), ("A", 3, 8, 3, None), ("A", 8, None, 3, None)),
    ]
    assert set(final(model)) == {("A", 1, 8), ("A", 8, None)}
    assert set(final(model, "x__c")) == {("x.1", 1, 8), ("x.1", 8, None)}
    check_grid(model)


def test_a_put_is_one_segment_of_a_child_that_is_equal_throughout() -> None:
    before = (rec(1, 1, v="A", c={"x": 1}, to=5), rec(2, 5, v="B", c={"x": 1}, to=9))
    model = children(*before, rec(3, 3, v="C", c={"x": 1}, to=9))
    assert set(final(model)) == {("A", 1, 3), ("C", 3, 9)}
    assert set(final(model, "x__c")) == {("x.1", 1, 3), ("x.1", 3, 9)}
    assert model.apply(rec(4, 3, v="C", c={"x": 1}, to=9)) == []
    check_grid(model)


@pytest.mark.parametrize("valid_end", ["forever", "next_change"])
def test_a_put_has_its_ends_though_the_children_that_it_took_away_had_none_there(valid_end: str) -> None:
    """A retract of it would else find nothing, or run on: x would hold where nobody ever said so."""
    inside = children(rec(1, 1, v="A"), rec(2, 5, v="A", c={"x": 1}, to=7), valid_end=valid_end)
    assert inside.apply(rec(3, 3, v="A", to=9)) != []
    assert set(final(inside)) == {("A", 1, 3), ("A", 3, 9), ("A", 9, None)}
    before = children(rec(1, 1, v="A"), rec(2, 1, v="A", c={"x": 1}, to=7), valid_end=valid_end)
    assert before.apply(rec(3, 3, v="A", to=9)) != []
    assert before.apply(rec(4, 3, "retract")) != []
    assert set(final(before, "x__c")) == {("x.1", 1, 9)}
    check_grid(before)


def test_patch_replaces_a_given_array_whole() -> None:
    before = (rec(1, 1, v="A", c={"x": 1, "y": 1}), rec(2, 10, v="B", c={"x": 2}))
    kept = children(*before, rec(3, 5, "patch", w=1))
    assert appended(kept, 3, "x__c") == []
    model = children(*before, rec(3, 5, "patch", c={"x": 2}, to=20))
    assert appended(model, 3) == []
    closed = [("x.1", 1, 10, 2, 3), ("y.1", 1, 10, 2, 3)]
    assert appended(model, 3, "x__c") == [
        *closed,
        ("x.1", 1, 5, 3, None),
        ("x.2", 5, 10, 3, None),
        ("y.1", 1, 5, 3, None),
    ]
    none = children(*before, rec(3, 10, "patch", c=None))
    assert appended(none, 3, "x__c") == [("x.2", 10, None, 2, 3)]


def test_patched_segments_stay_segments_where_only_children_told_them_apart() -> None:
    """Else a late put would run past the change point at 10, and the order of arrival would change the answer."""
    before = (rec(1, 1, v="A", c={"x": 1}), rec(2, 10, v="A", c={"y": 1}), rec(3, 20, v="B"))
    model = children(*before, rec(4, 1, "patch", c=None, to=20), rec(5, 2, v="C"))
    assert appended(model, 4) == [("A", 1, 20, 3, 4), ("A", 1, 10, 4, None), ("A", 10, 20, 4, None)]
    assert set(final(model)) == {("A", 1, 2), ("C", 2, 10), ("A", 10, 20), ("B", 20, None)}
    check_grid(model)
    both = children(*before, rec(4, 1, "patch", v="C", c=None, to=20))
    assert appended(both, 4) == [("A", 1, 20, 3, 4), ("C", 1, 10, 4, None), ("C", 10, 20, 4, None)]
    check_grid(both)


def test_retract_with_children() -> None:
    """x ends at 10 and runs on, y starts there and goes, z spans it and stays, w is absorbed up to 20."""
    before = (
        rec(1, 1, v="A", c={"x": 1, "z": 1, "w": 1}),
        rec(2, 10, v="B", c={"y": 1, "z": 1, "w": 2}),
        rec(3, 20, v="B", c={"z": 1, "w": 2}),
    )
    model = children(*before, rec(4, 10, "retract"))
    assert appended(model, 4) == [
        ("A", 1, 10, 2, 4),
        ("B", 10, None, 2, 4),
        ("A", 1, 20, 4, None),
        ("B", 20, None, 4, None),
    ]
    assert set(final(model, "x__c")) == {("x.1", 1, 20), ("z.1", 1, None), ("w.1", 1, 20), ("w.2", 20, None)}
    check_grid(model)


def test_retract_keeps_the_boundary_that_only_a_child_had() -> None:
    model = children(
        rec(1, 1, v="A"), rec(2, 10, v="A", c={"x": 1}), rec(3, 20, v="A"), rec(4, 10, "retract")
    )
    assert appended(model, 4, "x__c") == [("x.1", 10, 20, 3, 4)]
    assert appended(model, 4) == [("A", 1, None, 1, 4), ("A", 1, 20, 4, None), ("A", 20, None, 4, None)]


def test_terminate_and_delete_take_the_children_along() -> None:
    model = children(rec(1, 1, v="A", c={"x": 1}), rec(2, 5, "delete", to=7), rec(3, 9, "terminate"))
    assert final(model) == [("A", 1, 5), ("A", 7, 9)]
    assert final(model, "x__c") == [("x.1", 1, 5), ("x.1", 7, 9)]


def test_grandchildren_and_positions() -> None:
    below = [{"path": "lots", "children": [{"path": "parts"}]}]
    model = run(rec(1, 1, lots=[{"n": 1, "parts": [7, 8]}, {"parts": []}, None]), children=below)
    assert final(model, "x__lots") == [("0.1", 1, None), ("1", 1, None), ("2", 1, None)]
    first = history_json(model, "x__lots__parts", provenance=False)[0]
    assert {n: first[n] for n in ("k", "position", "parts__position", "value")} == {
        "k": "K",
        "position": 0,
        "parts__position": 0,
        "value": 7,
    }
    model.apply(rec(2, 1, "patch", lots=[{"n": 1, "parts": [7]}]))
    assert final(model, "x__lots__parts") == [("0.0.7", 1, None)]


def test_system_time() -> None:
    """Never back in a partition, strictly increasing per key; no-ops and dead letters move the clock only."""
    bad = replace(rec(50, 1), value=b"{")
    model = run(
        rec(10, 1, v="A"), rec(5, 2, v="B"), bad, rec(7, 1, v="A"), rec(8, 3, v="C"), rec(50, 4, v="D")
    )
    assert sorted({r.system_from for r in model.rows}) == [10, 11, 50, 51]
    assert model.counts == Counts(records=6, changes=4, no_ops=1, dead_letters=1, versions=7)
    other = replace(rec(3, 5, v="E"), partition=1)
    assert [r.system_from for r in model.apply(other) if r.system_to is None] == [52, 52]
    assert model.clocks == {0: 50, 1: 3}


def test_last_outlives_the_segments() -> None:
    model = run(rec(10, 1, v="A"), rec(10, 1, "terminate"), rec(10, 1, v="A"))
    assert [short[3:] for short in appended(model, 11)] == [(10, 11)]
    assert [short[3:] for short in appended(model, 12)] == [(12, None)]
