"""What every source of lines does alike, however its bytes are stored and its blocks are cut."""

import errno
import gzip
import io
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BadInput
from pipeline.source import Block, FileIdentity, FileSource
from pipeline.source.block import PADDING


def unchanged(data: bytes) -> bytes:
    return data


def gzip_members(data: bytes) -> bytes:
    third = len(data) // 3
    return b"".join(gzip.compress(part) for part in (data[:third], b"", data[third:]))


def padded_gzip(data: bytes) -> bytes:
    return gzip.compress(data) + bytes(512)


def zstd_frames(data: bytes) -> bytes:
    third = len(data) // 3
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    parts = (data[:third], b"", data[third:])
    return skippable + b"".join(zstandard.compress(part) + skippable for part in parts)


def zstd_stream(data: bytes) -> bytes:
    target = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(target, closefd=False) as writer:
        writer.write(data)
    return target.getvalue()


STORED = [unchanged, gzip.compress, gzip_members, padded_gzip, zstandard.compress, zstd_frames, zstd_stream]
Store = Callable[[bytes], bytes]


@pytest.fixture(params=STORED, ids=lambda f: f.__name__)
def store(request: pytest.FixtureRequest) -> Store:
    return request.param  # type: ignore[no-any-return]


def lines_of(blocks: Iterator[Block]) -> list[bytes]:
    """All lines, with every promise of `Block` checked on the way."""
    lines: list[bytes] = []
    done = 0
    for block in blocks:
        assert len(block) > 0
        assert block.first_line == len(lines)
        assert block.bytes_done >= done
        done = block.bytes_done
        assert block.buffer.dtype == np.uint8
        assert block.starts.dtype == block.ends.dtype == np.int64
        assert len(block.buffer) >= block.ends[-1] + PADDING
        assert (block.starts <= block.ends).all()
        lines += [block.line(i) for i in range(len(block))]
    return lines


def gather(source: FileSource, lines: list[bytes]) -> None:
    """Keep the lines that come before an error."""
    for block in source:
        lines += [block.line(i) for i in range(len(block))]


def expected(data: bytes) -> list[bytes]:
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return lines if lines[-1] else lines[:-1]


def read(path: Path, data: bytes, *, block_bytes: int = 1 << 20, block_records: int = 100) -> list[bytes]:
    path.write_bytes(data)
    with FileSource(path, block_bytes=block_bytes, block_records=block_records) as source:
        return lines_of(iter(source))


TEXT = st.lists(st.sampled_from([b"\n", b"\n", b"{}", b"a", b"\r", b"\x00", b"\xef\xbb\xbf", b"x" * 70])).map(
    b"".join
)


@settings(max_examples=60, deadline=None)
@given(
    data=TEXT, block_bytes=st.integers(4, 100), block_records=st.integers(1, 5), how=st.sampled_from(STORED)
)
def test_any_cut_gives_the_same_lines(
    data: bytes, block_bytes: int, block_records: int, how: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    assert read(path, how(data), block_bytes=block_bytes, block_records=block_records) == expected(data)


@settings(max_examples=40, deadline=None)
@given(data=TEXT, block_bytes=st.integers(4, 100), skipped=st.integers(0, 12))
def test_skip_gives_the_rest(
    data: bytes, block_bytes: int, skipped: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(data)
    source = FileSource(path, block_bytes=block_bytes, block_records=3)
    source.skip(skipped)
    found: list[bytes] = []
    wanted = expected(data)
    with source:
        if skipped > len(wanted):
            with pytest.raises(BadInput, match=f"has {len(wanted)} lines, but {skipped}"):
                list(source)
            return
        for block in source:
            assert block.first_line == skipped + len(found)
            found += [block.line(i) for i in range(len(block))]
    assert found == wanted[skipped:]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"{}", [b"{}"]),
        (b"{}\n", [b"{}"]),
        (b"{}\n\n{}", [b"{}", b"", b"{}"]),
        (b"{}\r\n{}\r\n", [b"{}\r", b"{}\r"]),
        (b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}", [b"{}", b"\xef\xbb\xbf{}"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n", [b""]),
        (b"\xef\xbb", [b"\xef\xbb"]),
        (b"\xff\x80\n\x00", [b"\xff\x80", b"\x00"]),
        (b"{} \n \n", [b"{} ", b" "]),
    ],
)
def test_what_a_line_is(tmp_path: Path, store: Store, data: bytes, lines: list[bytes]) -> None:
    assert read(tmp_path / "file", store(data)) == lines


