"""Queueing for a state directory that another process has open."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from state.errors import StateLocked

T = TypeVar("T")
_FIRST, _LEAST = 0.25, 0.02
"""Seconds between two looks: the first, and the shortest. Who has waited longest looks most often."""


@dataclass(frozen=True)
class Waiting:
    """How long to wait for another process, and who is told of it.

    Attributes:
        seconds: 0: not at all.
        told: is given whom the state is waited for, once.
        stop: no longer than until this is set.
    """

    seconds: float = 0.0
    told: Callable[[StateLocked], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)

    def until_free(self, take: Callable[[], T]) -> T:
        """Call until it does not find the state locked.

        Raises:
            StateLocked: it is still locked after so long, or when `stop` is set.
        """
        begun, told = time.monotonic(), False
        while True:
            try:
                return take()
            except StateLocked as locked:
                waited = time.monotonic() - begun
                if self.stop.is_set() or waited >= self.seconds:
                    raise
                # A process that has just taken it may not have left its id yet.
                if not told and (locked.owner or waited > _FIRST):
                    self.told(locked)
                    told = True
            pause = max(_FIRST / (1 + waited), _LEAST) * random.uniform(0.5, 1.5)  # noqa: S311
            self.stop.wait(min(pause, self.seconds - waited))
