"""The interface of every state backend: ordered bytes, atomic batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias


class Puts(NamedTuple):
    """Keys and their new values, column by column."""

    keys: Sequence[bytes]
    values: Sequence[bytes]


class Delete(NamedTuple):
    """A key that goes."""

    key: bytes


class DeleteRange(NamedTuple):
    """All keys in [start, end) go."""

    start: bytes
    end: bytes


Operation: TypeAlias = Puts | Delete | DeleteRange


class WriteBatch:
    """What one atomic write does, in order: a later operation sees the earlier ones.

    The lists given to `put_many` are kept, not copied: leave them alone until the batch is written.
    """

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def put(self, key: bytes, value: bytes) -> None:
        """Set one value."""
        self.put_many((key,), (value,))

    def put_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set many values; keys in order cost RocksDB a third of unordered ones.

        Raises:
            ValueError: a key is empty, or there are not as many values as keys.
        """
        if len(keys) != len(values):
            raise ValueError(f"{len(keys)} keys but {len(values)} values")
        if not all(keys):
            raise ValueError("a state key can't be empty")
        self.operations.append(Puts(keys, values))

    def delete(self, key: bytes) -> None:
        """Remove one key, whether or not it is there."""
        if not key:
            raise ValueError("a state key can't be empty")
        self.operations.append(Delete(key))

    def delete_range(self, start: bytes, end: bytes) -> None:
        """Remove all keys in [start, end)."""
        # RocksDB takes a reversed range as a broken write and refuses everything from then on.
        if start > end:
            raise ValueError(f"the range to delete ends before it starts: {start!r} > {end!r}")
        if start < end:
            self.operations.append(DeleteRange(start, end))

    def __len__(self) -> int:
        return sum(len(o.keys) if isinstance(o, Puts) else 1 for o in self.operations)


@dataclass(frozen=True)
class StateSize:
    """How much a backend holds.

    Attributes:
        keys: an estimate; keys overwritten or deleted lately may count.
        disk_bytes: what the backend takes on disk, its log included; 0 in memory.
    """

    keys: int
    disk_bytes: int


class StateBackend(Protocol):
    """An ordered key-value store of bytes; keys are never empty. Safe to call from several threads."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The keys' values, in the order asked, None where there is none; keys in order are faster."""
        ...

    def write(self, batch: WriteBatch, *, durable: bool) -> None:
        """Apply a batch whole or not at all, also across a crash of the process.

        Args:
            batch: what to do.
            durable: return only when the batch, and all before it, would survive a power cut.
        """
        ...

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Keys with a prefix and their values in key order, as they are when `scan` is called.

        Args:
            prefix: empty for all keys.
            start: leave out keys before this one (which has the prefix).
        """
        ...

    def size(self) -> StateSize:
        """How much there is."""
        ...

    def close(self) -> None:
        """Let go of everything; closing twice is fine, using it afterwards is an error."""
        ...


class LocalState(StateBackend, Protocol):
    """A state backend that has room for files beside it."""

    @property
    def folder(self) -> Path:
        """Where files may lie that belong to the state, and last as long as it does."""
        ...


def prefix_end(prefix: bytes) -> bytes | None:
    r"""The least key after all keys with this prefix, or None if there is none.

    >>> prefix_end(b"ab"), prefix_end(b"a\xff"), prefix_end(b"\xff")
    (b'ac', b'b', None)
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