def test_the_bytes_after_the_last_line_are_zeros(tmp_path: Path, store: Store) -> None:
    (tmp_path / "file").write_bytes(store(b"a\nlast"))
    (block,) = FileSource(tmp_path / "file")
    assert block.buffer[block.ends[-1] :].tolist() == [0] * PADDING


@pytest.mark.parametrize(
    "store",
    [
        store if store in (unchanged, gzip_members) else pytest.param(store, marks=pytest.mark.long)
        for store in STORED
    ],
    ids=lambda f: f.__name__,
)
def test_a_record_of_64_megabytes(tmp_path: Path, store: Store) -> None:
    data = b"first\n" + b"x" * (64 << 20) + b"\nlast\n"
    (tmp_path / "file").write_bytes(store(data))
    blocks = list(FileSource(tmp_path / "file"))
    assert [int(n) for b in blocks for n in b.ends - b.starts] == [5, 64 << 20, 4]
    assert blocks[-1].line(len(blocks[-1]) - 1) == b"last"


def test_a_line_beyond_the_limit_is_refused_after_the_others(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "file"
    path.write_bytes(store(b"a\nb\n" + b"x" * 5000 + b"\n"))
    assert len(lines_of(iter(FileSource(path, block_bytes=64, line_limit=5000)))) == 3
    found: list[bytes] = []
    with pytest.raises(BadInput, match=r"line 3 of .* is longer than") as caught:
        gather(FileSource(path, block_bytes=64, line_limit=4999), found)
    assert found == [b"a", b"b"]
    assert "one JSON record per line" in caught.value.next_step


def test_default_blocks_are_bounded(tmp_path: Path) -> None:
    lines = [b"%d" % i for i in range(300_000)]
    path = tmp_path / "file"
    path.write_bytes(b"\n".join(lines))
    blocks = list(FileSource(path))
    assert max(map(len, blocks)) <= 32_768
    assert lines_of(iter(blocks)) == lines
    assert blocks[-1].bytes_done == path.stat().st_size


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_refused(tmp_path: Path, store: Store, encoding: str) -> None:
    (tmp_path / "file").write_bytes(store('\ufeff{"a": 1}\n'.encode(encoding)))
    with pytest.raises(BadInput, match=f"(?i){encoding[:6]}, not UTF-8") as caught:
        list(FileSource(tmp_path / "file"))
    assert "iconv" in caught.value.next_step


COMPRESSED = [gzip.compress, gzip_members, zstandard.compress, zstd_frames, zstd_stream]


@pytest.mark.parametrize("how", COMPRESSED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_cut_off_files_give_what_is_there_and_then_say_where(
    tmp_path: Path, how: Store, share: float
) -> None:
    lines = [b'{"n": %d, "x": "%s"}' % (i, os.urandom(16).hex().encode()) for i in range(60_000)]
    stored = how(b"\n".join(lines))
    (tmp_path / "file").write_bytes(stored[: int(len(stored) * share)])
    found: list[bytes] = []
    with pytest.raises(BadInput, match="cut off") as caught:
        gather(FileSource(tmp_path / "file"), found)
    assert found == lines[: len(found)]
    assert len(found) >= int(len(lines) * share * 0.8) - 6000
    assert f"beyond line {len(found)}:" in str(caught.value)


@pytest.mark.parametrize("how", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_damaged_files_never_give_a_wrong_end(tmp_path: Path, how: Store) -> None:
    stored = bytearray(how(b"\n".join(b"%d" % (i * i) for i in range(50_000))))
    stored[-2] ^= 0xFF
    (tmp_path / "file").write_bytes(stored)
    with pytest.raises(BadInput, match="damaged"):
        list(FileSource(tmp_path / "file"))


@pytest.mark.parametrize("name", ["file.gz", "FILE.GZ", "file.zst"])
@pytest.mark.parametrize("data", [b"", b"{}\n"])
def test_a_compressed_name_is_believed(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(BadInput, match="beyond line 0"):
        read(tmp_path / name, data)


@pytest.mark.parametrize("data", [b"PK\x03\x04....", b"\xfd7zXZ\x00...", b"BZh91AY&SY...", b"PAR1\x15..."])
def test_other_formats_are_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadInput, match="not JSON Lines"):
        read(tmp_path / "file", data)


def test_files_that_can_not_be_opened(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.write_bytes(b"{}")
    closed.chmod(0)
    cases = [
        (tmp_path / "none", "there is no file"),
        (tmp_path, "is a directory"),
        (closed / "x", "can't be opened"),
        (tmp_path / "link", "is a link to nowhere, where there is nothing"),
        (tmp_path / "loop", "can't be opened"),
        (tmp_path / ("x" * 300), "can't be opened"),
        (tmp_path / "a\0b", "can't be opened"),
        ("/proc/self/mem", "can't be read: .*Input/output error"),
    ]
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    if os.geteuid() != 0:
        cases.append((closed, "may not be read"))
    for path, message in cases:
        with pytest.raises(BadInput, match=message) as caught:
            FileSource(path)
        assert caught.value.next_step


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EACCES, "may not be read by this user"), (errno.EPERM, "may not be read")]
)
def test_files_that_this_user_may_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(BadInput, match=message) as caught:
        FileSource(tmp_path / "a")
    assert "chmod" in caught.value.next_step


def test_a_disk_that_fails_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"{}\n" * 1000)
    readv, calls = os.readv, itertools.count()

    def failing(descriptor: int, buffers: list[memoryview]) -> int:
        if next(calls):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return readv(descriptor, [buffers[0][:285]])

    source = FileSource(tmp_path / "a")
    monkeypatch.setattr(os, "readv", failing)
    found = 0
    with pytest.raises(BadInput, match="beyond line 100: Input/output error") as caught:
        for block in source:
            found += len(block)
    assert (found, bool(caught.value.next_step)) == (100, True)


