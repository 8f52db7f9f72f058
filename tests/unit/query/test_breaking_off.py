"""Files of an object store, whose answers may break off, and which threads read beside each other."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.query.remote import opened, remote_files
from pipeline.query.session import PREFIX


class Breaking(io.BytesIO):
    """Gives a part of what is asked for, as Arrow does where the body of an answer ends too soon."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.0001)  # other threads go on while this one waits for the store
        left = len(self.getvalue()) - self.tell()
        asked = left if size is None or size < 0 else min(size, left)
        return super().read((asked + 1) // 2)


class Stored(bytes):
    def open(self, *, seekable: bool) -> Breaking:
        assert seekable
        return Breaking(self)


def files_of(content: bytes) -> Any:
    return SimpleNamespace(new_input=lambda _: Stored(content))


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


def test_each_thread_reads_from_its_own_place():
    content = bytes(range(200))
    file, both_sought = from_afar(content), Barrier(2)

    def read(at: int) -> bytes:
        file.seek(at)
        both_sought.wait()
        return file.read(50)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(read, (10, 150))) == [content[10:60], content[150:]]


def test_duckdbs_threads_share_a_file(tmp_path: Path):
    numbers = np.random.default_rng(1).integers(0, 1 << 40, 200_000)
    pq.write_table(pa.table({"a": numbers}), tmp_path / "x.parquet", row_group_size=2000)
    with duckdb.connect(config={"threads": 4}) as connection:
        connection.register_filesystem(remote_files(files_of((tmp_path / "x.parquet").read_bytes())))
        asked = f"select sum(a)::bigint from read_parquet('{PREFIX}s3://data/file') where a % 3 > 0"
        assert connection.sql(asked).fetchall() == [(int(numbers[numbers % 3 > 0].sum()),)]
