"""Making things on a thread of their own, a little before they are needed."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], tick: float | None = None) -> Iterator[T | None]:
    """The same items, made on another thread up to two ahead; None when there is none for `tick` seconds.

    An error of `items` is raised in its place.
    """
    made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(2)
    stopped = threading.Event()
    thread = threading.Thread(target=_make, args=(items, made, stopped), name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = made.get(timeout=tick)
            except queue.Empty:
                yield None
                continue
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def _make(
    items: Iterable[T], made: "queue.Queue[tuple[T | None, BaseException | None]]", stopped: threading.Event
) -> None:
    try:
        for item in items:
            if not _offer(made, (item, None), stopped):
                return
        _offer(made, (None, None), stopped)
    except BaseException as error:  # noqa: BLE001 - raised where the items are taken
        _offer(made, (None, error), stopped)
    finally:
        if isinstance(items, Generator):
            items.close()


def _offer(target: "queue.Queue[T]", item: T, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            target.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
