"""State in a RocksDB directory, through rocksdict."""

import fcntl
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import rocksdict
from rocksdict import DBCompressionType, DBRecoveryMode, Rdict

from pipeline.errors import BitlakeError
from state.base import Delete, DeleteRange, LocalState, Puts, StateSize, WriteBatch, prefix_end
from state.errors import StateDamaged, StateLocked, StateUnavailable
from state.memory import MemoryState
from state.waiting import Waiting

_MB = 1 << 20
_OWNER = "owner"
_DATA = frozenset((".sst", ".blob", ".log"))
_BESIDE = "*/*/*.keys"
"""Files of keys, see `state.key_files`."""


class Compression(StrEnum):
    """How blocks are compressed; the last level, where most of the data is, takes zstd unless none."""

    NONE = "none"
    LZ4 = "lz4"
    ZSTD = "zstd"


@dataclass(frozen=True)
class RocksOptions:
    """What may be worth changing about the state's RocksDB.

    Attributes:
        block_cache: bytes of read cache, indexes and filters included.
        write_buffer: bytes of one memtable; up to three exist at once.
        bloom_bits: per key; 10 let 1 in 100 misses read a block. 0: no filters.
        compression: of all levels but the last.
        large_value: values from this many bytes on are kept apart, so that compaction does not copy them.
        background_jobs: threads for flushes and compactions.
        open_files: at most this many of its files are open.
    """

    block_cache: int = 128 * _MB
    write_buffer: int = 8 * _MB
    bloom_bits: int = 10
    compression: Compression = Compression.LZ4
    large_value: int = 64 << 10
    background_jobs: int = 2
    open_files: int = 512

    def build(self) -> rocksdict.Options:
        """The options as rocksdict takes them."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        # The default, spelled out: a torn end of the log is cut off; a prefix of the batches is left.
        options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
        options.set_write_buffer_size(self.write_buffer)
        options.set_max_write_buffer_number(3)
        options.set_max_background_jobs(self.background_jobs)
        options.set_max_open_files(self.open_files)
        options.set_keep_log_file_num(3)
        options.set_block_based_table_factory(self._tables())
        compression = getattr(DBCompressionType, self.compression.value)()
        options.set_compression_type(compression)
        if self.compression is not Compression.NONE:
            options.set_bottommost_compression_type(DBCompressionType.zstd())
        options.set_enable_blob_files(True)
        options.set_min_blob_size(self.large_value)
        # Entries of the log, which are compressed already.
        options.set_blob_compression_type(DBCompressionType.none())
        options.set_enable_blob_gc(True)
        return options

    def _tables(self) -> rocksdict.BlockBasedOptions:
        tables = rocksdict.BlockBasedOptions()
        tables.set_block_cache(rocksdict.Cache(self.block_cache))
        tables.set_cache_index_and_filter_blocks(True)
        tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
        tables.set_block_size(16 << 10)
        if self.bloom_bits:
            tables.set_bloom_filter(self.bloom_bits, False)
        return tables


def open_state(
    path: Path | None, options: RocksOptions | None = None, waiting: Waiting | None = None
) -> LocalState:
    """Open the state in a directory (made if missing), or one in memory where `path` is None.

    Args:
        path: the directory.
        options: of its RocksDB.
        waiting: how long to wait for another process that has it open; default: not at all.

    Raises:
        StateLocked: another process has it open.
        StateDamaged: it can't be read, and can be rebuilt from the tables.
        StateUnavailable: the disk is full, or the directory can't be written.
    """
    if path is None:
        return MemoryState()
    return RocksState(path, options or RocksOptions(), waiting or Waiting())


class RocksState:
    """See `open_state`; one process at a time."""

    def __init__(self, path: Path, options: RocksOptions, waiting: Waiting) -> None:
        self.path = path
        self._lock: int | None = waiting.until_free(lambda: _lock(path))
        try:
            _check_whole(path)
            self._db = self._do(Rdict, os.fspath(path), options.build())
        except BitlakeError:
            self._unlock()
            raise

    @property
    def folder(self) -> Path:
        """See `LocalState`."""
        return self.path

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `StateBackend`."""
        self._check_open()
        # rocksdict takes a list for many keys and anything else for one.
        found: list[bytes | None] = self._do(self._db.get, list(keys)) if keys else []
        return found

    def write(self, batch: WriteBatch, *, durable: bool) -> None:
        """See `StateBackend`."""
        self._check_open()
        writes = rocksdict.WriteBatch(raw_mode=True)
        for operation in batch.operations:
            match operation:
                case Puts(keys, values):
                    deque(map(writes.put, keys, values), maxlen=0)
                case Delete(key):
                    writes.delete(key)
                case DeleteRange(start, end):
                    writes.delete_range(start, end)
        self._do(self._db.write, writes)
        if durable:
            # Not `WriteOptions.sync`: rocksdict holds the GIL in `write`, but not in `flush_wal`.
            self._do(self._db.flush_wal, True)

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """See `StateBackend`."""
        self._check_open()
        reading = rocksdict.ReadOptions()
        end = prefix_end(prefix)
        if end is not None:
            reading.set_iterate_upper_bound(end)
        rows = self._do(self._db.iter, reading)
        rows.seek(max(prefix, start or b"")) if prefix or start else rows.seek_to_first()
        return self._walk(rows, reading)

    def size(self) -> StateSize:
        """See `StateBackend`."""
        self._check_open()
        keys = self._do(self._db.property_int_value, "rocksdb.estimate-num-keys") or 0
        files = [f for f in self.path.iterdir() if f.suffix in _DATA]
        return StateSize(keys, sum(_bytes_of(f) for f in (*files, *self.path.glob(_BESIDE))))

    def close(self) -> None:
        """See `StateBackend`."""
        if self._lock is not None:
            try:
                self._do(self._db.close)
            finally:
                self._unlock()

    def _walk(
        self, rows: rocksdict.RdictIter, _bound: rocksdict.ReadOptions
    ) -> Iterator[tuple[bytes, bytes]]:
        # Not `Rdict.items`: at a damaged block it ends as if there were no more keys. And the options must
        # outlive the iterator, which reads its upper bound from their memory (rocksdict 0.3.29).
        while rows.valid():
            yield rows.key(), rows.value()
            rows.next()
        self._do(rows.status)

    def _do(self, action: Any, *arguments: Any) -> Any:
        """Call rocksdict, whose every error is a plain Exception with RocksDB's text."""
        try:
            return action(*arguments)
        except Exception as error:
            reason = str(error)
            if any(sign in reason for sign in ("Corruption", "No such file", "corrupted")):
                raise StateDamaged(self.path, reason) from error
            if reason.startswith("IO error"):
                raise StateUnavailable(self.path, reason) from error
            raise

    def _check_open(self) -> None:
        if self._lock is None:
            raise BitlakeError("the state is closed")

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _bytes_of(file: Path) -> int:
    """0 for a file that a compaction has taken away meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _lock(path: Path) -> int:
    """Take the directory for this process until it ends; RocksDB's own lock can't tell who has it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / _OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StateUnavailable(path, str(error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(lock, 32).decode("ascii", "replace")
        os.close(lock)
        raise StateLocked(path, owner) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _check_whole(path: Path) -> None:
    """RocksDB takes a directory without CURRENT as a new one and would start empty."""
    if not (path / "CURRENT").exists() and any(f.suffix in _DATA for f in path.iterdir()):
        raise StateDamaged(path, "the file CURRENT is missing")
