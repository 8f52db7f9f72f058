"""Waiting for another process of this machine that writes to the lake, which the log tells."""

import logging
import threading
from datetime import timedelta

from state import StateLocked, Waiting

log = logging.getLogger(__name__)


def waiting(wait: timedelta | None, stop: threading.Event | None = None) -> Waiting:
    """How long to wait for the state.

    Args:
        wait: None: not at all.
        stop: no longer than until this is set.
    """

    def tell(locked: StateLocked) -> None:
        who = f"process {locked.owner}" if locked.owner else "another process"
        extra = {"state": str(locked.path), "at_most_seconds": seconds}
        log.warning("waiting for %s, which has the state open", who, extra=extra)

    seconds = 0.0 if wait is None else wait.total_seconds()
    return Waiting(seconds, tell, stop or threading.Event())
