"""Changes as frames of their key groups, and back."""

import json
import random

import numpy as np
import pytest

from pipeline.decode import Decoder
from pipeline.engine.changes import changes_of
from pipeline.flink.change_frames import ChangesFrame, group_of, joined, split
from pipeline.source.block import PADDING
from pipeline.temporal.change import NONE_GIVEN, Changes
from pipeline.temporal.keys import REFERENCE, Keys, new_keys, with_room
from pipeline.temporal.store import LENGTH_BITS, Bytes, Ints
from tests.unit.decode.reading import child, column, dataset, decode, options

SCHEMA = dataset(
    column("a", "long"),
    column("b"),
    children=[
        child(["calls"], [column("on")], column("rate", "double")),
        child(["rates"], [column("n", "long")], column("text")),
    ],
)
GROUPS = np.arange(8)
_PER_CHANGE = ("operation", "valid_from", "valid_to", "offset", "given", "system")
_NUMBERS = (0, 1, -1, 63, 64, -64, -65, 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63))


def records(luck: random.Random, n: int) -> list[str]:
    def one() -> dict[str, object]:
        calls = [{"on": f"c{i}", "rate": luck.random()} for i in range(luck.randrange(3))]
        rates = [{"n": i, "text": "é" * luck.randrange(200)} for i in range(luck.randrange(2))]
        record: dict[str, object] = {
            "k": f"key {luck.randrange(20)}" * luck.choice((1, 1, 9)),
            "v": f"20{luck.randrange(10, 30)}-01-{luck.randrange(1, 20):02}",
            "op": luck.choice(("put", "put", "patch", "delete", "terminate", "retract")),
            "a": luck.randrange(-(2**63), 2**63),
            "b": "x" * luck.randrange(300),
        }
        if luck.random() < 0.5:
            record |= {"to": "2031-01-01"}
        if luck.random() < 0.6:
            record |= {"calls": calls}
        return record | ({"rates": rates} if luck.random() < 0.3 else {})

    return [json.dumps(one()) if luck.random() < 0.9 else "no record" for _ in range(n)]


def told(changes: Changes, i: int) -> tuple[object, ...]:
    """All that a change says, but for its key."""

    def piece(data: Bytes, starts: Ints, at: int) -> bytes:
        return data[starts[at] : starts[at + 1]].tobytes()

    children = [
        (
            int(changes.child_table[c]),
            int(changes.child_key_hash[c]),
            piece(changes.child_keys, changes.child_key_start, c),
            piece(changes.child_values, changes.child_value_start, c),
        )
        for c in range(int(changes.child_first[i]), int(changes.child_first[i + 1]))
    ]
    numbers = [int(getattr(changes, name)[i]) for name in _PER_CHANGE]
    return (*numbers, piece(changes.values, changes.value_start, i), *children)


@pytest.mark.parametrize("seed", range(20))
def test_changes_come_back_as_they_were_each_with_its_key(seed: int) -> None:
    luck, decoder = random.Random(seed), Decoder(SCHEMA, options())
    keys, met = with_room(new_keys(1 << 20), 1000), []
    wanted: dict[int, list[tuple[object, ...]]] = {group: [] for group in GROUPS.tolist()}
    for partition in range(3):
        batch = decode(decoder, *records(luck, luck.randrange(1, 60)))
        n = len(batch)
        offsets = np.array([luck.choice(_NUMBERS) for _ in range(n)], np.int64)
        changes = changes_of(batch, offsets, np.array([luck.choice(_NUMBERS) for _ in range(n)], np.int64))
        changes.given[:] = [luck.choice(_NUMBERS) for _ in range(n)]
        changes.valid_to[:] = [luck.choice((*_NUMBERS, NONE_GIVEN)) for _ in range(n)]
        group = group_of(batch.key_hash.view(np.int64), GROUPS.size)
        for i in np.flatnonzero(changes.skip == 0).tolist():
            key = batch.keys[batch.key_start[i] : batch.key_start[i + 1]].tobytes()
            wanted[int(group[i])].append((partition, key, *told(changes, i)))
        met += [
            (number, ChangesFrame.of(frame)) for number, frame in split(batch, changes, partition, GROUPS)
        ]
    for number in GROUPS.tolist():
        frames = [frame for of, frame in met if of == number]
        if not frames:
            assert not wanted[number]
            continue
        numbers = [frame.number(keys)[1] for frame in frames]
        found = joined(frames, numbers)
        assert found.values.size == found.value_start[-1] + PADDING
        partitions = np.repeat([frame.partition for frame in frames], [frame.changes for frame in frames])
        names = [_name(keys, int(key)) for key in found.key]
        rows = [(int(partitions[i]), names[i], *told(found, i)) for i in range(len(names))]
        assert rows == wanted[number]


def _name(keys: Keys, number: int) -> bytes:
    reference = int(keys.known[number, REFERENCE])
    at, length = (reference >> LENGTH_BITS) << 3, reference & ((1 << LENGTH_BITS) - 1)
    return keys.arena[at : at + length].tobytes()


def test_a_frame_is_no_larger_than_what_its_changes_take() -> None:
    decoder = Decoder(SCHEMA, options())
    lines = [json.dumps({"k": f"key {i:05}", "v": "2024-01-01", "a": i, "b": "text"}) for i in range(1000)]
    batch = decode(decoder, *lines)
    changes = changes_of(batch, np.arange(1000) + 5_000_000, np.full(1000, 1_790_000_000_000_000))
    ((_, frame),) = split(batch, changes, 0, np.arange(1))
    content = batch.keys.nbytes + int(batch.value_start[-1])
    assert content + 20_000 < len(frame) < content + 40_000
