"""Key files: what is found is what was put last, whatever leaves, moves, ends or is damaged between."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pipeline.temporal.store import Ints
from state import KeyFiles, StateDamaged, append_files, key_files
from state.key_files import Found

Hash = Callable[[bytes], int]


def spread(key: bytes) -> int:
    return int.from_bytes(random.Random(key).randbytes(8), "little", signed=True)


def colliding(key: bytes) -> int:
    return key[0] % 3 << 40


def ends(lengths: Sequence[int]) -> Ints:
    found = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=found[1:])
    return found


class Left(bytes):
    """The mark of a key that was left to the tables."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Left) and bytes.__eq__(self, other)

    __hash__ = bytes.__hash__


def mark_of(value: bytes) -> Left:
    return Left(value[::-2])


def marks(data: np.ndarray, starts: Ints, stops: Ints) -> tuple[np.ndarray, Ints]:
    made = [mark_of(data[a:b].tobytes()) for a, b in zip(starts, stops, strict=True)]
    return np.frombuffer(b"".join(made), np.uint8).copy(), ends([len(mark) for mark in made])


@dataclass
class Keys:
    """Key files by keys' bytes, as a dict would be."""

    folder: Path
    hash_: Hash = spread
    written: list[tuple[int, int]] | None = None
    files: KeyFiles = field(init=False)

    def __post_init__(self) -> None:
        self.files = KeyFiles(self.folder, self.written)

    def find(self, keys: Sequence[bytes]) -> tuple[dict[bytes, bytes], Found]:
        found = self.files.find(*self._named(keys))
        values: dict[bytes, bytes] = {}
        for key, start, end, left, place in zip(
            keys, found.starts, found.ends, found.left, found.places, strict=True
        ):
            if place:
                values[key] = (Left if left else bytes)(found.data[start:end].tobytes())
        return values, found

    def put(self, values: dict[bytes, bytes], befores: Ints | None = None) -> Ints:
        data, starts = b"".join(values.values()), ends([len(value) for value in values.values()])
        return self.files.put(
            *self._named(list(values)),
            np.frombuffer(data or b"\0", np.uint8).copy(),
            starts,
            np.zeros(len(values), np.int64) if befores is None else befores,
        )

    def flush(self) -> None:
        self.written = self.files.flush()
        self.files.settle(self.written)

    def again(self) -> "Keys":
        """The same files, opened by another process after this one has died."""
        return Keys(self.folder, self.hash_, self.written)

    def _named(self, keys: Sequence[bytes]) -> tuple[Ints, np.ndarray, Ints, Ints]:
        starts = ends([len(key) for key in keys])
        data = np.frombuffer(b"".join(keys) or b"\0", np.uint8).copy()
        hashes = np.array([self.hash_(key) for key in keys], np.int64)
        return hashes, data, starts[:-1].copy(), np.diff(starts)


