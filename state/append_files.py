"""Files that are only appended to, numbered as they are begun; what is beyond a given length is cut off."""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.temporal.store import Ints
from state.entries import FURTHEST
from state.errors import StateDamaged, StateUnavailable

FileSizes = list[tuple[int, int]]
"""Per file its number and its bytes, in the order in which they were begun."""

_SUFFIX = ".keys"
_SMALLEST = 64 << 20
_MANY = 256
"""Files are larger where there would be more."""


class AppendFiles:
    """The files of a folder, which is theirs alone; made if missing.

    Args:
        folder: where.
        kept: the files to go on with; others are deleted.

    Attributes:
        lengths: the bytes of each file by its number.
        descriptors: int32, the open file of each number; for kernels.

    Raises:
        StateDamaged: a file is missing, or shorter than it was.
        StateUnavailable: the disk refuses to work; of every method.
    """

    def __init__(self, folder: Path, kept: FileSizes) -> None:
        self.folder = folder
        self.lengths = dict(kept)
        self.descriptors: npt.NDArray[np.int32] = np.full(16, -1, np.int32)
        self._open: dict[int, int] = {}
        self._synced: FileSizes = list(kept)
        weakref.finalize(self, _close, self._open)
        with self._disk():
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob(f"*{_SUFFIX}"):
                if int(path.stem) not in self.lengths:
                    path.unlink()
            for file, length in self.lengths.items():
                self._take_in(file, length)

    def append(self, words: Ints) -> tuple[int, int]:
        """Write words at the end of the newest file, or of a new one; the file, and its words before."""
        with self._disk():
            file = max(self.lengths, default=0)
            if not file or self.lengths[file] >= self._limit():
                file += 1
                self._begin(file)
            at, data = self.lengths[file], words.view(np.uint8).data
            done = 0
            while done < len(data):
                done += os.pwrite(self._open[file], data[done:], at + done)
            self.lengths[file] = at + len(data)
        return file, at >> 3

    def read(self, file: int, at: int, most: int) -> Ints:
        """Words of a file from byte `at` on; up to `most` bytes."""
        with self._disk():
            data = os.pread(self._open[file], min(most, self.lengths[file] - at), at)
        return np.frombuffer(data[: len(data) & ~7], np.int64)

    def sync(self) -> None:
        """Make durable what was appended."""
        with self._disk():
            for file, length in self.lengths.items():
                if (file, length) not in self._synced:
                    os.fsync(self._open[file])
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._synced = list(self.lengths.items())

    def remove(self, file: int) -> None:
        """Delete a file."""
        with self._disk():
            os.close(self._open.pop(file))
            self.descriptors[file], _ = -1, self.lengths.pop(file)
            self._path(file).unlink()

    def close(self) -> None:
        """Close them all."""
        _close(self._open)

    def damaged(self, file: int) -> StateDamaged:
        """The error that a file is not as it was written."""
        return StateDamaged(self._path(file), "an entry is not as it was written")

    def _limit(self) -> int:
        return min(max(_SMALLEST, sum(self.lengths.values()) // _MANY), FURTHEST)

    def _path(self, file: int) -> Path:
        return self.folder / f"{file:08}{_SUFFIX}"

    def _begin(self, file: int) -> None:
        self._note(file, os.open(self._path(file), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644))
        self.lengths[file] = 0

    def _take_in(self, file: int, length: int) -> None:
        try:
            self._note(file, os.open(self._path(file), os.O_RDWR | os.O_CLOEXEC))
        except FileNotFoundError as error:
            raise StateDamaged(self._path(file), "it is missing") from error
        if os.fstat(self._open[file]).st_size < length:
            raise StateDamaged(self._path(file), f"it should have {length} bytes")
        os.ftruncate(self._open[file], length)

    def _note(self, file: int, descriptor: int) -> None:
        self._open[file] = descriptor
        if file >= self.descriptors.size:
            more = np.full(2 * file, -1, np.int32)
            more[: self.descriptors.size] = self.descriptors
            self.descriptors = more
        self.descriptors[file] = descriptor

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateUnavailable(self.folder, str(error)) from error


def _close(opened: dict[int, int]) -> None:
    while opened:
        os.close(opened.popitem()[1])
