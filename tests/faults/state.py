"""What a state holds, in a form that can be compared: key by key, its segments in order."""

import numpy as np

from pipeline.config import LakeConfig, ValidEnd, ValidTime, dataset_schema
from pipeline.engine.journal import LEFT, Journal
from pipeline.engine.rebuild import read_back, rebuild
from pipeline.engine.timelines import Timelines, _export
from pipeline.sink.catalog import open_catalog
from pipeline.sink.lake_sink import LakeSink
from pipeline.temporal.transfer import FIXED, HEADER
from state import MemoryState, StateBackend, open_state

State = dict[str, list[str]]


def held_and_rebuilt(
    lake: LakeConfig, dataset: str, backend: StateBackend | None = None
) -> tuple[State, State]:
    """What the state holds of a dataset, log applied, and what the tables alone give.

    Keys that the state left to the tables are in neither.

    Args:
        lake, dataset: which.
        backend: the state, if it is not where lake.yaml says; it is closed.
    """
    config, sink = lake.dataset(dataset), LakeSink(open_catalog(lake.catalog), lake.dead_letters.table)
    partition_by = [str(field) for field in config.partition_by]
    schema = sink.open(dataset_schema(config), mode=config.mode.value, partition_by=partition_by)
    dated, next_change = config.valid_time is ValidTime.DATE, config.valid_end is ValidEnd.NEXT_CHANGE
    backend = backend or open_state(lake.state)
    try:
        seed = Journal.seed(backend)
        held = Timelines(
            Journal(backend, dataset),
            dated=dated,
            next_change=next_change,
            read_back=lambda timelines, keys: read_back(sink, schema, timelines, keys, seed),
        )
        held.replay(schema)
        stored = dict(_stored(backend, dataset))
        fresh = Timelines(Journal(MemoryState(), dataset), dated=dated, next_change=next_change)
        rebuild(sink, schema, fresh, seed)
        found, made = stored | _keys(held), _keys(fresh)
        left = {key for key, value in found.items() if value == LEFT}
        assert left <= made.keys()
        return _plain(_without(found, left)), _plain(_without(made, left))
    finally:
        backend.close()


def _stored(backend: StateBackend, dataset: str) -> list[tuple[bytes, bytes]]:
    prefix = b"d/" + dataset.encode() + b"\0k"
    return [(key[len(prefix) :], value) for key, value in backend.scan(prefix)]


def _keys(timelines: Timelines) -> dict[bytes, bytes]:
    numbers = np.arange(int(timelines.keys.used[0]))
    return dict(zip(*_export(timelines.store, timelines.keys, numbers), strict=True))


def _without(keys: dict[bytes, bytes], left: set[bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in keys.items() if key not in left}


def _plain(keys: dict[bytes, bytes]) -> State:
    """Keys that were ever written: the last system time, then the segments."""
    return {
        key.hex(): [value[:8].hex(), *_segments(value)] for key, value in keys.items() if any(value[:HEADER])
    }


def _segments(value: bytes) -> list[str]:
    found, at = [], HEADER
    while at < len(value):
        end = at + FIXED + int.from_bytes(value[at + FIXED - 4 : at + FIXED], "little")
        found.append(value[at:end].hex())
        at = end
    return sorted(found)
