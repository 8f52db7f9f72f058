"""Files of an object store, whose answers may break off."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.query.remote import opened, remote_files
from pipeline.query.session import PREFIX


class Breaking(io.BytesIO):
    """Gives a part of what is asked for, as Arrow does where the body of an answer ends too soon."""

    def read(self, size: int | None = -1) -> bytes:
        left = len(self.getvalue()) - self.tell()
        asked = left if size is None or size < 0 else min(size, left)
        return super().read((asked + 1) // 2)


def files_of(content: bytes) -> Any:
    return SimpleNamespace(new_input=lambda _: SimpleNamespace(open=lambda seekable: Breaking(content)))


def from_afar(content: bytes) -> Any:
    return remote_files(files_of(content)).open(f"{PREFIX}s3://data/file")


def test_all_that_is_asked_for_is_given():
    file = from_afar(bytes(range(200)))
    file.seek(4)
    assert file.read(100) == bytes(range(4, 104))
    assert file.tell() == 104


@pytest.mark.parametrize("content", [b"", b"a", bytes(range(200))])
def test_the_end_is_the_end(content: bytes):
    assert from_afar(content).read(1000) == content
    assert opened(files_of(content), "s3://data/file").read() == content
