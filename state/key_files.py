"""Keys beyond memory: appended to files, each found by an index in memory.

To write and read a key takes RocksDB 11 µs, most of it compaction; this takes two (docs/decisions/0010).
What must be durable with other things, the list of files and how far they go, is small: the caller keeps it.
What lies beyond is cut off when the files are opened next.
"""

import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.temporal.change import starts_of
from pipeline.temporal.store import Bytes, Ints
from state import entries
from state.append_files import AppendFiles, FileSizes

_LEAST_SLOTS = 1 << 10
_FULL, _GROWTH = 0.75, 1.25
"""Share of the index's slots that are used at most, and how much larger it gets then."""
_SLACK = 64 << 20
"""Bytes of entries replaced that are left alone, beside as many as there are of others."""
_STRETCH = 16 << 20
"""Bytes walked through at a time; more where an entry is larger."""
_SNAPSHOT = "index.npz"
Mark = Callable[[Bytes, Ints, Ints], tuple[Bytes, Ints]]
"""Makes marks of n values, given where they start and end: one after the other, and where each starts."""


@dataclass(frozen=True)
class Found:
    """What is known of n keys.

    Attributes:
        data: holds the values.
        starts, ends: int64[n], where each value is; equal where there is none.
        left: uint8[n], whether the key was left to the tables: its value is a mark.
        places: int64[n], to be given when the key is put again; 0: the key is not known.
    """

    data: Bytes
    starts: Ints
    ends: Ints
    left: Bytes
    places: Ints


@dataclass(frozen=True)
class _Stretch:
    """Entries that follow each other in a file; `at` is the word in `words` where each starts."""

    words: Ints
    at: Ints
    hashes: Ints
    befores: Ints
    places: Ints
    lasts: Ints


