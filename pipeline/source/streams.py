"""Bytes of a file as they were before compression."""

import os
import select
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Protocol

import zstandard

_STORED = 64 << 10
_PLAIN = 1 << 20
_PIPE_PATIENCE_MS = 100
_LEAST = 4
_GZIP = b"\x1f\x8b"
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes((n, 0x2A, 0x4D, 0x18)) for n in range(0x50, 0x60)))
_FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"BZh91AY&SY": "compressed by bzip2",
    b"PAR1\x15": "a Parquet file",
}
MAGIC = 16
"""Bytes of a file's beginning that tell how it is stored."""

Read = Callable[[int], bytes]
Unpack = Callable[[Read], Iterator[bytes]]


class Unreadable(Exception):
    """The bytes end or break before their time; what came before is good."""


class NotJsonLines(Exception):
    """The bytes are of another format altogether."""


class ByteStream(Protocol):
    """Where a source's bytes come from."""

    @property
    def bytes_done(self) -> int:
        """How many bytes as stored are read."""
        ...

    def readinto(self, target: memoryview) -> int:
        """Fill some of `target`; 0 at the end.

        Raises:
            Unreadable: there should be more, but it can't be had.
        """
        ...

    def idle(self) -> bool:
        """Whether the next read would have to wait for someone who writes."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class StoredFile:
    """A file descriptor, read as it is; pipes and terminals too."""

    def __init__(self, descriptor: int, *, owned: bool) -> None:
        self.descriptor = descriptor
        self._owned = owned
        self._pipe = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._peeked = b""
        self._done = 0
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLIN)

    @property
    def bytes_done(self) -> int:
        """See `ByteStream`."""
        return self._done

    def peek(self, size: int) -> bytes:
        """The first bytes, which a later read gives again."""
        while len(self._peeked) < size and not (len(self._peeked) >= _LEAST and self.idle()):
            more = self._read(size - len(self._peeked))
            if not more:
                break
            self._peeked += more
        return self._peeked

    def read(self, size: int) -> bytes:
        """Some of the next bytes, at most `size`; none at the end."""
        data, self._peeked = self._peeked[:size], self._peeked[size:]
        data = data or self._read(size)
        self._done += len(data)
        return data

    def readinto(self, target: memoryview) -> int:
        """See `ByteStream`."""
        if self._peeked:
            data = self.read(len(target))
            target[: len(data)] = data
            return len(data)
        try:
            done = os.readv(self.descriptor, [target])
        except OSError as error:
            raise Unreadable(error.strerror) from error
        self._done += done
        return done

    def idle(self) -> bool:
        """See `ByteStream`."""
        return self._pipe and not self._ready.poll(_PIPE_PATIENCE_MS)

    def close(self) -> None:
        """See `ByteStream`."""
        if self._owned:
            os.close(self.descriptor)
            self._owned = False

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self.descriptor, size)
        except OSError as error:
            raise Unreadable(error.strerror) from error


class Unpacked:
    """A stored file's bytes after decompression."""

    def __init__(self, stored: StoredFile, unpack: Unpack) -> None:
        self._stored = stored
        self._chunks = unpack(stored.read)
        self._chunk = memoryview(b"")

    @property
    def bytes_done(self) -> int:
        """See `ByteStream`."""
        return self._stored.bytes_done

    def readinto(self, target: memoryview) -> int:
        """See `ByteStream`."""
        while not self._chunk:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._chunk = memoryview(chunk)
        size = min(len(target), len(self._chunk))
        target[:size] = self._chunk[:size]
        self._chunk = self._chunk[size:]
        return size

    def idle(self) -> bool:
        """See `ByteStream`."""
        return not self._chunk and self._stored.idle()

    def close(self) -> None:
        """See `ByteStream`."""
        self._stored.close()


def unpacked(stored: StoredFile, name: str) -> ByteStream:
    """Decompress what is compressed, by its first bytes; a name ending in .gz or .zst is believed, too.

    Raises:
        NotJsonLines: it is compressed in a way that is not read here.
    """
    head = stored.peek(MAGIC)
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise NotJsonLines(kind)
    suffix = PurePath(name).suffix.lower()
    if head.startswith(_GZIP) or suffix == ".gz":
        return Unpacked(stored, _gunzip)
    if head.startswith(_ZSTD) or suffix in (".zst", ".zstd"):
        return Unpacked(stored, _unzstd)
    return stored


def _gunzip(read: Read) -> Iterator[bytes]:
    data = _more(read)
    while data:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            data = data or _more(read)
            try:
                yield member.decompress(data, _PLAIN)
            except zlib.error as error:
                raise Unreadable(f"the gzip data is damaged ({error})") from error
            data = member.unconsumed_tail
        # gzip pads with zeros to a tape's block; other members may follow.
        data = member.unused_data.lstrip(b"\0")
        while not data and (data := read(_STORED)):
            data = data.lstrip(b"\0")


def _unzstd(read: Read) -> Iterator[bytes]:
    # Windows of `zstd --long=31` are accepted: memory is taken as the data needs it.
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    data = _more(read)
    while data:
        frame = decompressor.decompressobj()
        while not frame.eof:
            data = data or _more(read)
            try:
                yield frame.decompress(data)
            except zstandard.ZstdError as error:
                raise Unreadable(f"the zstd data is damaged ({error})") from error
            data = b""
        data = frame.unused_data or read(_STORED)


def _more(read: Read) -> bytes:
    if data := read(_STORED):
        return data
    raise Unreadable("the compressed data is cut off")
