"""What a state holds, in a form that can be compared: key by key, its segments in order."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from pipeline.config import LakeConfig, ValidEnd, ValidTime, dataset_schema
from pipeline.engine.journal import Journal
from pipeline.engine.rebuild import read_back, rebuild
from pipeline.engine.timelines import Timelines
from pipeline.sink.lake_sink import LakeSink
from state import KeyFiles, LocalState, MemoryState, entries, open_state
from tests.unit.temporal.machine import told

State = dict[str, list[str]]


def held_and_rebuilt(
    lake: LakeConfig, dataset: str, backend: LocalState | None = None
) -> tuple[State, State]:
    """What the state holds of a dataset, log applied, and what the tables alone give.

    Keys that the state left to the tables are in neither.

    Args:
        lake, dataset: which.
        backend: the state, if it is not where lake.yaml says; it is closed.
    """
    config, sink = lake.dataset(dataset), LakeSink.at(lake.catalog, lake.dead_letters.table)
    schema = sink.open(dataset_schema(config), mode=config.mode.value, partition_by=config.partitions)
    dated, next_change = config.valid_time is ValidTime.DATE, config.valid_end is ValidEnd.NEXT_CHANGE
    backend = backend or open_state(lake.state)
    try:
        seed = Journal.seed(backend)
        journal = Journal(backend, dataset)
        kept = Timelines(
            journal,
            dated=dated,
            next_change=next_change,
            read_back=lambda timelines, keys, marks: read_back(sink, schema, timelines, keys, marks, seed),
        )
        kept.replay(schema)
        fresh = Timelines(Journal(MemoryState(), dataset), dated=dated, next_change=next_change)
        rebuild(sink, schema, fresh, seed)
        found, made = held(kept), keys_in_memory(fresh)
        left = {key for key, value in found.items() if value is None}
        assert left <= made.keys()
        return plain(found, left), plain(made, left)
    finally:
        backend.close()


def stored_keys(files: KeyFiles) -> Iterator[tuple[bytes, bytes | None]]:
    """What key files hold: keys and their values; None where they were left to the tables."""
    for file in files._files.lengths:
        for stretch in files._stretches(file):
            for at in stretch.at[files._newest(stretch)].tolist():
                lengths = int(stretch.words[at + entries.LENGTHS])
                key, value = lengths & (entries.LEFT - 1), lengths >> entries.VALUE_SHIFT
                data = stretch.words[at + entries.HEADER_WORDS :].tobytes()
                value_at = (key + 7) & ~7
                yield data[:key], None if lengths & entries.LEFT else data[value_at : value_at + value]


def held(timelines: Timelines) -> dict[bytes, bytes | None]:
    """Keys of timelines whose log was just replayed, and their values; None where they were left to the tables."""
    return dict(stored_keys(timelines._journal.files)) | keys_in_memory(timelines)


def keys_in_memory(timelines: Timelines) -> dict[bytes, bytes]:
    """Keys of the current generation, and their values."""
    current = timelines.current
    numbers = np.arange(current.count)
    at, length = current.key_bytes(numbers)
    data, starts = current.export(numbers)
    return {
        current.keys.arena[at[i] : at[i] + length[i]].tobytes(): data[starts[i] : starts[i + 1]].tobytes()
        for i in numbers
    }


def plain(keys: Mapping[bytes, bytes | None], left: Collection[bytes] = ()) -> State:
    """Keys that were ever changed, but those `left`: the last system time, then the segments."""
    found = {key: told(value) for key, value in keys.items() if value is not None and key not in left}
    return {
        key.hex(): [str(last), *sorted(map(str, parents)), *sorted(map(str, children))]
        for key, (last, _, parents, children) in found.items()
        if last or parents or children
    }
