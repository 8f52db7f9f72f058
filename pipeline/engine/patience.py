"""Waiting for servers that are away."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
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

from pipeline.errors import BitlakeError, Unavailable
from pipeline.retries import repeat

T = TypeVar("T")
log = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between two looks whether to stop."""


class StoppedEarly(Unavailable):
    """A server was still waited for when the run was stopped: nothing was read yet, so nothing is left."""


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
        result = repeat(retrying, action)
        self.told(None)
        return result

    def call_apart(self, action: Callable[[], T], seconds: float = 0.0) -> T:
        """The same for what may be left behind at any moment, so long after `stop` is set.

        A server that has stalled is told of by nobody for a minute or more.
        """
        return self.call(lambda: apart(action, self.stop, seconds))

    @contextmanager
    def opening(self) -> Iterator[None]:
        """While nothing was read yet, to be stopped is no failure.

        Raises:
            StoppedEarly: instead of `Unavailable`, once `stop` is set.
        """
        try:
            yield
        except Unavailable as error:
            if not self.stop.is_set():
                raise
            log.info("stopped before anything was read")
            raise StoppedEarly(error.message) from error

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        self.told(str(error))
        log.warning(
            "waiting for a server that is away",
            extra={"error": str(error), "tries": state.attempt_number, "pause_seconds": round(pause, 1)},
        )


def apart(action: Callable[[], T], stop: threading.Event, seconds: float = 0.0) -> T:
    """Call on a thread of its own, which is left behind when it lasts so long after `stop` is set.

    Raises:
        Unavailable: it was left behind.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            future.set_exception(error)

    thread = threading.Thread(target=run, name="apart", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.is_set():
        thread.join(TICK)
    thread.join(seconds)
    if thread.is_alive():
        raise Unavailable("a server had not answered when the run was stopped", next_step="start it again")
    return future.result()
