"""The model against the dense grid, and the promise that late puts commute."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .invariants import check_grid, check_rows
from .oracle import Model
from .shorthand import CHILDREN, final, rec, run
from .strategies import Stream, close_streams, random_close_stream, random_stream, streams

STEADY = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@STEADY
@given(streams(max_size=25))
def test_rows_reproduce_the_dense_grid(stream: Stream) -> None:
    model = Model(stream.entry).run(stream.records)
    counts = model.counts
    assert counts.records == counts.changes + counts.no_ops + counts.dead_letters
    check_rows(model)
    check_grid(model)


@pytest.mark.parametrize("seed", range(10))
def test_rows_reproduce_the_dense_grid_of_a_long_stream(seed: int) -> None:
    stream = random_stream(seed, 150, partitions=2)
    model = Model(stream.entry).run(stream.records)
    check_rows(model)
    check_grid(model)


@STEADY
@given(close_streams())
def test_rows_of_records_that_hardly_differ_reproduce_the_dense_grid(stream: Stream) -> None:
    model = Model(stream.entry).run(stream.records)
    check_rows(model)
    check_grid(model)


@pytest.mark.parametrize("seed", range(10))
def test_a_put_is_one_segment_of_every_table(seed: int) -> None:
    """Whatever it finds: no row of its key has a boundary inside its range, and the ends of that are boundaries."""
    stream, puts = random_close_stream(seed, 100), 0
    model = Model(stream.entry)
    for record in stream.records:
        rows = model.apply(record)
        change = model.decoded[-1].change
        if change.operation == "put" and rows:
            lines = model.timelines[change.key].lines.values()
            marks = {b for line in lines for s in line for b in (s.valid_from, s.valid_to)}
            start = change.valid_from
            end = change.valid_to or min((m for m in marks if m > start), default=model.dataset.end)
            end = end if model.dataset.next_change or change.valid_to else model.dataset.end
            assert {m for m in marks if start <= m <= end} - {model.dataset.end} == {start, end} - {
                model.dataset.end
            }
            puts += 1
    assert puts > 20
    check_grid(model)


POINTS = st.dictionaries(
    st.integers(1, 7),
    st.tuples(st.sampled_from("AAB"), st.sampled_from([{}, {"x": 1}, {"x": 2}, {"x": 1, "y": 1}])),
)


@STEADY
@given(POINTS, st.randoms(use_true_random=False))
def test_puts_without_valid_to_commute(points: dict[int, tuple[str, dict[str, int]]], order: Any) -> None:
    """The belief about each day, and all boundaries, are the same in any order of arrival."""
    arrivals = sorted(points)
    order.shuffle(arrivals)
    assert _belief(points, arrivals) == _belief(points, sorted(points))


def _belief(points: dict[int, tuple[str, dict[str, int]]], arrivals: list[int]) -> tuple[Any, ...]:
    records = (rec(i, day, v=points[day][0], c=points[day][1]) for i, day in enumerate(arrivals, 1))
    model = run(*records, children=CHILDREN)
    rows = [s for table in ("x", "x__c") for s in final(model, table)]
    days = [sorted(label for label, low, high in rows if low <= day < (high or 99)) for day in range(9)]
    return days, {b for _, low, high in rows for b in (low, high)}
