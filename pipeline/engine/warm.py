"""Compiling the kernels ahead of the first load: ``python -m pipeline.engine.warm`` after an installation.

Two processes, since numba compiles one function at a time in each: one decodes, the other does all the rest.
"""

import logging
import multiprocessing
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pipeline.config import LakeConfig, parse_config
from pipeline.source.files import FileSource

if TYPE_CHECKING:
    from pipeline.decode import Batch

_LAKE = """
datasets:
  - name: warm
    table: warm.warm
    key: [k]
    valid_from: at
    columns: {n: "decimal(9,3)"}
    children: [{path: c, key: [k]}]
"""
_RECORD = '{"k": "%s", "at": "2024-01-01", "n": 1, "c": [{"k": 1, "v": 0.5}]}\n'
_BROKEN = '{"k": "a", "at": "2024-01-01", "c": 1, "c": 2}\n'
_KEYS = 3000
"""Enough for the numbering of keys to outgrow what it begins with."""


def warm() -> None:
    """Compile what a load needs, into the cache."""
    with tempfile.TemporaryDirectory(prefix="bitlake-") as name:
        directory = Path(name)
        records = "".join(_RECORD % key for key in range(_KEYS)) + _BROKEN
        (directory / "records.jsonl").write_text(records)
        process = multiprocessing.get_context("spawn").Process(target=_decode, args=(directory,))
        process.start()
        _apply(directory)
        process.join()
        _load(directory)


def _load(directory: Path) -> None:
    """A first load, one that rebuilds the state from the tables, and one that goes on from it."""
    from pipeline.engine.load import Engine

    config = _config(directory)
    for state in ("none", "lost", "kept"):
        if state == "lost":
            shutil.rmtree(config.state)
        with Engine(config) as engine:
            engine.load_files("warm", [directory / "records.jsonl"])


def _config(directory: Path) -> LakeConfig:
    return parse_config(_LAKE, base=directory, environ={})


def _decode(directory: Path) -> None:
    from pipeline.config import dataset_schema
    from pipeline.decode import Decoder
    from pipeline.engine.options import decode_options
    from pipeline.source.kafka.records import warm as warm_kafka

    warm_kafka()
    config = _config(directory).datasets[0]
    decoder = Decoder(dataset_schema(config), decode_options(config, envelope=False))
    with FileSource(directory / "records.jsonl") as source:
        for block in source:
            decoder.decode(block.buffer, block.starts, block.ends)


def _apply(directory: Path) -> None:
    """Compile everything but the decoder, on a batch made by hand."""
    import numpy as np

    from pipeline.config import dataset_schema
    from pipeline.engine.journal import Journal
    from pipeline.engine.timelines import Timelines, new_rows
    from pipeline.temporal.marks import marks_of, read_marks
    from pipeline.versions.gather import gather
    from state import MemoryState

    config = _config(directory).datasets[0]
    schema, timelines = (
        dataset_schema(config),
        Timelines(Journal(MemoryState(), "warm"), dated=False, next_change=True),
    )
    rows, none = new_rows(), np.zeros(0, np.int64)
    admitted = timelines.admit(no_records(), none, none, 0)
    timelines.apply(admitted, schema, rows)
    gather(schema, "warm", timelines.current.store, timelines.current.keys, rows.fields[:0])
    timelines.empty(rows, timelines.current.life)
    timelines.freeze(0)
    timelines.current.take_in(none, timelines.current)
    nothing, starts = marks_of(np.zeros(8, np.uint8), none, none)
    read_marks(nothing, starts[:-1], starts[1:])


def no_records() -> "Batch":
    """An empty batch with arrays of the types that the decoder makes."""
    import numpy as np

    from pipeline.decode import Batch

    arrays: dict[str, Any] = {}
    for name, type_ in get_type_hints(Batch).items():
        if name not in ("columns", "fields"):
            dtype = get_args(get_args(type_)[1])[0]
            arrays[name] = np.zeros(1 if name.endswith(("_start", "_first")) else 0, dtype)
    return Batch(**arrays, columns=())


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warm()
