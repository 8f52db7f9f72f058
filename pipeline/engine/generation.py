"""Keys that came into memory at one time, and their timelines: they leave it together."""

import threading
from dataclasses import dataclass, field

import numpy as np

from pipeline.temporal import keys as numbering
from pipeline.temporal import transfer
from pipeline.temporal.keys import Keys
from pipeline.temporal.store import (
    DIRTY,
    FLAGS,
    KEY_FIELDS,
    LENGTH_BITS,
    NEXT_PAGE,
    NEXT_SEGMENT,
    PAGE_FIELDS,
    SEGMENT_FIELDS,
    Bytes,
    Ints,
    Lists,
    Store,
    new_store,
    physical_memory,
    reserve,
)
from state import KeyFiles

PART = 50_000
"""Keys written at a time."""


def _places() -> Ints:
    return reserve((physical_memory() // (8 * KEY_FIELDS),), np.int64)  # type: ignore[return-value]


@dataclass
class Generation:
    """Keys by number, and their timelines.

    Attributes:
        store, keys: theirs.
        places: per key where the key files have it; 0 where they don't.
        moved: numbers of keys that came from the generation before, and their numbers there.
        written: the key files hold all of it, and nothing of it changes any more.
        life: another one whenever it is cleared.
    """

    store: Store = field(default_factory=new_store)
    keys: Keys = field(default_factory=numbering.new_keys)
    places: Ints = field(default_factory=_places)
    moved: list[tuple[Ints, Ints]] = field(default_factory=list)
    written: threading.Event = field(default_factory=lambda: threading.Event())  # noqa: PLW0108 - simulated in tests
    life: object = field(default_factory=object)

    @property
    def count(self) -> int:
        """How many keys there are."""
        return int(self.keys.used[0])

    @property
    def segments(self) -> int:
        """How many segments there is room for so far."""
        store = self.store
        return int(store.parents.counters[NEXT_SEGMENT] + store.children.counters[NEXT_SEGMENT])

    def used(self) -> int:
        """Bytes of memory that it takes."""
        store = self.store
        pages = int(store.parents.counters[NEXT_PAGE] + store.children.counters[NEXT_PAGE])
        keys, key_bytes = (int(n) for n in self.keys.used)
        per_key = 8 * (KEY_FIELDS + numbering.KNOWN_FIELDS + 1)
        lists = 8 * SEGMENT_FIELDS * self.segments + 8 * PAGE_FIELDS * pages
        return lists + int(store.used[0]) + per_key * keys + key_bytes + self.keys.table.nbytes

    def key_bytes(self, numbers: Ints) -> tuple[Ints, Ints]:
        """Where the canonical bytes of keys start in the keys' arena, and how long they are."""
        references = self.keys.known[numbers, numbering.REFERENCE]
        return (references >> LENGTH_BITS) << 3, references & ((1 << LENGTH_BITS) - 1)

    def hashes(self, numbers: Ints) -> Ints:
        """The hashes of keys."""
        return np.ascontiguousarray(self.keys.known[numbers, numbering.HASH])

    def export(self, numbers: Ints) -> tuple[Bytes, Ints]:
        """What is kept of keys outside, one after the other, and where each starts; int64[n + 1]."""
        starts = np.zeros(numbers.size + 1, np.int64)
        out = np.empty(max(1, transfer.room_of(self.store, numbers)), np.uint8)
        transfer.export(self.store, numbers, starts, out)
        return out, starts

    def dirty(self) -> Ints:
        """The numbers of keys that were changed since they were last written."""
        return np.flatnonzero(self.store.keys[: self.count, FLAGS] & DIRTY)

    def write(self, files: KeyFiles, numbers: Ints) -> None:
        """Put keys in the key files."""
        for part in np.array_split(numbers, max(1, numbers.size // PART)):
            values, starts = self.export(part)
            at, length = self.key_bytes(part)
            befores = self.places[part]
            self.places[part] = files.put(
                self.hashes(part), self.keys.arena, at, length, values, starts, befores
            )

    def take_in(self, numbers: Ints, other: "Generation") -> np.ndarray:
        """Copy keys from another generation, as far as it has them; whether it has, bool[n]."""
        theirs = np.empty(numbers.size, np.int64)
        numbering.find_all(other.keys, self.keys, numbers, theirs)
        has = theirs >= 0
        mine, theirs = numbers[has], theirs[has]
        data, starts = other.export(theirs)
        transfer.install(self.store, mine, starts[:-1], starts[1:], data)
        self.moved.append((mine, theirs))
        return has

    def settle(self, before: "Generation") -> None:
        """Note where the keys that came from the generation before have been put since."""
        for mine, theirs in self.moved:
            self.places[mine] = before.places[theirs]
        self.moved.clear()

    def clear(self) -> None:
        """Forget everything; the memory stays, for other keys."""
        self.store.keys[: self.count] = 0
        self.places[: self.count] = 0
        self.store.used[0], self.store.free[:], self.keys.used[:] = 0, 0, 0
        self.keys.table[:] = 0
        for lists in (self.store.parents, self.store.children):
            _clear(lists)
        self.moved.clear()
        self.written, self.life = threading.Event(), object()


def _clear(lists: Lists) -> None:
    lists.counters[:] = -1
    lists.counters[[NEXT_SEGMENT, NEXT_PAGE]] = 0
