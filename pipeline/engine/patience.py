"""Waiting for servers that are away."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)

from pipeline.errors import BitlakeError

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a call is repeated that fails because a server is away.

    Attributes:
        seconds: since the first try; 0: it is not repeated.
        stop: no longer than until this is set.
        told: is given why a server is waited for, and None when it answers.
    """

    seconds: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)
    told: Callable[[str | None], None] = lambda _: None

    def call(self, action: Callable[[], T]) -> T:
        """Call until it does not fail, or not with an error that says trying again can help.

        Raises:
            BitlakeError: the last one.
        """
        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, BitlakeError) and error.retryable),
            stop=stop_any(stop_after_delay(self.seconds), stop_when_event_set(self.stop)),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            sleep=sleep_using_event(self.stop),
            before_sleep=self._tell,
            reraise=True,
        )
        result = retrying(action)
        self.told(None)
        return result

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self.told(str(error))
        log.warning(
            "waiting for a server that is away",
            extra={"error": str(error), "tries": state.attempt_number, "pause_seconds": round(pause, 1)},
        )
