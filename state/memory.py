"""State in memory: for tests, and for a lake that is thrown away."""

import shutil
import weakref
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock

from pipeline.errors import BitlakeError
from state.base import Delete, DeleteRange, Puts, StateSize, WriteBatch, prefix_end


class MemoryState:
    """A dict with its keys in order; everything is gone when it is closed."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._order: list[bytes] = []
        self._ordered = True
        self._closed = False
        self._lock = Lock()

    @cached_property
    def folder(self) -> Path:
        """See `LocalState`; it goes with this object."""
        made = mkdtemp(prefix="bitlake-state-")
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return Path(made)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `StateBackend`."""
        with self._lock:
            self._check_open()
            return [self._values.get(key) for key in keys]

    def write(self, batch: WriteBatch, *, durable: bool) -> None:  # noqa: ARG002
        """See `StateBackend`; memory is never durable."""
        with self._lock:
            self._check_open()
            for operation in batch.operations:
                match operation:
                    case Puts(keys, values):
                        self._values.update(zip(keys, values, strict=True))
                        self._ordered = False
                    case Delete(key):
                        self._ordered &= self._values.pop(key, None) is None
                    case DeleteRange(start, end):
                        for key in self._between(start, end):
                            del self._values[key]
                        self._ordered = False

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See `StateBackend`."""
        with self._lock:
            self._check_open()
            keys = self._between(max(prefix, start or b""), prefix_end(prefix))
            return iter([(key, self._values[key]) for key in keys])

    def size(self) -> StateSize:
        """See `StateBackend`."""
        with self._lock:
            self._check_open()
            return StateSize(len(self._values), 0)

    def close(self) -> None:
        """See `StateBackend`."""
        with self._lock:
            self._values, self._order, self._closed = {}, [], True

    def _between(self, start: bytes, end: bytes | None) -> list[bytes]:
        if not self._ordered:
            # A dict keeps overwritten keys in place and appends new ones: mostly runs, which sort fast.
            self._order = sorted(self._values)
            self._ordered = True
        last = len(self._order) if end is None else bisect_left(self._order, end)
        return self._order[bisect_left(self._order, start) : last]

    def _check_open(self) -> None:
        if self._closed:
            raise BitlakeError("the state is closed")