class KeyFiles:
    """The keys of one dataset: one thread may find keys while another one does anything else.

    Args:
        folder: theirs alone; made if missing.
        written: what `flush` gave last; None: nothing.

    Attributes:
        count: how many keys there are, those left to the tables included.

    Raises:
        StateDamaged: files are missing or otherwise than they were written; `find` may find that too.
        StateUnavailable: the disk is full, or can't be written.
    """

    def __init__(self, folder: Path, written: Sequence[Sequence[int]] | None) -> None:
        self._written = _sizes(written or [])
        self._files, self._lock = AppendFiles(folder, self._written), threading.Lock()
        self._snapshot, self._snapped = folder / _SNAPSHOT, False
        self._gone: list[int] = []
        self._slots: Ints = np.zeros((_LEAST_SLOTS, 2), np.int64)
        self._live: Ints = np.zeros(16, np.int64)
        self.count = 0
        if not self._written:
            self._snapshot.unlink(missing_ok=True)
        elif not self._take_snapshot():
            for file in self._files.lengths:
                for stretch in self._stretches(file):
                    self._point(stretch.hashes, stretch.befores, stretch.places)

    def index_bytes(self) -> int:
        """Memory that the index takes."""
        return self._slots.nbytes

    def disk_bytes(self) -> int:
        """What the files take."""
        return sum(list(self._files.lengths.values()))

    def find(self, hashes: Ints, keys: Bytes, key_at: Ints, key_length: Ints) -> Found:
        """Read keys.

        Args:
            hashes: int64[n], their hashes.
            keys, key_at, key_length: uint8 and int64[n], their bytes.
        """
        n = hashes.size
        starts, ends, places, passed = (np.zeros(n, np.int64) for _ in range(4))
        found = Found(np.zeros(8, np.uint8), starts, ends, np.zeros(n, np.uint8), places)
        if self.count == 0:
            return found
        with self._lock:
            while True:
                entries.look_up(self._slots, hashes, passed, places)
                words, at = self._read(places)
                found = replace(found, data=words.view(np.uint8))
                if not entries.match(
                    keys, key_at, key_length, at, found.data, words, starts, ends, found.left
                ):
                    return found
                # Two keys of one hash: not in ten thousand years, but then they are told apart.
                passed[starts > ends] += 1

    def put(
        self,
        hashes: Ints,
        keys: Bytes,
        key_at: Ints,
        key_length: Ints,
        values: Bytes,
        value_start: Ints,
        befores: Ints,
        *,
        left: bool = False,
    ) -> Ints:
        """Write keys, all different.

        Args:
            hashes, keys, key_at, key_length: as for `find`.
            values, value_start: uint8 and int64[n + 1], one after the other; 8 bytes in front are the age.
            befores: int64[n], where they were found, or put before; a place that they have left does no harm.
            left: they are left to the tables, and the values are marks.

        Returns:
            int64[n], their places.
        """
        if not hashes.size:
            return np.zeros(0, np.int64)
        sizes = 8 * entries.HEADER_WORDS + _padded(key_length) + _padded(np.diff(value_start))
        starts = starts_of(sizes)
        words, mark = np.zeros(int(starts[-1]) >> 3, np.int64), entries.LEFT if left else 0
        data = words.view(np.uint8)
        entries.pack(
            hashes, keys, key_at, key_length, values, value_start, befores, mark, starts, data, words
        )
        return self._append(words, starts, hashes, befores)

    def leave(self, before: int, mark: Mark) -> int:
        """Leave keys to the tables whose values are older than `before`, in their place marks; how many."""
        count = 0
        for file in list(self._files.lengths):
            for stretch in self._stretches(file):
                old = np.flatnonzero((stretch.lasts < before) & self._newest(stretch))
                count += old.size
                if old.size:
                    at, data = stretch.at[old], stretch.words.view(np.uint8)
                    lengths, key_at = stretch.words[at + entries.LENGTHS], 8 * (at + entries.HEADER_WORDS)
                    key_length = lengths & (entries.LEFT - 1)
                    value_at = key_at + _padded(key_length)
                    marks, starts = mark(data, value_at, value_at + (lengths >> entries.VALUE_SHIFT))
                    hashes, places = stretch.hashes[old], stretch.places[old]
                    self.put(hashes, data, key_at, key_length, marks, starts, places, left=True)
        return count

    def flush(self) -> FileSizes:
        """Make all durable, and move what is in the way of giving room back; what is to be remembered of it.

        Files are deleted by `settle` only, once that is durable too.
        """
        while (file := self._emptiest()) is not None:
            self._move(file)
        self._files.sync()
        return [(file, size) for file, size in self._files.lengths.items() if file not in self._gone]

    def settle(self, written: FileSizes) -> None:
        """What `flush` gave is remembered: files that it does not name go."""
        self._snapped &= self._written == written
        self._written = written
        with self._lock:
            while self._gone:
                self._files.remove(self._gone.pop())

    def clear(self) -> None:
        """Forget all keys, of which nothing is remembered any more."""
        with self._lock:
            self._gone = list(self._files.lengths)
            self._slots, self.count = np.zeros((_LEAST_SLOTS, 2), np.int64), 0
            self._live[:] = 0
        self.settle([])
        # Files of the same sizes may come again.
        self._snapshot.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; where all of them is remembered, the index is left for whoever opens them."""
        if self._written == list(self._files.lengths.items()) and not self._snapped:
            with suppress(OSError):
                self._leave_snapshot()
        self._files.close()

    def _append(self, words: Ints, starts: Ints, hashes: Ints, befores: Ints) -> Ints:
        places = np.empty(hashes.size, np.int64)
        file, first = self._files.append(words)
        entries.place_all(file, first, starts, places)
        self._point(hashes, befores, places)
        return places

    def _point(self, hashes: Ints, befores: Ints, places: Ints) -> None:
        """Have the index point to new entries."""
        unsure, replaced = np.zeros(hashes.size, np.uint8), np.empty(hashes.size, np.int64)
        with self._lock:
            self._make_room(hashes.size)
            self.count += entries.point(self._slots, hashes, befores, places, replaced, unsure)
            for i in np.flatnonzero(unsure).tolist():
                replaced[i] = self._replace(hashes[i : i + 1], places[i : i + 1])
            self._count_live(replaced, places)

    def _replace(self, hash_: Ints, place: Ints) -> int:
        """Point to an entry in the place of the one of its key, wherever that is; 0 if there is none."""
        words, _ = self._read(place)
        key_at = np.full(1, 8 * entries.HEADER_WORDS)
        length = words[entries.LENGTHS : entries.LENGTHS + 1] & (entries.LEFT - 1)
        passed, before, ends, none = (np.zeros(1, np.int64) for _ in range(4))
        left, unsure, data = np.zeros(1, np.uint8), np.zeros(1, np.uint8), words.view(np.uint8)
        while True:
            entries.look_up(self._slots, hash_, passed, before)
            if not before[0]:
                entries.insert(self._slots, int(hash_[0]), int(place[0]))
                self.count += 1
                return 0
            other, at = self._read(before)
            if not entries.match(data, key_at, length, at, other.view(np.uint8), other, none, ends, left):
                entries.point(self._slots, hash_, before, place, none, unsure)
                return int(before[0])
            passed[0] += 1

    def _read(self, places: Ints) -> tuple[Ints, Ints]:
        """Entries as words, and where in bytes each starts."""
        starts, descriptors = np.zeros(places.size + 1, np.int64), self._files.descriptors
        room = np.zeros(entries.HEADER_WORDS, np.int64)
        bad, words = entries.sizes(descriptors, places, starts, room), room
        if bad < 0:
            words = np.empty(max(1, int(starts[-1]) >> 3), np.int64)
            bad = entries.read(descriptors, places, starts, words.view(np.uint8), words)
        if bad >= 0:
            raise self._files.damaged(int(places[bad]) >> entries.FILE_SHIFT)
        return words, starts

    def _stretches(self, file: int) -> Iterator[_Stretch]:
        """The entries of a file, a stretch at a time, as far as it goes now."""
        at, end, most = 0, self._files.lengths[file], _STRETCH
        while at < end:
            words = self._files.read(file, at, min(most, end - at)).copy()
            room = [np.empty(words.size // entries.HEADER_WORDS, np.int64) for _ in range(4)]
            count, used = entries.walk(words, words.size, file, at >> 3, *room)
            if not count:
                if words.size < most >> 3:
                    raise self._files.damaged(file)
                most *= 4
                continue
            hashes, befores, places, lasts = (array[:count] for array in room)
            starts = ((places >> entries.AT_SHIFT) & entries.AT_MASK) - (at >> 3)
            yield _Stretch(words, starts, hashes, befores, places, lasts)
            at, most = at + 8 * used, _STRETCH

    def _newest(self, stretch: _Stretch) -> Bytes:
        found = np.empty(stretch.places.size, np.uint8)
        with self._lock:
            entries.newest(self._slots, stretch.hashes, stretch.places, found)
        return found.astype(bool)

    def _emptiest(self) -> int | None:
        """The file whose entries are to be moved, because too many others in it were replaced."""
        lengths = {file: length for file, length in self._files.lengths.items() if file not in self._gone}
        live = {file: 8 * int(self._live[file]) for file in lengths}
        lengths.pop(max(lengths, default=0), None)
        if sum(lengths.values()) <= 2 * sum(live.values()) + _SLACK or not lengths:
            return None
        return min(lengths, key=lambda file: live[file] / lengths[file])

    def _move(self, file: int) -> None:
        """Append a file's newest entries again; the file is to go."""
        if self._live[file]:
            for stretch in self._stretches(file):
                live = np.flatnonzero(self._newest(stretch))
                if live.size:
                    sizes = entries.words_in(stretch.words[stretch.at[live] + entries.LENGTHS])
                    starts = starts_of(8 * sizes)
                    words, befores = np.empty(int(sizes.sum()), np.int64), stretch.places[live]
                    entries.gather(stretch.words, stretch.at[live], befores, words)
                    self._append(words, starts, stretch.hashes[live], befores)
        self._gone.append(file)

    def _make_room(self, more: int) -> None:
        size = self._slots.shape[0]
        while _FULL * size < self.count + more:
            size = int(size * _GROWTH)
        if size > self._slots.shape[0]:
            grown = np.zeros((size, 2), np.int64)
            entries.fill(self._slots, grown)
            self._slots = grown

    def _count_live(self, replaced: Ints, places: Ints) -> None:
        """Count words of entries that the index points to, by file."""
        files = places >> entries.FILE_SHIFT
        highest = int(files.max(initial=0))
        if highest >= self._live.size:
            self._live = np.concatenate((self._live, np.zeros(highest + 1, np.int64)))
        np.add.at(self._live, files, self._words(places))
        before = replaced[replaced != entries.NOWHERE]
        np.subtract.at(self._live, before >> entries.FILE_SHIFT, self._words(before))

    def _words(self, places: Ints) -> Ints:
        words = places & entries.SIZE_MASK
        for i in np.flatnonzero(words == entries.LARGE).tolist():
            file = int(places[i]) >> entries.FILE_SHIFT
            at = 8 * ((int(places[i]) >> entries.AT_SHIFT) & entries.AT_MASK)
            lengths = self._files.read(file, at, 8 * entries.HEADER_WORDS)[entries.LENGTHS :][:1]
            words[i] = entries.words_in(lengths)[0]
        return words

    def _take_snapshot(self) -> bool:
        """Take the index that was left, if it is of these files."""
        try:
            # numpy leaves a file open that it opened itself and that is cut short.
            with self._snapshot.open("rb") as file, np.load(file, allow_pickle=False) as left:
                if _sizes(json.loads(left["written"].tobytes())) == self._written:
                    self._slots, self._live, self.count = left["slots"], left["live"], int(left["count"])
                    self._snapped = True
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        return self._snapped

    def _leave_snapshot(self) -> None:
        if self._written:
            written = np.frombuffer(json.dumps(self._written).encode(), np.uint8)
            np.savez(self._snapshot, written=written, slots=self._slots, live=self._live, count=self.count)


def _sizes(written: Sequence[Sequence[int]]) -> FileSizes:
    """What `flush` gave, also once it was JSON."""
    return [(file, size) for file, size in written]


def _padded(lengths: Ints) -> Ints:
    """Bytes as whole words."""
    return (lengths + 7) & ~7
