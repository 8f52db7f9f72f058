"""Where a generator's choices come from: a seed, or hypothesis."""

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Chooser(Protocol):
    """Where choices come from: a seed, or hypothesis."""

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high]; hypothesis shrinks towards low."""


class Seeded:
    """Choices from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


class Drawn:
    """Choices by hypothesis."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


def pick(choose: Chooser, options: Sequence[T]) -> T:
    """One of the options; the first is the simplest."""
    return options[choose.integer(0, len(options) - 1)]


def chance(choose: Chooser, one_in: int) -> bool:
    """True once in ``one_in`` times."""
    return choose.integer(0, one_in - 1) == one_in - 1
