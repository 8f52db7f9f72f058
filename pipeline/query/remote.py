"""Files that are not on this machine, for DuckDB: read through the table's own FileIO.

So credentials, endpoints and every scheme that pyiceberg knows work without an extension of DuckDB.
"""

from datetime import UTC, datetime
from os import SEEK_CUR, SEEK_END, SEEK_SET
from threading import Lock, local
from typing import Any

from fsspec import AbstractFileSystem
from pyiceberg.io import FileIO

from pipeline.query.session import PREFIX, PROTOCOL

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def opened(io: FileIO, location: str) -> "WholeFile":
    """A file of `io`, to be read."""
    return WholeFile(io.new_input(location).open(seekable=True))


class WholeFile:
    """A file that gives as many bytes as it has and is asked for, also where an answer of a store broke off.

    Each thread has its own place in it: DuckDB's threads share a file, and seek before they read.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._lock, self._thread = file, Lock(), local()
        file.seek(0, SEEK_END)
        self._size = file.tell()

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place; where that is."""
        from_ = {SEEK_SET: 0, SEEK_CUR: self.tell(), SEEK_END: self._size}[whence]
        self._thread.at = from_ + offset
        return self.tell()

    def tell(self) -> int:
        """The place in the file."""
        return int(getattr(self._thread, "at", 0))

    def read(self, size: int | None = None) -> bytes:
        """So many bytes, or all that are left."""
        begin, data = self.tell(), b""
        left = max(0, self._size - begin)
        wanted = left if size is None or size < 0 else min(size, left)
        with self._lock:
            self._file.seek(begin)
            while len(data) < wanted:
                more = self._file.read(wanted - len(data))
                if not more:
                    break
                data += more
        self._thread.at = begin + len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def remote_files(io: FileIO) -> AbstractFileSystem:
    """A read-only file system of the locations that `io` opens, each after `PREFIX`."""
    return _RemoteFiles(io)


class _RemoteFiles(AbstractFileSystem):
    protocol = PROTOCOL
    cachable = False

    def __init__(self, io: FileIO) -> None:
        super().__init__()
        self._files = io

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path.removeprefix(PREFIX) if isinstance(path, str) else path

    def _open(self, path: str, _mode: str = "rb", **_options: Any) -> Any:
        return opened(self._files, path)

    def open(self, path: str, _mode: str = "rb", **_options: Any) -> Any:
        return self._open(self._strip_protocol(path))

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        location = self._strip_protocol(path)
        return {"name": location, "size": len(self._files.new_input(location)), "type": "file"}

    def glob(self, path: str, **_options: Any) -> list[str]:
        return [path]

    def modified(self, _path: str) -> datetime:
        """Data files never change, so DuckDB may keep what it has read of them."""
        return _ALWAYS
