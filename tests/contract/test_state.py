"""What every state backend does alike, and what the ones on disk promise across crashes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BitlakeError
from state import (
    MemoryState,
    RocksOptions,
    RocksState,
    StateBackend,
    StateDamaged,
    StateLocked,
    StateUnavailable,
    WriteBatch,
    open_state,
)
from state.base import prefix_end
from state.rocks import Compression

SMALL = RocksOptions(block_cache=1 << 20, write_buffer=1 << 18, large_value=4096)


@pytest.fixture(params=["memory", "rocks"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateBackend]:
    backend = open_state(None if request.param == "memory" else tmp_path / "state", SMALL)
    yield backend
    backend.close()


def put(state: StateBackend, **values: bytes) -> None:
    batch = WriteBatch()
    batch.put_many([k.encode() for k in values], list(values.values()))
    state.write(batch, durable=False)


def test_open_state_chooses_the_backend(tmp_path: Path) -> None:
    memory, rocks = open_state(None), open_state(tmp_path / "a" / "b")
    assert isinstance(memory, MemoryState)
    assert isinstance(rocks, RocksState)
    rocks.close()


def test_get_many_answers_in_the_order_asked(state: StateBackend) -> None:
    put(state, b=b"2", a=b"1", empty=b"")
    assert state.get_many([b"b", b"missing", b"a", b"b", b"empty"]) == [b"2", None, b"1", b"2", b""]
    assert state.get_many((b"a",)) == [b"1"]
    assert state.get_many([]) == []


def test_operations_of_a_batch_apply_in_order(state: StateBackend) -> None:
    put(state, a=b"old", b=b"old", c=b"old")
    batch = WriteBatch()
    batch.put(b"a", b"new")
    batch.delete(b"a")
    batch.delete(b"b")
    batch.put(b"b", b"new")
    batch.put(b"c1", b"gone")
    batch.delete_range(b"c", b"d")
    batch.put(b"c2", b"stays")
    assert len(batch) == 7
    state.write(batch, durable=True)
    assert list(state.scan(b"")) == [(b"b", b"new"), (b"c2", b"stays")]


def test_delete_range_is_half_open(state: StateBackend) -> None:
    put(state, a=b"1", b=b"2", ba=b"3", c=b"4")
    batch = WriteBatch()
    batch.delete_range(b"b", b"c")
    batch.delete_range(b"c", b"c")
    state.write(batch, durable=False)
    assert [k for k, _ in state.scan(b"")] == [b"a", b"c"]


def test_scan_is_in_byte_order_within_a_prefix(state: StateBackend) -> None:
    keys = [b"a", b"p", b"p\x00", b"p\x7f", b"p\x80", b"p\xff", b"p\xff\xff", b"q", b"\xff", b"\xff\xff"]
    batch = WriteBatch()
    batch.put_many(keys[::-1], keys[::-1])
    state.write(batch, durable=False)
    assert [k for k, _ in state.scan(b"")] == keys
    assert [k for k, _ in state.scan(b"p")] == keys[1:7]
    assert [k for k, _ in state.scan(b"p", start=b"p\x80")] == keys[4:7]
    assert [k for k, _ in state.scan(b"", start=b"p\x80")] == keys[4:]
    assert [k for k, _ in state.scan(b"\xff")] == keys[8:]
    assert list(state.scan(b"nothing")) == []


def test_scan_shows_what_was_there_when_it_began(state: StateBackend) -> None:
    put(state, a=b"1", b=b"2")
    rows = state.scan(b"")
    put(state, a=b"changed", c=b"3")
    batch = WriteBatch()
    batch.delete(b"b")
    state.write(batch, durable=False)
    assert list(rows) == [(b"a", b"1"), (b"b", b"2")]


def test_big_values(state: StateBackend) -> None:
    big = os.urandom(10 << 20)
    put(state, big=big, small=b"x")
    assert state.get_many([b"big", b"small"]) == [big, b"x"]
    assert list(state.scan(b"b")) == [(b"big", big)]


def test_wrong_batches_are_refused() -> None:
    batch = WriteBatch()
    with pytest.raises(ValueError, match="empty"):
        batch.put(b"", b"1")
    with pytest.raises(ValueError, match="empty"):
        batch.put_many([b"a", b""], [b"1", b"2"])
    with pytest.raises(ValueError, match="empty"):
        batch.delete(b"")
    with pytest.raises(ValueError, match="2 keys but 1 values"):
        batch.put_many([b"a", b"b"], [b"1"])
    with pytest.raises(ValueError, match="ends before"):
        batch.delete_range(b"b", b"a")
    assert len(batch) == 0


def test_a_closed_state_says_so(state: StateBackend) -> None:
    state.close()
    state.close()
    uses: list[Callable[[], object]] = [
        lambda: state.get_many([b"a"]),
        lambda: state.write(WriteBatch(), durable=False),
        lambda: state.scan(b""),
        state.size,
    ]
    for use in uses:
        with pytest.raises(BitlakeError, match="closed"):
            use()


def test_size_counts_keys(state: StateBackend) -> None:
    keys = [b"%06d" % i for i in range(1000)]
    batch = WriteBatch()
    batch.put_many(keys, keys)
    state.write(batch, durable=True)
    assert state.size().keys == 1000
    assert (state.size().disk_bytes > 0) == isinstance(state, RocksState)


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_prefix_end_parts_keys_with_the_prefix_from_later_ones(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)
    assert key.startswith(prefix) == (key >= prefix and (end is None or key < end))


KEYS = st.binary(min_size=1, max_size=3)
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
    st.tuples(st.just("delete"), KEYS, st.just(b"")),
    st.tuples(st.just("range"), KEYS, KEYS),
)


@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(OPERATIONS, max_size=8), max_size=8))
def test_backends_agree(
    batches: list[list[tuple[str, bytes, bytes]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("agree")
    memory, rocks = MemoryState(), open_state(path, SMALL)
    for operations in batches:
        batch = WriteBatch()
        for name, a, b in operations:
            if name == "put":
                batch.put(a, b)
            elif name == "delete":
                batch.delete(a)
            else:
                batch.delete_range(min(a, b), max(a, b))
        memory.write(batch, durable=False)
        rocks.write(batch, durable=False)
        assert list(memory.scan(b"")) == list(rocks.scan(b""))
    rocks.close()
    reopened = open_state(path, SMALL)
    assert list(reopened.scan(b"")) == list(memory.scan(b""))
    reopened.close()


@pytest.mark.parametrize("compression", list(Compression))
def test_reopened_state_is_whole(tmp_path: Path, compression: Compression) -> None:
    options = RocksOptions(compression=compression, bloom_bits=0, write_buffer=1 << 18)
    keys = [b"%08d" % i for i in range(20_000)]
    state = open_state(tmp_path, options)
    for part in range(0, len(keys), 1000):
        batch = WriteBatch()
        batch.put_many(keys[part : part + 1000], [k * 20 for k in keys[part : part + 1000]])
        state.write(batch, durable=False)
    state.close()
    state = open_state(tmp_path, RocksOptions())
    assert list(state.scan(b"")) == [(k, k * 20) for k in keys]
    assert state.get_many(keys[::999]) == [k * 20 for k in keys[::999]]
    state.close()


WRITER = """
import sys
from pathlib import Path
from state import RocksOptions, WriteBatch, open_state
state = open_state(Path(sys.argv[1]), RocksOptions(write_buffer=1 << 18))
for number in range(1_000_000):
    batch = WriteBatch()
    batch.put(b"last", b"%d" % number)
    batch.put_many([b"k%08d.%d" % (number, i) for i in range(10)], [b"%d" % number * 100] * 10)
    batch.delete_range(b"k%08d" % (number - 50), b"k%08d" % (number - 49)) if number >= 50 else None
    state.write(batch, durable=sys.argv[2] == "durable")
    print(number, flush=True)
