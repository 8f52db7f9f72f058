"""Files of an object store, whose answers may break off."""

import io
from types import SimpleNamespace
from typing import Any

from pipeline.query.remote import remote_files
from pipeline.query.session import PREFIX


class Breaking(io.BytesIO):
    """Gives a part of what is asked for, as Arrow does where the body of an answer ends too soon."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size if size is None or size < 2 else size // 2)


def opened(content: bytes) -> Any:
    files: Any = SimpleNamespace(new_input=lambda _: SimpleNamespace(open=lambda seekable: Breaking(content)))
    return remote_files(files).open(f"{PREFIX}s3://data/file")


def test_all_that_is_asked_for_is_given():
    file = opened(bytes(range(200)))
    file.seek(4)
    assert file.read(100) == bytes(range(4, 104))
    assert file.tell() == 104


def test_the_end_is_the_end():
    assert opened(b"abc").read(100) == b"abc"
    assert opened(b"").read(1) == b""
