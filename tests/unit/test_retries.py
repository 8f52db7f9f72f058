"""Calls that are repeated leave nothing behind."""

import gc
import weakref

import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from pipeline.retries import repeat


class Table:
    """What a callback knows."""

    def told(self, _: object) -> None:
        """Called before a pause."""


@pytest.mark.parametrize("failures", [0, 1])
def test_nothing_waits_for_the_collector(failures: int) -> None:
    left = iter(range(failures))

    def act() -> None:
        if next(left, None) is not None:
            raise OSError("away")

    gc.collect()
    gc.disable()
    try:
        table = Table()
        gone = weakref.ref(table)
        policy = Retrying(
            retry=retry_if_exception_type(OSError), stop=stop_after_attempt(3), before_sleep=table.told
        )
        repeat(policy, act)
        del table, policy
        assert gone() is None
    finally:
        gc.enable()