def test_a_file_that_vanishes_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"{}\n" * 1000)
    source = FileSource(tmp_path / "a")
    (tmp_path / "a").unlink()
    assert sum(len(block) for block in source) == 1000


def test_identity_tells_files_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "b").write_bytes(b"y" + b"x" * 99_999)
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    identities = [FileSource(name).identity for name in ("a", tmp_path / "a", "link", "b")]
    assert identities[0] == identities[1] == identities[2] != identities[3]
    first = identities[0]
    assert isinstance(first, FileIdentity)
    assert (first.path, first.size, len(first.head)) == (str(tmp_path / "a"), 100_000, 64)
    (tmp_path / "a").write_bytes(b"x" * 100_001)
    assert FileSource("a").identity != first


READER = """
from pipeline.source import FileSource
source = FileSource("-")
print(source.identity, source.size, flush=True)
for block in source:
    for i in range(len(block)):
        print(block.line(i).decode(), flush=True)
"""


def reader() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", READER]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )


def test_standard_input(store: Store) -> None:
    data = b"\n".join(b"%d" % i for i in range(3_000))
    with reader() as process:
        out, _ = process.communicate(store(data))
    assert out == b"None None\n" + data + b"\n"


def test_a_slow_pipe_gives_its_lines_as_they_come() -> None:
    with reader() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"a": 1}\n{"b"')
        process.stdin.flush()
        assert process.stdout.readline() == b"None None\n"
        assert process.stdout.readline() == b'{"a": 1}\n'
        process.stdin.write(b": 2}\n")
        process.stdin.flush()
        assert process.stdout.readline() == b'{"b": 2}\n'
        process.stdin.close()


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = b"\n".join(b"%d" % i for i in range(50_000))
    thread = threading.Thread(target=path.write_bytes, args=(data,))
    thread.start()
    with FileSource(path) as source:
        assert source.identity is None
        assert lines_of(iter(source)) == data.split(b"\n")
    thread.join()
