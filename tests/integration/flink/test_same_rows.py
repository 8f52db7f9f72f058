"""One topic through both runtimes: equal histories, row for row, and the naive model's."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import Lake
from stack.control import Background
from tests.faults.topics import PARTITIONS, Topic
from tests.integration.flink.place import FlinkPlace
from tests.model.choices import Seeded
from tests.model.decoding import Record
from tests.model.generate import Entry, make_entry
from tests.model.strategies import numbered, random_stream
from tests.property.differential import objects

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("job")]
TASK_MANAGERS = 4
KEYS = 6
"""So many times the keys of a random stream."""


def entry_of(seed: int) -> Entry:
    """A random dataset whose types are all declared, with children: inferred ones may differ by runtime."""
    choose = Seeded(seed)
    while True:
        entry = make_entry(choose)
        declared = [child for child in entry.get("children", ()) if typed(child)]
        if declared and entry["key"] != ["number"]:
            return entry | {"children": declared, "on_new_field": "ignore"}


def typed(child: dict[str, Any]) -> bool:
    return "columns" in child and all(typed(one) or one.get("key") for one in child.get("children", ()))


def records(entry: Entry, seed: int, count: int) -> list[Record]:
    """A random stream of many keys."""
    choose, found = Seeded(seed), list[Record]()
    for record in random_stream(seed, count, entry=entry).records:
        name = f'"K{choose.integer(0, KEYS - 1)}"'.encode()
        found.append(replace(record, value=renamed(record.value, name), key=renamed(record.key, name)))
    return numbered(found, PARTITIONS)


def renamed(part: bytes | None, name: bytes) -> bytes | None:
    return part and part.replace(b'"K"', name)


def twin(topic: Topic) -> Topic:
    """The same topic as another dataset."""
    other, name = copy.copy(topic), f"{topic.entry['name']}e"
    other.entry = topic.entry | {"name": name, "table": f"ref.{name}"}
    return other


@pytest.mark.parametrize(
    ("seed", "parallelism"),
    [
        (103, 2),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in ((101, 1), (102, 1), (104, 2), (105, 4), (106, 4))
        ),
    ],
)
def test_both_runtimes_write_the_models_rows(
    stack: Background, tmp_path: Path, seed: int, parallelism: int
) -> None:
    """One job writes an append and an upsert table, while their topics grow."""
    entry = entry_of(seed)
    place = FlinkPlace(tmp_path, stack, entry | {"mode": "append"}, seed)
    place.add_dataset(entry | {"mode": "upsert"}, seed)
    mine = [*place.topics]
    for part in range(3):
        for number, topic in enumerate(mine):
            topic.add(records(entry, 100 * seed + 10 * number + part, 60))
        if part == 0:
            place.submit("--parallelism", str(parallelism))
        place.read_all()
    place.bitlake("submit", "--stop")
    place.check()
    other = [twin(topic) for topic in mine]
    place.topics += other
    place.write()
    place.bitlake("run", *(topic.entry["name"] for topic in other), "--until-end")
    for topic, same in zip(mine, other, strict=True):
        assert histories(place.lake, topic) == histories(place.lake, same)


def histories(lake: Lake, topic: Topic) -> dict[str, list[dict[str, Any]]]:
    """All versions of a dataset's tables, by array."""
    name = topic.entry["name"]
    arrays = [table.removeprefix(name) for table in lake.tables if table.partition("__")[0] == name]
    return {array: objects(lake.history(name + array, provenance=True)) for array in arrays}
