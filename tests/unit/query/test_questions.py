"""Every question against a naive belief, for histories of all shapes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.query.answers import Answers
from pipeline.query.session import Session
from tests.unit.query.belief import DAYS, NO_END, Belief, Change, Version
from tests.unit.query.lakes import (
    ZERO_DAY,
    answers_of,
    catalog_in,
    create,
    rows_of,
    system_us,
    table_schema,
    valid_day,
    versions_in,
)

SCHEMA = table_schema({"isin": "string"}, {"level": "long"})


@st.composite
def changes(draw: st.DrawFn) -> Change:
    start = draw(st.integers(0, DAYS - 1))
    end = draw(st.none() | st.integers(start + 1, DAYS - 1)) if start < DAYS - 1 else None
    return Change(draw(st.sampled_from("AB")), start, end, draw(st.none() | st.integers(0, 2)))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Answers about any rows: an Iceberg table, each time filled anew in several data files."""
    catalog = catalog_in(tmp_path_factory.mktemp("lake"))
    session = Session()
    count = 0

    def ask(belief: Belief, *, upsert: bool) -> Answers:
        nonlocal count
        count += 1
        schema = table_schema({"isin": "string"}, {"level": "long"}, name=f"bonds{count}")
        table = create(catalog, schema)
        parts = [sorted(belief.history)] if upsert else [belief.opened, belief.versions]
        for part in parts:
            if part:
                table.append(rows_of(part, schema))
        return answers_of(table, session)

    return ask


@settings(max_examples=15, deadline=None)
@given(history=st.lists(changes(), max_size=14), upsert=st.booleans())
def test_every_question_is_answered_as_believed(asked, history, upsert):
    belief = Belief()
    for change in history:
        belief.apply(change)
    answers = asked(belief, upsert=upsert)

    assert versions_in(answers.history()) == _ordered(belief.history)
    for step in {0, belief.step // 2, belief.step - 1}:
        assert versions_in(answers.timeline(system_us(step))) == _ordered(belief.timeline(step))
        for day in {0, DAYS // 2, DAYS - 1}:
            found = versions_in(answers.asof(valid_day(day), system_us(step)))
            assert {(v.key, v.value) for v in found} == {
                (key, value) for (key, on), value in belief.days[step].items() if on == day
            }
            assert found == _ordered({v for v in belief.timeline(step) if v.valid_from <= day < v.valid_to})
    for before, after in {(0, belief.step - 1), (belief.step // 2, belief.step - 1), (belief.step - 1, 0)}:
        found = answers.diff(system_us(before), system_us(after))
        assert _pieces(found) == belief.differences(before, after)


def _ordered(versions: set[Version]) -> list[Version]:
    return sorted(versions, key=lambda v: (v.key, v.system_from, v.valid_from))


def _pieces(found):
    return {
        (
            row["isin"],
            (row["valid_from"] - ZERO_DAY).days,
            NO_END if row["valid_to"] is None else (row["valid_to"] - ZERO_DAY).days,
            row["change"],
            row["old"] and row["old"]["level"],
            row["new"] and row["new"]["level"],
        )
        for row in found.to_pylist()
    }
