"""Files in memory, in the place of those that a load reads."""

from typing import Any

from pipeline.source.files import FileIdentity
from pipeline.source.lines import LineSource

BLOCK_RECORDS = 3


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content, self.bytes_done = content, 0

    def readinto(self, target: memoryview) -> int:
        part = self._content[self.bytes_done : self.bytes_done + len(target)]
        target[: len(part)] = part
        self.bytes_done += len(part)
        return len(part)

    def idle(self) -> bool:
        return False

    def close(self) -> None:
        pass


class SimulatedFile(LineSource):
    """Stands for `FileSource`."""

    contents: dict[str, bytes]

    def __init__(self, path: str, **_: Any) -> None:
        content = self.contents[path]
        self.given = path
        self.identity, self.size = FileIdentity(path, len(content), path), len(content)
        super().__init__(_Bytes(content), path, block_bytes=1 << 16, block_records=BLOCK_RECORDS)
