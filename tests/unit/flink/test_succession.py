"""Which checkpoints a new job may go on from."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.engine.layout import layout_of
from pipeline.flink.job import Job
from pipeline.flink.succession import Predecessor
from tests.unit.decode.reading import column, dataset

SCHEMA = dataset(column("a", "int"))
JOB = Job("run", ("first",), 7, {}, {}, layout=layout_of(SCHEMA))
EARLIER = [
    ["keys in files, log by columns, short lengths, patches by segment", [], []],
    *layout_of(SCHEMA)[1:],
]


@pytest.mark.parametrize("layout", [EARLIER, None])
def test_not_from_one_whose_rows_an_earlier_bitlake_made(layout: list[Any] | None) -> None:
    why = Predecessor(SCHEMA, replace(JOB, layout=layout), wrote_last=True).why_not()
    assert why is not None
    assert "by an earlier bitlake" in why


def test_from_one_of_the_same_columns() -> None:
    assert Predecessor(SCHEMA, JOB, wrote_last=True).why_not() is None
    why = Predecessor(dataset(column("b", "int")), JOB, wrote_last=True).why_not()
    assert why is not None
    assert "the columns or children" in why
