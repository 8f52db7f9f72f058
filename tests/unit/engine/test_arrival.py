"""The clock of a partition."""

import numpy as np
import pytest

from pipeline.engine.arrival import clocks_at
from pipeline.temporal.change import NONE_GIVEN


@pytest.mark.parametrize(
    ("clock", "timestamps", "expected"),
    [
        (NONE_GIVEN, [5, 3, 9, 9], [5, 5, 9, 9]),
        (7, [5, 3, 9, 8], [7, 7, 9, 9]),
        (NONE_GIVEN, [NONE_GIVEN, 4, NONE_GIVEN], [NONE_GIVEN, 4, 4]),
        (2, [1, 99, 3, 98], [2, 2, 3, 3]),
        (3, [], []),
    ],
    ids=["first", "behind", "without", "ahead", "none"],
)
def test_clocks(clock: int, timestamps: list[int], expected: list[int]) -> None:
    ahead = np.array(timestamps, np.int64) > 50
    assert clocks_at(ahead, np.array(timestamps, np.int64), clock).tolist() == expected
