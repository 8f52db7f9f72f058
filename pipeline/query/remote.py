"""Files that are not on this machine, for DuckDB: read through the table's own FileIO.

So credentials, endpoints and every scheme that pyiceberg knows work without an extension of DuckDB.
"""

from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem
from pyiceberg.io import FileIO

from pipeline.query.session import PREFIX, PROTOCOL

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def opened(io: FileIO, location: str) -> "WholeFile":
    """A file of `io`, to be read."""
    return WholeFile(io.new_input(location).open(seekable=True))


class WholeFile:
    """A file that gives as many bytes as it has and is asked for, where an answer of the store broke off."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int | None = None) -> bytes:
        """So many bytes, or all that are left."""
        data = bytes(self._file.read(size))
        while size is None or len(data) < size:
            more = self._file.read(None if size is None else size - len(data))
            if not more:
                break
            data += more
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
