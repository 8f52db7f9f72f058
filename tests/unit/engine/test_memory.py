"""The memory that epochs of several datasets share."""

import threading

import pytest

from pipeline.engine.memory import LEAST, EpochMemory


def test_what_others_hold_stops_nobody_below_the_least() -> None:
    memory = EpochMemory(2 * LEAST, datasets=2)
    busy, quiet = memory.share(), memory.share()
    busy.fill(2 * LEAST)
    quiet.fill(LEAST - 1)
    assert (busy.short, quiet.short) == (True, False)
    quiet.fill(LEAST)
    assert quiet.short


def test_who_has_handed_over_waits_until_memory_is_released() -> None:
    memory = EpochMemory(2 * LEAST)
    mine, other = memory.share(), memory.share()
    other.fill(LEAST)
    mine.fill(2 * LEAST)
    handed, waiting, done = mine.cut(), threading.Event(), threading.Event()

    def wait() -> None:
        mine.wait(waiting.set)
        done.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(30)
    assert not done.is_set()
    mine.release(handed)
    thread.join(30)
    assert done.is_set()
    assert not mine.short


def test_an_epoch_that_failed_ends_the_wait() -> None:
    memory = EpochMemory(LEAST)
    share = memory.share()
    share.fill(LEAST)
    share.cut()

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError, match="^$"):
        share.wait(fail)
    share.close()
    assert not share.short


def test_an_epoch_in_the_making_is_not_waited_for() -> None:
    share = EpochMemory(LEAST).share()
    share.fill(2 * LEAST)
    share.wait(lambda: pytest.fail("nothing was handed over that could be released"))
    assert share.short


def test_large_buffers_are_kept_only_where_few_share() -> None:
    assert EpochMemory(400, datasets=1).keeps(100)
    assert not EpochMemory(400, datasets=10).keeps(11)
