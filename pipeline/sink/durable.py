"""Local files that survive a power cut: synced, and their directory too, before anyone is told of them."""

import os
from pathlib import Path
from types import TracebackType

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from pipeline.places import is_local, local_path


def sync(location: str, *, folder: bool = True) -> None:
    """Force a written local file, and the entries of its folder, to disk; no effect elsewhere."""
    if not is_local(location):
        return
    path = Path(local_path(location))
    for target in (path, path.parent) if folder else (path,):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _SyncedStream:
    def __init__(self, stream: OutputStream, location: str) -> None:
        self._stream = stream
        self._location = location

    def write(self, b: bytes) -> int:
        return self._stream.write(b)

    def close(self) -> None:
        self._stream.close()
        sync(self._location, folder=self._location.endswith(".json"))

    def tell(self) -> int:
        return self._stream.tell()

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _SyncedFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:
        return _SyncedStream(super().create(overwrite=overwrite), self.location)


class DurableFileIO(PyArrowFileIO):
    """pyiceberg's own FileIO, with local metadata files synced as they are closed, and paths as they are.

    Without it a power cut can leave a catalog that names a metadata file of zero bytes. The folder is
    synced with the metadata file, which is the last that a commit writes there. Data files go through
    Arrow's own stream, which can't be wrapped: their writer calls `sync`. pyiceberg takes a path for a URL,
    and cuts it off at a ``#``.
    """

    @staticmethod
    def parse_location(location: str, properties: Properties = EMPTY_DICT) -> tuple[str, str, str]:
        """See `PyArrowFileIO`: scheme, host and path of a location."""
        if is_local(location):
            return "file", "", os.path.abspath(local_path(location))  # noqa: PTH100
        return PyArrowFileIO.parse_location(location, properties)

    def new_output(self, location: str) -> PyArrowFile:
        if not is_local(location) or location.endswith(".parquet"):
            return super().new_output(location)
        scheme, netloc, path = self.parse_location(location, self.properties)
        return _SyncedFile(fs=self.fs_by_scheme(scheme, netloc), location=location, path=path)