@pytest.fixture(params=[spread, colliding])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keys]:
    return Keys(tmp_path / "keys", request.param)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files end, and room is given back, after a few thousand bytes."""
    monkeypatch.setattr(append_files, "_SMALLEST", 2000)
    monkeypatch.setattr(key_files, "_SLACK", 3000)
    monkeypatch.setattr(key_files, "_STRETCH", 512)


def aged(age: int, rest: bytes = b"") -> bytes:
    """A value as keys have them: its age in front."""
    return age.to_bytes(8, "little", signed=True) + rest


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(6))
def test_random_steps_against_a_dict(keys: Keys, seed: int) -> None:
    choose = random.Random(seed)
    truth: dict[bytes, bytes] = {}
    kept: dict[bytes, bytes] = {}
    names = [choose.randbytes(choose.choice((1, 7, 8, 30))) for _ in range(60)]
    for step in range(150):
        some = [*dict.fromkeys(choose.sample(names, choose.randrange(20)))]
        values, found = keys.find(some)
        assert values == {name: truth[name] for name in some if name in truth}
        chosen = {name: aged(step, choose.randbytes(choose.choice((0, 5, 90, 3000)))) for name in some}
        befores = found.places.copy()
        befores[[choose.random() < 0.2 for _ in some]] = 0  # a place that is not known, or no more
        keys.put(chosen, befores)
        truth |= chosen
        match choose.randrange(12):
            case 0 | 1 | 2:
                keys.flush()
                kept = dict(truth)
            case 3:
                known = [n for n, value in truth.items() if not isinstance(value, Left)]
                old = [n for n in known if int.from_bytes(truth[n][:8], "little") < step - 9]
                assert keys.files.leave(step - 9, marks) == len(old)
                truth |= {name: mark_of(truth[name]) for name in old}
            case 4:
                keys = keys.again()
                truth = dict(kept)
            case 5:
                keys.flush()
                keys.files.close()
                keys, kept = keys.again(), dict(truth)
        assert keys.files.count == len(truth)
    values, _ = keys.find(names)
    assert values == truth


def test_what_is_not_remembered_is_cut_off(keys: Keys) -> None:
    keys.put({b"a": aged(1), b"b": aged(1)})
    keys.flush()
    keys.put({b"b": aged(2), b"c": aged(2)})
    assert keys.again().find([b"a", b"b", b"c"])[0] == {b"a": aged(1), b"b": aged(1)}
    keys.written = None
    assert keys.again().find([b"a"])[0] == {}


def test_no_key_is_left_after_clearing(keys: Keys) -> None:
    keys.put({b"a": aged(1)})
    keys.flush()
    keys.files.close()
    keys = keys.again()
    keys.files.clear()
    keys.put({b"z": aged(1)})  # a file of the same number and size as before
    keys.flush()
    assert keys.again().find([b"a", b"z"])[0] == {b"z": aged(1)}


@pytest.mark.usefixtures("small")
def test_room_of_what_was_replaced_is_given_back(keys: Keys) -> None:
    names = [b"%03d" % i for i in range(100)]
    for step in range(40):
        _, found = keys.find(names)
        keys.put({name: aged(step, bytes(50)) for name in names}, found.places)
        keys.flush()
        entries = 100 * (32 + 8 + 64)
        assert keys.files.disk_bytes() <= 2 * entries + 3000 + 2000 + entries
    assert keys.again().find(names)[0] == {name: aged(39, bytes(50)) for name in names}
    assert sum(file.stat().st_size for file in keys.folder.iterdir()) == keys.files.disk_bytes()


def test_large_values_come_back_whole(keys: Keys) -> None:
    large = aged(1, random.Random(1).randbytes(20 << 20))
    keys.put({b"large": large, b"small": aged(2)})
    keys.put({b"other": large})
    keys.flush()
    for opened in (keys, keys.again()):
        assert opened.find([b"small", b"large"])[0] == {b"small": aged(2), b"large": large}
        assert opened.files.leave(2, marks) == 2
        assert opened.find([b"other", b"large"])[0] == {b"other": mark_of(large), b"large": mark_of(large)}


def cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize("closed", [False, True])
def test_damage_is_told(keys: Keys, damage: Callable[[Path], None], closed: bool) -> None:
    names = [b"%03d" % i for i in range(100)]
    keys.put({name: aged(1, name) for name in names})
    keys.flush()
    if closed:
        keys.files.close()
    damage(next(keys.folder.glob("*.keys")))
    with pytest.raises(StateDamaged, match="rebuilt from the tables"):
        keys.again().find(names)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_index_is_made_anew(keys: Keys, damage: Callable[[Path], None]) -> None:
    names = [b"%03d" % i for i in range(100)]
    keys.put({name: aged(1, name) for name in names})
    keys.flush()
    keys.files.close()
    damage(keys.folder / "index.npz")
    assert keys.again().find(names)[0] == {name: aged(1, name) for name in names}


def test_an_index_of_other_files_is_not_taken(keys: Keys, tmp_path: Path) -> None:
    keys.put({b"a": aged(1)})
    keys.flush()
    keys.files.close()
    shutil.copy(keys.folder / "index.npz", tmp_path)
    keys = keys.again()
    keys.put({b"b": aged(1)})
    keys.flush()
    shutil.copy(tmp_path / "index.npz", keys.folder)
    assert keys.again().find([b"a", b"b"])[0] == {b"a": aged(1), b"b": aged(1)}
