"""What is made of a Flink job's commits."""

import pytest

from benchmarks.flink_speed import steady


@pytest.mark.parametrize("last", [41.0, 60.0])
def test_the_rate_is_from_the_first_commit_to_the_last_but_one(last: float) -> None:
    assert steady([(10.0, 500), (20.0, 1500), (40.0, 3500), (last, 3600)]) == 100


def test_there_is_no_rate_of_too_few_commits() -> None:
    assert steady([(10.0, 500), (20.0, 1500), (30.0, 2000)]) is None