"""


def writer(path: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("how", ["durable", "buffered"])
def test_a_killed_writer_leaves_a_prefix_of_its_batches(tmp_path: Path, how: str) -> None:
    with writer(tmp_path, how) as process:
        assert process.stdout is not None
        acknowledged = -1
        while acknowledged < 300:
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().splitlines())])
    state = open_state(tmp_path, SMALL)
    last = int(state.get_many([b"last"])[0] or b"-1")
    assert last >= acknowledged
    expected = [
        (b"k%08d.%d" % (n, i), b"%d" % n * 100) for n in range(last - 49, last + 1) for i in range(10)
    ]
    assert list(state.scan(b"k")) == expected
    state.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with writer(tmp_path, "buffered") as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StateLocked, match=f"process {process.pid}") as caught:
            open_state(tmp_path, SMALL)
        assert caught.value.next_step
        process.kill()
    state = open_state(tmp_path, SMALL)
    with pytest.raises(StateLocked, match=f"process {os.getpid()}"):
        open_state(tmp_path, SMALL)
    state.close()
    open_state(tmp_path, SMALL).close()


def filled(path: Path) -> None:
    keys = [b"%08d" % i for i in range(20_000)]
    state = open_state(path, SMALL)
    for part in range(0, len(keys), 1000):
        batch = WriteBatch()
        batch.put_many(keys[part : part + 1000], [os.urandom(100) for _ in range(1000)])
        state.write(batch, durable=False)
    state.close()


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        (pattern, damage)
        for pattern in ("CURRENT", "MANIFEST-*", "*.sst")
        for damage in (cut, flip, Path.unlink)
    ],
)
def test_damage_is_told_or_leaves_a_prefix(
    tmp_path: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    filled(tmp_path)
    damage(sorted(tmp_path.glob(pattern))[0])
    try:
        state = open_state(tmp_path, SMALL)
        left = [int(key) for key, _ in state.scan(b"")]
    except StateDamaged:
        return
    # RocksDB takes a MANIFEST that is cut between two entries as an earlier one.
    assert (pattern, damage) == ("MANIFEST-*", cut)
    assert left == list(range(len(left)))
    assert len(left) % 1000 == 0
    state.close()


def test_a_cut_log_leaves_a_prefix(tmp_path: Path) -> None:
    with writer(tmp_path, "buffered") as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 100:
            pass
        process.kill()
    log = max(tmp_path.glob("*.log"), key=lambda file: file.stat().st_size)
    os.truncate(log, log.stat().st_size * 2 // 3)
    state = open_state(tmp_path, SMALL)
    last = int(state.get_many([b"last"])[0] or b"-1")
    assert [int(key[1:9]) for key, _ in state.scan(b"k")] == [
        n for n in range(max(last - 49, 0), last + 1) for _ in range(10)
    ]
    state.close()


def test_a_damaged_block_is_told_by_get_many(tmp_path: Path) -> None:
    filled(tmp_path)
    for file in tmp_path.glob("*.sst"):
        flip(file)
    state = open_state(tmp_path, SMALL)
    with pytest.raises(StateDamaged):
        state.get_many([b"%08d" % i for i in range(20_000)])
    with suppress(StateDamaged):
        state.close()


def test_a_failed_open_lets_go_of_the_directory(tmp_path: Path) -> None:
    filled(tmp_path)
    current = tmp_path / "CURRENT"
    content = current.read_bytes()
    current.unlink()
    with pytest.raises(StateDamaged, match="rebuilt from the tables"):
        open_state(tmp_path, SMALL)
    current.write_bytes(content)
    state = open_state(tmp_path, SMALL)
    assert len(list(state.scan(b""))) == 20_000
    state.close()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory")
    with pytest.raises(StateUnavailable, match="directory can be written"):
        open_state(tmp_path / "state", SMALL)
